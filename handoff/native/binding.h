// The addon's functions, by the noun they are about: each napi_*.cpp adds its own to the exports.
#pragma once

#include "napi_values.h"

namespace handoff {

template <typename Function>
void Export(Napi::Object* exports, const char* name, Function function) {
  exports->Set(name, Napi::Function::New(exports->Env(), function, name));
}

void ExportDescriptors(Napi::Object* exports);
void ExportSockets(Napi::Object* exports);
void ExportMessages(Napi::Object* exports);
void ExportProcesses(Napi::Object* exports);
void ExportUsers(Napi::Object* exports);
void ExportDiagnosis(Napi::Object* exports);

}  // namespace handoff
