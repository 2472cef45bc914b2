// Sockets: one function per system call. `fd` stays the caller's throughout.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <vector>

#include "address.h"
#include "descriptor.h"
#include "status.h"

namespace handoff {

// Who is at the other end of a unix socket. Not the kernel's `struct ucred`, to keep its header out of here.
struct Credentials {
  int32_t pid = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct Queue {
  uint32_t length = 0;  // connections that wait to be accepted
  uint32_t limit = 0;   // the backlog
};

// `*out` owns the new socket.
Status OpenSocket(int family, int type, bool nonblocking, Descriptor* out);
// `*one` and `*other` own the ends.
Status SeqpacketPair(Descriptor* one, Descriptor* other);
Status Bind(int fd, const Address& address);
// `*connected` is false while the connection is under way (EINPROGRESS) or the peer's queue is full (EAGAIN).
Status Connect(int fd, const Address& address, bool* connected);
Status Listen(int fd, int backlog);
// `*out` owns the connection; it is not valid when nothing waits (EAGAIN).
Status Accept(int fd, Descriptor* out);
Status Shutdown(int fd, int how);
// The file that a unix socket is bound to, as an O_PATH descriptor (SIOCUNIXFILE, net/unix/af_unix.c); EPERM
// without CAP_NET_ADMIN. `fd` stays the caller's.
Status BoundFile(int fd, Descriptor* out);
Status LocalAddress(int fd, Address* out);
Status RemoteAddress(int fd, Address* out);
Status GetOption(int fd, int level, int name, int* out);
Status SetOption(int fd, int level, int name, int value);
Status Cookie(int fd, uint64_t* out);
Status PeerCredentials(int fd, Credentials* out);
Status AttachReuseportFilter(int fd, const std::vector<sock_filter>& program);
// EINVAL for a TCP socket that does not listen: there the same fields of TCP_INFO mean something else.
Status ListenQueue(int fd, Queue* out);

}  // namespace handoff
