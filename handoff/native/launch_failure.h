// How the launcher ends when a step does not work: it says so over the channel to the daemon.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// FIRST comes after the three standard descriptors: the channel arrives there, and the program's begin there.
enum { FIRST = 3, FAILED = 127 };

// Placing the program's descriptors moves it.
extern int channel;
// Someone else than the daemon has started the launcher: what fails is said to them, too.
extern bool is_joining;

// Ends the launcher. `text` is what the step was busy with.
_Noreturn void fail(const char *step, int error, const char *text);

// Zeroed memory, which exec or exit gives back at the latest. Without memory it fails, in `step`.
void *allocate(size_t count, size_t size, const char *step);
// The same, with a copy of `bytes` and a NUL.
char *copy_text(const uint8_t *bytes, size_t length, const char *step);
