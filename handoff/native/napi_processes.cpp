#include "binding.h"
#include "napi_values.h"
#include "process.h"
#include "procfs.h"

namespace handoff {

namespace {

using Info = Napi::CallbackInfo;

Napi::Value JsSpawn(const Info& info) {
  const Napi::Env env = info.Env();
  pid_t pid = 0;
  Descriptor pidfd;
  Check(env, Spawn(CString(info, 0, "file"), CStrings(info, 1, "argv"), CStrings(info, 2, "environment"),
                   Int32s(info, 3, "descriptors"), &pid, &pidfd));
  Napi::Object process = Napi::Object::New(env);
  process.Set("pid", pid);
  process.Set("pidfd", Give(env, &pidfd));
  return process;
}

Napi::Value JsPidfdOpen(const Info& info) {
  Descriptor pidfd;
  Check(info.Env(), PidfdOpen(Int32(info, 0, "pid"), &pidfd));
  return Give(info.Env(), &pidfd);
}

void JsPidfdSendSignal(const Info& info) {
  Check(info.Env(), PidfdSendSignal(Int32(info, 0, "pidfd"), Int32(info, 1, "signal")));
}

Napi::Value JsPidfdGetfd(const Info& info) {
  Descriptor copy;
  Check(info.Env(), PidfdGetfd(Int32(info, 0, "pidfd"), Int32(info, 1, "fd"), &copy));
  return Give(info.Env(), &copy);
}

Napi::Value JsWaitPidfd(const Info& info) {
  const Napi::Env env = info.Env();
  Exit exit;
  Check(env, WaitPidfd(Int32(info, 0, "pidfd"), Bool(info, 1, "reap"), &exit));
  if (!exit.exited) return env.Null();
  const Napi::Value status = Napi::Number::New(env, exit.status);
  Napi::Object result = Napi::Object::New(env);
  result.Set("code", exit.signaled ? env.Null() : status);
  result.Set("signal", exit.signaled ? status : env.Null());
  return result;
}

Napi::Value JsSocketInodes(const Info& info) {
  const Napi::Env env = info.Env();
  std::vector<uint32_t> inodes;
  Check(env, SocketInodes(Int32(info, 0, "pid"), &inodes));
  Napi::Array result = Napi::Array::New(env, inodes.size());
  for (uint32_t i = 0; i < inodes.size(); i++) result.Set(i, inodes[i]);
  return result;
}

Napi::Value JsProcessGroup(const Info& info) {
  const Napi::Env env = info.Env();
  pid_t group = 0;
  const Status status = ProcessGroup(Int32(info, 0, "pid"), &group);
  if (status.is(ESRCH)) return env.Null();
  Check(env, status);
  return Napi::Number::New(env, group);
}

Napi::Value JsCanRaisePriority(const Info& info) {
  bool can = false;
  Check(info.Env(), CanRaisePriority(&can));
  return Napi::Boolean::New(info.Env(), can);
}

void JsReplaceProgram(const Info& info) {
  Check(info.Env(), ReplaceProgram(CString(info, 0, "file"), CStrings(info, 1, "argv"),
                                   CStrings(info, 2, "environment"), Int32s(info, 3, "kept")));
}

}  // namespace

void ExportProcesses(Napi::Object* exports) {
  Export(exports, "spawn", JsSpawn);
  Export(exports, "pidfdOpen", JsPidfdOpen);
  Export(exports, "pidfdSendSignal", JsPidfdSendSignal);
  Export(exports, "pidfdGetfd", JsPidfdGetfd);
  Export(exports, "waitPidfd", JsWaitPidfd);
  Export(exports, "socketInodes", JsSocketInodes);
  Export(exports, "processGroup", JsProcessGroup);
  Export(exports, "canRaisePriority", JsCanRaisePriority);
  Export(exports, "replaceProgram", JsReplaceProgram);
}

}  // namespace handoff
