#include "address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace handoff {

namespace {

Status EncodeUnix(const std::string& path, const char* call, RawAddress* out) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // An empty path would make bind(2) choose an abstract name by itself (autobind): nobody here asks for that.
  if (path.empty()) return Failed(call, EINVAL);
  const bool abstract = path[0] == '\0';
  if (!abstract && path.find('\0') != std::string::npos) return Failed(call, EINVAL);
  // A path keeps its final NUL (unix(7) recommends it); every byte of an abstract name counts, so it has
  // none.
  const size_t length = path.size() + (abstract ? 0 : 1);
  if (length > sizeof(address.sun_path)) return Failed(call, ENAMETOOLONG);
  std::memcpy(address.sun_path, path.data(), path.size());
  std::memcpy(&out->storage, &address, sizeof(address));
  out->length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  return Ok();
}

// "fe80::1%eth0" or "fe80::1%2" (RFC 4007): the address and the interface it is on.
bool ParseInet6(const std::string& text, sockaddr_in6* out) {
  const size_t percent = text.find('%');
  const std::string host = text.substr(0, percent);
  if (::inet_pton(AF_INET6, host.c_str(), &out->sin6_addr) != 1) return false;
  if (percent == std::string::npos) return true;
  const std::string zone = text.substr(percent + 1);
  unsigned int index = ::if_nametoindex(zone.c_str());
  if (index == 0) {
    char* end = nullptr;
    const unsigned long number = std::strtoul(zone.c_str(), &end, 10);
    if (end == zone.c_str() || *end != '\0' || number > INT32_MAX) return false;
    index = static_cast<unsigned int>(number);
  }
  out->sin6_scope_id = index;
  return true;
}

}  // namespace

Status Encode(const Address& address, const char* call, RawAddress* out) {
  if (address.family == AF_UNIX) return EncodeUnix(address.text, call, out);
  // inet_pton stops at a NUL and would take "127.0.0.1\0.example.org" for an address.
  if (address.text.find('\0') != std::string::npos) return Failed(call, EINVAL);
  if (address.family == AF_INET) {
    sockaddr_in inet{};
    inet.sin_family = AF_INET;
    inet.sin_port = htons(address.port);
    if (::inet_pton(AF_INET, address.text.c_str(), &inet.sin_addr) != 1) return Failed(call, EINVAL);
    std::memcpy(&out->storage, &inet, sizeof(inet));
    out->length = sizeof(inet);
    return Ok();
  }
  if (address.family == AF_INET6) {
    sockaddr_in6 inet6{};
    inet6.sin6_family = AF_INET6;
    inet6.sin6_port = htons(address.port);
    if (!ParseInet6(address.text, &inet6)) return Failed(call, EINVAL);
    std::memcpy(&out->storage, &inet6, sizeof(inet6));
    out->length = sizeof(inet6);
    return Ok();
  }
  return Failed(call, EAFNOSUPPORT);
}

Status Decode(const RawAddress& raw, const char* call, Address* out) {
  out->family = raw.storage.ss_family;
  out->port = 0;
  char text[INET6_ADDRSTRLEN] = "";
  if (out->family == AF_INET) {
    sockaddr_in inet;
    std::memcpy(&inet, &raw.storage, sizeof(inet));
    ::inet_ntop(AF_INET, &inet.sin_addr, text, sizeof(text));
    out->text = text;
    out->port = ntohs(inet.sin_port);
    return Ok();
  }
  if (out->family == AF_INET6) {
    sockaddr_in6 inet6;
    std::memcpy(&inet6, &raw.storage, sizeof(inet6));
    ::inet_ntop(AF_INET6, &inet6.sin6_addr, text, sizeof(text));
    out->text = text;
    if (inet6.sin6_scope_id != 0) {
      char name[IF_NAMESIZE];
      out->text += '%';
      out->text += ::if_indextoname(inet6.sin6_scope_id, name) != nullptr
                       ? std::string(name)
                       : std::to_string(inet6.sin6_scope_id);
    }
    out->port = ntohs(inet6.sin6_port);
    return Ok();
  }
  if (out->family == AF_UNIX) {
    sockaddr_un address;
    std::memcpy(&address, &raw.storage, sizeof(address));
    const size_t header = offsetof(sockaddr_un, sun_path);
    // The kernel may say one more than the structure holds: a path of 108 bytes without its NUL.
    const size_t said = raw.length > header ? raw.length - header : 0;
    const size_t length = said < sizeof(address.sun_path) ? said : sizeof(address.sun_path);
    const bool abstract = length > 0 && address.sun_path[0] == '\0';
    out->text.assign(address.sun_path, abstract ? length : ::strnlen(address.sun_path, length));
    return Ok();
  }
  return Failed(call, EAFNOSUPPORT);
}

}  // namespace handoff
