#include "binding.h"
#include "message.h"
#include "napi_values.h"

namespace handoff {

namespace {

using Info = Napi::CallbackInfo;

Napi::Value JsSendMessage(const Info& info) {
  const Napi::Uint8Array data = Bytes(info, 1, "data");
  bool sent = false;
  Check(info.Env(), SendMessage(Int32(info, 0, "fd"), data.Data(), data.ByteLength(),
                                Int32s(info, 2, "descriptors"), &sent));
  return Napi::Boolean::New(info.Env(), sent);
}

Napi::Value JsReceiveMessage(const Info& info) {
  const Napi::Env env = info.Env();
  Napi::Uint8Array buffer = Bytes(info, 1, "buffer");
  Received message;
  bool received = false;
  Check(env, ReceiveMessage(Int32(info, 0, "fd"), buffer.Data(), buffer.ByteLength(),
                            Uint32(info, 2, "maxDescriptors"), &message, &received));
  if (!received) return env.Null();

  Napi::Object result = Napi::Object::New(env);
  result.Set("length", Napi::Number::New(env, static_cast<double>(message.length)));
  Napi::Array descriptors = Napi::Array::New(env, message.descriptors.size());
  for (uint32_t i = 0; i < message.descriptors.size(); i++) {
    descriptors.Set(i, Napi::Number::New(env, message.descriptors[i].get()));
  }
  result.Set("descriptors", descriptors);
  result.Set("dataTruncated", message.data_truncated);
  result.Set("descriptorsTruncated", message.descriptors_truncated);
  result.Set("credentials", message.has_credentials ? Napi::Value(FromCredentials(env, message.credentials))
                                                    : Napi::Value(env.Null()));
  // Last, when nothing can throw any more: until here they would be closed.
  for (Descriptor& descriptor : message.descriptors) descriptor.release();
  return result;
}

}  // namespace

void ExportMessages(Napi::Object* exports) {
  Export(exports, "sendMessage", JsSendMessage);
  Export(exports, "receiveMessage", JsReceiveMessage);
}

}  // namespace handoff
