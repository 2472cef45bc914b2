#include "keeper_items.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "passing.h"

static struct listing held;
static size_t open_items;  // held, or still referred to by an answer
static size_t most_items;

void limit_items(size_t most) { most_items = most; }

static void unref(struct item *item) {
  if (--item->references > 0) return;
  close(item->fd);
  open_items--;
  free(item);
}

// Makes room for `more` items, after which as many additions cannot fail.
static bool reserve(struct listing *listing, size_t more) {
  if (listing->capacity - listing->count >= more) return true;
  size_t capacity = listing->capacity > 0 ? listing->capacity : 64;
  while (capacity - listing->count < more) capacity *= 2;
  struct item **items = realloc(listing->items, capacity * sizeof(struct item *));
  if (items == NULL) return false;
  listing->items = items;
  listing->capacity = capacity;
  return true;
}

void forget(struct listing *listing) {
  for (size_t i = 0; i < listing->count; i++) unref(listing->items[i]);
  free(listing->items);
  *listing = (struct listing){0};
}

static size_t find(const struct field *name) {
  for (size_t i = 0; i < held.count; i++) {
    if (held.items[i]->length == name->length && memcmp(held.items[i]->name, name->bytes, name->length) == 0)
      return i;
  }
  return SIZE_MAX;
}

static void remove_at(size_t index) {
  struct item *item = held.items[index];
  held.items[index] = held.items[--held.count];
  unref(item);
}

int put_items(struct fields body, const int *descriptors, size_t count) {
  if (open_items + count > most_items) {
    close_all(descriptors, count);
    return EMFILE;
  }
  struct listing fresh = {0};
  struct field name;
  bool enough = reserve(&fresh, count) && reserve(&held, count);
  while (enough && fresh.count < count && field_next(&body, &name) == FIELD_READ) {
    struct item *item = malloc(sizeof(*item) + name.length);
    enough = item != NULL;
    if (!enough) break;
    item->references = 1;
    item->fd = descriptors[fresh.count];
    item->length = name.length;
    memcpy(item->name, name.bytes, name.length);
    fresh.items[fresh.count++] = item;
    open_items++;
  }
  if (!enough) {
    close_all(descriptors + fresh.count, count - fresh.count);
    forget(&fresh);
    return ENOMEM;
  }
  // Past this line nothing can fail half-way.
  for (size_t i = 0; i < fresh.count; i++) {
    const struct field key = {FIELD_NAME, (const uint8_t *)fresh.items[i]->name, fresh.items[i]->length};
    const size_t old = find(&key);
    if (old == SIZE_MAX) {
      held.items[held.count++] = fresh.items[i];
    } else {
      unref(held.items[old]);
      held.items[old] = fresh.items[i];
    }
  }
  free(fresh.items);
  return 0;
}

void remove_item(const struct field *name) {
  const size_t index = find(name);
  if (index != SIZE_MAX) remove_at(index);
}

bool list_items(struct listing *listing) {
  if (!reserve(listing, held.count)) return false;
  for (size_t i = 0; i < held.count; i++) {
    held.items[i]->references++;
    listing->items[listing->count++] = held.items[i];
  }
  return true;
}
