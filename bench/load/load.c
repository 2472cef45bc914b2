// An HTTP/1.1 load generator that says exactly what its clients saw. One thread, epoll, nothing blocks.
//
//   waiting ──> connecting ──> asking ──> waiting (keepalive), holding (idle) or closed (new, stream)
//      │                          │
//      │                          └── the server ends the connection: a loss; of which kind, report.h says
//      └── it ends a kept one between requests: closedIdle, no loss
//
// This file gives the turns and ends the whole; client.c is one connection.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client.h"
#include "options.h"
#include "report.h"
#include "timers.h"

// After a failure a client rests, so that a closed port is asked a hundred times a second, not a million.
#define REST_AFTER_FAILURE (10 * MS)
#define BATCH 256

static options wanted;
static int epoll_fd, timer_fd, signal_fd;
static client* clients;
static client *queue_head, *queue_tail;
static uint64_t begun_total, next_turn, turn_ns;
static int in_flight, first_answers;
static bool stopping;
static uint64_t stop_at;

static void enqueue(client* c) {
  timer_set(&c->due, NEVER);
  c->state = WAITING;
  c->next = NULL;
  if (queue_head == NULL) {
    queue_head = c;
  } else {
    queue_tail->next = c;
  }
  queue_tail = c;
}

static void rest(client* c, uint64_t ns) {
  if (ns == 0) {
    enqueue(c);
    return;
  }
  c->state = RESTING;
  timer_set(&c->due, now_ns() + ns);
}

void client_is_free(client* c, bool failed) {
  in_flight--;
  if (c->asked == 1 && ++first_answers == wanted.connections) report_progress("settled", NULL);
  if (wanted.mode == MODE_IDLE) {
    c->state = c->asked == 1 && c->fd >= 0 && !stopping ? HOLDING : OVER;
    if (c->state == OVER) client_drop(c);
    timer_set(&c->due, NEVER);
    return;
  }
  uint64_t think = 0;
  if (wanted.think_max_ms > 0) {
    uint64_t span = (uint64_t)(wanted.think_max_ms - wanted.think_min_ms) * MS;
    think = (uint64_t)wanted.think_min_ms * MS + (uint64_t)(drand48() * (double)span);
  }
  rest(c, failed && think < REST_AFTER_FAILURE ? REST_AFTER_FAILURE : think);
}

static void begin(client* c) {
  begun_total++;
  in_flight++;
  client_begin(c);
}

static void on_due(client* c) {
  timer_set(&c->due, NEVER);
  if (c->state == RESTING) {
    enqueue(c);
  } else {
    client_due(c);
  }
}

static bool may_begin(void) { return !stopping && (wanted.requests == 0 || begun_total < wanted.requests); }

// Idle mode: the second request, on each connection that is still there.
static void wake_holders(void) {
  for (int i = 0; i < wanted.connections; i++) {
    client* c = &clients[i];
    if (c->state == HOLDING && !client_ended_meanwhile(c)) begin(c);
  }
}

static void stop(void) {
  if (stopping) return;
  stopping = true;
  stop_at = now_ns() + (uint64_t)wanted.timeout_ms * MS;
  if (wanted.mode == MODE_IDLE) wake_holders();
}

static void give_turns(void) {
  // Whoever queues up during this round has its turn in the next one: the sockets come first.
  for (client* last = queue_tail; queue_head != NULL && may_begin();) {
    uint64_t now = now_ns();
    if (turn_ns > 0 && next_turn > now) return;
    // A debt of more than a second is forgiven, so that a stall is not followed by a flood.
    if (turn_ns > 0) next_turn = (now - next_turn > 1000 * MS ? now - 1000 * MS : next_turn) + turn_ns;
    client* c = queue_head;
    queue_head = c->next;
    begin(c);
    if (c == last) return;
  }
}

static uint64_t next_instant(uint64_t end) {
  uint64_t next = stopping ? stop_at : end;
  const timer* first = timers_first();
  if (first != NULL && first->due < next) next = first->due;
  if (queue_head != NULL && may_begin()) {
    uint64_t turn = turn_ns > 0 ? next_turn : 0;
    if (turn < next) next = turn;
  }
  return next;
}

static void arm_timer(uint64_t at) {
  static uint64_t armed;
  if (at == armed) return;
  armed = at;
  struct itimerspec when = {.it_value = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)}};
  timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void wait_and_handle(uint64_t until) {
  struct epoll_event events[BATCH];
  bool now = until <= now_ns();
  if (!now) arm_timer(until);
  bool told_to_stop = false;
  int n = epoll_wait(epoll_fd, events, BATCH, now ? 0 : -1);
  for (int i = 0; i < n; i++) {
    if (events[i].data.ptr == &timer_fd) {
      uint64_t expirations;
      if (read(timer_fd, &expirations, sizeof expirations) < 0) continue;
    } else if (events[i].data.ptr == &signal_fd) {
      struct signalfd_siginfo info;
      told_to_stop = read(signal_fd, &info, sizeof info) > 0;
    } else {
      client_event(events[i].data.ptr, events[i].events);
    }
  }
  // After the events: no descriptor may be opened while one of its number is still spoken of.
  if (told_to_stop) stop();
  uint64_t at = now_ns();
  for (timer* t = timers_first(); t != NULL && t->due <= at; t = timers_first()) on_due((client*)t);
}

static bool finished(void) {
  if (in_flight > 0) return false;
  return stopping || (wanted.mode != MODE_IDLE && !may_begin());
}

static void run(void) {
  uint64_t end = started_ns() + (uint64_t)(wanted.seconds * 1e9);
  next_turn = started_ns();
  for (int i = 0; i < wanted.connections; i++) enqueue(&clients[i]);
  while (!finished()) {
    give_turns();
    if (finished()) return;
    wait_and_handle(next_instant(end));
    uint64_t now = now_ns();
    if (!stopping && now >= end) stop();
    if (!stopping || now < stop_at) continue;
    for (int i = 0; i < wanted.connections; i++) client_give_up(&clients[i]);
  }
}

static void watch(int fd, void* tag) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
  if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
    perror("load: epoll");
    exit(1);
  }
}

int main(int argc, char** argv) {
  parse_options(&wanted, argc, argv);
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, NULL);
  signal(SIGPIPE, SIG_IGN);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  signal_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  watch(timer_fd, &timer_fd);
  watch(signal_fd, &signal_fd);
  clients = calloc((size_t)wanted.connections, sizeof *clients);
  if (clients == NULL) {
    perror("load: calloc");
    return 1;
  }
  timers_open((size_t)wanted.connections);
  for (int i = 0; i < wanted.connections; i++) client_init(&clients[i]);
  if (wanted.rate > 0) turn_ns = (uint64_t)(1e9 / wanted.rate);
  clients_open(&wanted, epoll_fd);
  report_open(&wanted);
  run();
  for (int i = 0; i < wanted.connections; i++) client_drop(&clients[i]);
  report_print();
  return report_is_sound() ? 0 : 1;
}
