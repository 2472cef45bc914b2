#include "users.h"

#include <grp.h>
#include <pwd.h>

namespace handoff {

namespace {

constexpr size_t kFirstBuffer = 4096;
constexpr size_t kLargestBuffer = 16u << 20;

// Calls one of the *_r functions with a growing buffer.
template <typename Entry, typename Call>
Status Lookup(const char* name, Call call, std::vector<char>* buffer, Entry* entry, bool* found) {
  for (size_t size = kFirstBuffer;; size *= 2) {
    buffer->resize(size);
    Entry* result = nullptr;
    const int error = call(entry, buffer->data(), size, &result);
    if (error == EINTR) continue;
    if (error == ERANGE && size < kLargestBuffer) continue;
    *found = result != nullptr;
    // What getpwnam(3) lists for "not found", depending on the name service module.
    const bool absent = error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
    return *found || absent ? Ok() : Failed(name, error);
  }
}

template <typename Call>
Status FindUser(const char* name, Call call, User* out, bool* found) {
  std::vector<char> buffer;
  passwd entry{};
  const Status status = Lookup(name, call, &buffer, &entry, found);
  if (status.ok() && *found) {
    *out = {entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell};
  }
  return status;
}

}  // namespace

Status LookupUser(const std::string& name, User* out, bool* found) {
  return FindUser(
      "getpwnam_r",
      [&](passwd* entry, char* buffer, size_t size, passwd** result) {
        return ::getpwnam_r(name.c_str(), entry, buffer, size, result);
      },
      out, found);
}

Status LookupUser(uid_t uid, User* out, bool* found) {
  return FindUser(
      "getpwuid_r",
      [&](passwd* entry, char* buffer, size_t size, passwd** result) {
        return ::getpwuid_r(uid, entry, buffer, size, result);
      },
      out, found);
}

Status LookupGroup(const std::string& name, gid_t* out, bool* found) {
  std::vector<char> buffer;
  group entry{};
  const Status status = Lookup(
      "getgrnam_r",
      [&](group* into, char* bytes, size_t size, group** result) {
        return ::getgrnam_r(name.c_str(), into, bytes, size, result);
      },
      &buffer, &entry, found);
  if (status.ok() && *found) *out = entry.gr_gid;
  return status;
}

Status GroupsOf(const std::string& name, gid_t gid, std::vector<gid_t>* out) {
  int count = 64;
  for (;;) {
    const int room = count;
    out->resize(static_cast<size_t>(room));
    if (::getgrouplist(name.c_str(), gid, out->data(), &count) >= 0) break;
    // -1 is "too small", and glibc has put the number needed into `count`; another libc may not have.
    if (count <= room) count = room * 2;
    if (count > 1 << 17) return Failed("getgrouplist", ERANGE);
  }
  out->resize(static_cast<size_t>(count));
  return Ok();
}

}  // namespace handoff
