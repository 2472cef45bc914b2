#include "napi_values.h"

#include <sys/socket.h>

#include <cctype>
#include <cmath>
#include <cstring>

#include "errno_name.h"

namespace handoff {

namespace {

// The two signatures of strerror_r: glibc's returns the text, POSIX's fills the buffer.
[[maybe_unused]] const char* ErrorText(const char* text, const char*) { return text; }
[[maybe_unused]] const char* ErrorText(int, const char* buffer) { return buffer; }

std::string Describe(int error) {
  char buffer[256] = "unknown error";
  std::string text = ErrorText(::strerror_r(error, buffer, sizeof(buffer)), buffer);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

double Integer(Napi::Env env, const Napi::Value& value, const char* name, double least, double most) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok) throw WrongArgument(env, name, "a number");
  // The comparison is written so that NaN fails it.
  if (!(number >= least && number <= most) || std::trunc(number) != number) {
    throw WrongArgument(env, name, "an integer in its range");
  }
  return number;
}

int32_t ToInt32(Napi::Env env, const Napi::Value& value, const char* name) {
  return static_cast<int32_t>(Integer(env, value, name, INT32_MIN, INT32_MAX));
}

std::string ToString(Napi::Env env, const Napi::Value& value, const char* name) {
  if (!value.IsString()) throw WrongArgument(env, name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::string ToCString(Napi::Env env, const Napi::Value& value, const char* name) {
  std::string text = ToString(env, value, name);
  if (text.find('\0') != std::string::npos) throw WrongArgument(env, name, "a string without NUL");
  return text;
}

template <typename Number>
Memory<Number> ToMemory(Napi::Env env, const Napi::Value& value, napi_typedarray_type wanted,
                        const char* name, const char* expected) {
  napi_typedarray_type type{};
  size_t length = 0;
  void* data = nullptr;
  const napi_status status = napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr);
  if (status != napi_ok || type != wanted) throw WrongArgument(env, name, expected);
  return {static_cast<Number*>(data), length};
}

Napi::Array ToArray(Napi::Env env, const Napi::Value& value, const char* name) {
  if (!value.IsArray()) throw WrongArgument(env, name, "an array");
  return value.As<Napi::Array>();
}

}  // namespace

Napi::Error SystemCallError(Napi::Env env, const Status& status) {
  const char* code = ErrnoName(status.error);
  Napi::Error error =
      Napi::Error::New(env, std::string(status.call) + ": " + Describe(status.error) + " (" + code + ")");
  error.Set("code", Napi::String::New(env, code));
  error.Set("errno", Napi::Number::New(env, status.error));
  error.Set("syscall", Napi::String::New(env, status.call));
  return error;
}

Napi::TypeError WrongArgument(Napi::Env env, const char* name, const char* expected) {
  Napi::TypeError error = Napi::TypeError::New(env, std::string(name) + " must be " + expected);
  error.Set("code", Napi::String::New(env, "ERR_INVALID_ARG_TYPE"));
  return error;
}

int32_t Int32(const Napi::CallbackInfo& info, size_t index, const char* name) {
  return ToInt32(info.Env(), info[index], name);
}

uint32_t Uint32(const Napi::CallbackInfo& info, size_t index, const char* name) {
  return static_cast<uint32_t>(Integer(info.Env(), info[index], name, 0, UINT32_MAX));
}

bool Bool(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsBoolean()) throw WrongArgument(info.Env(), name, "a boolean");
  return info[index].As<Napi::Boolean>().Value();
}

std::string String(const Napi::CallbackInfo& info, size_t index, const char* name) {
  return ToString(info.Env(), info[index], name);
}

std::string CString(const Napi::CallbackInfo& info, size_t index, const char* name) {
  return ToCString(info.Env(), info[index], name);
}

Memory<uint8_t> Bytes(const Napi::CallbackInfo& info, size_t index, const char* name) {
  return ToMemory<uint8_t>(info.Env(), info[index], napi_uint8_array, name, "a Uint8Array");
}

Memory<int32_t> Int32Memory(const Napi::CallbackInfo& info, size_t index, const char* name) {
  return ToMemory<int32_t>(info.Env(), info[index], napi_int32_array, name, "an Int32Array");
}

std::vector<int> Int32s(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Array array = ToArray(info.Env(), info[index], name);
  std::vector<int> numbers(array.Length());
  for (uint32_t i = 0; i < numbers.size(); i++) numbers[i] = ToInt32(info.Env(), array[i], name);
  return numbers;
}

std::vector<std::string> CStrings(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const Napi::Array array = ToArray(info.Env(), info[index], name);
  std::vector<std::string> strings(array.Length());
  for (uint32_t i = 0; i < strings.size(); i++) strings[i] = ToCString(info.Env(), array[i], name);
  return strings;
}

Address SocketAddress(const Napi::CallbackInfo& info, size_t index) {
  const Napi::Env env = info.Env();
  if (!info[index].IsObject()) throw WrongArgument(env, "address", "an object");
  const Napi::Object object = info[index].As<Napi::Object>();
  const std::string family = ToString(env, object.Get("family"), "address.family");
  Address address;
  if (family == "unix") {
    address.family = AF_UNIX;
    address.text = ToString(env, object.Get("path"), "address.path");
    return address;
  }
  if (family != "inet" && family != "inet6")
    throw WrongArgument(env, "address.family", "inet, inet6 or unix");
  address.family = family == "inet" ? AF_INET : AF_INET6;
  address.text = ToString(env, object.Get("host"), "address.host");
  address.port = static_cast<uint16_t>(Integer(env, object.Get("port"), "address.port", 0, UINT16_MAX));
  return address;
}

int InetFamily(const Napi::CallbackInfo& info, size_t index) {
  const std::string family = String(info, index, "family");
  if (family == "inet") return AF_INET;
  if (family == "inet6") return AF_INET6;
  throw WrongArgument(info.Env(), "family", "inet or inet6");
}

const char* FamilyName(int family) {
  return family == AF_INET ? "inet" : family == AF_INET6 ? "inet6" : "unix";
}

Napi::Object FromAddress(Napi::Env env, const Address& address) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("family", FamilyName(address.family));
  if (address.family == AF_UNIX) {
    object.Set("path", address.text);
  } else {
    object.Set("host", address.text);
    object.Set("port", Napi::Number::New(env, address.port));
  }
  return object;
}

Napi::Object FromQueue(Napi::Env env, const Queue& queue) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("length", queue.length);
  object.Set("limit", queue.limit);
  return object;
}

Napi::Object FromCredentials(Napi::Env env, const Credentials& credentials) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("pid", credentials.pid);
  object.Set("uid", credentials.uid);
  object.Set("gid", credentials.gid);
  return object;
}

Napi::Value Give(Napi::Env env, Descriptor* descriptor) {
  Napi::Number number = Napi::Number::New(env, descriptor->get());
  descriptor->release();
  return number;
}

Napi::Value GivePair(Napi::Env env, Descriptor* first, Descriptor* second) {
  Napi::Array pair = Napi::Array::New(env, 2);
  pair.Set(0u, Napi::Number::New(env, first->get()));
  pair.Set(1u, Napi::Number::New(env, second->get()));
  first->release();
  second->release();
  return pair;
}

}  // namespace handoff
