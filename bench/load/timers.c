#include "timers.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static timer** heap;
static size_t length;

void timers_open(size_t capacity) {
  heap = calloc(capacity, sizeof *heap);
  if (heap == NULL) {
    perror("load: calloc");
    exit(1);
  }
}

static void place(size_t at, timer* t) {
  heap[at] = t;
  t->at = at;
}

static void sift(size_t at, timer* t) {
  while (at > 0 && heap[(at - 1) / 2]->due > t->due) {
    place(at, heap[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  for (size_t child = 2 * at + 1; child < length; child = 2 * at + 1) {
    if (child + 1 < length && heap[child + 1]->due < heap[child]->due) child++;
    if (heap[child]->due >= t->due) break;
    place(at, heap[child]);
    at = child;
  }
  place(at, t);
}

void timer_set(timer* of, uint64_t due) {
  bool was_in = of->due != NEVER;
  of->due = due;
  if (due != NEVER) {
    sift(was_in ? of->at : length++, of);
  } else if (was_in) {
    timer* last = heap[--length];
    if (last != of) sift(of->at, last);
  }
}

timer* timers_first(void) { return length > 0 ? heap[0] : NULL; }
