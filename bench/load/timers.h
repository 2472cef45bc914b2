#ifndef LOAD_TIMERS_H
#define LOAD_TIMERS_H

#include <stddef.h>
#include <stdint.h>

#define NEVER UINT64_MAX

// One instant (CLOCK_MONOTONIC, ns) in a binary heap. Embedded in what it belongs to; starts as {.due =
// NEVER}.
typedef struct {
  uint64_t due;
  size_t at;
} timer;

void timers_open(size_t capacity);
void timer_set(timer* of, uint64_t due);
// The earliest one; NULL when none is set.
timer* timers_first(void);

#endif
