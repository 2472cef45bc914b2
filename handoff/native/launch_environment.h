// The program's environment: the specification's, and what sd_listen_fds(3) and the channel add to it.
#pragma once

#include "launch_grant.h"
#include "launch_specification.h"

// Ends specification->environment with NULL. After place_descriptors(): HANDOFF_FD says where the channel is.
void set_environment(struct specification *specification, const struct grant *grant);
