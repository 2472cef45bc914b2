#include "launch_program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launch_failure.h"

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
_Noreturn void fail_to_execute(const char *program, int error) {
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
