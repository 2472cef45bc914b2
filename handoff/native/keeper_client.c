#include "keeper_client.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "passing.h"

static uint8_t buffer[FRAME_SIZE];

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void drop(struct client *client) {
  close(client->socket);
  forget(&client->answer);
  *client = (struct client){.state = FREE, .socket = -1};
}

void send_answer(struct client *client) {
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
      error = put_items(frame.body, descriptors, count);
      if (error == 0) {
        answer_ok(client);
      } else {
        answer_fail(client, "put", error);
      }
      return true;
    case FRAME_REMOVE:
      while (field_next(&frame.body, &name) == FIELD_READ) remove_item(&name);
      answer_ok(client);
      return true;
    case FRAME_LIST:
      if (!list_items(&client->answer)) {
        answer_fail(client, "list", ENOMEM);
        return true;
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

void read_request(struct client *client) {
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
