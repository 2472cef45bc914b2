// What frame.h makes of bytes, for comparison with frame.ts. Reads length u32 · bytes, again and again;
// answers a line each:
// "-" for what is no frame, otherwise its type and flags and each field's key and value in hexadecimal.
#include <stdio.h>
#include <stdlib.h>

#include "frame.h"

static void judge(const uint8_t *bytes, size_t length) {
  struct frame frame;
  struct field field;
  enum field_result result = FIELD_BROKEN;
  bool whole = frame_parse(bytes, length, &frame);
  if (whole) {
    struct fields all = frame.body;
    while ((result = field_next(&all, &field)) == FIELD_READ) {
    }
  }
  if (!whole || result == FIELD_BROKEN) {
    puts("-");
    return;
  }
  printf("%u %u", frame.type, frame.flags);
  while (field_next(&frame.body, &field) == FIELD_READ) {
    printf(" %u:", field.key);
    for (size_t i = 0; i < field.length; i++) printf("%02x", field.bytes[i]);
  }
  putchar('\n');
}

int main(void) {
  uint8_t header[4];
  while (fread(header, sizeof(header), 1, stdin) == 1) {
    const size_t length = get_u32(header);
    // Its own block of exactly this length: the sanitizer sees every byte that is read beyond it.
    uint8_t *bytes = malloc(length > 0 ? length : 1);
    if (bytes == NULL || fread(bytes, 1, length, stdin) != length) return 1;
    judge(bytes, length);
    free(bytes);
  }
  return 0;
}
