// Ids of requests in the log: 2 bytes member, 5 bytes start time in ms, 1 byte and upwards a counter (wire-and-disk 5.2).
// Unique in the cluster without asking anybody, also over restarts. Owner: core loop.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace server {

class RequestIds {
 public:
  RequestIds(base::NodeId self, int64_t unix_ms)
      : prefix_((self.value() & 0xffff) << 48), suffix_((static_cast<uint64_t>(unix_ms) & ((uint64_t{1} << 40) - 1)) << 8) {}
  uint64_t next() { return prefix_ | (++suffix_ & ((uint64_t{1} << 48) - 1)); }

 private:
  const uint64_t prefix_;
  uint64_t suffix_;
};

}  // namespace server
