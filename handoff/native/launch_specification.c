#include "launch_specification.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frame.h"
#include "launch_failure.h"

static const off_t MOST_SPECIFICATION = 64 << 20;  // far above what execve(2) takes

// Copied before it is looked at: whoever sent it may still write to it.
uint8_t *read_specification(int fd, size_t *length) {
  struct stat status;
  if (fstat(fd, &status) != 0) fail("specification", errno, "fstat");
  if (!S_ISREG(status.st_mode) || status.st_size > MOST_SPECIFICATION) {
    fail("specification", EPROTO, "not a file of a sensible size");
  }
  const size_t size = (size_t)status.st_size;
  uint8_t *bytes = allocate(size, 1, "specification");
  for (size_t at = 0; at < size;) {
    const ssize_t count = pread(fd, bytes + at, size - at, (off_t)at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("specification", errno, "pread");
    if (count == 0) fail("specification", EPROTO, "it shrank while it was read");
    at += (size_t)count;
  }
  *length = size;
  close(fd);
  return bytes;
}

static _Noreturn void malformed(const char *what) { fail("specification", EPROTO, what); }

static char *text_of(const struct field *field, const char *what) {
  if (memchr(field->bytes, 0, field->length) != NULL) malformed(what);
  return copy_text(field->bytes, field->length, "specification");
}

static uint32_t u32_of(const struct field *field, const char *what) {
  uint32_t value;
  if (!field_u32(field, &value)) malformed(what);
  return value;
}

static uint32_t only_u32(const struct field *field, bool *seen, const char *what) {
  if (*seen) malformed(what);
  *seen = true;
  return u32_of(field, what);
}

static void only_flag(const struct field *field, bool *seen, const char *what) {
  if (*seen || field->length != 0) malformed(what);
  *seen = true;
}

static void add_limit(struct specification *specification, const struct field *field) {
  if (field->length != 20 || specification->limit_count == MOST_LIMITS) malformed("limit");
  const struct limit limit = {get_u32(field->bytes), get_u64(field->bytes + 4), get_u64(field->bytes + 12)};
  if (limit.resource >= RLIM_NLIMITS) malformed("limit");
  specification->limits[specification->limit_count++] = limit;
}

static void add_field(struct specification *specification, const struct field *field) {
  switch (field->key) {
    case FIELD_ARGUMENT:
      specification->arguments[specification->argument_count++] = text_of(field, "argument");
      return;
    case FIELD_ENVIRONMENT: {
      char *variable = text_of(field, "environment");
      const char *equals = strchr(variable, '=');
      if (equals == NULL || equals == variable) malformed("environment");
      specification->environment[specification->environment_count++] = variable;
      return;
    }
    case FIELD_DIRECTORY:
      if (specification->directory != NULL) malformed("directory");
      specification->directory = text_of(field, "directory");
      if (specification->directory[0] != '/') malformed("directory");
      return;
    case FIELD_UID:
      specification->uid = only_u32(field, &specification->has_uid, "uid");
      if (specification->uid == (uid_t)-1) malformed("uid");  // setresuid(2): leave it
      return;
    case FIELD_GID:
      specification->gid = only_u32(field, &specification->has_gid, "gid");
      if (specification->gid == (gid_t)-1) malformed("gid");
      return;
    case FIELD_GROUP:
      specification->groups[specification->group_count++] = u32_of(field, "group");
      return;
    case FIELD_UMASK: {
      const uint32_t mask = only_u32(field, &specification->has_umask, "umask");
      if (mask > 0777) malformed("umask");
      specification->umask = (mode_t)mask;
      return;
    }
    case FIELD_LIMIT:
      add_limit(specification, field);
      return;
    case FIELD_NICE:
      specification->nice = (int32_t)only_u32(field, &specification->has_nice, "nice");
      return;
    case FIELD_NO_NEW_PRIVILEGES:
      only_flag(field, &specification->no_new_privileges, "no_new_privileges");
      return;
    case FIELD_CHANNEL:
      only_flag(field, &specification->keeps_channel, "channel");
      return;
    case FIELD_DEATH_SIGNAL: {
      const uint32_t signal = only_u32(field, &specification->has_death_signal, "death_signal");
      if (signal < 1 || signal > MOST_SIGNAL) malformed("death_signal");
      specification->death_signal = (int)signal;
      return;
    }
    default:
      malformed("an unknown key");
  }
}

void parse_specification(const uint8_t *bytes, size_t length, struct specification *specification) {
  struct fields fields = {bytes, length};
  struct field field;
  // Each field takes at least its header, so this many pointers always suffice.
  const size_t most = length / FIELD_HEADER;
  specification->arguments = allocate(most + 1, sizeof(char *), "specification");
  specification->environment = allocate(most + 5, sizeof(char *), "specification");
  specification->groups = allocate(most + 1, sizeof(gid_t), "specification");
  enum field_result result;
  while ((result = field_next(&fields, &field)) == FIELD_READ) add_field(specification, &field);
  if (result == FIELD_BROKEN) malformed("a broken field");
  // What joins has its command already, and nobody else's to run.
  if (is_joining && specification->argument_count > 0) malformed("a command");
  if (is_joining) return;
  if (specification->argument_count == 0 || specification->arguments[0][0] == '\0') malformed("no program");
}
