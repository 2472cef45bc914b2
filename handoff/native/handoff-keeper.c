// handoff-keeper: holds named descriptors while the daemon is away (docs/wire.md), so that no listening
// socket is ever held by the daemon alone. It does nothing else, so that there is nothing in it that could
// make it end.
//
// One thread, one poll loop, every socket non-blocking. It ends only on RELEASE.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper_client.h"
#include "keeper_items.h"

enum {
  LISTENER = 3,
  MOST_CLIENTS = 16,
  // A peer that does not take its answer holds descriptors that may have been removed meanwhile.
  ANSWER_DEADLINE_MS = 10000,
  // ETOOMANYREFS and ENOBUFS end when someone else receives: no event tells.
  RETRY_MS = 20,
};

static struct client clients[MOST_CLIENTS];

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
  limit_items(limit.rlim_cur > reserved ? (size_t)(limit.rlim_cur - reserved) : 0);
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
