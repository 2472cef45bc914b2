// The addon's face: handoff/native.ts says what each function promises. In napi_*.cpp a JavaScript call
// becomes one call of the kernel side, and its Status an error. No statics: the addon loads once per
// environment, workers included.
#include "binding.h"

#include "poll_object.h"

static Napi::Object Initialize(Napi::Env env, Napi::Object exports) {
  handoff::ExportDescriptors(&exports);
  handoff::ExportSockets(&exports);
  handoff::ExportMessages(&exports);
  handoff::ExportProcesses(&exports);
  handoff::ExportUsers(&exports);
  handoff::ExportDiagnosis(&exports);
  exports.Set("Poll", handoff::PollClass(env));
  return exports;
}

NODE_API_MODULE(handoff, Initialize)
