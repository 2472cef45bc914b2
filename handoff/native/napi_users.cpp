#include "binding.h"
#include "napi_values.h"
#include "users.h"

namespace handoff {

namespace {

using Info = Napi::CallbackInfo;

Napi::Value JsLookupUser(const Info& info) {
  const Napi::Env env = info.Env();
  User user;
  bool found = false;
  if (info[0].IsNumber()) {
    Check(env, LookupUser(Uint32(info, 0, "nameOrUid"), &user, &found));
  } else {
    Check(env, LookupUser(CString(info, 0, "nameOrUid"), &user, &found));
  }
  if (!found) return env.Null();
  Napi::Object result = Napi::Object::New(env);
  result.Set("name", user.name);
  result.Set("uid", user.uid);
  result.Set("gid", user.gid);
  result.Set("home", user.home);
  result.Set("shell", user.shell);
  return result;
}

Napi::Value JsLookupGroup(const Info& info) {
  gid_t gid = 0;
  bool found = false;
  Check(info.Env(), LookupGroup(CString(info, 0, "name"), &gid, &found));
  if (!found) return info.Env().Null();
  return Napi::Number::New(info.Env(), gid);
}

Napi::Value JsGroupsOf(const Info& info) {
  std::vector<gid_t> groups;
  Check(info.Env(), GroupsOf(CString(info, 0, "name"), Uint32(info, 1, "gid"), &groups));
  Napi::Array result = Napi::Array::New(info.Env(), groups.size());
  for (uint32_t i = 0; i < groups.size(); i++) result.Set(i, groups[i]);
  return result;
}

}  // namespace

void ExportUsers(Napi::Object* exports) {
  Export(exports, "lookupUser", JsLookupUser);
  Export(exports, "lookupGroup", JsLookupGroup);
  Export(exports, "groupsOf", JsGroupsOf);
}

}  // namespace handoff
