// Three things with three lives: the JavaScript object (collected some day), the watcher (gone one turn of
// the loop after close), and the environment (a worker may end at any time). `Link` stands between them: it
// belongs to the watcher, and its two pointers become null as the ends go.
//
//   PollObject ──owns by Close()──▶ Poll ──closed──▶ deletes Link, lets the environment end
#include "poll_object.h"

#include "poll.h"

namespace handoff {

namespace {

class PollObject;

struct Link {
  PollObject* object = nullptr;  // null once it was collected
  Poll* poll = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
};

class PollObject : public Napi::ObjectWrap<PollObject> {
 public:
  explicit PollObject(const Napi::CallbackInfo& info);
  ~PollObject() override;

  // Runs the callback as Node runs any: microtasks and next ticks after it, its exception to
  // uncaughtException.
  void Call();
  // The watcher is gone, or goes now.
  void Forget();

  void Start(const Napi::CallbackInfo& info);
  void Stop(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
  void AddRef(const Napi::CallbackInfo& info);
  void RemoveRef(const Napi::CallbackInfo& info);

 private:
  // A started poll is reachable from the loop, so its object must not be collected.
  void Hold(bool on);

  Link* link_ = nullptr;  // null once closed
  Napi::FunctionReference callback_;
  Napi::AsyncContext context_;
  bool held_ = false;
};

void OnReadable(void* context) {
  auto* link = static_cast<Link*>(context);
  if (link->object != nullptr) link->object->Call();
}

void OnClosed(void* context) {
  auto* link = static_cast<Link*>(context);
  // An environment that ends has waited for this.
  napi_remove_async_cleanup_hook(link->hook);
  delete link;
}

// The environment ends: libuv's loop may only be closed after OnClosed.
void OnEnvironmentEnd(napi_async_cleanup_hook_handle /*hook*/, void* context) {
  auto* link = static_cast<Link*>(context);
  if (link->object != nullptr) link->object->Forget();
  link->poll->Close();
}

PollObject::PollObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<PollObject>(info), context_(info.Env(), "handoffd.Poll") {
  const int fd = Int32(info, 0, "fd");
  if (!info[1].IsFunction()) throw WrongArgument(info.Env(), "onReadable", "a function");
  uv_loop_s* loop = nullptr;
  if (napi_get_uv_event_loop(info.Env(), &loop) != napi_ok) {
    throw Napi::Error::New(info.Env(), "this environment has no event loop");
  }
  auto link = std::make_unique<Link>();
  Check(info.Env(), Poll::Open(loop, PollsOf(info.Env()), fd, OnReadable, OnClosed, link.get(), &link->poll));
  link->object = this;
  link_ = link.release();
  callback_ = Napi::Persistent(info[1].As<Napi::Function>());
  napi_add_async_cleanup_hook(info.Env(), OnEnvironmentEnd, link_, &link_->hook);
}

PollObject::~PollObject() {
  if (link_ == nullptr) return;
  Poll* poll = link_->poll;
  Forget();
  poll->Close();
}

void PollObject::Forget() {
  link_->object = nullptr;
  link_ = nullptr;
}

void PollObject::Hold(bool on) {
  if (on == held_) return;
  held_ = on;
  if (on) {
    Ref();
  } else {
    Unref();
  }
}

void PollObject::Call() {
  const Napi::Env env = Env();
  const Napi::HandleScope scope(env);
  // A local keeps the object while its own callback may close and drop it.
  const Napi::Value self = Value();
  napi_value result = nullptr;
  const napi_status status = napi_make_callback(env, context_, self, callback_.Value(), 0, nullptr, &result);
  napi_value exception = nullptr;
  if (status == napi_pending_exception && napi_get_and_clear_last_exception(env, &exception) == napi_ok) {
    napi_fatal_exception(env, exception);
  }
  // Any other status: the environment is being stopped and no JavaScript runs any more.
}

void PollObject::Start(const Napi::CallbackInfo& info) {
  if (link_ == nullptr) throw SystemCallError(info.Env(), Failed("uv_poll_start", EBADF));
  Check(info.Env(), link_->poll->Start());
  Hold(true);
}

void PollObject::Stop(const Napi::CallbackInfo& /*info*/) {
  if (link_ != nullptr) link_->poll->Stop();
  Hold(false);
}

void PollObject::Close(const Napi::CallbackInfo& /*info*/) {
  if (link_ != nullptr) {
    Poll* poll = link_->poll;
    Forget();
    poll->Close();
    // A reference to it is a root: whatever the callback knows, the owner of this object as a rule, would
    // stay for ever.
    callback_.Reset();
  }
  Hold(false);
}

void PollObject::AddRef(const Napi::CallbackInfo& /*info*/) {
  if (link_ != nullptr) link_->poll->Ref();
}

void PollObject::RemoveRef(const Napi::CallbackInfo& /*info*/) {
  if (link_ != nullptr) link_->poll->Unref();
}

}  // namespace

Polls* PollsOf(Napi::Env env) { return env.GetInstanceData<Polls>(); }

Napi::Function PollClass(Napi::Env env) {
  env.SetInstanceData(new Polls);
  return PollObject::DefineClass(env, "Poll",
                                 {
                                     PollObject::InstanceMethod("start", &PollObject::Start),
                                     PollObject::InstanceMethod("stop", &PollObject::Stop),
                                     PollObject::InstanceMethod("close", &PollObject::Close),
                                     PollObject::InstanceMethod("ref", &PollObject::AddRef),
                                     PollObject::InstanceMethod("unref", &PollObject::RemoveRef),
                                 });
}

}  // namespace handoff
