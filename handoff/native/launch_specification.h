// The specification: what to run, and as whom. Every key of it is in docs/wire.md.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum { MOST_LIMITS = RLIM_NLIMITS, MOST_SIGNAL = 64 };  // _NSIG of the kernel (x86_64, arm64)

struct limit {
  uint32_t resource;
  uint64_t soft;
  uint64_t hard;
};

struct specification {
  char **arguments;
  size_t argument_count;
  char **environment;  // with room for what the launcher adds
  size_t environment_count;
  const char *directory;
  bool has_uid, has_gid, has_umask, has_nice, has_death_signal, no_new_privileges, keeps_channel;
  uid_t uid;
  gid_t gid;
  mode_t umask;
  int nice;
  int death_signal;
  gid_t *groups;
  size_t group_count;
  struct limit limits[MOST_LIMITS];
  size_t limit_count;
};

// `fd` is consumed. The copy is the caller's.
uint8_t *read_specification(int fd, size_t *length);
// Fills `specification`, which is zeroed. It keeps nothing of `bytes`. What is malformed ends the launcher.
void parse_specification(const uint8_t *bytes, size_t length, struct specification *specification);
