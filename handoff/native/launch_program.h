// The program's file, looked at once the kernel has refused it, in order to say why.
#pragma once

// Ends the launcher. `error` is execvp's; the PATH is that of `environ`.
_Noreturn void fail_to_execute(const char *program, int error);
