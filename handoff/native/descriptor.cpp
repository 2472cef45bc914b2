#include "descriptor.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>

// <linux/fcntl.h> of Linux 6.10; Debian 12's headers are older.
#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY (1024 + 3)
#endif

namespace handoff {

namespace {

struct Aside {
  // Members end in the opposite order: `done` is the last.
  Descriptor done;
  Descriptor fd;
};

// Enough for close(2) and what glibc keeps on each thread's stack.
constexpr size_t kAsideStack = 256 * 1024;

void* RunAside(void* work) {
  delete static_cast<Aside*>(work);
  return nullptr;
}

}  // namespace

Status Close(int fd) {
  // EINTR after close(2) means closed (Linux), so it is no failure and is never retried.
  if (::close(fd) != 0 && errno != EINTR) return Failed("close");
  return Ok();
}

void CloseAside(int fd, Descriptor done) {
  // The thread has no part in the process' signals.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  auto* work = new Aside{std::move(done), Descriptor(fd)};
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstacksize(&attributes, kAsideStack);
  pthread_t thread;
  if (::pthread_create(&thread, &attributes, RunAside, work) != 0) delete work;
  ::pthread_attr_destroy(&attributes);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Status Duplicate(int fd, Descriptor* out) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return Failed("fcntl");
  out->reset(copy);
  return Ok();
}

Status SetCloexec(int fd, bool on) {
  const int flags = ::fcntl(fd, F_GETFD);
  if (flags < 0) return Failed("fcntl");
  if (::fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC) < 0) return Failed("fcntl");
  return Ok();
}

Status SetNonblocking(int fd, bool on) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return Failed("fcntl");
  if (::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0) return Failed("fcntl");
  return Ok();
}

Status IsNonblocking(int fd, bool* out) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return Failed("fcntl");
  *out = (flags & O_NONBLOCK) != 0;
  return Ok();
}

Status LockFile(int fd, bool* locked) {
  if (Retry([&] { return ::flock(fd, LOCK_EX | LOCK_NB); }) == 0) {
    *locked = true;
    return Ok();
  }
  if (errno != EWOULDBLOCK) return Failed("flock");
  *locked = false;
  return Ok();
}

Status MakeMemfd(const std::string& name, Descriptor* out) {
  const int fd = ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return Failed("memfd_create");
  out->reset(fd);
  return Ok();
}

Status MakePipe(Descriptor* reader, Descriptor* writer) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Failed("pipe2");
  reader->reset(ends[0]);
  writer->reset(ends[1]);
  return Ok();
}

Status IsSameFile(int first, int second, bool* same) {
  int answer = ::fcntl(first, F_DUPFD_QUERY, second);
  if (answer >= 0) {
    *same = answer == 1;
    return Ok();
  }
  if (errno != EINVAL) return Failed("fcntl");
  const pid_t self = ::getpid();
  answer = static_cast<int>(::syscall(SYS_kcmp, self, self, KCMP_FILE, first, second));
  if (answer < 0) return Failed("kcmp");
  *same = answer == 0;
  return Ok();
}

Status IsHungUp(int fd, bool* out) {
  // POLLHUP, POLLERR and POLLNVAL are always looked for; what has no poll(2) of its own (a plain file) never
  // says them.
  pollfd entry{fd, 0, 0};
  if (Retry([&] { return ::poll(&entry, 1, 0); }) < 0) return Failed("poll");
  if ((entry.revents & POLLNVAL) != 0) {
    errno = EBADF;
    return Failed("poll");
  }
  *out = (entry.revents & (POLLHUP | POLLERR)) != 0;
  return Ok();
}

}  // namespace handoff
