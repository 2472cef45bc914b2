// The launcher by hand: someone else has started it, and it asks the daemon for the descriptors of a service.
#pragma once

#include <stdbool.h>

// The command line `handoff-exec (--socket PATH | --service NAME) [--place GENERATION[-INSTANCE]] --
// COMMAND…`.
struct joining {
  const char *socket;
  const char *place;  // NULL: whichever is awaited
  char **command;     // ends with NULL
};

// Ends the launcher with a sentence where the command line makes no sense, and after --help or --version.
struct joining parse_joining(int argc, char **argv);
// Connects `channel` to the daemon and says what is wanted. What does not work ends the launcher.
void join(const struct joining *joining);
