// The floor of the descriptor benchmark: what one descriptor and its acknowledgement cost between two
// processes that do nothing else. Both block, so that nothing but the kernel lies between them.
//
//   stdout: the pid of the one that answers
//   stdin "500\n" ──▶ 500 round trips ──▶ stdout: 500 durations in nanoseconds, one line
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_SIZE = 64 };

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static _Noreturn void give_up(const char* what) {
  perror(what);
  exit(1);
}

static void send_one(int to, int descriptor) {
  char bytes[MESSAGE_SIZE] = {0};
  struct iovec part = {bytes, sizeof bytes};
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (descriptor >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control.space;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
  }
  if (sendmsg(to, &message, MSG_NOSIGNAL) != sizeof bytes) give_up("sendmsg");
}

// Returns the descriptor that came, -1 without one, -2 at the peer's end.
static int receive_one(int from) {
  char bytes[MESSAGE_SIZE];
  struct iovec part = {bytes, sizeof bytes};
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
  ssize_t got = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
  if (got == 0) return -2;
  if (got < 0) give_up("recvmsg");
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  int descriptor = -1;
  if (header != NULL) memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
  return descriptor;
}

static void answer(int channel) {
  for (int descriptor = receive_one(channel); descriptor != -2; descriptor = receive_one(channel)) {
    if (descriptor < 0 || close(descriptor) != 0) give_up("no descriptor came");
    send_one(channel, -1);
  }
}

int main(void) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) give_up("socketpair");
  int passed = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (passed < 0) give_up("socket");
  pid_t child = fork();
  if (child < 0) give_up("fork");
  if (child == 0) {
    close(pair[0]);
    answer(pair[1]);
    return 0;
  }
  close(pair[1]);
  printf("%d\n", (int)child);
  fflush(stdout);
  for (int rounds = 0; scanf("%d", &rounds) == 1;) {
    for (int i = 0; i < rounds; i++) {
      uint64_t before = now_ns();
      send_one(pair[0], passed);
      if (receive_one(pair[0]) != -1) give_up("no acknowledgement");
      printf("%s%llu", i == 0 ? "" : " ", (unsigned long long)(now_ns() - before));
    }
    putchar('\n');
    fflush(stdout);
  }
  return 0;
}
