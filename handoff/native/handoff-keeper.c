// handoff-keeper: holds named descriptors while the daemon is away (docs/wire.md), so that no listening
// socket is ever held by the daemon alone. It does nothing else, so that there is nothing in it that could
// make it end.
//
//   accept ──▶ READING ──request──▶ ANSWERING ──all sent──▶ READING
//                 │                     │
//                 └── violation, ───────┴── or too slow: dropped, with everything that came in its message
//                     end of file
//
// One thread, one poll loop, every socket non-blocking. It ends only on RELEASE.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "passing.h"

enum {
  LISTENER = 3,
  MOST_CLIENTS = 16,
  // A peer that does not take its answer holds descriptors that may have been removed meanwhile.
  ANSWER_DEADLINE_MS = 10000,
  // ETOOMANYREFS and ENOBUFS end when someone else receives: no event tells.
  RETRY_MS = 20,
};

// A held descriptor. Counted, because a listing that is being sent refers to what may be removed meanwhile.
struct item {
  unsigned references;
  int fd;
  size_t length;
  char name[];
};

struct listing {
  struct item **items;
  size_t count;
  size_t capacity;
};

enum state { FREE, READING, ANSWERING };

struct client {
  enum state state;
  int socket;
  bool releases;     // the keeper ends when this answer is sent
  bool sends_items;  // the answer is `answer` in ITEMS frames; otherwise `reply`
  bool retries;      // the queue was not full, but the kernel would not send
  int64_t since;     // of the last thing that went well, in ms
  struct listing answer;
  size_t sent;
  uint8_t reply[FRAME_HEADER + 3 * FIELD_HEADER + 64];
  size_t reply_length;
};

static struct listing held;
static size_t open_items;  // held, or still referred to by an answer
static size_t most_items;
static struct client clients[MOST_CLIENTS];
static uint8_t buffer[FRAME_SIZE];

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// ---------------------------------------------------------------------------------------------------- items

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

static void forget(struct listing *listing) {
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

// ----------------------------------------------------------------------------------------------------
// clients

static void drop(struct client *client) {
  close(client->socket);
  forget(&client->answer);
  *client = (struct client){.state = FREE, .socket = -1};
}

// Sends what is due. Drops a client that has gone.
static void send_answer(struct client *client) {
  client->retries = false;
  bool more;
  do {
    const uint8_t *bytes = client->reply;
    size_t length = client->reply_length;
    int descriptors[FRAME_DESCRIPTORS];
    size_t count = 0;
    more = false;
    if (client->sends_items) {
      struct frame_writer writer = frame_begin(buffer, sizeof(buffer), FRAME_ITEMS);
      while (count < FRAME_DESCRIPTORS && client->sent + count < client->answer.count) {
        const struct item *item = client->answer.items[client->sent + count];
        frame_bytes(&writer, FIELD_NAME, item->name, item->length);
        descriptors[count++] = item->fd;
      }
      more = client->sent + count < client->answer.count;
      bytes = buffer;
      length = frame_end(&writer, more ? FRAME_MORE : 0);
    }
    switch (send_frame(client->socket, bytes, length, descriptors, count)) {
      case 0:
        client->sent += count;
        client->since = now_ms();
        break;
      case EAGAIN:
        return;
      case ETOOMANYREFS:
      case ENOBUFS:
      case ENOMEM:
        client->retries = true;
        return;
      default:
        drop(client);
        return;
    }
  } while (more);
  if (client->releases) _exit(0);  // the kernel closes all that was held
  forget(&client->answer);
  client->state = READING;
}

static void answer_ok(struct client *client) {
  struct frame_writer writer = frame_begin(client->reply, sizeof(client->reply), FRAME_OK);
  client->reply_length = frame_end(&writer, 0);
  client->sends_items = false;
}

static void answer_fail(struct client *client, const char *step, int error) {
  client->reply_length =
      frame_fail(client->reply, sizeof(client->reply), step, error, "the keeper has no room for more");
  client->sends_items = false;
}

// ----------------------------------------------------------------------------------------------------
// requests

// Whether the body is names only, and how many.
static bool count_names(struct fields body, size_t *count) {
  struct field field;
  enum field_result result;
  *count = 0;
  while ((result = field_next(&body, &field)) == FIELD_READ) {
    if (!field_name(&field)) return false;
    (*count)++;
  }
  return result == FIELD_END;
}

// Keeps all of a PUT's descriptors or none; the caller has compared their number with the names'. Consumes
// them.
static int put(struct fields body, const int *descriptors, size_t count) {
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

// Prepares the answer. False: a violation. The descriptors are consumed either way.
static bool handle(struct client *client, const struct received *message) {
  struct frame frame;
  size_t names = 0;
  const size_t count = message->count;
  const int *const descriptors = message->descriptors;
  bool fine = !message->data_lost && frame_parse(buffer, (size_t)message->length, &frame) &&
              frame.flags == 0 && count_names(frame.body, &names);
  const bool is_put = fine && frame.type == FRAME_PUT;
  if (message->descriptors_lost && is_put) {
    // There was room in the message for all that one can hold: our own table is full.
    close_all(descriptors, count);
    answer_fail(client, "put", EMFILE);
    return true;
  }
  if (is_put) {
    fine = names == count && count > 0 && count <= FRAME_DESCRIPTORS;
  } else {
    fine = fine && count == 0 && !message->descriptors_lost && (names == 0 || frame.type == FRAME_REMOVE);
  }
  if (!fine) {
    close_all(descriptors, count);
    return false;
  }

  struct field name;
  int error;
  switch (frame.type) {
    case FRAME_PUT:
      error = put(frame.body, descriptors, count);
      if (error == 0) {
        answer_ok(client);
      } else {
        answer_fail(client, "put", error);
      }
      return true;
    case FRAME_REMOVE:
      while (field_next(&frame.body, &name) == FIELD_READ) {
        const size_t index = find(&name);
        if (index != SIZE_MAX) remove_at(index);
      }
      answer_ok(client);
      return true;
    case FRAME_LIST:
      if (!reserve(&client->answer, held.count)) {
        answer_fail(client, "list", ENOMEM);
        return true;
      }
      for (size_t i = 0; i < held.count; i++) {
        held.items[i]->references++;
        client->answer.items[client->answer.count++] = held.items[i];
      }
      client->sends_items = true;
      return true;
    case FRAME_RELEASE:
      client->releases = true;
      answer_ok(client);
      return true;
    default:
      return false;
  }
}

static void read_request(struct client *client) {
  struct received message;
  receive(client->socket, buffer, sizeof(buffer), &message);
  if (message.length < 0 && errno == EAGAIN) return;
  if (message.length <= 0) {
    close_all(message.descriptors, message.count);
    drop(client);
    return;
  }
  client->state = ANSWERING;
  client->sent = 0;
  client->since = now_ms();
  if (handle(client, &message)) {
    send_answer(client);
  } else {
    drop(client);
  }
}

// A free place, if need be that of the client that has been silent for longest.
static struct client *place_for_client(void) {
  struct client *oldest = &clients[0];
  for (size_t i = 0; i < MOST_CLIENTS; i++) {
    if (clients[i].state == FREE) return &clients[i];
    if (clients[i].since < oldest->since) oldest = &clients[i];
  }
  drop(oldest);
  return oldest;
}

static void accept_client(void) {
  const int socket = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (socket < 0) {
    // Short of something the whole host is short of: the listener stays readable, so do not spin.
    if (errno == ENFILE || errno == EMFILE || errno == ENOBUFS || errno == ENOMEM) poll(NULL, 0, RETRY_MS);
    return;
  }
  struct ucred peer = {0};
  socklen_t length = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 ||
      (peer.uid != 0 && peer.uid != geteuid())) {
    close(socket);
    return;
  }
  struct client *client = place_for_client();
  client->state = READING;
  client->socket = socket;
  client->since = now_ms();
}

// ---------------------------------------------------------------------------------------------------- the
// loop

static void prepare(const char *name) {
  static const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE, SIGQUIT, SIGUSR1, SIGUSR2};
  for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) signal(ignored[i], SIG_IGN);
  const char *slash = strrchr(name, '/');
  prctl(PR_SET_NAME, slash != NULL ? slash + 1 : name);
  if (chdir("/") != 0) {
    // Then it keeps some file system busy: no reason to end.
  }
  struct rlimit limit = {1024, 1024};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  // What is left once the standard descriptors, the listener and every client have theirs: a full keeper must
  // still be able to accept, or nobody could ask it to let go.
  const rlim_t reserved = LISTENER + 1 + MOST_CLIENTS;
  most_items = limit.rlim_cur > reserved ? (size_t)(limit.rlim_cur - reserved) : 0;
}

static void turn(void) {
  struct pollfd waiting[1 + MOST_CLIENTS];
  int timeout = -1;
  int64_t now = now_ms();
  waiting[0] = (struct pollfd){.fd = LISTENER, .events = POLLIN};
  for (size_t i = 0; i < MOST_CLIENTS; i++) {
    const struct client *client = &clients[i];
    waiting[1 + i] = (struct pollfd){.fd = client->state == FREE ? -1 : client->socket};
    if (client->state == READING) waiting[1 + i].events = POLLIN;
    if (client->state != ANSWERING) continue;
    waiting[1 + i].events = client->retries ? 0 : POLLOUT;
    const int64_t left = client->since + ANSWER_DEADLINE_MS - now;
    const int wait = client->retries ? RETRY_MS : left > 0 ? (int)left + 1 : 0;
    if (timeout < 0 || wait < timeout) timeout = wait;
  }
  if (poll(waiting, 1 + MOST_CLIENTS, timeout) < 0) return;  // EINTR

  now = now_ms();
  for (size_t i = 0; i < MOST_CLIENTS; i++) {
    struct client *client = &clients[i];
    const short events = waiting[1 + i].revents;
    if (client->state == READING && events != 0) {
      read_request(client);
    } else if (client->state == ANSWERING && (events & (POLLERR | POLLHUP)) != 0) {
      drop(client);
    } else if (client->state == ANSWERING && ((events & POLLOUT) != 0 || client->retries)) {
      send_answer(client);
    }
    if (client->state == ANSWERING && now - client->since >= ANSWER_DEADLINE_MS) drop(client);
  }
  // Last: it may give a client's place to another.
  if ((waiting[0].revents & POLLIN) != 0) accept_client();
}

int main(int count, char **arguments) {
  prepare(count > 0 ? arguments[0] : "handoff-keeper");
  for (size_t i = 0; i < MOST_CLIENTS; i++) clients[i].socket = -1;
  // The daemon has bound it; listening twice is fine, and accept must not block when a peer gave up in
  // between.
  if (listen(LISTENER, MOST_CLIENTS) != 0 || fcntl(LISTENER, F_SETFL, O_NONBLOCK) != 0) return 127;
  for (;;) turn();
}
