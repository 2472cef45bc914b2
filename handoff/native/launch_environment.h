// The program's environment: the specification's, and what sd_listen_fds(3) and the channel add to it.
#pragma once

#include "launch_grant.h"
#include "launch_specification.h"

// Adds the launcher's own variables to specification->environment: those that it does not say otherwise,
// without what speaks to whoever started the launcher. The application's NOTIFY_SOCKET is handoffd's.
void keep_environment(struct specification *specification);
// Ends specification->environment with NULL. After place_descriptors(): HANDOFF_FD says where the channel is.
void set_environment(struct specification *specification, const struct grant *grant);
