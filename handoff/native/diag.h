// What the kernel tells about sockets that are not ours: sock_diag(7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "address.h"
#include "socket.h"
#include "status.h"

namespace handoff {

struct InetSocket {
  uint8_t state = 0;
  int family = 0;
  std::string local_host;
  uint16_t local_port = 0;
  std::string remote_host;
  uint16_t remote_port = 0;
  uint32_t inode = 0;
  uint32_t uid = 0;
  uint32_t mark = 0;
};

// The body of one SOCK_DIAG_BY_FAMILY answer (after the nlmsghdr). False when it is cut short or malformed.
bool ParseInetSocket(const uint8_t* bytes, size_t length, InetSocket* out);
bool ParseUnixQueue(const uint8_t* bytes, size_t length, uint8_t* state, Queue* out);

Status DiagSockets(int family, uint32_t states, uint16_t local_port, std::vector<InetSocket>* out);
// The connection with these two ends, found by its hash: the cost does not depend on how many there are.
// `*found` is false when there is none.
Status DiagConnection(const Address& local, const Address& remote, InetSocket* out, bool* found);
// Of connections that a process has: one in an accept queue has no inode yet (sock_i_ino, net/core/sock.c),
// and one that was closed has none any more.
Status CountByMark(uint32_t states, uint32_t value, uint32_t mask, std::map<uint32_t, uint32_t>* out);
// ENOENT when no unix socket has that inode, EINVAL when it does not listen.
Status UnixListenQueue(uint32_t inode, Queue* out);
// Of every listening unix socket of the network namespace, by inode. One dump: the kernel looks at each unix
// socket once, where a question by inode looks at all of them to find one.
Status UnixListenQueues(std::map<uint32_t, Queue>* out);

}  // namespace handoff
