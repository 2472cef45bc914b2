// Users and groups as the name service knows them (NSS: it may read files or ask a daemon, so it may block).
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "status.h"

namespace handoff {

struct User {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
  std::string shell;
};

// `*found` is false when nobody has that name or number.
Status LookupUser(const std::string& name, User* out, bool* found);
Status LookupUser(uid_t uid, User* out, bool* found);
Status LookupGroup(const std::string& name, gid_t* out, bool* found);
Status GroupsOf(const std::string& name, gid_t gid, std::vector<gid_t>* out);

}  // namespace handoff
