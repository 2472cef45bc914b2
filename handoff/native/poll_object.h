// The JavaScript class `Poll`.
#pragma once

#include "napi_values.h"
#include "poll.h"

namespace handoff {

// Once in each environment.
Napi::Function PollClass(Napi::Env env);
// Those of this environment, which owns them.
Polls* PollsOf(Napi::Env env);

}  // namespace handoff
