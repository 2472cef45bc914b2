// What proc(5) tells of other processes, where a thousand small files are too many for JavaScript.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "status.h"

namespace handoff {

// The inodes of the sockets that the process has open: readlink(2) of all that /proc/PID/fd has. One that it
// closes meanwhile is not among them. ENOENT or ESRCH when the process has gone, EACCES when it may not be
// looked into.
Status SocketInodes(pid_t pid, std::vector<uint32_t>* out);
// getpgid(2). ESRCH when there is no such process.
Status ProcessGroup(pid_t pid, pid_t* out);

}  // namespace handoff
