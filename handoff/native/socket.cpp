#include "socket.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/un.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif
#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

namespace handoff {

namespace {

constexpr uint8_t kTcpListen = 10;  // TCP_LISTEN, net/tcp_states.h

template <typename Value>
Status ReadOption(int fd, int level, int name, Value* out) {
  socklen_t length = sizeof(*out);
  if (::getsockopt(fd, level, name, out, &length) != 0) return Failed("getsockopt");
  return Ok();
}

}  // namespace

Status OpenSocket(int family, int type, bool nonblocking, Descriptor* out) {
  const int fd = ::socket(family, type | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
  if (fd < 0) return Failed("socket");
  out->reset(fd);
  return Ok();
}

Status SeqpacketPair(Descriptor* one, Descriptor* other) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return Failed("socketpair");
  }
  one->reset(ends[0]);
  other->reset(ends[1]);
  return Ok();
}

Status Bind(int fd, const Address& address) {
  RawAddress raw;
  const Status status = Encode(address, "bind", &raw);
  if (!status.ok()) return status;
  if (::bind(fd, raw.get(), raw.length) != 0) return Failed("bind");
  return Ok();
}

Status Connect(int fd, const Address& address, bool* connected) {
  RawAddress raw;
  const Status status = Encode(address, "connect", &raw);
  if (!status.ok()) return status;
  *connected = Retry([&] { return ::connect(fd, raw.get(), raw.length); }) == 0;
  if (!*connected && errno != EINPROGRESS && errno != EAGAIN) return Failed("connect");
  return Ok();
}

Status Listen(int fd, int backlog) {
  if (::listen(fd, backlog) != 0) return Failed("listen");
  return Ok();
}

Status Accept(int fd, Descriptor* out) {
  const int connection = Retry([&] { return ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); });
  if (connection < 0 && errno != EAGAIN) return Failed("accept4");
  out->reset(connection);
  return Ok();
}

Status BoundFile(int fd, Descriptor* out) {
  const int file = ::ioctl(fd, SIOCUNIXFILE);
  if (file < 0) return Failed("ioctl");
  out->reset(file);
  return Ok();
}

Status Shutdown(int fd, int how) {
  if (::shutdown(fd, how) != 0) return Failed("shutdown");
  return Ok();
}

Status LocalAddress(int fd, Address* out) {
  RawAddress raw;
  if (::getsockname(fd, raw.get(), &raw.length) != 0) return Failed("getsockname");
  return Decode(raw, "getsockname", out);
}

Status RemoteAddress(int fd, Address* out) {
  RawAddress raw;
  if (::getpeername(fd, raw.get(), &raw.length) != 0) return Failed("getpeername");
  return Decode(raw, "getpeername", out);
}

Status GetOption(int fd, int level, int name, int* out) {
  *out = 0;
  return ReadOption(fd, level, name, out);
}

Status SetOption(int fd, int level, int name, int value) {
  if (::setsockopt(fd, level, name, &value, sizeof(value)) != 0) return Failed("setsockopt");
  return Ok();
}

Status Cookie(int fd, uint64_t* out) { return ReadOption(fd, SOL_SOCKET, SO_COOKIE, out); }

Status PeerCredentials(int fd, Credentials* out) {
  ucred peer{};
  const Status status = ReadOption(fd, SOL_SOCKET, SO_PEERCRED, &peer);
  *out = {peer.pid, peer.uid, peer.gid};
  return status;
}

Status AttachReuseportFilter(int fd, const std::vector<sock_filter>& program) {
  if (program.empty() || program.size() > BPF_MAXINSNS) return Failed("setsockopt", EINVAL);
  sock_fprog filter{};
  filter.len = static_cast<unsigned short>(program.size());
  // The kernel copies the program and never writes to it; the structure is older than const.
  filter.filter = const_cast<sock_filter*>(program.data());
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof(filter)) != 0) {
    return Failed("setsockopt");
  }
  return Ok();
}

Status ListenQueue(int fd, Queue* out) {
  tcp_info info{};
  const Status status = ReadOption(fd, IPPROTO_TCP, TCP_INFO, &info);
  if (!status.ok()) return status;
  if (info.tcpi_state != kTcpListen) return Failed("getsockopt", EINVAL);
  *out = {info.tcpi_unacked, info.tcpi_sacked};
  return Ok();
}

}  // namespace handoff
