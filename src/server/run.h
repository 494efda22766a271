// Runs a member until a signal or a fatal condition ends it. Called by the server command once flags are checked and logs set
// up.
#pragma once

#include "server/config.h"

namespace server {

// Returns the exit code; dies by the signal that stopped it, as etcd does (exit 0 as process 1). Errors at start are logged.
int run(const Config& config);

}  // namespace server
