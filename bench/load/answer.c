// A parser for the one thing that matters here: did the whole answer come, and who gave it.
#include "answer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void answer_reset(answer* to, bool no_body) {
  memset(to, 0, offsetof(answer, line));
  to->line_length = 0;
  to->no_body = no_body;
}

static void copy_word(char* to, const char* from) {
  size_t length = strnlen(from, WORD_BYTES - 1);
  memcpy(to, from, length);
  to[length] = '\0';
}

static bool has_token(const char* list, const char* token) {
  size_t length = strlen(token);
  for (const char* at = list; *at != '\0'; at++) {
    if (strncasecmp(at, token, length) == 0) return true;
  }
  return false;
}

static void take_status_line(answer* to) {
  const char* line = to->line;
  if (strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 12 || line[8] != ' ') {
    to->place = MALFORMED;
    return;
  }
  to->close = line[7] == '0';
  to->status = atoi(line + 9);
  to->place = to->status >= 100 && to->status <= 599 ? AT_HEADERS : MALFORMED;
}

static void take_length(answer* to, const char* value) {
  char* end = NULL;
  if (!isdigit((unsigned char)*value)) {
    to->place = MALFORMED;
    return;
  }
  to->left = strtoull(value, &end, 10);
  to->has_length = true;
  if (*end != '\0') to->place = MALFORMED;
}

static void take_header(answer* to) {
  char* colon = strchr(to->line, ':');
  if (colon == NULL) {
    to->place = MALFORMED;
    return;
  }
  *colon = '\0';
  char* value = colon + 1;
  while (*value == ' ' || *value == '\t') value++;
  for (size_t end = strlen(value); end > 0 && isspace((unsigned char)value[end - 1]); end--)
    value[end - 1] = '\0';
  const char* name = to->line;
  if (strcasecmp(name, "content-length") == 0) {
    take_length(to, value);
  } else if (strcasecmp(name, "transfer-encoding") == 0) {
    to->chunked = has_token(value, "chunked");
  } else if (strcasecmp(name, "connection") == 0) {
    if (has_token(value, "close")) to->close = true;
    if (has_token(value, "keep-alive")) to->close = false;
  } else if (strcasecmp(name, "x-version") == 0) {
    copy_word(to->version, value);
  } else if (strcasecmp(name, "x-generation") == 0) {
    copy_word(to->generation, value);
  } else if (strcasecmp(name, "x-instance") == 0) {
    copy_word(to->instance, value);
  }
}

static void end_head(answer* to) {
  if (to->status < 200) {
    // An interim answer (RFC 9110, 15.2): the real one follows.
    bool no_body = to->no_body;
    answer_reset(to, no_body);
    to->started = true;
    return;
  }
  to->head = true;
  if (to->no_body || to->status == 204 || to->status == 304) {
    to->place = WHOLE;
  } else if (to->chunked) {
    to->place = AT_CHUNK_SIZE;
  } else if (!to->has_length) {
    to->place = AT_BODY_TO_END;
    to->close = true;
  } else {
    to->place = to->left == 0 ? WHOLE : AT_BODY;
  }
}

static void take_chunk_size(answer* to) {
  char* end = NULL;
  if (!isxdigit((unsigned char)to->line[0])) {
    to->place = MALFORMED;
    return;
  }
  to->left = strtoull(to->line, &end, 16);
  to->place = *end != '\0' && *end != ';' && *end != ' ' ? MALFORMED : to->left == 0 ? AT_TRAILERS : AT_CHUNK;
}

static void take_line(answer* to) {
  size_t length = to->line_length;
  to->line_length = 0;
  if (length > 0 && to->line[length - 1] == '\r') length--;
  to->line[length] = '\0';
  switch (to->place) {
    case AT_STATUS_LINE:
      take_status_line(to);
      return;
    case AT_HEADERS:
      if (length == 0) {
        end_head(to);
      } else {
        take_header(to);
      }
      return;
    case AT_CHUNK_SIZE:
      take_chunk_size(to);
      return;
    case AT_CHUNK_END:
      to->place = length == 0 ? AT_CHUNK_SIZE : MALFORMED;
      return;
    case AT_TRAILERS:
      if (length == 0) to->place = WHOLE;
      return;
    case AT_BODY:
    case AT_BODY_TO_END:
    case AT_CHUNK:
    case WHOLE:
    case MALFORMED:
      return;
  }
}

static size_t feed_line(answer* to, const char* data, size_t length) {
  const char* newline = memchr(data, '\n', length);
  size_t part = newline == NULL ? length : (size_t)(newline - data);
  size_t room = sizeof to->line - 1 - to->line_length;
  size_t kept = part < room ? part : room;
  memcpy(to->line + to->line_length, data, kept);
  to->line_length += kept;
  if (newline == NULL) return length;
  take_line(to);
  return part + 1;
}

static void keep_first_word(answer* to, const char* data, size_t length) {
  size_t have = strlen(to->word);
  for (size_t i = 0; i < length && !to->word_done; i++) {
    if (isspace((unsigned char)data[i]) || have == WORD_BYTES - 1) {
      to->word_done = true;
    } else {
      to->word[have++] = data[i];
    }
  }
}

static size_t feed_body(answer* to, const char* data, size_t length) {
  size_t part = to->place != AT_BODY_TO_END && to->left < length ? (size_t)to->left : length;
  keep_first_word(to, data, part);
  if (to->place == AT_BODY_TO_END) return part;
  to->left -= part;
  if (to->left == 0) to->place = to->place == AT_BODY ? WHOLE : AT_CHUNK_END;
  return part;
}

size_t answer_feed(answer* to, const char* data, size_t length) {
  size_t used = 0;
  if (length > 0) to->started = true;
  while (used < length && to->place != WHOLE && to->place != MALFORMED) {
    bool body = to->place == AT_BODY || to->place == AT_BODY_TO_END || to->place == AT_CHUNK;
    used += body ? feed_body(to, data + used, length - used) : feed_line(to, data + used, length - used);
  }
  return used;
}

bool answer_end(answer* to) {
  if (to->place == AT_BODY_TO_END) to->place = WHOLE;
  return to->place == WHOLE;
}
