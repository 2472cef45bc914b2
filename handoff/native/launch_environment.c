#include "launch_environment.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launch_failure.h"

static bool is_ours(const char *variable) {
  static const char *const names[] = {"LISTEN_FDS=", "LISTEN_FDNAMES=", "LISTEN_PID=", "HANDOFF_FD="};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    if (strncmp(variable, names[i], strlen(names[i])) == 0) return true;
  }
  return false;
}

// What a service manager tells the process that it has started. The application speaks to handoffd instead.
static bool is_managers(const char *variable) {
  static const char *const names[] = {
      "NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC=", "FDSTORE=", "HANDOFF_"};
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    if (strncmp(variable, names[i], strlen(names[i])) == 0) return true;
  }
  return false;
}

static bool is_said(const struct specification *specification, const char *variable) {
  const size_t length = strcspn(variable, "=") + 1;
  for (size_t i = 0; i < specification->environment_count; i++) {
    if (strncmp(specification->environment[i], variable, length) == 0) return true;
  }
  return false;
}

void keep_environment(struct specification *specification) {
  size_t own = 0;
  while (environ[own] != NULL) own++;
  // With room for what set_environment() adds.
  char **all = allocate(own + specification->environment_count + 5, sizeof(char *), "specification");
  size_t count = 0;
  for (size_t i = 0; i < own; i++) {
    if (!is_managers(environ[i]) && !is_said(specification, environ[i])) all[count++] = environ[i];
  }
  for (size_t i = 0; i < specification->environment_count; i++) all[count++] = specification->environment[i];
  specification->environment = all;
  specification->environment_count = count;
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

void set_environment(struct specification *specification, const struct grant *grant) {
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
