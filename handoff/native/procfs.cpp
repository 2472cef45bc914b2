#include "procfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

namespace handoff {

namespace {

constexpr char kSocket[] = "socket:[";
constexpr size_t kPrefix = sizeof kSocket - 1;
constexpr size_t kLongest = 64;  // "socket:[4294967295]" is all that is looked for.

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

}  // namespace

Status SocketInodes(pid_t pid, std::vector<uint32_t>* out) {
  const std::string path = "/proc/" + std::to_string(pid) + "/fd";
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path.c_str()));
  if (directory == nullptr) return Failed("opendir");
  const int fd = ::dirfd(directory.get());
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    // The process may end while it is read: what was found is no longer its own.
    if (entry == nullptr) return errno == 0 ? Ok() : Failed("readdir");
    if (entry->d_name[0] == '.') continue;
    char target[kLongest];
    const ssize_t length = ::readlinkat(fd, entry->d_name, target, sizeof target - 1);
    if (length <= static_cast<ssize_t>(kPrefix) || std::memcmp(target, kSocket, kPrefix) != 0) continue;
    target[length] = '\0';
    out->push_back(static_cast<uint32_t>(std::strtoul(target + kPrefix, nullptr, 10)));
  }
}

Status ProcessGroup(pid_t pid, pid_t* out) {
  const pid_t group = ::getpgid(pid);
  if (group < 0) return Failed("getpgid");
  *out = group;
  return Ok();
}

}  // namespace handoff
