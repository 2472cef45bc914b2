// The symbolic name of an errno ("EADDRINUSE"), which is what programs match on.
#pragma once

namespace handoff {

// "UNKNOWN" for a number that Linux does not define.
const char* ErrnoName(int error);

}  // namespace handoff
