// A user in a hurry: one connection after the other, each with one request, hardly a pause between. It says
// when a generation answered for the first time, and at SIGTERM how many requests it made and how many
// failed.
//
//   stdout: "2 1790000000000000000\n" (x-generation, nanoseconds of CLOCK_REALTIME) … "end 51234 0\n"
//
// It ends each connection by a reset once it has the whole answer, so that no TIME_WAIT is left: the size of
// the kernel's table, and with it the cost of looking into it, does not depend on how long it has run.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t is_ending;

static void on_term(int signal) {
  (void)signal;
  is_ending = 1;
}

// Reads the answer to its end and returns its x-generation; -1 when it is no whole answer.
static long ask(const struct sockaddr_in* address) {
  static const char request[] = "GET / HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
  int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0) return -1;
  struct linger reset = {.l_onoff = 1, .l_linger = 0};
  setsockopt(connection, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  char answer[1024];
  size_t length = 0;
  long generation = -1;
  if (connect(connection, (const struct sockaddr*)address, sizeof *address) == 0 &&
      send(connection, request, sizeof request - 1, MSG_NOSIGNAL) == sizeof request - 1) {
    ssize_t got;
    while ((got = recv(connection, answer + length, sizeof answer - 1 - length, 0)) > 0)
      length += (size_t)got;
    answer[length] = '\0';
    const char* field = strstr(answer, "x-generation: ");
    if (got == 0 && field != NULL && strstr(field, "\r\n\r\nok\n") != NULL) generation = atol(field + 14);
  }
  close(connection);
  return generation;
}

int main(int count, char** arguments) {
  if (count != 2) {
    fputs("usage: visitor PORT\n", stderr);
    return 2;
  }
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  struct sigaction action = {.sa_handler = on_term, .sa_flags = SA_RESTART};
  sigaction(SIGTERM, &action, NULL);
  unsigned long requests = 0;
  unsigned long failed = 0;
  long newest = -1;
  // On a small machine a loop without any pause would measure its own hunger for the processor.
  const struct timespec breath = {.tv_nsec = 100 * 1000};
  for (; !is_ending; nanosleep(&breath, NULL)) {
    long generation = ask(&address);
    requests++;
    if (generation < 0) failed++;
    if (generation <= newest) continue;
    newest = generation;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%ld %lld%09ld\n", generation, (long long)now.tv_sec, now.tv_nsec);
    fflush(stdout);
  }
  printf("end %lu %lu\n", requests, failed);
  return 0;
}
