// The `confState` row of the bucket `meta`: {"voters":[1,2],"learners":[3],"auto_leave":false}, ids as full 64-bit numbers.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "raft/types.h"

namespace server {

std::string conf_state_json(const raft::ConfState& state);
// kDataLoss: not such a row.
base::Result<raft::ConfState> parse_conf_state(std::string_view json);

}  // namespace server
