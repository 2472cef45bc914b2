// The program's descriptor table.
#pragma once

#include <stdbool.h>

#include "launch_grant.h"

// Descriptors to 3, 4, … and the channel after the last; nothing above. `channel` is where it went.
void place_descriptors(const struct grant *grant, bool keeps_channel);
