// Descriptors of any kind: their one owner, their flags, and the ones made out of nothing.
#pragma once

#include <unistd.h>

#include <string>
#include <utility>

#include "status.h"

namespace handoff {

// The one owner of a descriptor: closes it unless release() has passed it on.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    // Nothing useful can be done about a failing close here, and the number is gone either way.
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

// `fd` is consumed, even on failure.
Status Close(int fd);
// Closes `fd` in a thread of its own, and then `done`: whoever has the other end of that pipe sees it. Both
// are consumed, even on failure; `done` may be none. Where there can be no thread (EAGAIN) both are closed
// here.
void CloseAside(int fd, Descriptor done);
// `fd` stays the caller's; `*out` owns the copy (FD_CLOEXEC, never one of 0-2).
Status Duplicate(int fd, Descriptor* out);
// `fd` stays the caller's, here and in the next three.
Status SetCloexec(int fd, bool on);
Status SetNonblocking(int fd, bool on);
Status IsNonblocking(int fd, bool* out);
// flock(LOCK_EX | LOCK_NB): `*locked` is false when another open file description holds it.
Status LockFile(int fd, bool* locked);
// `*out` owns the new file.
Status MakeMemfd(const std::string& name, Descriptor* out);
// `*reader` and `*writer` own the two ends.
Status MakePipe(Descriptor* reader, Descriptor* writer);
// Whether both are one open file description: fcntl(F_DUPFD_QUERY) since Linux 6.10, before it kcmp(2). Both
// stay the caller's.
Status IsSameFile(int first, int second, bool* same);
// Whether poll(2) says POLLHUP or POLLERR, now. `fd` stays the caller's.
Status IsHungUp(int fd, bool* out);

}  // namespace handoff
