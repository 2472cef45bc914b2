// What the keeper holds: descriptors under names.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "frame.h"

// A held descriptor. Counted, because a listing that is being sent refers to what may be removed meanwhile.
struct item {
  unsigned references;
  int fd;
  size_t length;
  char name[];
};

struct listing {
  struct item **items;
  size_t count;
  size_t capacity;
};

// How many may be open at once: those held, and those that a listing still refers to.
void limit_items(size_t most);
// Keeps all of a PUT's descriptors or none; the caller has compared their number with the names'. Consumes
// them. 0, or the errno.
int put_items(struct fields body, const int *descriptors, size_t count);
// Lets go of the item of that name, if there is one.
void remove_item(const struct field *name);
// Adds all that is held to `listing`, which then holds it too. False, and nothing added, without memory.
bool list_items(struct listing *listing);
// Empties `listing`.
void forget(struct listing *listing);
