// The few functions of libuv that watching a descriptor takes, for builds without uv.h (the package
// node-api-headers has none). libuv keeps its ABI throughout version 1, the handle stays opaque (its size is
// asked at run time), and Node exports the symbols. Where uv.h is there, it is included as well: a
// declaration that differs from it does not compile, and the numbers are compared.
#pragma once

#include <stddef.h>

#if __has_include(<uv.h>)
#include <uv.h>
#endif

extern "C" {

struct uv_loop_s;
struct uv_handle_s;
struct uv_poll_s;

int uv_poll_init(struct uv_loop_s* loop, struct uv_poll_s* handle, int fd);
int uv_poll_start(struct uv_poll_s* handle, int events,
                  void (*callback)(struct uv_poll_s* handle, int status, int events));
int uv_poll_stop(struct uv_poll_s* handle);
void uv_close(struct uv_handle_s* handle, void (*callback)(struct uv_handle_s* handle));
void uv_ref(struct uv_handle_s* handle);
void uv_unref(struct uv_handle_s* handle);
void* uv_handle_get_data(const struct uv_handle_s* handle);
void uv_handle_set_data(struct uv_handle_s* handle, void* data);
int uv_backend_fd(const struct uv_loop_s* loop);

#if !__has_include(<uv.h>)
typedef enum { UV_POLL = 8 } uv_handle_type;
enum uv_poll_event { UV_READABLE = 1 };
size_t uv_handle_size(uv_handle_type type);
#endif
}

static_assert(UV_POLL == 8, "uv_handle_type is part of libuv's ABI");
static_assert(UV_READABLE == 1, "uv_poll_event is part of libuv's ABI");
static_assert(sizeof(uv_handle_type) == sizeof(int), "an enum is passed as an int");
