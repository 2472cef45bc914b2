// Socket addresses, as text and as the kernel has them.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "status.h"

namespace handoff {

struct Address {
  int family = AF_UNSPEC;  // AF_INET, AF_INET6 or AF_UNIX
  std::string text;        // the literal host, or the path; an abstract name starts with NUL
  uint16_t port = 0;       // inet only
};

struct RawAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

// `call` is the system call that the address is for: it is named when the address is refused here.
Status Encode(const Address& address, const char* call, RawAddress* out);
// EAFNOSUPPORT for a family that is not one of the three.
Status Decode(const RawAddress& raw, const char* call, Address* out);

}  // namespace handoff
