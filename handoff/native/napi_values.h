// Between JavaScript values and the kernel side's types: arguments in, results and errors out.
#pragma once

// Warnings are ours to keep at zero, the package's templates are not.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wextra"
#include <napi.h>
#pragma GCC diagnostic pop

#include <cstdint>
#include <string>
#include <vector>

#include "address.h"
#include "descriptor.h"
#include "socket.h"
#include "status.h"

namespace handoff {

// The error that a failed call becomes: `code`, `errno`, `syscall`, and a message with all of it.
Napi::Error SystemCallError(Napi::Env env, const Status& status);
// Throws it unless the call succeeded.
inline void Check(Napi::Env env, const Status& status) {
  if (!status.ok()) throw SystemCallError(env, status);
}

// The TypeError for an argument of the wrong kind; `name` "must be" `expected`.
Napi::TypeError WrongArgument(Napi::Env env, const char* name, const char* expected);

// Argument `index` as what it has to be; a TypeError that names it otherwise.
int32_t Int32(const Napi::CallbackInfo& info, size_t index, const char* name);
uint32_t Uint32(const Napi::CallbackInfo& info, size_t index, const char* name);
bool Bool(const Napi::CallbackInfo& info, size_t index, const char* name);
std::string String(const Napi::CallbackInfo& info, size_t index, const char* name);
// The same, without NUL: for what becomes a C string.
std::string CString(const Napi::CallbackInfo& info, size_t index, const char* name);
// Only for the duration of the call: what a typed array shows may be moved or freed by JavaScript.
template <typename Number>
struct Memory {
  Number* data;
  size_t length;
};
Memory<uint8_t> Bytes(const Napi::CallbackInfo& info, size_t index, const char* name);
Memory<int32_t> Int32Memory(const Napi::CallbackInfo& info, size_t index, const char* name);
std::vector<int> Int32s(const Napi::CallbackInfo& info, size_t index, const char* name);
std::vector<std::string> CStrings(const Napi::CallbackInfo& info, size_t index, const char* name);
Address SocketAddress(const Napi::CallbackInfo& info, size_t index);
int InetFamily(const Napi::CallbackInfo& info, size_t index);

Napi::Object FromAddress(Napi::Env env, const Address& address);
const char* FamilyName(int family);
Napi::Object FromQueue(Napi::Env env, const Queue& queue);
Napi::Object FromCredentials(Napi::Env env, const Credentials& credentials);

// A descriptor's number. The JavaScript side owns it from here on.
Napi::Value Give(Napi::Env env, Descriptor* descriptor);
Napi::Value GivePair(Napi::Env env, Descriptor* first, Descriptor* second);

}  // namespace handoff
