// The address by which others most likely reach this machine. Reads /proc and the interfaces; start-up only.
#pragma once

#include <string>

#include "base/status.h"

namespace server {

// The IPv4 address of the interface with the default route. kNotFound: `could not find default route`, `could not find default
// host`.
base::Result<std::string> default_host(const std::string& route_file = "/proc/net/route");

}  // namespace server
