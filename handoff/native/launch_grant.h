// The grant: the specification's descriptor and the program's own, each compared with what its entry says.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct granted {
  int fd;
  uint64_t identity;
  char *name;
};

struct grant {
  int specification;  // -1 until it came
  struct granted *items;
  size_t count;
};

// Waits for the whole grant. `grant` owns what came; every failure ends the launcher, which closes it.
void receive_grant(struct grant *grant);
// Tells the daemon which descriptors came.
void acknowledge(const struct grant *grant);
