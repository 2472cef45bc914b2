// handoff-exec: the launcher of every instance (docs/wire.md). It receives one grant over descriptor 3, puts
// the descriptors at 3, 4, …, becomes who it should be, and executes the program. Started by someone else
// than the daemon it has a command line, connects to the service's handoff socket and says JOIN first.
//
//   daemon                      handoff-exec
//     GRANT (MORE) … GRANT ─────▶ compares each descriptor with its entry, reads the specification
//     ◀──────────────────── ACK   or FAIL: nothing was started
//                                 limits, umask, nice, descriptors, identity, directory, death signal, exec
//     ◀──────────────────── EOF   the program runs (or has the channel, where it asked for it)
//     ◀─────────────────── FAIL   exit status 127
//
// Statically linked, so that it runs in an image that has no C library. Single-threaded; memory is given back
// by exec or by exit.
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launch_descriptors.h"
#include "launch_environment.h"
#include "launch_failure.h"
#include "launch_grant.h"
#include "launch_join.h"
#include "launch_program.h"
#include "launch_specification.h"

static void apply_limits(const struct specification *specification) {
  for (size_t i = 0; i < specification->limit_count; i++) {
    const struct limit *limit = &specification->limits[i];
    // RLIM_INFINITY is 2^64-1 on the wire and in the kernel.
    const struct rlimit64 value = {limit->soft, limit->hard};
    if (syscall(SYS_prlimit64, 0, limit->resource, &value, NULL) != 0) {
      char text[32];
      snprintf(text, sizeof(text), "limit %u", limit->resource);
      fail("limits", errno, text);
    }
  }
}

static bool has_groups_already(const struct specification *specification) {
  const int count = getgroups(0, NULL);
  if (count < 0 || (size_t)count != specification->group_count) return false;
  gid_t *groups = allocate((size_t)count, sizeof(gid_t), "identity");
  bool same = getgroups(count, groups) == count;
  for (int i = 0; same && i < count; i++) {
    bool found = false;
    for (size_t j = 0; j < specification->group_count; j++)
      found = found || specification->groups[j] == groups[i];
    same = found;
  }
  free(groups);
  return same;
}

// Groups, group, user, in this order: afterwards there is no right to change the others. The supplementary
// groups are set whenever the identity changes, or root's would stay.
static void become(const struct specification *specification) {
  const bool changes = specification->has_uid || specification->has_gid || specification->group_count > 0;
  if (changes && !has_groups_already(specification) &&
      setgroups(specification->group_count, specification->groups) != 0) {
    fail("identity", errno, "groups");
  }
  if (specification->has_gid && setresgid(specification->gid, specification->gid, specification->gid) != 0) {
    fail("identity", errno, "gid");
  }
  if (specification->has_uid && setresuid(specification->uid, specification->uid, specification->uid) != 0) {
    fail("identity", errno, "uid");
  }
  if (specification->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    fail("identity", errno, "no_new_privs");
  }
}

// The kernel sends the signal when the parent ends (prctl(2)). One that has ended before was not seen: then
// the channel is at its end, as a process closes its files before its children are given away. `parent` is
// who it was at the start: of a parent with threads the first may be gone while the last still holds the
// channel.
static void die_with(pid_t parent, int signal) {
  if (prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0) != 0) fail("signal", errno, "PR_SET_PDEATHSIG");
  struct pollfd peer = {.fd = channel, .events = POLLRDHUP};
  while (poll(&peer, 1, 0) < 0) {
    if (errno != EINTR) fail("signal", errno, "poll");
  }
  if (peer.revents != 0 || getppid() != parent) exit(FAILED);  // nobody to tell
}

int main(int argc, char **argv) {
  const pid_t parent = getppid();
  struct joining joining = {0};
  struct stat status;
  if (argc > 1) {
    joining = parse_joining(argc, argv);
    is_joining = true;
    join(&joining);
  } else if (fstat(channel, &status) != 0 || !S_ISSOCK(status.st_mode)) {
    fputs("handoff-exec: descriptor 3 is not a channel; this program is started by handoffd, or see --help\n",
          stderr);
    return FAILED;
  }
  struct grant grant = {0};
  receive_grant(&grant);
  struct specification specification = {0};
  size_t length;
  uint8_t *bytes = read_specification(grant.specification, &length);
  parse_specification(bytes, length, &specification);
  if (is_joining) {
    specification.arguments = joining.command;
    keep_environment(&specification);
  }
  acknowledge(&grant);

  apply_limits(&specification);
  if (specification.has_umask) umask(specification.umask);
  if (specification.has_nice && setpriority(PRIO_PROCESS, 0, specification.nice) != 0) {
    fail("priority", errno, "nice");
  }
  place_descriptors(&grant, specification.keeps_channel);
  become(&specification);
  if (specification.directory != NULL && chdir(specification.directory) != 0) {
    fail("directory", errno, specification.directory);
  }
  set_environment(&specification, &grant);
  // execvp searches the PATH of `environ`: of the program's environment, not of ours.
  environ = specification.environment;
  // After the identity, whose change takes the signal back, as an exec that gains privileges does.
  if (specification.has_death_signal) die_with(parent, specification.death_signal);
  execvp(specification.arguments[0], specification.arguments);
  fail_to_execute(specification.arguments[0], errno);
}
