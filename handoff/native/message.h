// Messages with descriptors (SCM_RIGHTS, unix(7)).
#pragma once

#include <cstddef>
#include <cstdint>

#include "descriptor.h"
#include "socket.h"
#include "status.h"

namespace handoff {

constexpr size_t kScmMaxFd = 253;  // SCM_MAX_FD, include/net/scm.h

// Owns the descriptors of one message. Allocates nothing: what the kernel has put into our table is never
// lost for want of memory.
class Descriptors {
 public:
  Descriptors() = default;
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() { Shrink(0); }

  size_t size() const { return size_; }
  const int* data() const { return fds_; }
  // `fd` is consumed, also where there is no room: false.
  bool Add(int fd);
  // Closes all but the first `size`.
  void Shrink(size_t size);
  // They are the caller's now.
  void Release() { size_ = 0; }

 private:
  // With what alignment and the room for credentials may let through.
  static constexpr size_t kMost = kScmMaxFd + 16;
  size_t size_ = 0;
  int fds_[kMost];
};

struct Received {
  size_t length = 0;
  Descriptors descriptors;
  bool data_truncated = false;
  bool descriptors_truncated = false;
  bool has_credentials = false;
  Credentials credentials;
};

// `descriptors` stay the caller's; the message holds its own references. `*sent` is false when the queue is
// full.
Status SendMessage(int fd, const uint8_t* data, size_t length, const int* descriptors, size_t count,
                   bool* sent);
// `out->descriptors` owns all that came, whatever else is wrong. `*received` is false when nothing waits.
Status ReceiveMessage(int fd, uint8_t* buffer, size_t capacity, size_t max_descriptors, Received* out,
                      bool* received);

}  // namespace handoff
