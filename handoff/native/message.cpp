#include "message.h"

#include <sys/socket.h>

#include <cstring>

namespace handoff {

namespace {

// Takes every descriptor of one SCM_RIGHTS block. `length` is what the kernel wrote, not what we hoped for.
// false: there were too many.
bool TakeDescriptors(const cmsghdr* header, size_t length, Descriptors* out) {
  const unsigned char* bytes = CMSG_DATA(header);
  bool taken = true;
  for (size_t at = 0; at + sizeof(int) <= length; at += sizeof(int)) {
    int fd;
    std::memcpy(&fd, bytes + at, sizeof(fd));
    taken = out->Add(fd) && taken;
  }
  return taken;
}

}  // namespace

bool Descriptors::Add(int fd) {
  if (size_ == kMost) {
    ::close(fd);
    return false;
  }
  fds_[size_++] = fd;
  return true;
}

void Descriptors::Shrink(size_t size) {
  while (size_ > size) ::close(fds_[--size_]);
}

Status SendMessage(int fd, const uint8_t* data, size_t length, const int* descriptors, size_t count,
                   bool* sent) {
  // With 0 bytes of data the receiver's recvmsg returns 0: end of file, as far as it can tell. More than
  // SCM_MAX_FD the kernel would refuse with the same error.
  if (length == 0 || count > kScmMaxFd) return Failed("sendmsg", EINVAL);

  iovec part{const_cast<uint8_t*>(data), length};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;

  alignas(cmsghdr) char control[CMSG_SPACE(kScmMaxFd * sizeof(int))];
  if (count > 0) {
    const size_t bytes = count * sizeof(int);
    std::memset(control, 0, CMSG_SPACE(bytes));
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(header), descriptors, bytes);
  }

  *sent = Retry([&] { return ::sendmsg(fd, &message, MSG_NOSIGNAL); }) >= 0;
  if (!*sent && errno != EAGAIN) return Failed("sendmsg");
  return Ok();
}

Status ReceiveMessage(int fd, uint8_t* buffer, size_t capacity, size_t max_descriptors, Received* out,
                      bool* received) {
  // A buffer of 0 bytes would eat a message and look like end of file.
  if (capacity == 0 || max_descriptors > kScmMaxFd) return Failed("recvmsg", EINVAL);

  iovec part{buffer, capacity};
  alignas(cmsghdr) char control[CMSG_SPACE(kScmMaxFd * sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(max_descriptors * sizeof(int)) + CMSG_SPACE(sizeof(ucred));

  ssize_t count;
  do {
    // CLOEXEC in the same call: set later, a fork in between would leak a listener into a child, and the port
    // could then never be closed.
    count = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  *received = count >= 0;
  if (!*received) return errno == EAGAIN ? Ok() : Failed("recvmsg");

  out->descriptors_truncated = (message.msg_flags & MSG_CTRUNC) != 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_len < CMSG_LEN(0)) continue;
    const size_t length = header->cmsg_len - CMSG_LEN(0);
    if (header->cmsg_type == SCM_RIGHTS) {
      if (!TakeDescriptors(header, length, &out->descriptors)) out->descriptors_truncated = true;
    } else if (header->cmsg_type == SCM_CREDENTIALS && length >= sizeof(ucred)) {
      ucred sender;
      std::memcpy(&sender, CMSG_DATA(header), sizeof(sender));
      out->credentials = {sender.pid, sender.uid, sender.gid};
      out->has_credentials = true;
    }
  }

  out->length = static_cast<size_t>(count);
  out->data_truncated = (message.msg_flags & MSG_TRUNC) != 0;
  // The room for credentials, and CMSG_SPACE's padding, let a few more through than were asked for.
  if (out->descriptors.size() > max_descriptors) {
    out->descriptors.Shrink(max_descriptors);
    out->descriptors_truncated = true;
  }
  return Ok();
}

}  // namespace handoff
