// One client: a connection and the request that is under way on it.
//
// A request on a kept connection is begun only after a look at the connection: an end that is there by then
// was noticed in time, as every good client does. One that comes afterwards has lost a request.
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "report.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static const options* wanted;
static int epoll_fd;
static char* request;
static size_t request_length;

void client_drop(client* c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
}

static void fail(client* c, ending kind, const char* why) {
  char what[160];
  struct sockaddr_in from = {0};
  socklen_t length = sizeof from;
  char source[INET_ADDRSTRLEN] = "";
  if (c->fd >= 0 && getsockname(c->fd, (struct sockaddr*)&from, &length) == 0 && from.sin_family == AF_INET) {
    inet_ntop(AF_INET, &from.sin_addr, source, sizeof source);
    snprintf(what, sizeof what, "%s (client %s:%d, after %.1f ms)", why, source, ntohs(from.sin_port),
             (double)(now_ns() - c->begun) / 1e6);
  } else {
    snprintf(what, sizeof what, "%s (after %.1f ms)", why, (double)(now_ns() - c->begun) / 1e6);
  }
  report_failure(kind, what);
  client_drop(c);
  client_is_free(c, true);
}

static void fail_errno(client* c, ending kind, const char* what) {
  char why[96];
  snprintf(why, sizeof why, "%s: %s", what, strerrorname_np(errno));
  fail(c, kind, why);
}

// The connection ended under a request. Which loss that is depends on how much of the answer had come.
static void lost(client* c, bool reset) {
  const answer* a = &c->answer;
  if (a->head) {
    fail(c, END_CUT, reset ? "reset in the middle of the body" : "closed in the middle of the body");
  } else if (a->started && reset) {
    fail(c, END_CUT, "reset in the middle of the head");
  } else if (reset) {
    fail(c, c->kept ? END_RESET_ON_REUSE : END_RESET,
         c->kept ? "reset under a request" : "reset before an answer");
  } else {
    fail(c, c->kept ? END_EOF_ON_REUSE : END_EOF,
         c->kept ? "closed under a request" : "closed before an answer");
  }
}

static void answered(client* c) {
  answer* a = &c->answer;
  uint64_t end = wanted->mode == MODE_STREAM ? c->first_byte : now_ns();
  report_answer(a, end - c->begun);
  bool keep = (wanted->mode == MODE_KEEPALIVE || wanted->mode == MODE_IDLE) && !a->close;
  if (!keep || c->sent < request_length) client_drop(c);
  client_is_free(c, false);
}

// ---- bytes

static void send_some(client* c) {
  while (c->sent < request_length) {
    ssize_t n = send(c->fd, request + c->sent, request_length - c->sent, MSG_NOSIGNAL);
    if (n >= 0) {
      c->sent += (size_t)n;
    } else if (errno != EINTR) {
      // Not yet a verdict: the answer may have come before the server closed.
      if (errno != EAGAIN) c->send_error = errno;
      return;
    }
  }
}

static void read_some(client* c, bool hung_up) {
  static char buffer[64 * 1024];
  for (;;) {
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      if (errno == ETIMEDOUT) {
        fail(c, END_TIMEOUT, "the kernel gave up");
      } else {
        lost(c, true);
      }
      return;
    }
    if (n == 0) {
      bool reset = c->send_error == ECONNRESET;
      if (!reset && answer_end(&c->answer)) {
        answered(c);
      } else {
        lost(c, reset);
      }
      return;
    }
    if (!c->answer.started) c->first_byte = now_ns();
    bool had_head = c->answer.head;
    size_t used = answer_feed(&c->answer, buffer, (size_t)n);
    if (c->answer.head && !had_head) report_head(&c->answer);
    if (c->answer.place == MALFORMED) {
      fail(c, END_MALFORMED, "not an HTTP answer");
      return;
    }
    if (c->answer.place == WHOLE && used < (size_t)n) {
      fail(c, END_MALFORMED, "bytes after the answer");
      return;
    }
    if (c->answer.place == WHOLE) {
      answered(c);
      return;
    }
    // A stream may last; what must not is its silence.
    if (wanted->mode == MODE_STREAM) timer_set(&c->due, now_ns() + (uint64_t)wanted->timeout_ms * MS);
    if ((size_t)n < sizeof buffer && !hung_up) return;
  }
}

static void ask(client* c) {
  c->state = ASKING;
  c->sent = 0;
  c->send_error = 0;
  answer_reset(&c->answer, strcmp(wanted->method, "HEAD") == 0);
  timer_set(&c->due, c->deadline);
  send_some(c);
}

// ---- connecting

static void connect_failed(client* c) {
  switch (errno) {
    case ECONNREFUSED:
    case ENOENT:
      fail_errno(c, END_REFUSED, "connect");
      return;
    case ECONNRESET:
      // It stood, and was reset before we looked: a reset of a SYN would be ECONNREFUSED.
      report_connection();
      fail_errno(c, END_RESET, "connect");
      return;
    case ETIMEDOUT:
      fail_errno(c, END_TIMEOUT, "connect");
      return;
    default:
      fail_errno(c, END_CLIENT, "connect");
  }
}

static int bind_source(int fd) {
  static unsigned turn;
  struct sockaddr_in from = {.sin_family = AF_INET};
  int on = 1;
  from.sin_addr = wanted->source;
  if (!wanted->has_source) from.sin_addr.s_addr = htonl(0x7f000101u + turn++ % 254);
  // The port is then chosen at connect, by both ends: 28,000 for each pair of addresses.
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  return bind(fd, (struct sockaddr*)&from, sizeof from);
}

static bool open_socket(client* c) {
  int on = 1;
  c->fd = socket(wanted->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (c->fd < 0) {
    fail_errno(c, END_CLIENT, "socket");
    return false;
  }
  if (wanted->address.ss_family == AF_INET && bind_source(c->fd) < 0) {
    fail_errno(c, END_CLIENT, "bind");
    return false;
  }
  if (wanted->address.ss_family != AF_UNIX) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) {
    fail_errno(c, END_CLIENT, "epoll_ctl");
    return false;
  }
  return true;
}

static void connect_now(client* c) {
  for (int tries = 0;; tries++) {
    c->state = CONNECTING;
    c->again = false;
    if (c->fd < 0 && !open_socket(c)) return;
    if (connect(c->fd, (const struct sockaddr*)&wanted->address, wanted->address_length) == 0) {
      report_connection();
      ask(c);
      return;
    }
    if (errno == EINPROGRESS) {
      timer_set(&c->due, c->deadline);
      return;
    }
    if (errno == EAGAIN && wanted->address.ss_family == AF_UNIX) {
      // The backlog is full (unix(7)): a blocking client would wait here.
      c->again = true;
      uint64_t soon = now_ns() + MS;
      timer_set(&c->due, soon < c->deadline ? soon : c->deadline);
      return;
    }
    // This source address has no port left for that target: take the next one.
    if ((errno != EADDRNOTAVAIL && errno != EADDRINUSE) || tries == 16) {
      connect_failed(c);
      return;
    }
    client_drop(c);
  }
}

bool client_ended_meanwhile(client* c) {
  char byte;
  ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK);
  if (n < 0 && errno == EAGAIN) return false;
  if (n > 0) {
    report_unasked();
  } else {
    report_closed_idle();
  }
  client_drop(c);
  if (c->state == HOLDING) c->state = OVER;
  return true;
}

void client_begin(client* c) {
  report_request();
  c->asked++;
  c->begun = now_ns();
  c->first_byte = c->begun;
  c->deadline = c->begun + (uint64_t)wanted->timeout_ms * MS;
  c->kept = c->fd >= 0 && !client_ended_meanwhile(c);
  if (c->kept) {
    ask(c);
  } else {
    connect_now(c);
  }
}

void client_event(client* c, uint32_t events) {
  bool hung_up = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if (c->fd < 0) return;
  if (c->state == CONNECTING) {
    if (c->again || (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
      errno = error;
      connect_failed(c);
      return;
    }
    report_connection();
    ask(c);
  }
  if (c->state == ASKING) {
    if (c->sent < request_length) send_some(c);
    read_some(c, hung_up || c->send_error != 0);
    if (!hung_up) return;
  }
  if (c->fd >= 0 && c->state != ASKING) client_ended_meanwhile(c);
}

void client_give_up(client* c) {
  if (c->state == CONNECTING || c->state == ASKING) fail(c, END_TIMEOUT, "not finished when the load ended");
}

void client_due(client* c) {
  if (c->state == ASKING) {
    fail(c, END_TIMEOUT, c->answer.started ? "the answer stopped in the middle" : "no answer");
  } else if (c->state == CONNECTING && c->again && now_ns() < c->deadline) {
    connect_now(c);
  } else if (c->state == CONNECTING) {
    fail(c, END_TIMEOUT, "no connection");
  }
}

static void make_request(void) {
  size_t room = 2048;
  request = malloc(room + wanted->body_bytes);
  if (request == NULL) {
    perror("load: malloc");
    exit(1);
  }
  bool once = wanted->mode == MODE_NEW || wanted->mode == MODE_STREAM;
  bool body =
      wanted->body_bytes > 0 || strcmp(wanted->method, "POST") == 0 || strcmp(wanted->method, "PUT") == 0;
  int length = snprintf(request, room, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", wanted->method, wanted->path,
                        wanted->host, once ? "Connection: close\r\n" : "");
  if (body) {
    length +=
        snprintf(request + length, room - (size_t)length,
                 "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n", wanted->body_bytes);
  }
  length += snprintf(request + length, room - (size_t)length, "\r\n");
  memset(request + length, 'x', wanted->body_bytes);
  request_length = (size_t)length + wanted->body_bytes;
}

void clients_open(const options* of, int epoll) {
  wanted = of;
  epoll_fd = epoll;
  make_request();
}

void client_init(client* c) {
  c->fd = -1;
  c->due.due = NEVER;
}
