#include "launch_descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launch_failure.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

// Descriptors for which the program's table has room from the start: 32 KiB of the kernel's memory.
enum { ROOM = 4096 };

static int not_enough_room(int error) {
  // dup2 says EBADF, and fcntl EINVAL, for a number above RLIMIT_NOFILE.
  return error == EBADF || error == EINVAL ? EMFILE : error;
}

// Puts sources[i] at FIRST + i. Whatever still has to go elsewhere is moved out of the way first.
static void place(int *sources, size_t count) {
  const int end = FIRST + (int)count;
  for (int target = FIRST; target < end; target++) {
    int *source = &sources[target - FIRST];
    if (*source == target) {
      if (fcntl(target, F_SETFD, 0) != 0) fail("descriptors", errno, "fcntl");
      continue;
    }
    for (int later = target + 1; later < end; later++) {
      if (sources[later - FIRST] != target) continue;
      const int moved = fcntl(target, F_DUPFD_CLOEXEC, end);
      if (moved < 0) fail("descriptors", not_enough_room(errno), "RLIMIT_NOFILE");
      sources[later - FIRST] = moved;
      if (target == channel) channel = moved;
      break;
    }
    if (dup2(*source, target) < 0) fail("descriptors", not_enough_room(errno), "RLIMIT_NOFILE");
    if (*source == channel) channel = target;
    close(*source);
    *source = target;
  }
}

// A table that grows in a process with threads waits for a grace period of RCU, some 10 ms (expand_fdtable,
// fs/file.c): at 64, 256, 512, … connections nobody would be served for so long. Here is one thread, it costs
// nothing, and exec keeps the table.
static void make_room(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const int most = limit.rlim_cur < ROOM ? (int)limit.rlim_cur : ROOM;
  const int highest = fcntl(channel, F_DUPFD_CLOEXEC, most - 1);
  if (highest >= 0) close(highest);
}

void place_descriptors(const struct grant *grant, bool keeps_channel) {
  int *sources = allocate(grant->count + 1, sizeof(int), "descriptors");
  for (size_t i = 0; i < grant->count; i++) sources[i] = grant->items[i].fd;
  sources[grant->count] = channel;
  place(sources, grant->count + 1);
  free(sources);
  // Without CHANNEL exec closes it, and the daemon sees the end of file as "it runs".
  if (fcntl(channel, F_SETFD, keeps_channel ? 0 : FD_CLOEXEC) != 0) fail("descriptors", errno, "fcntl");
  if (syscall(SYS_close_range, (unsigned)channel + 1, ~0u, 0u) != 0)
    fail("descriptors", errno, "close_range");
  make_room();
}
