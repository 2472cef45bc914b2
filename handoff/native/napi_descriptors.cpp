#include "binding.h"
#include "descriptor.h"
#include "napi_values.h"
#include "poll_object.h"

namespace handoff {

namespace {

using Info = Napi::CallbackInfo;

// The number of a descriptor that is going to be closed.
int32_t ToClose(const Info& info) {
  const int32_t fd = Int32(info, 0, "fd");
  PollsOf(info.Env())->LetGo(fd);
  return fd;
}

void JsClose(const Info& info) { Check(info.Env(), Close(ToClose(info))); }

void JsCloseAside(const Info& info) {
  const int fd = ToClose(info);
  CloseAside(fd, Descriptor(Int32(info, 1, "done")));
}

Napi::Value JsDuplicate(const Info& info) {
  Descriptor copy;
  Check(info.Env(), Duplicate(Int32(info, 0, "fd"), &copy));
  return Give(info.Env(), &copy);
}

void JsSetCloexec(const Info& info) {
  Check(info.Env(), SetCloexec(Int32(info, 0, "fd"), Bool(info, 1, "on")));
}

void JsSetNonblocking(const Info& info) {
  Check(info.Env(), SetNonblocking(Int32(info, 0, "fd"), Bool(info, 1, "on")));
}

Napi::Value JsIsNonblocking(const Info& info) {
  bool nonblocking = false;
  Check(info.Env(), IsNonblocking(Int32(info, 0, "fd"), &nonblocking));
  return Napi::Boolean::New(info.Env(), nonblocking);
}

Napi::Value JsMemfd(const Info& info) {
  Descriptor file;
  Check(info.Env(), MakeMemfd(CString(info, 0, "name"), &file));
  return Give(info.Env(), &file);
}

Napi::Value JsPipe(const Info& info) {
  Descriptor reader;
  Descriptor writer;
  Check(info.Env(), MakePipe(&reader, &writer));
  return GivePair(info.Env(), &reader, &writer);
}

Napi::Value JsLockFile(const Info& info) {
  bool locked = false;
  Check(info.Env(), LockFile(Int32(info, 0, "fd"), &locked));
  return Napi::Boolean::New(info.Env(), locked);
}

Napi::Value JsIsSameFile(const Info& info) {
  bool same = false;
  Check(info.Env(), IsSameFile(Int32(info, 0, "first"), Int32(info, 1, "second"), &same));
  return Napi::Boolean::New(info.Env(), same);
}

Napi::Value JsIsHungUp(const Info& info) {
  bool hung_up = false;
  Check(info.Env(), IsHungUp(Int32(info, 0, "fd"), &hung_up));
  return Napi::Boolean::New(info.Env(), hung_up);
}

}  // namespace

void ExportDescriptors(Napi::Object* exports) {
  Export(exports, "close", JsClose);
  Export(exports, "closeAside", JsCloseAside);
  Export(exports, "duplicate", JsDuplicate);
  Export(exports, "setCloexec", JsSetCloexec);
  Export(exports, "setNonblocking", JsSetNonblocking);
  Export(exports, "isNonblocking", JsIsNonblocking);
  Export(exports, "memfd", JsMemfd);
  Export(exports, "pipe", JsPipe);
  Export(exports, "lockFile", JsLockFile);
  Export(exports, "isSameFile", JsIsSameFile);
  Export(exports, "isHungUp", JsIsHungUp);
}

}  // namespace handoff
