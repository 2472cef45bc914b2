#ifndef LOAD_ANSWER_H
#define LOAD_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
  AT_STATUS_LINE,
  AT_HEADERS,
  AT_BODY,         // `left` bytes of it
  AT_BODY_TO_END,  // neither Content-Length nor chunks: the end of the connection is its end
  AT_CHUNK_SIZE,
  AT_CHUNK,
  AT_CHUNK_END,
  AT_TRAILERS,
  WHOLE,
  MALFORMED,
} answer_place;

#define WORD_BYTES 48
#define LINE_BYTES 512

// One HTTP/1.x answer while it comes in. Bytes may come in any portions.
typedef struct {
  answer_place place;
  bool started;  // at least one byte of it came
  bool head;     // the head of the final answer (not of a 1xx) is whole
  bool no_body;  // the request was HEAD
  bool close;    // the server announced that it closes the connection, or speaks HTTP/1.0
  bool chunked, has_length;
  int status;
  uint64_t left;
  char version[WORD_BYTES], generation[WORD_BYTES], instance[WORD_BYTES];  // "" when the header is missing
  char word[WORD_BYTES];                                                   // the body's first word
  bool word_done;
  char line[LINE_BYTES];  // of a longer line the rest is dropped
  size_t line_length;
} answer;

void answer_reset(answer* to, bool no_body);

// Takes bytes in; returns how many belonged to this answer (fewer only when it is WHOLE or MALFORMED).
size_t answer_feed(answer* to, const char* data, size_t length);

// The connection has ended in an orderly way: true when that makes the answer whole.
bool answer_end(answer* to);

#endif
