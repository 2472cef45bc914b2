// Spawning: the child shares our memory (CLONE_VM) until execve, while the thread that called waits
// (CLONE_VFORK), so the time does not depend on how large Node's heap is (0.2 ms where fork takes 6 at 150
// MB).
//
//   parent thread                 child (own stack, own descriptor table, own signal table)
//   block every signal
//   clone ──────────────────────▶ setsid, dispositions, mask
//   (waits)                       descriptors to 0, 1, … ; close_range above
//                                 execve ──▶ the new program            the parent wakes
//                                 or: write errno to the shared memory, _exit ──▶ the parent wakes and reaps
//
// What the child runs must not allocate, lock or touch the C library's state: it is the parent's.
#include "process.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <climits>
#include <cstdint>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
// The same numbers on every architecture (they came after the tables were unified, Linux 5.1).
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

namespace handoff {

namespace {

constexpr size_t kStackSize = 64 * 1024;
constexpr int kSignals = 64;                           // _NSIG of the kernel (x86_64, arm64)
constexpr size_t kKernelSigset = 64 / 8;               // what rt_sigprocmask(2) calls sigsetsize
constexpr idtype_t kPidfd = static_cast<idtype_t>(3);  // P_PIDFD, <linux/wait.h>

// A guard page below it: an overflow ends in SIGSEGV and not in Node's heap.
class Stack {
 public:
  Stack() {
    page_ = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    size_ = kStackSize + page_;
    base_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (base_ != MAP_FAILED) ::mprotect(base_, page_, PROT_NONE);
  }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  ~Stack() {
    if (base_ != MAP_FAILED) ::munmap(base_, size_);
  }
  bool valid() const { return base_ != MAP_FAILED; }
  void* top() const { return static_cast<char*>(base_) + size_; }

 private:
  size_t page_ = 0;
  size_t size_ = 0;
  void* base_ = MAP_FAILED;
};

// Every signal, those of the C library's own use included (pthread_sigmask would leave them out): a handler
// that ran in the child would run on our memory.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    const uint64_t all = UINT64_MAX;
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before_, kKernelSigset);
  }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;
  ~AllSignalsBlocked() { ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, kKernelSigset); }

 private:
  uint64_t before_ = 0;
};

struct Plan {
  const char* file;
  char* const* argv;
  char* const* environment;
  int* sources;  // the child's to change
  int count;
  int error;
  const char* call;
};

int GiveUp(Plan* plan, const char* call, int error) {
  plan->call = call;
  plan->error = error;
  return 127;
}

// Puts sources[i] at i. A source that stands where another one goes is moved out of the way first, and every
// later mention of it follows.
__attribute__((no_sanitize("address", "undefined"))) int Place(Plan* plan) {
  for (int target = 0; target < plan->count; target++) {
    int moved = -1;
    for (int later = target + 1; later < plan->count; later++) {
      if (plan->sources[later] != target) continue;
      if (moved < 0) moved = ::fcntl(target, F_DUPFD_CLOEXEC, plan->count);
      if (moved < 0) return GiveUp(plan, "fcntl", errno);
      plan->sources[later] = moved;
    }
    if (plan->sources[target] == target) {
      // Already there, but Node sets CLOEXEC on everything, 0-2 included.
      if (::fcntl(target, F_SETFD, 0) < 0) return GiveUp(plan, "fcntl", errno);
    } else if (::dup2(plan->sources[target], target) < 0) {
      return GiveUp(plan, "dup2", errno);
    }
  }
  if (::syscall(SYS_close_range, static_cast<unsigned int>(plan->count), ~0u, 0u) < 0) {
    return GiveUp(plan, "close_range", errno);
  }
  return 0;
}

// Not instrumented: it leaves by execve, so the shadow of a stack that is used again would stay poisoned.
__attribute__((no_sanitize("address", "undefined"))) int Child(void* argument) {
  Plan* plan = static_cast<Plan*>(argument);
  if (::setsid() < 0) return GiveUp(plan, "setsid", errno);

  // Raw, as the C library refuses to touch the two signals that it uses itself. All zeros is SIG_DFL, no
  // flags, in every architecture's kernel_sigaction; SIGKILL and SIGSTOP answer EINVAL.
  const uint64_t by_default[8] = {};
  for (int signal = 1; signal <= kSignals; signal++) {
    ::syscall(SYS_rt_sigaction, signal, by_default, nullptr, kKernelSigset);
  }
  const uint64_t none = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, kKernelSigset);

  const int failed = Place(plan);
  if (failed != 0) return failed;
  ::execve(plan->file, plan->argv, plan->environment);
  return GiveUp(plan, "execve", errno);
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Status Spawn(const std::string& file, const std::vector<std::string>& argv,
             const std::vector<std::string>& environment, const std::vector<int>& descriptors, pid_t* pid,
             Descriptor* pidfd) {
  if (descriptors.size() > INT_MAX / 2) return Failed("clone", EINVAL);
  const std::vector<char*> arguments = Pointers(argv);
  const std::vector<char*> variables = Pointers(environment);
  std::vector<int> sources = descriptors;
  const Stack stack;
  if (!stack.valid()) return Failed("mmap", ENOMEM);

  Plan plan{file.c_str(),
            arguments.data(),
            variables.data(),
            sources.data(),
            static_cast<int>(sources.size()),
            0,
            ""};
  int pidfd_number = -1;
  int child;
  int error;
  {
    const AllSignalsBlocked blocked;
    child = ::clone(Child, stack.top(), CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &plan, &pidfd_number);
    error = errno;
  }
  if (child < 0) return Failed("clone", error);

  Descriptor owner(pidfd_number);
  if (plan.error != 0) {
    // It has ended already (that is what woke us up): this waits for nothing, and libuv only waits for its
    // own pids.
    siginfo_t info{};
    Retry([&] { return ::waitid(kPidfd, static_cast<id_t>(owner.get()), &info, WEXITED); });
    return Failed(plan.call, plan.error);
  }
  *pid = child;
  *pidfd = std::move(owner);
  return Ok();
}

Status PidfdOpen(pid_t pid, Descriptor* out) {
  const long fd = ::syscall(SYS_pidfd_open, pid, 0u);
  if (fd < 0) return Failed("pidfd_open");
  out->reset(static_cast<int>(fd));
  return Ok();
}

Status PidfdSendSignal(int pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0u) < 0) return Failed("pidfd_send_signal");
  return Ok();
}

Status PidfdGetfd(int pidfd, int fd, Descriptor* out) {
  const long copy = ::syscall(SYS_pidfd_getfd, pidfd, fd, 0u);
  if (copy < 0) return Failed("pidfd_getfd");
  out->reset(static_cast<int>(copy));
  return Ok();
}

Status WaitPidfd(int pidfd, bool reap, Exit* out) {
  siginfo_t info{};
  const int options = WEXITED | WNOHANG | (reap ? 0 : WNOWAIT);
  if (Retry([&] { return ::waitid(kPidfd, static_cast<id_t>(pidfd), &info, options); }) != 0) {
    return Failed("waitid");
  }
  // With WNOHANG "nothing yet" is success with si_pid 0 (waitid(2)).
  out->exited = info.si_pid != 0;
  out->signaled = info.si_code != CLD_EXITED;
  out->status = info.si_status;
  return Ok();
}

Status CanRaisePriority(bool* out) {
  // On Linux the nice value is a thread's own: this one's ends with it.
  const auto attempt = [](void* argument) -> void* {
    const int before = ::getpriority(PRIO_PROCESS, 0);
    *static_cast<bool*>(argument) =
        ::setpriority(PRIO_PROCESS, 0, before + 1) == 0 && ::setpriority(PRIO_PROCESS, 0, before) == 0;
    return nullptr;
  };
  pthread_t thread;
  int error = ::pthread_create(&thread, nullptr, attempt, out);
  if (error == 0) error = ::pthread_join(thread, nullptr);
  return error == 0 ? Ok() : Failed("pthread_create", error);
}

Status ReplaceProgram(const std::string& file, const std::vector<std::string>& argv,
                      const std::vector<std::string>& environment, const std::vector<int>& kept) {
  const std::vector<char*> arguments = Pointers(argv);
  const std::vector<char*> variables = Pointers(environment);
  std::vector<int> inherited = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
  inherited.insert(inherited.end(), kept.begin(), kept.end());

  // FD_CLOEXEC is off for no longer than this: another thread that forks meanwhile would leak a listener.
  Status status = Ok();
  std::vector<int> changed;
  for (const int fd : inherited) {
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags < 0 && fd <= STDERR_FILENO) continue;  // closed, as some service managers leave it
    if (flags < 0 || ::fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) < 0) {
      status = Failed("fcntl");
      break;
    }
    if ((flags & FD_CLOEXEC) != 0) changed.push_back(fd);
  }
  if (status.ok()) {
    // From the main thread: the others end with it, pending signals and the children stay (execve(2)).
    ::execve(file.c_str(), arguments.data(), variables.data());
    status = Failed("execve");
  }
  for (const int fd : changed) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return status;
}

}  // namespace handoff
