// Messages with descriptors (SCM_RIGHTS, unix(7)).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "descriptor.h"
#include "socket.h"
#include "status.h"

namespace handoff {

constexpr size_t kScmMaxFd = 253;  // SCM_MAX_FD, include/net/scm.h

struct Received {
  size_t length = 0;
  std::vector<Descriptor> descriptors;
  bool data_truncated = false;
  bool descriptors_truncated = false;
  bool has_credentials = false;
  Credentials credentials;
};

// `descriptors` stay the caller's; the message holds its own references. `*sent` is false when the queue is
// full.
Status SendMessage(int fd, const uint8_t* data, size_t length, const std::vector<int>& descriptors,
                   bool* sent);
// `out->descriptors` owns all that came, whatever else is wrong. `*received` is false when nothing waits.
Status ReceiveMessage(int fd, uint8_t* buffer, size_t capacity, size_t max_descriptors, Received* out,
                      bool* received);

}  // namespace handoff
