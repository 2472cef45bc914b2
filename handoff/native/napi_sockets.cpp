#include <linux/filter.h>
#include <sys/socket.h>

#include <cstring>

#include "binding.h"
#include "napi_values.h"
#include "socket.h"

namespace handoff {

namespace {

using Info = Napi::CallbackInfo;

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

Napi::Value JsBoundFile(const Info& info) {
  Descriptor file;
  Check(info.Env(), BoundFile(Int32(info, 0, "fd"), &file));
  return Give(info.Env(), &file);
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
  const Memory<uint8_t> bytes = Bytes(info, 1, "program");
  if (bytes.length % sizeof(sock_filter) != 0) {
    throw SystemCallError(info.Env(), Failed("setsockopt", EINVAL));
  }
  // Copied: a view into a larger buffer need not be aligned.
  std::vector<sock_filter> program(bytes.length / sizeof(sock_filter));
  if (!program.empty()) std::memcpy(program.data(), bytes.data, bytes.length);
  Check(info.Env(), AttachReuseportFilter(Int32(info, 0, "fd"), program));
}

Napi::Value JsListenQueue(const Info& info) {
  Queue queue;
  Check(info.Env(), ListenQueue(Int32(info, 0, "fd"), &queue));
  return FromQueue(info.Env(), queue);
}

}  // namespace

void ExportSockets(Napi::Object* exports) {
  Export(exports, "socket", JsSocket);
  Export(exports, "seqpacketPair", JsSeqpacketPair);
  Export(exports, "bind", JsBind);
  Export(exports, "connect", JsConnect);
  Export(exports, "listen", JsListen);
  Export(exports, "accept", JsAccept);
  Export(exports, "boundFile", JsBoundFile);
  Export(exports, "shutdown", JsShutdown);
  Export(exports, "localAddress", JsLocalAddress);
  Export(exports, "remoteAddress", JsRemoteAddress);
  Export(exports, "getOption", JsGetOption);
  Export(exports, "setOption", JsSetOption);
  Export(exports, "cookie", JsCookie);
  Export(exports, "peerCredentials", JsPeerCredentials);
  Export(exports, "attachReuseportFilter", JsAttachReuseportFilter);
  Export(exports, "listenQueue", JsListenQueue);
}

}  // namespace handoff
