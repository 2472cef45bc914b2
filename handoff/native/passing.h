// Messages with descriptors for the two small programs: what message.cpp is to the addon.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCM_MAX_FD = 253 };  // include/net/scm.h

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

struct received {
  ssize_t length;  // -1: errno says why; 0: the peer has gone
  int descriptors[SCM_MAX_FD];
  size_t count;
  bool data_lost;         // MSG_TRUNC
  bool descriptors_lost;  // MSG_CTRUNC
};

// The caller owns out->descriptors, whatever else is wrong with the message. Never blocks.
static inline void receive(int socket, uint8_t *buffer, size_t capacity, struct received *out) {
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(SCM_MAX_FD * sizeof(int))];
  struct iovec part = {buffer, capacity};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = CMSG_SPACE(SCM_MAX_FD * sizeof(int))};
  out->count = 0;
  do {
    out->length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (out->length < 0 && errno == EINTR);
  if (out->length < 0) return;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    if (header->cmsg_len < CMSG_LEN(0)) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
      // The room is for SCM_MAX_FD, plus what alignment adds; a kernel that sends more is closed, not
      // trusted.
      if (out->count < SCM_MAX_FD) {
        out->descriptors[out->count++] = fd;
      } else {
        close(fd);
        message.msg_flags |= MSG_CTRUNC;
      }
    }
  }
  out->data_lost = (message.msg_flags & MSG_TRUNC) != 0;
  out->descriptors_lost = (message.msg_flags & MSG_CTRUNC) != 0;
}

// `descriptors` stay the caller's. 0, or the errno (EAGAIN: the queue is full). Never blocks.
static inline int send_frame(int socket, const uint8_t *bytes, size_t length, const int *descriptors,
                             size_t count) {
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(SCM_MAX_FD * sizeof(int))];
  struct iovec part = {(void *)(uintptr_t)bytes, length};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > SCM_MAX_FD) return EINVAL;
  if (count > 0) {
    memset(control, 0, sizeof(control));
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

static inline void close_all(const int *descriptors, size_t count) {
  for (size_t i = 0; i < count; i++) close(descriptors[i]);
}
