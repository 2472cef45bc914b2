#include "launch_join.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "frame.h"
#include "launch_failure.h"
#include "passing.h"

enum { USAGE = 2 };

static const char usage[] =
    "usage: handoff-exec --service NAME [--place GENERATION[-INSTANCE]] -- COMMAND [ARGUMENT...]\n"
    "       handoff-exec --socket PATH [--place GENERATION[-INSTANCE]] -- COMMAND [ARGUMENT...]\n"
    "\n"
    "Gets the listening sockets of a service from handoffd and becomes the command.\n"
    "\n"
    "  --service NAME   its handoff socket is /run/handoffd/NAME.sock\n"
    "  --socket PATH    where that is; $HANDOFF_SOCKET where neither is given\n"
    "  --place PLACE    of which generation, and as which instance of it: 5 or 5-1;\n"
    "                   without it, whichever handoffd awaits\n";

static _Noreturn void misused(const char *what, const char *about) {
  fprintf(stderr, "handoff-exec: %s%s\n%s", what, about, usage);
  exit(USAGE);
}

static const char *path_of(const char *service) {
  static char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
  if (service[0] == '\0' || strchr(service, '/') != NULL) misused("not the name of a service: ", service);
  if (snprintf(path, sizeof(path), "/run/handoffd/%s.sock", service) >= (int)sizeof(path)) {
    misused("the name is too long: ", service);
  }
  return path;
}

struct joining parse_joining(int argc, char **argv) {
  struct joining joining = {getenv("HANDOFF_SOCKET"), NULL, NULL};
  int at = 1;
  for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
    const char *option = argv[at];
    if (strcmp(option, "--help") == 0) {
      fputs(usage, stdout);
      exit(EXIT_SUCCESS);
    }
    const bool is_known =
        strcmp(option, "--socket") == 0 || strcmp(option, "--service") == 0 || strcmp(option, "--place") == 0;
    if (!is_known) misused("unknown: ", option);
    if (++at == argc || argv[at][0] == '\0') misused("a value is missing: ", option);
    if (strcmp(option, "--place") == 0) {
      joining.place = argv[at];
    } else {
      joining.socket = strcmp(option, "--socket") == 0 ? argv[at] : path_of(argv[at]);
    }
  }
  if (at + 1 >= argc) misused("no command: it stands after --", "");
  if (joining.socket == NULL || joining.socket[0] == '\0') {
    misused("nothing says whose sockets: --service or --socket", "");
  }
  joining.command = argv + at + 1;
  return joining;
}

// Decimal digits from `*at` on, which is moved behind them. False when there are none, or too many.
static bool take_number(const char **at, uint32_t *out) {
  uint64_t value = 0;
  const char *begin = *at;
  for (; **at >= '0' && **at <= '9' && value <= UINT32_MAX; (*at)++)
    value = value * 10 + (uint64_t)(**at - '0');
  *out = (uint32_t)value;
  return *at != begin && value <= UINT32_MAX;
}

static void write_place(struct frame_writer *writer, const char *place) {
  const char *at = place;
  uint32_t generation;
  uint32_t instance;
  if (!take_number(&at, &generation)) misused("not a place: ", place);
  frame_u32(writer, FIELD_GENERATION, generation);
  if (*at == '-') {
    at++;
    if (!take_number(&at, &instance)) misused("not a place: ", place);
    frame_u32(writer, FIELD_INSTANCE, instance);
  }
  if (*at != '\0') misused("not a place: ", place);
}

static _Noreturn void not_connected(const char *path, int error) {
  const bool is_absent = error == ENOENT || error == ECONNREFUSED;
  fprintf(stderr, "handoff-exec: %s: %s%s\n", path, strerror(error),
          is_absent ? "; does handoffd run, and has this service external: in its configuration?" : "");
  exit(FAILED);
}

void join(const struct joining *joining) {
  uint8_t bytes[64];
  struct frame_writer writer = frame_begin(bytes, sizeof(bytes), FRAME_JOIN);
  if (joining->place != NULL) write_place(&writer, joining->place);
  const size_t length = frame_end(&writer, 0);

  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(joining->socket) >= sizeof(address.sun_path)) not_connected(joining->socket, ENAMETOOLONG);
  strcpy(address.sun_path, joining->socket);
  channel = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (channel < 0) not_connected(joining->socket, errno);
  // Where the standard descriptors are closed it would become one of them.
  if (channel < FIRST) {
    const int higher = fcntl(channel, F_DUPFD_CLOEXEC, FIRST);
    if (higher < 0) not_connected(joining->socket, errno);
    close(channel);
    channel = higher;
  }
  while (connect(channel, (struct sockaddr *)&address, sizeof(address)) != 0) {
    if (errno != EINTR) not_connected(joining->socket, errno);
  }
  const int error = send_frame(channel, bytes, length, NULL, 0);
  // One that is not allowed finds the connection closed; receive_grant() says so.
  if (error != 0 && error != EPIPE && error != ECONNRESET) not_connected(joining->socket, error);
}
