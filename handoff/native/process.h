// Processes: started without fork, watched and ended by pidfd.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "descriptor.h"
#include "status.h"

namespace handoff {

struct Exit {
  bool exited = false;    // false while the process runs
  bool signaled = false;  // whether `status` is a signal's number instead of an exit code
  int status = 0;
};

// `descriptors` stay the caller's: child descriptor i is a duplicate of descriptors[i]. `*pidfd` owns the
// pidfd. On failure nothing is left: no process, no zombie, no pidfd.
Status Spawn(const std::string& file, const std::vector<std::string>& argv,
             const std::vector<std::string>& environment, const std::vector<int>& descriptors, pid_t* pid,
             Descriptor* pidfd);
// `*out` owns the pidfd.
Status PidfdOpen(pid_t pid, Descriptor* out);
// `pidfd` stays the caller's, here and below.
Status PidfdSendSignal(int pidfd, int signal);
// `*out` owns the duplicate; `fd` is a number in the other process and stays its own.
Status PidfdGetfd(int pidfd, int fd, Descriptor* out);
// Whether a thread of this process gets back a priority that it has given away (setpriority(2)).
Status CanRaisePriority(bool* out);
Status WaitPidfd(int pidfd, bool reap, Exit* out);
// execve(2) of this very process: does not return unless it fails. 0-2 and `kept` go on into the new program;
// they stay the caller's, and have FD_CLOEXEC again after a failure, as Node has set it on 0-2, too.
Status ReplaceProgram(const std::string& file, const std::vector<std::string>& argv,
                      const std::vector<std::string>& environment, const std::vector<int>& kept);

}  // namespace handoff
