#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "answer.h"
#include "options.h"

// How a request ended. Every request that was begun ends in exactly one of them.
typedef enum {
  END_OK,
  END_BAD_STATUS,
  END_REFUSED,
  END_RESET,           // RST before any byte of the answer, on a fresh connection
  END_RESET_ON_REUSE,  // the same on a kept connection
  END_EOF,             // closed before the head of the answer was whole, on a fresh connection
  END_EOF_ON_REUSE,    // the same on a kept connection
  END_CUT,             // ended in the middle of an answer
  END_TIMEOUT,
  END_MALFORMED,
  END_CLIENT,  // this program's own trouble: no port, no descriptor, no memory
  END_KINDS,
} ending;

void report_open(const options* of);
uint64_t now_ns(void);
uint64_t started_ns(void);

// Facts that are not endings.
void report_request(void);
void report_connection(void);
void report_closed_idle(void);
void report_unasked(void);  // bytes on a kept connection between two requests
// The head of an answer came: whoever gave it is seen from here on, even if the rest never comes.
void report_head(const answer* seen);
// A line on the progress descriptor. `value` may be NULL.
void report_progress(const char* event, const char* value);

void report_answer(const answer* whole, uint64_t latency_ns);
void report_failure(ending kind, const char* what);

void report_print(void);
bool report_is_sound(void);  // false: this program had trouble of its own

#endif
