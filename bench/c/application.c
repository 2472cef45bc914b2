// The least that a served application can be: it answers each connection on descriptor 3 with one line and
// closes it. SIGTERM ends it when what it has accepted is answered.
//
// With BENCH_RECORD it appends a line to that file: its generation, when main() began, when it began to wait
// for connections (nanoseconds of CLOCK_REALTIME). Linked statically, so that main() is close to the exec.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LISTENER = 3, EVENTS = 64 };

static volatile sig_atomic_t is_ending;

static void on_term(int signal) {
  (void)signal;
  is_ending = 1;
}

static uint64_t wall_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void record(const char* generation, uint64_t began, uint64_t listening) {
  const char* path = getenv("BENCH_RECORD");
  if (path == NULL) return;
  char line[128];
  int length = snprintf(line, sizeof line, "%s %llu %llu\n", generation, (unsigned long long)began,
                        (unsigned long long)listening);
  int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || write(file, line, (size_t)length) != length) perror(path);
  if (file >= 0) close(file);
}

static void watch(int epoll, int descriptor) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0) return;
  perror("epoll_ctl");
  exit(1);
}

int main(void) {
  const uint64_t began = wall_ns();
  const char* generation = getenv("HANDOFF_GENERATION");
  if (generation == NULL) generation = "0";
  char answer[256];
  int answer_length = snprintf(answer, sizeof answer,
                               "HTTP/1.1 200 OK\r\nx-generation: %s\r\ncontent-length: 3\r\n"
                               "connection: close\r\n\r\nok\n",
                               generation);

  sigset_t term;
  sigset_t none;
  sigemptyset(&none);
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, NULL);
  struct sigaction action = {.sa_handler = on_term};
  sigaction(SIGTERM, &action, NULL);

  fcntl(LISTENER, F_SETFL, fcntl(LISTENER, F_GETFL) | O_NONBLOCK);
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, LISTENER);
  int open_connections = 0;
  const uint64_t listening = wall_ns();
  record(generation, began, listening);

  while (!is_ending || open_connections > 0) {
    struct epoll_event events[EVENTS];
    int count = epoll_pwait(epoll, events, EVENTS, -1, &none);
    for (int i = 0; i < count; i++) {
      int descriptor = events[i].data.fd;
      if (descriptor == LISTENER) {
        int accepted = accept4(LISTENER, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted < 0) continue;
        open_connections++;
        watch(epoll, accepted);
        continue;
      }
      // One request is one segment here; whoever sent none has gone.
      char request[4096];
      ssize_t got = recv(descriptor, request, sizeof request, 0);
      if (got < 0 && errno == EAGAIN) continue;
      if (got > 0 && send(descriptor, answer, (size_t)answer_length, MSG_NOSIGNAL) < 0) perror("send");
      close(descriptor);
      open_connections--;
    }
    if (is_ending) epoll_ctl(epoll, EPOLL_CTL_DEL, LISTENER, NULL);
  }
  return 0;
}
