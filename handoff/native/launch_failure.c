#include "launch_failure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "passing.h"

int channel = FIRST;
bool is_joining = false;

// The daemon may be gone by now, so the same sentence goes to standard error too.
_Noreturn void fail(const char *step, int error, const char *text) {
  uint8_t frame[8192];
  char shown[4096];
  snprintf(shown, sizeof(shown), "%s", text);
  const size_t length = frame_fail(frame, sizeof(frame), step, error, shown);
  const int sent = send_frame(channel, frame, length, NULL, 0);
  if (sent != 0 || is_joining) fprintf(stderr, "handoff-exec: %s: %s: %s\n", step, shown, strerror(error));
  exit(FAILED);
}

void *allocate(size_t count, size_t size, const char *step) {
  void *memory = calloc(count > 0 ? count : 1, size);
  if (memory == NULL) fail(step, ENOMEM, "memory");
  return memory;
}

char *copy_text(const uint8_t *bytes, size_t length, const char *step) {
  char *text = allocate(length + 1, 1, step);
  memcpy(text, bytes, length);
  return text;
}
