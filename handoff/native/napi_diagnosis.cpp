#include <map>

#include "binding.h"
#include "diag.h"
#include "napi_values.h"

namespace handoff {

namespace {

using Info = Napi::CallbackInfo;

Napi::Object FromInetSocket(Napi::Env env, const InetSocket& socket) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("state", Napi::Number::New(env, socket.state));
  object.Set("family", FamilyName(socket.family));
  object.Set("localHost", socket.local_host);
  object.Set("localPort", Napi::Number::New(env, socket.local_port));
  object.Set("remoteHost", socket.remote_host);
  object.Set("remotePort", Napi::Number::New(env, socket.remote_port));
  object.Set("inode", socket.inode);
  object.Set("uid", socket.uid);
  object.Set("mark", socket.mark);
  return object;
}

Napi::Value JsDiagSockets(const Info& info) {
  const Napi::Env env = info.Env();
  const uint32_t port = Uint32(info, 2, "localPort");
  if (port > UINT16_MAX) throw WrongArgument(env, "localPort", "a port");
  std::vector<InetSocket> sockets;
  Check(env,
        DiagSockets(InetFamily(info, 0), Uint32(info, 1, "states"), static_cast<uint16_t>(port), &sockets));
  Napi::Array result = Napi::Array::New(env, sockets.size());
  for (uint32_t i = 0; i < sockets.size(); i++) result.Set(i, FromInetSocket(env, sockets[i]));
  return result;
}

Napi::Value JsDiagConnection(const Info& info) {
  const Napi::Env env = info.Env();
  InetSocket socket;
  bool found = false;
  Check(env, DiagConnection(SocketAddress(info, 0), SocketAddress(info, 1), &socket, &found));
  if (!found) return env.Null();
  return FromInetSocket(env, socket);
}

Napi::Value JsCountByMark(const Info& info) {
  const Napi::Env env = info.Env();
  std::map<uint32_t, uint32_t> counts;
  Check(env,
        CountByMark(Uint32(info, 0, "states"), Uint32(info, 1, "value"), Uint32(info, 2, "mask"), &counts));
  Napi::Array result = Napi::Array::New(env, counts.size());
  uint32_t at = 0;
  for (const auto& [mark, count] : counts) {
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0u, mark);
    pair.Set(1u, count);
    result.Set(at++, pair);
  }
  return result;
}

Napi::Value JsUnixListenQueue(const Info& info) {
  Queue queue;
  Check(info.Env(), UnixListenQueue(Uint32(info, 0, "inode"), &queue));
  return FromQueue(info.Env(), queue);
}

Napi::Value JsUnixListenQueues(const Info& info) {
  const Napi::Env env = info.Env();
  std::map<uint32_t, Queue> queues;
  Check(env, UnixListenQueues(&queues));
  Napi::Array result = Napi::Array::New(env, queues.size());
  uint32_t at = 0;
  for (const auto& [inode, queue] : queues) {
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0u, inode);
    pair.Set(1u, FromQueue(env, queue));
    result.Set(at++, pair);
  }
  return result;
}

}  // namespace

void ExportDiagnosis(Napi::Object* exports) {
  Export(exports, "diagSockets", JsDiagSockets);
  Export(exports, "diagConnection", JsDiagConnection);
  Export(exports, "countByMark", JsCountByMark);
  Export(exports, "unixListenQueue", JsUnixListenQueue);
  Export(exports, "unixListenQueues", JsUnixListenQueues);
}

}  // namespace handoff
