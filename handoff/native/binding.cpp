// The addon's face: handoff/native.ts says what each function promises. Here a JavaScript call becomes one
// call of the kernel side, and its Status an error. No statics: the addon loads once per environment, workers
// included.
#include <linux/filter.h>
#include <sys/socket.h>

#include <cstring>
#include <map>

#include "descriptor.h"
#include "diag.h"
#include "message.h"
#include "napi_values.h"
#include "poll_object.h"
#include "process.h"
#include "socket.h"
#include "users.h"

namespace handoff {

namespace {

using Info = Napi::CallbackInfo;

// The JavaScript side owns the number from here on.
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

// --- descriptors ---

void JsClose(const Info& info) { Check(info.Env(), Close(Int32(info, 0, "fd"))); }

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

// --- sockets ---

int SocketFamily(const Info& info, size_t index) {
  return String(info, index, "family") == "unix" ? AF_UNIX : InetFamily(info, index);
}

int SocketType(const Info& info, size_t index) {
  const std::string type = String(info, index, "type");
  if (type == "stream") return SOCK_STREAM;
  if (type == "seqpacket") return SOCK_SEQPACKET;
  if (type == "dgram") return SOCK_DGRAM;
  throw WrongArgument(info.Env(), "type", "stream, seqpacket or dgram");
}

Napi::Value JsSocket(const Info& info) {
  Descriptor socket;
  Check(info.Env(),
        OpenSocket(SocketFamily(info, 0), SocketType(info, 1), Bool(info, 2, "nonblocking"), &socket));
  return Give(info.Env(), &socket);
}

Napi::Value JsSeqpacketPair(const Info& info) {
  Descriptor one;
  Descriptor other;
  Check(info.Env(), SeqpacketPair(&one, &other));
  return GivePair(info.Env(), &one, &other);
}

void JsBind(const Info& info) { Check(info.Env(), Bind(Int32(info, 0, "fd"), SocketAddress(info, 1))); }

Napi::Value JsConnect(const Info& info) {
  bool connected = false;
  Check(info.Env(), Connect(Int32(info, 0, "fd"), SocketAddress(info, 1), &connected));
  return Napi::Boolean::New(info.Env(), connected);
}

void JsListen(const Info& info) {
  Check(info.Env(), Listen(Int32(info, 0, "fd"), Int32(info, 1, "backlog")));
}

Napi::Value JsAccept(const Info& info) {
  Descriptor connection;
  Check(info.Env(), Accept(Int32(info, 0, "fd"), &connection));
  if (!connection.valid()) return info.Env().Null();
  return Give(info.Env(), &connection);
}

void JsShutdown(const Info& info) {
  const std::string how = String(info, 1, "how");
  if (how != "read" && how != "write" && how != "both") {
    throw WrongArgument(info.Env(), "how", "read, write or both");
  }
  Check(info.Env(), Shutdown(Int32(info, 0, "fd"), how == "read"    ? SHUT_RD
                                                   : how == "write" ? SHUT_WR
                                                                    : SHUT_RDWR));
}

Napi::Value JsLocalAddress(const Info& info) {
  Address address;
  Check(info.Env(), LocalAddress(Int32(info, 0, "fd"), &address));
  return FromAddress(info.Env(), address);
}

Napi::Value JsRemoteAddress(const Info& info) {
  Address address;
  Check(info.Env(), RemoteAddress(Int32(info, 0, "fd"), &address));
  return FromAddress(info.Env(), address);
}

Napi::Value JsGetOption(const Info& info) {
  int value = 0;
  Check(info.Env(), GetOption(Int32(info, 0, "fd"), Int32(info, 1, "level"), Int32(info, 2, "name"), &value));
  return Napi::Number::New(info.Env(), value);
}

void JsSetOption(const Info& info) {
  Check(info.Env(), SetOption(Int32(info, 0, "fd"), Int32(info, 1, "level"), Int32(info, 2, "name"),
                              Int32(info, 3, "value")));
}

Napi::Value JsCookie(const Info& info) {
  uint64_t cookie = 0;
  Check(info.Env(), Cookie(Int32(info, 0, "fd"), &cookie));
  return Napi::BigInt::New(info.Env(), cookie);
}

Napi::Value JsPeerCredentials(const Info& info) {
  Credentials peer;
  Check(info.Env(), PeerCredentials(Int32(info, 0, "fd"), &peer));
  return FromCredentials(info.Env(), peer);
}

void JsAttachReuseportFilter(const Info& info) {
  const Napi::Uint8Array bytes = Bytes(info, 1, "program");
  if (bytes.ByteLength() % sizeof(sock_filter) != 0) {
    throw SystemCallError(info.Env(), Failed("setsockopt", EINVAL));
  }
  // Copied: a view into a larger buffer need not be aligned.
  std::vector<sock_filter> program(bytes.ByteLength() / sizeof(sock_filter));
  if (!program.empty()) std::memcpy(program.data(), bytes.Data(), bytes.ByteLength());
  Check(info.Env(), AttachReuseportFilter(Int32(info, 0, "fd"), program));
}

Napi::Value JsListenQueue(const Info& info) {
  Queue queue;
  Check(info.Env(), ListenQueue(Int32(info, 0, "fd"), &queue));
  return FromQueue(info.Env(), queue);
}

// --- messages ---

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

// --- processes ---

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

Napi::Value JsLookupUser(const Info& info) {
  const Napi::Env env = info.Env();
  User user;
  bool found = false;
  if (info[0].IsNumber()) {
    Check(env, LookupUser(Uint32(info, 0, "nameOrUid"), &user, &found));
  } else {
    Check(env, LookupUser(CString(info, 0, "nameOrUid"), &user, &found));
  }
  if (!found) return env.Null();
  Napi::Object result = Napi::Object::New(env);
  result.Set("name", user.name);
  result.Set("uid", user.uid);
  result.Set("gid", user.gid);
  result.Set("home", user.home);
  result.Set("shell", user.shell);
  return result;
}

Napi::Value JsLookupGroup(const Info& info) {
  gid_t gid = 0;
  bool found = false;
  Check(info.Env(), LookupGroup(CString(info, 0, "name"), &gid, &found));
  if (!found) return info.Env().Null();
  return Napi::Number::New(info.Env(), gid);
}

Napi::Value JsGroupsOf(const Info& info) {
  std::vector<gid_t> groups;
  Check(info.Env(), GroupsOf(CString(info, 0, "name"), Uint32(info, 1, "gid"), &groups));
  Napi::Array result = Napi::Array::New(info.Env(), groups.size());
  for (uint32_t i = 0; i < groups.size(); i++) result.Set(i, groups[i]);
  return result;
}

// --- diagnosis ---

Napi::Value JsDiagSockets(const Info& info) {
  const Napi::Env env = info.Env();
  const uint32_t port = Uint32(info, 2, "localPort");
  if (port > UINT16_MAX) throw WrongArgument(env, "localPort", "a port");
  std::vector<InetSocket> sockets;
  Check(env,
        DiagSockets(InetFamily(info, 0), Uint32(info, 1, "states"), static_cast<uint16_t>(port), &sockets));
  Napi::Array result = Napi::Array::New(env, sockets.size());
  for (uint32_t i = 0; i < sockets.size(); i++) {
    const InetSocket& socket = sockets[i];
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
    result.Set(i, object);
  }
  return result;
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

template <typename Function>
void Export(Napi::Object* exports, const char* name, Function function) {
  exports->Set(name, Napi::Function::New(exports->Env(), function, name));
}

void ExportAll(Napi::Env env, Napi::Object exports) {
  Export(&exports, "close", JsClose);
  Export(&exports, "duplicate", JsDuplicate);
  Export(&exports, "setCloexec", JsSetCloexec);
  Export(&exports, "setNonblocking", JsSetNonblocking);
  Export(&exports, "isNonblocking", JsIsNonblocking);
  Export(&exports, "memfd", JsMemfd);
  Export(&exports, "pipe", JsPipe);
  Export(&exports, "lockFile", JsLockFile);
  Export(&exports, "socket", JsSocket);
  Export(&exports, "seqpacketPair", JsSeqpacketPair);
  Export(&exports, "bind", JsBind);
  Export(&exports, "connect", JsConnect);
  Export(&exports, "listen", JsListen);
  Export(&exports, "accept", JsAccept);
  Export(&exports, "shutdown", JsShutdown);
  Export(&exports, "localAddress", JsLocalAddress);
  Export(&exports, "remoteAddress", JsRemoteAddress);
  Export(&exports, "getOption", JsGetOption);
  Export(&exports, "setOption", JsSetOption);
  Export(&exports, "cookie", JsCookie);
  Export(&exports, "peerCredentials", JsPeerCredentials);
  Export(&exports, "attachReuseportFilter", JsAttachReuseportFilter);
  Export(&exports, "listenQueue", JsListenQueue);
  Export(&exports, "sendMessage", JsSendMessage);
  Export(&exports, "receiveMessage", JsReceiveMessage);
  Export(&exports, "spawn", JsSpawn);
  Export(&exports, "pidfdOpen", JsPidfdOpen);
  Export(&exports, "pidfdSendSignal", JsPidfdSendSignal);
  Export(&exports, "pidfdGetfd", JsPidfdGetfd);
  Export(&exports, "waitPidfd", JsWaitPidfd);
  Export(&exports, "lookupUser", JsLookupUser);
  Export(&exports, "lookupGroup", JsLookupGroup);
  Export(&exports, "groupsOf", JsGroupsOf);
  Export(&exports, "diagSockets", JsDiagSockets);
  Export(&exports, "countByMark", JsCountByMark);
  Export(&exports, "unixListenQueue", JsUnixListenQueue);
  exports.Set("Poll", PollClass(env));
}

}  // namespace

}  // namespace handoff

static Napi::Object Initialize(Napi::Env env, Napi::Object exports) {
  handoff::ExportAll(env, exports);
  return exports;
}

NODE_API_MODULE(handoff, Initialize)
