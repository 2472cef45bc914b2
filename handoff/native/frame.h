// Frames and fields, as docs/wire.md has them. Pure: no I/O and no memory of its own, so that it can be
// fuzzed.
//
//   frame  = magic "HOF1" · type u16 · flags u16 · body length u32 · body
//   field  = key u16 · reserved u16 (0) · length u32 · bytes                    all little-endian, no padding
//
// What is read comes from another process: every length is compared with what is left before it is used.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FRAME_HEADER = 12, FIELD_HEADER = 8, FRAME_DESCRIPTORS = 250, NAME_LENGTH = 255 };

// A name is at most 255 bytes, so a full frame of 250 entries has 68 KB; twice that leaves room.
enum { FRAME_SIZE = 128 * 1024 };

enum frame_flag { FRAME_MORE = 1 };

enum frame_type {
  FRAME_GRANT = 1,
  FRAME_ACK = 2,
  FRAME_FAIL = 3,
  FRAME_OK = 4,
  FRAME_JOIN = 5,
  FRAME_PUT = 16,
  FRAME_REMOVE = 17,
  FRAME_LIST = 18,
  FRAME_ITEMS = 19,
  FRAME_RELEASE = 20,
};

enum field_key {
  FIELD_TOTAL = 1,
  FIELD_ENTRY = 2,
  FIELD_COUNT = 3,
  FIELD_IDENTITIES = 4,
  FIELD_STEP = 5,
  FIELD_ERRNO = 6,
  FIELD_TEXT = 7,
  FIELD_NAME = 8,
  FIELD_GENERATION = 9,
  FIELD_INSTANCE = 10,

  FIELD_ARGUMENT = 32,
  FIELD_ENVIRONMENT = 33,
  FIELD_DIRECTORY = 34,
  FIELD_UID = 35,
  FIELD_GID = 36,
  FIELD_GROUP = 37,
  FIELD_UMASK = 38,
  FIELD_LIMIT = 39,
  FIELD_NICE = 40,
  FIELD_NO_NEW_PRIVILEGES = 41,
  FIELD_CHANNEL = 42,
  FIELD_DEATH_SIGNAL = 43,
};

enum entry_kind { ENTRY_SPECIFICATION = 0, ENTRY_SOCKET = 1, ENTRY_OTHER = 2 };

static inline uint16_t get_u16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }

static inline uint32_t get_u32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t get_u64(const uint8_t *at) {
  return (uint64_t)get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

static inline void put_u16(uint8_t *at, uint16_t value) {
  at[0] = (uint8_t)value;
  at[1] = (uint8_t)(value >> 8);
}

static inline void put_u32(uint8_t *at, uint32_t value) {
  put_u16(at, (uint16_t)value);
  put_u16(at + 2, (uint16_t)(value >> 16));
}

static inline void put_u64(uint8_t *at, uint64_t value) {
  put_u32(at, (uint32_t)value);
  put_u32(at + 4, (uint32_t)(value >> 32));
}

// The fields that are still to come. It points into the caller's bytes and owns nothing.
struct fields {
  const uint8_t *at;
  size_t left;
};

struct field {
  uint16_t key;
  const uint8_t *bytes;
  size_t length;
};

struct frame {
  uint16_t type;
  uint16_t flags;
  struct fields body;
};

// False when the bytes are not exactly one frame.
static inline bool frame_parse(const uint8_t *bytes, size_t length, struct frame *out) {
  if (length < FRAME_HEADER || memcmp(bytes, "HOF1", 4) != 0) return false;
  out->type = get_u16(bytes + 4);
  out->flags = get_u16(bytes + 6);
  if ((out->flags & ~FRAME_MORE) != 0) return false;
  out->body.at = bytes + FRAME_HEADER;
  out->body.left = length - FRAME_HEADER;
  return get_u32(bytes + 8) == out->body.left;
}

enum field_result { FIELD_END, FIELD_READ, FIELD_BROKEN };

// Takes the next field off `fields`.
static inline enum field_result field_next(struct fields *fields, struct field *out) {
  if (fields->left == 0) return FIELD_END;
  if (fields->left < FIELD_HEADER || get_u16(fields->at + 2) != 0) return FIELD_BROKEN;
  const size_t length = get_u32(fields->at + 4);
  if (length > fields->left - FIELD_HEADER) return FIELD_BROKEN;
  out->key = get_u16(fields->at);
  out->bytes = fields->at + FIELD_HEADER;
  out->length = length;
  fields->at += FIELD_HEADER + length;
  fields->left -= FIELD_HEADER + length;
  return FIELD_READ;
}

static inline bool field_u32(const struct field *field, uint32_t *out) {
  if (field->length != 4) return false;
  *out = get_u32(field->bytes);
  return true;
}

struct entry {
  uint8_t kind;
  uint64_t identity;
  const uint8_t *name;
  size_t name_length;
};

// A name goes into LISTEN_FDNAMES, where ":" separates and NUL ends.
static inline bool field_entry(const struct field *field, struct entry *out) {
  if (field->length < 9 || field->length > 9 + NAME_LENGTH) return false;
  out->kind = field->bytes[0];
  out->identity = get_u64(field->bytes + 1);
  out->name = field->bytes + 9;
  out->name_length = field->length - 9;
  return out->kind <= ENTRY_OTHER && memchr(out->name, 0, out->name_length) == NULL &&
         memchr(out->name, ':', out->name_length) == NULL;
}

static inline bool field_name(const struct field *field) {
  return field->key == FIELD_NAME && field->length >= 1 && field->length <= NAME_LENGTH;
}

// Writes one frame into the caller's buffer. What does not fit sets `full`; frame_end() then says 0.
struct frame_writer {
  uint8_t *bytes;
  size_t capacity;
  size_t length;
  bool full;
};

static inline struct frame_writer frame_begin(uint8_t *bytes, size_t capacity, uint16_t type) {
  struct frame_writer writer = {bytes, capacity, FRAME_HEADER, capacity < FRAME_HEADER};
  if (writer.full) return writer;
  memcpy(bytes, "HOF1", 4);
  put_u16(bytes + 4, type);
  put_u16(bytes + 6, 0);
  return writer;
}

// Room for a field of `length` bytes, its header written; NULL when it does not fit.
static inline uint8_t *frame_field(struct frame_writer *writer, uint16_t key, size_t length) {
  if (writer->full || length > UINT32_MAX || writer->capacity - writer->length < FIELD_HEADER ||
      writer->capacity - writer->length - FIELD_HEADER < length) {
    writer->full = true;
    return NULL;
  }
  uint8_t *at = writer->bytes + writer->length;
  put_u16(at, key);
  put_u16(at + 2, 0);
  put_u32(at + 4, (uint32_t)length);
  writer->length += FIELD_HEADER + length;
  return at + FIELD_HEADER;
}

static inline void frame_bytes(struct frame_writer *writer, uint16_t key, const void *bytes, size_t length) {
  uint8_t *at = frame_field(writer, key, length);
  if (at != NULL && length > 0) memcpy(at, bytes, length);
}

static inline void frame_u32(struct frame_writer *writer, uint16_t key, uint32_t value) {
  uint8_t *at = frame_field(writer, key, 4);
  if (at != NULL) put_u32(at, value);
}

// The whole frame's length, or 0 when something did not fit.
static inline size_t frame_end(struct frame_writer *writer, uint16_t flags) {
  if (writer->full) return 0;
  put_u16(writer->bytes + 6, flags);
  put_u32(writer->bytes + 8, (uint32_t)(writer->length - FRAME_HEADER));
  return writer->length;
}

static inline size_t frame_fail(uint8_t *bytes, size_t capacity, const char *step, int error,
                                const char *text) {
  struct frame_writer writer = frame_begin(bytes, capacity, FRAME_FAIL);
  frame_bytes(&writer, FIELD_STEP, step, strlen(step));
  frame_u32(&writer, FIELD_ERRNO, (uint32_t)error);
  frame_bytes(&writer, FIELD_TEXT, text, strlen(text));
  return frame_end(&writer, 0);
}
