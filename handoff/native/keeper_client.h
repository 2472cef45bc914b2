// One connection to the keeper: a request, its answer, the next request.
//
//   accept ──▶ READING ──request──▶ ANSWERING ──all sent──▶ READING
//                 │                     │
//                 └── violation, ───────┴── or too slow: dropped, with everything that came in its message
//                     end of file
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "keeper_items.h"

enum state { FREE, READING, ANSWERING };

struct client {
  enum state state;
  int socket;
  bool releases;     // the keeper ends when this answer is sent
  bool sends_items;  // the answer is `answer` in ITEMS frames; otherwise `reply`
  bool retries;      // the queue was not full, but the kernel would not send
  int64_t since;     // of the last thing that went well, in ms of now_ms()
  struct listing answer;
  size_t sent;
  uint8_t reply[FRAME_HEADER + 3 * FIELD_HEADER + 64];
  size_t reply_length;
};

// A monotonic clock.
int64_t now_ms(void);
// Takes the request that waits, if one does, and begins its answer. Drops a client that has gone or that
// violates the protocol.
void read_request(struct client *client);
// Sends what is due. Drops a client that has gone.
void send_answer(struct client *client);
// Closes its socket; its place is free.
void drop(struct client *client);
