#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "answer.h"
#include "options.h"
#include "timers.h"

#define MS 1000000ull

typedef enum {
  WAITING,     // for its turn
  RESTING,     // until `due`
  CONNECTING,  // until `due`
  ASKING,      // sending and reading, until `due`
  HOLDING,     // idle mode: between its two requests
  OVER,
} client_state;

typedef struct client {
  timer due;  // first, so that the timer that comes due is the client
  client_state state;
  int fd;          // -1: no connection. Owned: client_drop closes it
  bool kept;       // the request that is under way is not the first one on this connection
  bool again;      // the connect is to be tried again (unix, the backlog was full)
  int asked;       // requests begun
  int send_error;  // the kernel reports a reset once: to the send, where there was one to do
  size_t sent;
  uint64_t begun, first_byte, deadline;
  struct client* next;  // the loop's queue
  answer answer;
} client;

// `of` must outlive the clients.
void clients_open(const options* of, int epoll_fd);
void client_init(client* c);

// Begins one request: on the kept connection where there is one that still stands, else on a new one.
void client_begin(client* c);
void client_event(client* c, uint32_t events);
// The deadline, or the instant of another try, has come.
void client_due(client* c);
void client_give_up(client* c);
void client_drop(client* c);
// Whether a kept connection cannot take another request, because it has ended or because somebody said
// something on it that nobody had asked for. Then it is counted and dropped.
bool client_ended_meanwhile(client* c);

// Given by the loop: the request has ended, well or not; `c->fd` is the connection if it is kept.
void client_is_free(client* c, bool failed);

#endif
