// The owner's callback may close the descriptor, and another one may get its number, before the callback has
// returned (napi_make_callback even runs the microtasks first). libuv keys its watchers by that number: if
// ours were still registered then, it would stand in the way of the new one's, whose events would be lost
// without a word. So the poll is stopped before each call, and started again afterwards if it is still
// wanted.
#include "poll.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include "uv_abi.h"

namespace handoff {

Poll::Poll(uv_loop_s* loop, int fd, Callback readable, Callback closed, void* context)
    : loop_(loop),
      fd_(fd),
      readable_(readable),
      closed_(closed),
      context_(context),
      memory_(
          std::make_unique<uint64_t[]>((uv_handle_size(UV_POLL) + sizeof(uint64_t) - 1) / sizeof(uint64_t))) {
}

Status Poll::Open(uv_loop_s* loop, int fd, Callback readable, Callback closed, void* context, Poll** out) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return Failed("fcntl");
  Poll* self = new Poll(loop, fd, readable, closed, context);
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

Status Poll::Start() {
  if (closing_) return Failed("uv_poll_start", EBADF);
  if (calling_) {
    wanted_ = true;
    return Ok();
  }
  const Status status = armed_ ? Ok() : Arm();
  wanted_ = status.ok();
  return status;
}

void Poll::Stop() {
  wanted_ = false;
  if (armed_) uv_poll_stop(poll());
  armed_ = false;
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

void Poll::OnEvent(uv_poll_s* handle, int /*status*/, int /*events*/) {
  // A status of EBADF means EPOLLERR: the descriptor is readable in the sense that reading it tells the
  // error.
  auto* self = static_cast<Poll*>(uv_handle_get_data(reinterpret_cast<uv_handle_s*>(handle)));
  uv_poll_stop(handle);
  self->armed_ = false;
  self->calling_ = true;
  self->readable_(self->context_);
  self->calling_ = false;
  // Where the number is no descriptor any more, or is another poll's by now, this one stays quiet.
  if (self->wanted_) self->wanted_ = self->Arm().ok();
}

void Poll::OnClosed(uv_handle_s* handle) {
  auto* self = static_cast<Poll*>(uv_handle_get_data(handle));
  self->closed_(self->context_);
  delete self;
}

}  // namespace handoff
