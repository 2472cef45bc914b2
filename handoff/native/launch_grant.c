#include "launch_grant.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "frame.h"
#include "launch_failure.h"
#include "passing.h"

enum { MOST_DESCRIPTORS = 65536 };

static uint8_t buffer[FRAME_SIZE];

static bool wait_for_message(void) {
  struct pollfd waiting = {.fd = channel, .events = POLLIN};
  return poll(&waiting, 1, -1) >= 0 || errno == EINTR;
}

// The daemon has no place for this launcher, or does not know it: whoever started it gets to know why.
static _Noreturn void refused(const struct frame *frame) {
  struct fields body = frame->body;
  struct field field;
  while (field_next(&body, &field) == FIELD_READ) {
    if (field.key == FIELD_TEXT) fprintf(stderr, "handoff-exec: %.*s\n", (int)field.length, field.bytes);
  }
  exit(FAILED);
}

static _Noreturn void dropped(void) {
  if (is_joining) {
    fputs(
        "handoff-exec: handoffd has closed the connection: it does not allow this user (external.allow), "
        "or it is ending\n",
        stderr);
  }
  exit(FAILED);
}

static uint64_t identity_of(int fd, uint8_t kind) {
  if (kind == ENTRY_SOCKET) {
    uint64_t cookie = 0;
    socklen_t length = sizeof(cookie);
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) != 0) fail("grant", errno, "SO_COOKIE");
    return cookie;
  }
  struct stat status;
  if (fstat(fd, &status) != 0) fail("grant", errno, "fstat");
  return status.st_ino;
}

// Takes one entry's descriptor into the grant. A number that does not stand for what the entry says is never
// used.
static void take(struct grant *grant, const struct entry *entry, int fd) {
  char *name = copy_text(entry->name, entry->name_length, "grant");
  const uint64_t identity = identity_of(fd, entry->kind);
  if (identity != entry->identity) fail("grant", EBADMSG, name[0] != '\0' ? name : "the specification");
  const bool first = grant->specification < 0;
  if (first != (entry->kind == ENTRY_SPECIFICATION)) {
    fail("grant", EPROTO, "the specification is the first descriptor, and only the first");
  }
  if (first) {
    grant->specification = fd;
    free(name);
    return;
  }
  grant->items[grant->count++] = (struct granted){fd, identity, name};
}

void receive_grant(struct grant *grant) {
  uint32_t total = 0;
  uint32_t taken = 0;
  bool more = true;
  grant->specification = -1;
  while (more) {
    struct received message;
    receive(channel, buffer, sizeof(buffer), &message);
    if (message.length < 0) {
      if (errno == ECONNRESET && is_joining) dropped();
      if (errno != EAGAIN) fail("grant", errno, "recvmsg");
      if (!wait_for_message()) fail("grant", errno, "poll");
      continue;
    }
    if (message.length == 0 && message.count == 0) dropped();  // the daemon has gone: nobody to tell
    // There was room for as many as a message holds, so only our own limit can have lost some
    // (RLIMIT_NOFILE).
    if (message.descriptors_lost) fail("grant", EMFILE, "descriptors were lost: RLIMIT_NOFILE");
    struct frame frame;
    if (message.data_lost || !frame_parse(buffer, (size_t)message.length, &frame)) {
      fail("grant", EPROTO, "not a frame");
    }
    if (is_joining && frame.type == FRAME_FAIL) refused(&frame);
    if (frame.type != FRAME_GRANT) fail("grant", EPROTO, "not a grant");
    struct field field;
    struct entry entry;
    enum field_result result;
    size_t used = 0;
    bool has_total = false;
    while ((result = field_next(&frame.body, &field)) == FIELD_READ) {
      if (field.key == FIELD_TOTAL && !has_total) {
        uint32_t said;
        has_total = true;
        if (!field_u32(&field, &said) || said == 0 || said > MOST_DESCRIPTORS ||
            (total != 0 && said != total)) {
          fail("grant", EPROTO, "the total");
        }
        if (total == 0) grant->items = allocate(said, sizeof(*grant->items), "grant");
        total = said;
      } else if (field.key == FIELD_ENTRY && has_total && field_entry(&field, &entry)) {
        if (used == message.count || taken == total) fail("grant", EPROTO, "fewer descriptors than entries");
        take(grant, &entry, message.descriptors[used++]);
        taken++;
      } else {
        fail("grant", EPROTO, "a field that does not belong there");
      }
    }
    if (result == FIELD_BROKEN) fail("grant", EPROTO, "a broken field");
    if (used != message.count) fail("grant", EPROTO, "more descriptors than entries");
    if (used == 0) fail("grant", EPROTO, "a frame without entries");
    more = (frame.flags & FRAME_MORE) != 0;
    if (more != (taken < total)) fail("grant", EPROTO, "not as many descriptors as announced");
  }
}

void acknowledge(const struct grant *grant) {
  const size_t size = FRAME_HEADER + 2 * FIELD_HEADER + 4 + 8 * grant->count;
  uint8_t *bytes = allocate(size, 1, "grant");
  struct frame_writer writer = frame_begin(bytes, size, FRAME_ACK);
  frame_u32(&writer, FIELD_COUNT, (uint32_t)grant->count);
  uint8_t *identities = frame_field(&writer, FIELD_IDENTITIES, 8 * grant->count);
  if (identities == NULL) fail("grant", EMSGSIZE, "ACK");
  for (size_t i = 0; i < grant->count; i++) put_u64(identities + 8 * i, grant->items[i].identity);
  const int error = send_frame(channel, bytes, frame_end(&writer, 0), NULL, 0);
  if (error != 0) fail("grant", error, "ACK");
  free(bytes);
}
