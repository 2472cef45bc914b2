// How the kernel side answers: which call failed and why. errno becomes a JavaScript error in napi_values.cpp
// only.
#pragma once

#include <cerrno>

namespace handoff {

struct [[nodiscard]] Status {
  int error = 0;          // an errno; 0 is success
  const char* call = "";  // the system call that said so, a literal

  bool ok() const { return error == 0; }
  bool is(int expected) const { return error == expected; }
};

inline Status Ok() { return {}; }
inline Status Failed(const char* call, int error) { return {error, call}; }
// Reads errno: nothing may run between the failing call and this.
inline Status Failed(const char* call) { return {errno, call}; }

// Repeats an interrupted call. Not for close(2): Linux has released the number when it says EINTR, and by the
// second try it may be another thread's new descriptor.
template <typename Call>
auto Retry(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

}  // namespace handoff
