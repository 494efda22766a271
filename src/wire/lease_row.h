// The row of a lease as etcd stores it: leasepb.Lease. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wire {

struct LeaseRow {
  int64_t id = 0;
  int64_t ttl_s = 0;
  int64_t remaining_ttl_s = 0;  // of the last checkpoint; 0: none
};

std::string encode(const LeaseRow& row);
// False: malformed.
[[nodiscard]] bool parse(std::string_view bytes, LeaseRow& out);

}  // namespace wire
