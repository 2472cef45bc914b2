// The JavaScript class `Poll`.
#pragma once

#include "napi_values.h"

namespace handoff {

Napi::Function PollClass(Napi::Env env);

}  // namespace handoff
