// The command line. Only loopback and unix targets: this program is not to be pointed at other people's
// hosts.
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>

#define MAX_SECONDS 900
#define MAX_BODY (64 << 20)

static const char usage_text[] =
    "usage: load --target 127.0.0.1:8080 | [::1]:8080 | unix:/path | unix:@name\n"
    "            --mode new|keepalive|stream|idle --seconds S (at most 900)\n"
    "            [--connections 16] [--rate 0] [--think 0-20] [--requests N] [--path /] [--source "
    "127.0.0.2]\n"
    "            [--late-ms 1000] [--timeout-ms 10000] [--method GET] [--body-bytes 0] [--progress-fd N]\n"
    "            [--histogram 0]\n";

static void __attribute__((noreturn, format(printf, 1, 2))) refuse(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  fputs(usage_text, stderr);
  va_end(arguments);
  exit(2);
}

static long long whole_number(const char* name, const char* text, long long low, long long high) {
  char* end = NULL;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value < low || value > high) {
    refuse("%s must be a whole number from %lld to %lld, not \"%s\"", name, low, high, text);
  }
  return value;
}

static double number(const char* name, const char* text, double low, double high) {
  char* end = NULL;
  double value = strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= low && value <= high)) {
    refuse("%s must be a number from %g to %g, not \"%s\"", name, low, high, text);
  }
  return value;
}

static void parse_unix(options* to, const char* path) {
  struct sockaddr_un* un = (struct sockaddr_un*)&to->address;
  size_t length = strlen(path);
  if (length == 0 || length >= sizeof un->sun_path) refuse("the unix path \"%s\" does not fit", path);
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path, path, length);
  bool abstract = path[0] == '@';
  if (abstract) un->sun_path[0] = '\0';
  to->address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (abstract ? 0 : 1));
  snprintf(to->host, sizeof to->host, "localhost");
}

static void parse_target(options* to, const char* text) {
  if (strncmp(text, "unix:", 5) == 0) {
    parse_unix(to, text + 5);
    return;
  }
  const char* colon = strrchr(text, ':');
  char host[48] = "";
  if (colon == NULL || (size_t)(colon - text) >= sizeof host) refuse("no address:port in \"%s\"", text);
  memcpy(host, text, (size_t)(colon - text));
  in_port_t port = htons((in_port_t)whole_number("the target's port", colon + 1, 1, 65535));
  snprintf(to->host, sizeof to->host, "%s", text);
  struct sockaddr_in* in = (struct sockaddr_in*)&to->address;
  if (inet_pton(AF_INET, host, &in->sin_addr) == 1 && ntohl(in->sin_addr.s_addr) >> 24 == 127) {
    in->sin_family = AF_INET;
    in->sin_port = port;
    to->address_length = sizeof *in;
    return;
  }
  if (strcmp(host, "[::1]") != 0) refuse("\"%s\" is not a loopback address", text);
  struct sockaddr_in6* in6 = (struct sockaddr_in6*)&to->address;
  memset(in6, 0, sizeof *in6);
  in6->sin6_family = AF_INET6;
  in6->sin6_addr = in6addr_loopback;
  in6->sin6_port = port;
  to->address_length = sizeof *in6;
}

static void parse_source(options* to, const char* text) {
  if (inet_pton(AF_INET, text, &to->source) != 1 || ntohl(to->source.s_addr) >> 24 != 127) {
    refuse("--source \"%s\" is not in 127.0.0.0/8", text);
  }
  // From there a connection reaches a slot that users do not: it would not be load, it would be a probe.
  if (ntohl(to->source.s_addr) >> 16 == (127 << 8 | 77))
    refuse("--source: 127.77.0.0/16 is reserved for pins");
  to->has_source = true;
}

static void parse_mode(options* to, const char* text) {
  static const char* const names[] = {"new", "keepalive", "stream", "idle"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(text, names[i]) == 0) {
      to->mode = (load_mode)i;
      to->mode_name = names[i];
      return;
    }
  }
  refuse("--mode \"%s\" is none of new, keepalive, stream, idle", text);
}

static void parse_think(options* to, const char* text) {
  char low[16] = "";
  const char* dash = strchr(text, '-');
  if (dash == NULL || (size_t)(dash - text) >= sizeof low)
    refuse("--think is LOW-HIGH in ms, not \"%s\"", text);
  memcpy(low, text, (size_t)(dash - text));
  to->think_min_ms = (int)whole_number("--think", low, 0, 600000);
  to->think_max_ms = (int)whole_number("--think", dash + 1, to->think_min_ms, 600000);
}

static void parse_one(options* to, const char* name, const char* value) {
  if (strcmp(name, "--target") == 0) {
    parse_target(to, value);
  } else if (strcmp(name, "--mode") == 0) {
    parse_mode(to, value);
  } else if (strcmp(name, "--connections") == 0) {
    to->connections = (int)whole_number(name, value, 1, 100000);
  } else if (strcmp(name, "--rate") == 0) {
    to->rate = number(name, value, 0, 1e6);
  } else if (strcmp(name, "--think") == 0) {
    parse_think(to, value);
  } else if (strcmp(name, "--requests") == 0) {
    to->requests = (uint64_t)whole_number(name, value, 1, 1000000000);
  } else if (strcmp(name, "--seconds") == 0) {
    to->seconds = number(name, value, 0.01, MAX_SECONDS);
  } else if (strcmp(name, "--path") == 0) {
    if (value[0] != '/' || strlen(value) > 1024) refuse("--path must start with a slash");
    to->path = value;
  } else if (strcmp(name, "--source") == 0) {
    parse_source(to, value);
  } else if (strcmp(name, "--late-ms") == 0) {
    to->late_ms = (int)whole_number(name, value, 1, 3600000);
  } else if (strcmp(name, "--timeout-ms") == 0) {
    to->timeout_ms = (int)whole_number(name, value, 1, 3600000);
  } else if (strcmp(name, "--method") == 0) {
    if (strlen(value) == 0 || strlen(value) > 16) refuse("--method \"%s\"", value);
    to->method = value;
  } else if (strcmp(name, "--body-bytes") == 0) {
    to->body_bytes = (size_t)whole_number(name, value, 0, MAX_BODY);
  } else if (strcmp(name, "--progress-fd") == 0) {
    to->progress_fd = (int)whole_number(name, value, 1, 1023);
  } else if (strcmp(name, "--histogram") == 0) {
    to->histogram = whole_number(name, value, 0, 1) == 1;
  } else {
    refuse("unknown option %s", name);
  }
}

// One descriptor a connection, and a few of our own.
static void raise_descriptor_limit(int connections) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if ((rlim_t)connections + 16 > limit.rlim_cur) {
    refuse("--connections %d does not fit into RLIMIT_NOFILE (%llu)", connections,
           (unsigned long long)limit.rlim_cur);
  }
}

void parse_options(options* to, int argc, char** argv) {
  *to =
      (options){.connections = 16, .late_ms = 1000, .timeout_ms = 10000, .method = "GET", .progress_fd = -1};
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) refuse("%s needs a value", argv[i]);
    parse_one(to, argv[i], argv[i + 1]);
  }
  if (to->address_length == 0) refuse("--target is required");
  if (to->mode_name == NULL) refuse("--mode is required");
  if (to->seconds == 0) refuse("--seconds is required");
  if (to->has_source && to->address.ss_family != AF_INET) refuse("--source is for IPv4 targets");
  if (to->mode == MODE_IDLE && to->requests > 0) refuse("--mode idle sends two requests per connection");
  if (to->mode != MODE_KEEPALIVE && to->think_max_ms > 0) refuse("--think is for --mode keepalive");
  if (to->path == NULL) to->path = to->mode == MODE_STREAM ? "/stream?ms=3000" : "/";
  raise_descriptor_limit(to->connections);
}
