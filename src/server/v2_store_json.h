// The JSON of the old v2 store that still rides in snapshot messages and .snap files: membership and cluster version only.
// 3.7 writes and ignores it; 3.6 and older parse it and stop on anything malformed (wire-and-disk 8.5).
#pragma once

#include <string>

#include "server/membership.h"

namespace server {

std::string v2_store_json(const Membership& membership);

}  // namespace server
