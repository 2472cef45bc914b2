#include <algorithm>

#include "binding.h"
#include "message.h"
#include "napi_values.h"

namespace handoff {

namespace {

using Info = Napi::CallbackInfo;

// What a message was beside its bytes, in numbers: an object with its properties would take longer to make
// than the message to come. handoff/native.ts reads it.
enum Report : size_t { kFlags, kPid, kUid, kGid, kCount, kFirstDescriptor };
constexpr int32_t kDataTruncated = 1;
constexpr int32_t kDescriptorsTruncated = 2;
constexpr int32_t kHasCredentials = 4;

void Write(const Received& message, int32_t* report) {
  const Credentials& sender = message.credentials;
  report[kFlags] = (message.data_truncated ? kDataTruncated : 0) |
                   (message.descriptors_truncated ? kDescriptorsTruncated : 0) |
                   (message.has_credentials ? kHasCredentials : 0);
  report[kPid] = static_cast<int32_t>(sender.pid);
  report[kUid] = static_cast<int32_t>(sender.uid);
  report[kGid] = static_cast<int32_t>(sender.gid);
  report[kCount] = static_cast<int32_t>(message.descriptors.size());
  std::copy_n(message.descriptors.data(), message.descriptors.size(), report + kFirstDescriptor);
}

Napi::Value JsSendMessage(const Info& info) {
  const int32_t fd = Int32(info, 0, "fd");
  const std::vector<int> descriptors = Int32s(info, 2, "descriptors");
  // Last: reading an array may run JavaScript.
  const Memory<uint8_t> data = Bytes(info, 1, "data");
  bool sent = false;
  Check(info.Env(), SendMessage(fd, data.data, data.length, descriptors.data(), descriptors.size(), &sent));
  return Napi::Boolean::New(info.Env(), sent);
}

// The message's length; -1 where nothing waits.
Napi::Value JsReceiveMessage(const Info& info) {
  const Napi::Env env = info.Env();
  const int32_t fd = Int32(info, 0, "fd");
  const Memory<uint8_t> buffer = Bytes(info, 1, "buffer");
  const uint32_t most = Uint32(info, 2, "maxDescriptors");
  const Memory<int32_t> report = Int32Memory(info, 3, "report");
  if (report.length < kFirstDescriptor + std::min<size_t>(most, kScmMaxFd))
    throw WrongArgument(env, "report", "longer");
  Received message;
  bool received = false;
  Check(env, ReceiveMessage(fd, buffer.data, buffer.length, most, &message, &received));
  const Napi::Value length = Napi::Number::New(env, received ? static_cast<double>(message.length) : -1);
  Write(message, report.data);
  // Last, when nothing can throw any more: until here they would be closed.
  message.descriptors.Release();
  return length;
}

}  // namespace

void ExportMessages(Napi::Object* exports) {
  Export(exports, "sendMessage", JsSendMessage);
  Export(exports, "receiveMessage", JsReceiveMessage);
}

}  // namespace handoff
