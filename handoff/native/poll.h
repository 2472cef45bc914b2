// Watches one descriptor for readability on a libuv loop.
#pragma once

#include <cstdint>
#include <memory>

#include "status.h"

struct uv_loop_s;
struct uv_handle_s;
struct uv_poll_s;

namespace handoff {

class Poll;

// What the polls of one loop know of each other. It outlives them.
class Polls {
 public:
  // `fd` is about to be closed, or watched by another one: the poll whose callback runs lets go of it.
  void LetGo(int fd);

 private:
  friend class Poll;
  Poll* called_ = nullptr;  // its callback runs
};

// Lives on the heap and ends by itself: after Close() the loop calls `closed`, and then it is gone.
class Poll {
 public:
  using Callback = void (*)(void* context);

  // `fd` stays the caller's and must be open while the poll is started; it keeps its blocking mode. `*out`
  // lives until its `closed` was called. On failure nothing is left and `closed` is not called.
  static Status Open(uv_loop_s* loop, Polls* polls, int fd, Callback readable, Callback closed, void* context,
                     Poll** out);

  // Starting a started poll is fine. EBADF and EPERM (a regular file) where the descriptor cannot be watched.
  Status Start();
  void Stop();
  void Close();
  void Ref();
  void Unref();

 private:
  friend class Polls;
  Poll(uv_loop_s* loop, Polls* polls, int fd, Callback readable, Callback closed, void* context);
  ~Poll() = default;
  Poll(const Poll&) = delete;
  Poll& operator=(const Poll&) = delete;

  static void OnEvent(uv_poll_s* handle, int status, int events);
  static void OnClosed(uv_handle_s* handle);
  uv_poll_s* poll() const { return reinterpret_cast<uv_poll_s*>(memory_.get()); }
  uv_handle_s* handle() const { return reinterpret_cast<uv_handle_s*>(memory_.get()); }
  Status Arm();
  void Disarm();

  uv_loop_s* const loop_;
  Polls* const polls_;
  const int fd_;
  const Callback readable_;
  const Callback closed_;
  void* const context_;
  std::unique_ptr<uint64_t[]> memory_;
  bool wanted_ = false;  // started, as far as the owner knows
  bool armed_ = false;   // started, as far as libuv knows
  bool closing_ = false;
};

}  // namespace handoff
