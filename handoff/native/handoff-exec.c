// handoff-exec: the launcher of every instance (docs/wire.md). It receives one grant over descriptor 3, puts
// the descriptors at 3, 4, …, becomes who it should be, and executes the program.
//
//   daemon                      handoff-exec
//     GRANT (MORE) … GRANT ─────▶ takes the descriptors, compares each with its entry, reads the
//     specification ◀──────────────────── ACK   or FAIL: nothing was started
//                                 limits, umask, nice, descriptors, identity, directory, exec
//     ◀───────────────────  EOF   the program runs (or has the channel, where it asked for it)
//     ◀─────────────────── FAIL   exit status 127
//
// Statically linked, so that it runs in an image that has no C library. Single-threaded; memory is given back
// by exec or by exit.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "frame.h"
#include "passing.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { FIRST = 3, FAILED = 127, MOST_DESCRIPTORS = 65536, MOST_LIMITS = RLIM_NLIMITS };
static const off_t MOST_SPECIFICATION = 64 << 20;  // far above what execve(2) takes

struct granted {
  int fd;
  uint64_t identity;
  char *name;
};

struct grant {
  int specification;  // -1 until it came
  struct granted *items;
  size_t count;
};

struct limit {
  uint32_t resource;
  uint64_t soft;
  uint64_t hard;
};

struct specification {
  char **arguments;
  size_t argument_count;
  char **environment;  // with room for what the launcher adds
  size_t environment_count;
  const char *directory;
  bool has_uid, has_gid, has_umask, has_nice, no_new_privileges, keeps_channel;
  uid_t uid;
  gid_t gid;
  mode_t umask;
  int nice;
  gid_t *groups;
  size_t group_count;
  struct limit limits[MOST_LIMITS];
  size_t limit_count;
};

static int channel = FIRST;
static uint8_t buffer[FRAME_SIZE];

// Ends the launcher. The daemon may be gone by now, so the same sentence goes to standard error too.
static _Noreturn void fail(const char *step, int error, const char *text) {
  uint8_t frame[8192];
  char shown[4096];
  snprintf(shown, sizeof(shown), "%s", text);
  const size_t length = frame_fail(frame, sizeof(frame), step, error, shown);
  const int sent = send_frame(channel, frame, length, NULL, 0);
  if (sent != 0) fprintf(stderr, "handoff-exec: %s: %s: %s\n", step, shown, strerror(error));
  exit(FAILED);
}

static void *allocate(size_t count, size_t size, const char *step) {
  void *memory = calloc(count > 0 ? count : 1, size);
  if (memory == NULL) fail(step, ENOMEM, "memory");
  return memory;
}

static char *copy_text(const uint8_t *bytes, size_t length, const char *step) {
  char *text = allocate(length + 1, 1, step);
  memcpy(text, bytes, length);
  return text;
}

// ---------------------------------------------------------------------------------------------------- the
// grant

static bool wait_for_message(void) {
  struct pollfd waiting = {.fd = channel, .events = POLLIN};
  return poll(&waiting, 1, -1) >= 0 || errno == EINTR;
}

static uint64_t identity_of(int fd, uint8_t kind) {
  if (kind == ENTRY_SOCKET) {
    uint64_t cookie = 0;
    socklen_t length = sizeof(cookie);
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) != 0) fail("grant", errno, "SO_COOKIE");
    return cookie;
  }
  struct stat status;
  if (fstat(fd, &status) != 0) fail("grant", errno, "fstat");
  return status.st_ino;
}

// Takes one entry's descriptor into the grant. A number that does not stand for what the entry says is never
// used.
static void take(struct grant *grant, const struct entry *entry, int fd) {
  char *name = copy_text(entry->name, entry->name_length, "grant");
  const uint64_t identity = identity_of(fd, entry->kind);
  if (identity != entry->identity) fail("grant", EBADMSG, name[0] != '\0' ? name : "the specification");
  const bool first = grant->specification < 0;
  if (first != (entry->kind == ENTRY_SPECIFICATION)) {
    fail("grant", EPROTO, "the specification is the first descriptor, and only the first");
  }
  if (first) {
    grant->specification = fd;
    free(name);
    return;
  }
  grant->items[grant->count++] = (struct granted){fd, identity, name};
}

static void receive_grant(struct grant *grant) {
  uint32_t total = 0;
  uint32_t taken = 0;
  bool more = true;
  grant->specification = -1;
  while (more) {
    struct received message;
    receive(channel, buffer, sizeof(buffer), &message);
    if (message.length < 0) {
      if (errno != EAGAIN) fail("grant", errno, "recvmsg");
      if (!wait_for_message()) fail("grant", errno, "poll");
      continue;
    }
    if (message.length == 0 && message.count == 0) exit(FAILED);  // the daemon has gone: nobody to tell
    // There was room for as many as a message holds, so only our own limit can have lost some
    // (RLIMIT_NOFILE).
    if (message.descriptors_lost) fail("grant", EMFILE, "descriptors were lost: RLIMIT_NOFILE");
    struct frame frame;
    if (message.data_lost || !frame_parse(buffer, (size_t)message.length, &frame) ||
        frame.type != FRAME_GRANT) {
      fail("grant", EPROTO, "not a grant");
    }
    struct field field;
    struct entry entry;
    enum field_result result;
    size_t used = 0;
    bool has_total = false;
    while ((result = field_next(&frame.body, &field)) == FIELD_READ) {
      if (field.key == FIELD_TOTAL && !has_total) {
        uint32_t said;
        has_total = true;
        if (!field_u32(&field, &said) || said == 0 || said > MOST_DESCRIPTORS ||
            (total != 0 && said != total)) {
          fail("grant", EPROTO, "the total");
        }
        if (total == 0) grant->items = allocate(said, sizeof(*grant->items), "grant");
        total = said;
      } else if (field.key == FIELD_ENTRY && has_total && field_entry(&field, &entry)) {
        if (used == message.count || taken == total) fail("grant", EPROTO, "fewer descriptors than entries");
        take(grant, &entry, message.descriptors[used++]);
        taken++;
      } else {
        fail("grant", EPROTO, "a field that does not belong there");
      }
    }
    if (result == FIELD_BROKEN) fail("grant", EPROTO, "a broken field");
    if (used != message.count) fail("grant", EPROTO, "more descriptors than entries");
    if (used == 0) fail("grant", EPROTO, "a frame without entries");
    more = (frame.flags & FRAME_MORE) != 0;
    if (more != (taken < total)) fail("grant", EPROTO, "not as many descriptors as announced");
  }
}

static void acknowledge(const struct grant *grant) {
  const size_t size = FRAME_HEADER + 2 * FIELD_HEADER + 4 + 8 * grant->count;
  uint8_t *bytes = allocate(size, 1, "grant");
  struct frame_writer writer = frame_begin(bytes, size, FRAME_ACK);
  frame_u32(&writer, FIELD_COUNT, (uint32_t)grant->count);
  uint8_t *identities = frame_field(&writer, FIELD_IDENTITIES, 8 * grant->count);
  if (identities == NULL) fail("grant", EMSGSIZE, "ACK");
  for (size_t i = 0; i < grant->count; i++) put_u64(identities + 8 * i, grant->items[i].identity);
  const int error = send_frame(channel, bytes, frame_end(&writer, 0), NULL, 0);
  if (error != 0) fail("grant", error, "ACK");
  free(bytes);
}

// ---------------------------------------------------------------------------------------------- the
// specification

// Copied before it is looked at: whoever sent it may still write to it.
static uint8_t *read_specification(int fd, size_t *length) {
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
    default:
      malformed("an unknown key");
  }
}

static void parse_specification(const uint8_t *bytes, size_t length, struct specification *specification) {
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
  if (specification->argument_count == 0 || specification->arguments[0][0] == '\0') malformed("no program");
}

// ------------------------------------------------------------------------------------------------------
// becoming

static void apply_limits(const struct specification *specification) {
  for (size_t i = 0; i < specification->limit_count; i++) {
    const struct limit *limit = &specification->limits[i];
    // RLIM_INFINITY is 2^64-1 on the wire and in the kernel.
    const struct rlimit64 value = {limit->soft, limit->hard};
    if (syscall(SYS_prlimit64, 0, limit->resource, &value, NULL) != 0) {
      char text[32];
      snprintf(text, sizeof(text), "limit %u", limit->resource);
      fail("limits", errno, text);
    }
  }
}

static int not_enough_room(int error) {
  // dup2 says EBADF, and fcntl EINVAL, for a number above RLIMIT_NOFILE.
  return error == EBADF || error == EINVAL ? EMFILE : error;
}

// Puts sources[i] at FIRST + i. Whatever still has to go elsewhere is moved out of the way first.
static void place(int *sources, size_t count) {
  const int end = FIRST + (int)count;
  for (int target = FIRST; target < end; target++) {
    int *source = &sources[target - FIRST];
    if (*source == target) {
      if (fcntl(target, F_SETFD, 0) != 0) fail("descriptors", errno, "fcntl");
      continue;
    }
    for (int later = target + 1; later < end; later++) {
      if (sources[later - FIRST] != target) continue;
      const int moved = fcntl(target, F_DUPFD_CLOEXEC, end);
      if (moved < 0) fail("descriptors", not_enough_room(errno), "RLIMIT_NOFILE");
      sources[later - FIRST] = moved;
      if (target == channel) channel = moved;
      break;
    }
    if (dup2(*source, target) < 0) fail("descriptors", not_enough_room(errno), "RLIMIT_NOFILE");
    if (*source == channel) channel = target;
    close(*source);
    *source = target;
  }
}

// Descriptors to 3, 4, … and the channel after the last; nothing above.
static void place_descriptors(struct grant *grant, bool keeps_channel) {
  int *sources = allocate(grant->count + 1, sizeof(int), "descriptors");
  for (size_t i = 0; i < grant->count; i++) sources[i] = grant->items[i].fd;
  sources[grant->count] = channel;
  place(sources, grant->count + 1);
  free(sources);
  // Without CHANNEL exec closes it, and the daemon sees the end of file as "it runs".
  if (fcntl(channel, F_SETFD, keeps_channel ? 0 : FD_CLOEXEC) != 0) fail("descriptors", errno, "fcntl");
  if (syscall(SYS_close_range, (unsigned)channel + 1, ~0u, 0u) != 0)
    fail("descriptors", errno, "close_range");
}

static bool has_groups_already(const struct specification *specification) {
  const int count = getgroups(0, NULL);
  if (count < 0 || (size_t)count != specification->group_count) return false;
  gid_t *groups = allocate((size_t)count, sizeof(gid_t), "identity");
  bool same = getgroups(count, groups) == count;
  for (int i = 0; same && i < count; i++) {
    bool found = false;
    for (size_t j = 0; j < specification->group_count; j++)
      found = found || specification->groups[j] == groups[i];
    same = found;
  }
  free(groups);
  return same;
}

// Groups, group, user, in this order: afterwards there is no right to change the others. The supplementary
// groups are set whenever the identity changes, or root's would stay.
static void become(const struct specification *specification) {
  const bool changes = specification->has_uid || specification->has_gid || specification->group_count > 0;
  if (changes && !has_groups_already(specification) &&
      setgroups(specification->group_count, specification->groups) != 0) {
    fail("identity", errno, "groups");
  }
  if (specification->has_gid && setresgid(specification->gid, specification->gid, specification->gid) != 0) {
    fail("identity", errno, "gid");
  }
  if (specification->has_uid && setresuid(specification->uid, specification->uid, specification->uid) != 0) {
    fail("identity", errno, "uid");
  }
  if (specification->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    fail("identity", errno, "no_new_privs");
  }
}

static bool is_ours(const char *variable) {
  static const char *const names[] = {"LISTEN_FDS=", "LISTEN_FDNAMES=", "LISTEN_PID=", "HANDOFF_FD="};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    if (strncmp(variable, names[i], strlen(names[i])) == 0) return true;
  }
  return false;
}

static void set_variable(struct specification *specification, const char *name, const char *value) {
  const size_t size = strlen(name) + strlen(value) + 2;
  char *variable = allocate(size, 1, "exec");
  snprintf(variable, size, "%s=%s", name, value);
  specification->environment[specification->environment_count++] = variable;
}

static void set_number(struct specification *specification, const char *name, size_t number) {
  char text[24];
  snprintf(text, sizeof(text), "%zu", number);
  set_variable(specification, name, text);
}

static void set_environment(struct specification *specification, const struct grant *grant) {
  // Someone else's LISTEN_FDS, handed on by mistake, would make the program take descriptors that are not
  // there.
  size_t kept = 0;
  for (size_t i = 0; i < specification->environment_count; i++) {
    if (!is_ours(specification->environment[i]))
      specification->environment[kept++] = specification->environment[i];
  }
  specification->environment_count = kept;

  if (grant->count > 0) {
    size_t size = 1;
    for (size_t i = 0; i < grant->count; i++) size += strlen(grant->items[i].name) + 1;
    char *names = allocate(size, 1, "exec");
    char *at = names;
    for (size_t i = 0; i < grant->count; i++) {
      if (i > 0) *at++ = ':';
      at = stpcpy(at, grant->items[i].name);
    }
    set_number(specification, "LISTEN_FDS", grant->count);
    set_variable(specification, "LISTEN_FDNAMES", names);
    set_number(specification, "LISTEN_PID", (size_t)getpid());
  }
  if (specification->keeps_channel) set_number(specification, "HANDOFF_FD", (size_t)channel);
  specification->environment[specification->environment_count] = NULL;
}

// ----------------------------------------------------------------------------------------------------
// explaining

// The path that execvp found for `program`: the first that exists along PATH. False when none does.
static bool find_program(const char *program, char *path, size_t size) {
  if (strchr(program, '/') != NULL) {
    return snprintf(path, size, "%s", program) < (int)size && access(path, F_OK) == 0;
  }
  const char *entry = getenv("PATH");
  if (entry == NULL) entry = "/bin:/usr/bin";
  for (;;) {
    const size_t length = strcspn(entry, ":");
    const int written = snprintf(path, size, "%.*s%s%s", (int)length, entry, length > 0 ? "/" : "", program);
    if (written > 0 && written < (int)size && access(path, X_OK) == 0) return true;
    if (entry[length] == '\0') return false;
    entry += length + 1;
  }
}

// The interpreter of the program at `path`: the rest of its "#!" line up to a blank, or ELF's PT_INTERP.
static bool find_interpreter(const char *path, char *out, size_t size) {
  uint8_t head[4096];
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) return false;
  const ssize_t got = read(fd, head, sizeof(head) - 1);
  close(fd);
  if (got < 2) return false;
  const size_t length = (size_t)got;
  head[length] = 0;
  if (head[0] == '#' && head[1] == '!') {
    const char *name = (const char *)head + 2;
    name += strspn(name, " \t");
    const size_t name_length = strcspn(name, " \t\r\n");
    return name_length > 0 && snprintf(out, size, "%.*s", (int)name_length, name) < (int)size;
  }
  Elf64_Ehdr elf;
  if (length < sizeof(elf) || memcmp(head, ELFMAG, SELFMAG) != 0 || head[EI_CLASS] != ELFCLASS64)
    return false;
  memcpy(&elf, head, sizeof(elf));
  for (size_t i = 0; i < elf.e_phnum; i++) {
    Elf64_Phdr segment;
    if (elf.e_phoff > length || length - elf.e_phoff < (i + 1) * sizeof(segment)) return false;
    memcpy(&segment, head + elf.e_phoff + i * sizeof(segment), sizeof(segment));
    if (segment.p_type != PT_INTERP) continue;
    if (segment.p_offset > length || segment.p_filesz > length - segment.p_offset) return false;
    return snprintf(out, size, "%.*s", (int)segment.p_filesz, (const char *)head + segment.p_offset) <
           (int)size;
  }
  return false;
}

// execve says ENOENT for a missing program and for the missing interpreter of a program that is there: the
// second would send people looking for a file that they can see.
static _Noreturn void fail_to_execute(const char *program, int error) {
  char path[2048];
  char interpreter[1024];
  char text[4096];
  if (error == ENOENT && find_program(program, path, sizeof(path)) &&
      find_interpreter(path, interpreter, sizeof(interpreter)) && access(interpreter, F_OK) != 0) {
    snprintf(text, sizeof(text), "%s, the interpreter of %s", interpreter, path);
    fail("exec", error, text);
  }
  fail("exec", error, program);
}

int main(void) {
  struct stat status;
  if (fstat(channel, &status) != 0 || !S_ISSOCK(status.st_mode)) {
    fputs("handoff-exec: descriptor 3 is not a channel; this program is started by handoffd\n", stderr);
    return FAILED;
  }
  struct grant grant = {0};
  receive_grant(&grant);
  struct specification specification = {0};
  size_t length;
  uint8_t *bytes = read_specification(grant.specification, &length);
  parse_specification(bytes, length, &specification);
  acknowledge(&grant);

  apply_limits(&specification);
  if (specification.has_umask) umask(specification.umask);
  if (specification.has_nice && setpriority(PRIO_PROCESS, 0, specification.nice) != 0) {
    fail("priority", errno, "nice");
  }
  place_descriptors(&grant, specification.keeps_channel);
  become(&specification);
  if (specification.directory != NULL && chdir(specification.directory) != 0) {
    fail("directory", errno, specification.directory);
  }
  set_environment(&specification, &grant);
  // execvp searches the PATH of `environ`: of the program's environment, not of ours.
  environ = specification.environment;
  execvp(specification.arguments[0], specification.arguments);
  fail_to_execute(specification.arguments[0], errno);
}
