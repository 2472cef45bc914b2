// A started poll stays with libuv while the owner's callback runs: to leave and to come back would be five
// epoll_ctl(2) for each message. But the callback may close the descriptor, and another one may get its
// number, before the callback has returned (napi_make_callback even runs the microtasks first). libuv keys
// its watchers by that number: if ours were still there then, it would stand in the way of the new one's,
// whose events would be lost without a word. So whoever closes or watches a number says LetGo first. A poll
// that had to let go is started again after its callback if it is still wanted.
#include "poll.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include "uv_abi.h"

namespace handoff {

void Polls::LetGo(int fd) {
  if (called_ != nullptr && called_->fd_ == fd) called_->Disarm();
}

Poll::Poll(uv_loop_s* loop, Polls* polls, int fd, Callback readable, Callback closed, void* context)
    : loop_(loop),
      polls_(polls),
      fd_(fd),
      readable_(readable),
      closed_(closed),
      context_(context),
      memory_(
          std::make_unique<uint64_t[]>((uv_handle_size(UV_POLL) + sizeof(uint64_t) - 1) / sizeof(uint64_t))) {
}

Status Poll::Open(uv_loop_s* loop, Polls* polls, int fd, Callback readable, Callback closed, void* context,
                  Poll** out) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return Failed("fcntl");
  polls->LetGo(fd);
  Poll* self = new Poll(loop, polls, fd, readable, closed, context);
  const int error = uv_poll_init(loop, self->poll(), fd);
  if (error != 0) {
    delete self;
    return Failed("uv_poll_init", -error);
  }
  // uv_poll_init makes the open file description non-blocking, and applications share it. epoll does not need
  // that.
  if ((flags & O_NONBLOCK) == 0) ::fcntl(fd, F_SETFL, flags);
  uv_handle_set_data(self->handle(), self);
  *out = self;
  return Ok();
}

// libuv aborts the process when epoll refuses a descriptor of a started poll (closed, or a regular file by
// now), so epoll is asked first.
Status Poll::Arm() {
  polls_->LetGo(fd_);
  epoll_event event{};
  const int backend = uv_backend_fd(loop_);
  if (::epoll_ctl(backend, EPOLL_CTL_ADD, fd_, &event) == 0) {
    ::epoll_ctl(backend, EPOLL_CTL_DEL, fd_, &event);
  } else if (errno != EEXIST) {
    return Failed("epoll_ctl");
  }
  const int error = uv_poll_start(poll(), UV_READABLE, OnEvent);
  if (error != 0) return Failed("uv_poll_start", -error);
  armed_ = true;
  return Ok();
}

void Poll::Disarm() {
  if (armed_) uv_poll_stop(poll());
  armed_ = false;
}

Status Poll::Start() {
  if (closing_) return Failed("uv_poll_start", EBADF);
  if (polls_->called_ == this) {
    wanted_ = true;
    return Ok();
  }
  const Status status = armed_ ? Ok() : Arm();
  wanted_ = status.ok();
  return status;
}

void Poll::Stop() {
  wanted_ = false;
  Disarm();
}

void Poll::Close() {
  if (closing_) return;
  Stop();
  closing_ = true;
  uv_close(handle(), OnClosed);
}

void Poll::Ref() {
  if (!closing_) uv_ref(handle());
}

void Poll::Unref() {
  if (!closing_) uv_unref(handle());
}

void Poll::OnEvent(uv_poll_s* handle, int status, int /*events*/) {
  auto* self = static_cast<Poll*>(uv_handle_get_data(reinterpret_cast<uv_handle_s*>(handle)));
  // EBADF means EPOLLERR, at which libuv stops by itself: the descriptor is readable in the sense that
  // reading it tells the error.
  if (status != 0) self->Disarm();
  self->polls_->called_ = self;
  self->readable_(self->context_);
  self->polls_->called_ = nullptr;
  // Where the number is no descriptor any more, or is another poll's by now, this one stays quiet.
  if (self->wanted_ && !self->armed_) self->wanted_ = self->Arm().ok();
}

void Poll::OnClosed(uv_handle_s* handle) {
  auto* self = static_cast<Poll*>(uv_handle_get_data(handle));
  self->closed_(self->context_);
  delete self;
}

}  // namespace handoff
