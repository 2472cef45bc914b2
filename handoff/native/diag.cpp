#include "diag.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "descriptor.h"

namespace handoff {

namespace {

constexpr size_t kAnswerSize = 64 * 1024;  // the kernel fills at most 32 KiB a message of a dump
constexpr int kInterruptedDumps = 16;
constexpr uint8_t kTcpListen = 10;       // TCP_LISTEN, net/tcp_states.h
constexpr uint16_t kPortEquals = 11;     // INET_DIAG_BC_S_EQ; older headers have only the two comparisons
constexpr uint16_t kMarkCondition = 10;  // INET_DIAG_BC_MARK_COND
constexpr uint16_t kMarkAttribute = 15;  // INET_DIAG_MARK
// The first form of the question (TCPDIAG_GETSOCK), which alone can ask for both families at once: the kernel
// takes it for AF_UNSPEC (inet_diag_dump_compat, net/ipv4/inet_diag.c), and goes through its table once.
constexpr uint16_t kBothFamilies = 18;

// Copies a structure out of bytes that may be too short and need not be aligned.
template <typename Struct>
bool Read(const uint8_t* bytes, size_t length, Struct* out) {
  if (length < sizeof(Struct)) return false;
  std::memcpy(out, bytes, sizeof(Struct));
  return true;
}

size_t Align(size_t length) { return (length + 3) & ~size_t{3}; }

// Calls visit(type, bytes, length) for each attribute; false when one claims more than there is.
template <typename Visit>
bool EachAttribute(const uint8_t* bytes, size_t length, Visit visit) {
  size_t at = 0;
  while (length - at >= sizeof(rtattr)) {
    rtattr header;
    std::memcpy(&header, bytes + at, sizeof(header));
    if (header.rta_len < sizeof(header) || header.rta_len > length - at) return false;
    visit(header.rta_type, bytes + at + sizeof(header), header.rta_len - sizeof(header));
    const size_t step = Align(header.rta_len);
    if (step > length - at) break;
    at += step;
  }
  return true;
}

// A dual-stack socket's IPv4 peer is ::ffff:a.b.c.d: shown as people write it.
std::string Host(int family, const __be32* words) {
  char text[INET6_ADDRSTRLEN] = "";
  in6_addr address;
  std::memcpy(&address, words, sizeof(address));
  if (family == AF_INET) {
    ::inet_ntop(AF_INET, words, text, sizeof(text));
  } else if (IN6_IS_ADDR_V4MAPPED(&address)) {
    ::inet_ntop(AF_INET, &address.s6_addr[12], text, sizeof(text));
  } else {
    ::inet_ntop(AF_INET6, &address, text, sizeof(text));
  }
  return text;
}

struct Request {
  std::vector<uint8_t> bytes;

  template <typename Struct>
  void Append(const Struct& value) {
    const size_t at = bytes.size();
    bytes.resize(at + sizeof(value));
    std::memcpy(bytes.data() + at, &value, sizeof(value));
  }
};

template <typename Body>
Request DumpRequest(uint16_t type, const Body& body, const std::vector<uint8_t>& bytecode) {
  nlmsghdr header{};
  rtattr attribute{};
  header.nlmsg_type = type;
  header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  header.nlmsg_len = static_cast<uint32_t>(sizeof(header) + sizeof(body));
  if (!bytecode.empty()) header.nlmsg_len += static_cast<uint32_t>(sizeof(attribute) + bytecode.size());

  Request request;
  request.Append(header);
  request.Append(body);
  if (!bytecode.empty()) {
    attribute.rta_type = INET_DIAG_REQ_BYTECODE;
    attribute.rta_len = static_cast<unsigned short>(sizeof(attribute) + bytecode.size());
    request.Append(attribute);
    request.bytes.insert(request.bytes.end(), bytecode.begin(), bytecode.end());
  }
  return request;
}

Request InetDump(int family, uint32_t states, const std::vector<uint8_t>& bytecode) {
  inet_diag_req_v2 body{};
  body.sdiag_family = static_cast<uint8_t>(family);
  body.sdiag_protocol = IPPROTO_TCP;
  body.idiag_states = states;
  return DumpRequest(SOCK_DIAG_BY_FAMILY, body, bytecode);
}

Request DumpOfBothFamilies(uint32_t states, const std::vector<uint8_t>& bytecode) {
  inet_diag_req body{};
  body.idiag_states = states;
  return DumpRequest(kBothFamilies, body, bytecode);
}

// Asks for the queues of unix sockets in `states`: of the one with that inode or, in a dump, of all.
Request UnixQueueRequest(uint16_t flags, uint32_t states, uint32_t inode) {
  nlmsghdr header{};
  unix_diag_req body{};
  header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header.nlmsg_flags = flags;
  header.nlmsg_len = static_cast<uint32_t>(sizeof(header) + sizeof(body));
  body.sdiag_family = AF_UNIX;
  body.udiag_states = states;
  body.udiag_ino = inode;
  body.udiag_show = UDIAG_SHOW_RQLEN;
  // INET_DIAG_NOCOOKIE: whichever socket has that inode.
  body.udiag_cookie[0] = UINT32_MAX;
  body.udiag_cookie[1] = UINT32_MAX;
  Request request;
  request.Append(header);
  request.Append(body);
  return request;
}

// One condition: `yes` steps over it to the end (accepted), `no` steps four bytes beyond the end (rejected).
template <typename Condition>
std::vector<uint8_t> Bytecode(uint16_t code, const Condition& condition) {
  constexpr size_t length = sizeof(inet_diag_bc_op) + sizeof(Condition);
  inet_diag_bc_op op{};
  op.code = static_cast<unsigned char>(code);
  op.yes = static_cast<unsigned char>(length);
  op.no = static_cast<unsigned short>(length + 4);
  std::vector<uint8_t> bytes(length);
  std::memcpy(bytes.data(), &op, sizeof(op));
  std::memcpy(bytes.data() + sizeof(op), &condition, sizeof(condition));
  return bytes;
}

// Sends one request and calls visit(bytes, length) for the body of each answer, until NLMSG_DONE or, for a
// request that is no dump, after the one answer. `*interrupted`: the table changed under the dump, entries
// may be missing.
template <typename Visit>
Status Ask(const Request& request, bool dump, Visit visit, bool* interrupted) {
  const Descriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket.valid()) return Failed("socket");
  *interrupted = false;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent = Retry([&] {
    return ::sendto(socket.get(), request.bytes.data(), request.bytes.size(), 0,
                    reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel));
  });
  if (sent < 0) return Failed("sendto");

  std::vector<uint8_t> answer(kAnswerSize);
  for (;;) {
    const ssize_t received =
        Retry([&] { return ::recv(socket.get(), answer.data(), answer.size(), MSG_TRUNC); });
    if (received < 0) return Failed("recv");
    if (static_cast<size_t>(received) > answer.size()) return Failed("recv", EMSGSIZE);
    size_t left = static_cast<size_t>(received);
    const uint8_t* at = answer.data();
    nlmsghdr header;
    while (Read(at, left, &header)) {
      if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > left) return Failed("recv", EBADMSG);
      const uint8_t* body = at + sizeof(header);
      const size_t length = header.nlmsg_len - sizeof(header);
      if ((header.nlmsg_flags & NLM_F_DUMP_INTR) != 0) *interrupted = true;
      if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
        // Both begin with a negative errno or 0; a dump's end says there how it went.
        int32_t code = 0;
        if (!Read(body, length, &code) && header.nlmsg_type == NLMSG_ERROR) return Failed("recv", EBADMSG);
        return code < 0 ? Failed("recv", -code) : Ok();
      }
      if (header.nlmsg_type == SOCK_DIAG_BY_FAMILY || header.nlmsg_type == kBothFamilies) {
        if (!visit(body, length)) return Failed("recv", EBADMSG);
        if (!dump) return Ok();
      }
      const size_t step = Align(header.nlmsg_len);
      if (step >= left) break;
      at += step;
      left -= step;
    }
  }
}

// A dump under which the table changed is thrown away and asked for again.
template <typename Begin, typename Visit>
Status Dump(const Request& request, Begin begin, Visit visit) {
  for (int attempt = 0; attempt < kInterruptedDumps; attempt++) {
    begin();
    bool interrupted = false;
    const Status status = Ask(request, true, visit, &interrupted);
    if (!status.ok() || !interrupted) return status;
  }
  return Failed("recv", EAGAIN);
}

}  // namespace

bool ParseInetSocket(const uint8_t* bytes, size_t length, InetSocket* out) {
  inet_diag_msg message;
  if (!Read(bytes, length, &message)) return false;
  out->state = message.idiag_state;
  out->family = message.idiag_family;
  if (out->family != AF_INET && out->family != AF_INET6) return false;
  out->local_host = Host(out->family, message.id.idiag_src);
  out->local_port = ntohs(message.id.idiag_sport);
  out->remote_host = Host(out->family, message.id.idiag_dst);
  out->remote_port = ntohs(message.id.idiag_dport);
  out->inode = message.idiag_inode;
  out->uid = message.idiag_uid;
  out->mark = 0;
  const size_t header = Align(sizeof(message));
  if (length <= header) return true;
  return EachAttribute(bytes + header, length - header,
                       [&](uint16_t type, const uint8_t* value, size_t size) {
                         if (type == kMarkAttribute) Read(value, size, &out->mark);
                       });
}

bool ParseUnixQueue(const uint8_t* bytes, size_t length, uint8_t* state, Queue* out) {
  unix_diag_msg message;
  if (!Read(bytes, length, &message)) return false;
  *state = message.udiag_state;
  bool found = false;
  const size_t header = Align(sizeof(message));
  if (length <= header) return false;
  const bool whole =
      EachAttribute(bytes + header, length - header, [&](uint16_t type, const uint8_t* value, size_t size) {
        unix_diag_rqlen queue;
        if (type != UNIX_DIAG_RQLEN || !Read(value, size, &queue)) return;
        *out = {queue.udiag_rqueue, queue.udiag_wqueue};
        found = true;
      });
  return whole && found;
}

Status DiagSockets(int family, uint32_t states, uint16_t local_port, std::vector<InetSocket>* out) {
  std::vector<uint8_t> filter;
  if (local_port != 0) {
    inet_diag_bc_op port{};
    port.no = local_port;
    filter = Bytecode(kPortEquals, port);
  }
  return Dump(
      InetDump(family, states, filter), [&] { out->clear(); },
      [&](const uint8_t* bytes, size_t length) {
        InetSocket socket;
        if (!ParseInetSocket(bytes, length, &socket)) return false;
        out->push_back(std::move(socket));
        return true;
      });
}

Status DiagConnection(const Address& local, const Address& remote, InetSocket* out, bool* found) {
  *found = false;
  in6_addr ends[2]{};
  const Address* addresses[] = {&local, &remote};
  for (int i = 0; i < 2; i++) {
    const Address& end = *addresses[i];
    const bool is_inet = end.family == AF_INET || end.family == AF_INET6;
    if (!is_inet || end.family != local.family || ::inet_pton(end.family, end.text.c_str(), &ends[i]) != 1) {
      return Failed("sendto", EINVAL);
    }
  }

  nlmsghdr header{};
  inet_diag_req_v2 body{};
  header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header.nlmsg_flags = NLM_F_REQUEST;
  header.nlmsg_len = static_cast<uint32_t>(sizeof(header) + sizeof(body));
  body.sdiag_family = static_cast<uint8_t>(local.family);
  body.sdiag_protocol = IPPROTO_TCP;
  body.idiag_states = UINT32_MAX;
  body.id.idiag_sport = htons(local.port);
  body.id.idiag_dport = htons(remote.port);
  std::memcpy(body.id.idiag_src, &ends[0], sizeof(ends[0]));
  std::memcpy(body.id.idiag_dst, &ends[1], sizeof(ends[1]));
  body.id.idiag_cookie[0] = body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  Request request;
  request.Append(header);
  request.Append(body);

  bool interrupted = false;
  const Status status = Ask(
      request, false,
      [&](const uint8_t* bytes, size_t length) { return ParseInetSocket(bytes, length, out); }, &interrupted);
  if (status.error == ENOENT) return Ok();
  // Where there is no such connection the kernel answers with the listener that would get it.
  *found = status.ok() && out->state != kTcpListen;
  return status;
}

Status CountByMark(uint32_t states, uint32_t value, uint32_t mask, std::map<uint32_t, uint32_t>* out) {
  struct {
    uint32_t mark;
    uint32_t mask;
  } const wanted{value, mask};  // struct inet_diag_markcond
  const std::vector<uint8_t> filter = Bytecode(kMarkCondition, wanted);
  return Dump(
      DumpOfBothFamilies(states, filter), [&] { out->clear(); },
      [&](const uint8_t* bytes, size_t length) {
        inet_diag_msg message;
        if (!Read(bytes, length, &message)) return false;
        const size_t begin = Align(sizeof(message));
        if (message.idiag_inode == 0 || length <= begin) return true;
        return EachAttribute(bytes + begin, length - begin,
                             [&](uint16_t type, const uint8_t* bytes_of_mark, size_t size) {
                               uint32_t mark = 0;
                               if (type == kMarkAttribute && Read(bytes_of_mark, size, &mark)) (*out)[mark]++;
                             });
      });
}

Status UnixListenQueue(uint32_t inode, Queue* out) {
  uint8_t state = 0;
  bool interrupted = false;
  const Status status = Ask(
      UnixQueueRequest(NLM_F_REQUEST, UINT32_MAX, inode), false,
      [&](const uint8_t* bytes, size_t length) { return ParseUnixQueue(bytes, length, &state, out); },
      &interrupted);
  if (!status.ok()) return status;
  if (state != kTcpListen) return Failed("recv", EINVAL);
  return Ok();
}

Status UnixListenQueues(std::map<uint32_t, Queue>* out) {
  return Dump(
      UnixQueueRequest(NLM_F_REQUEST | NLM_F_DUMP, 1u << kTcpListen, 0), [&] { out->clear(); },
      [&](const uint8_t* bytes, size_t length) {
        unix_diag_msg message;
        uint8_t state = 0;
        Queue queue;
        if (!Read(bytes, length, &message) || !ParseUnixQueue(bytes, length, &state, &queue)) return false;
        (*out)[message.udiag_ino] = queue;
        return true;
      });
}

}  // namespace handoff
