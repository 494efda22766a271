// How large the segments of a member's log are. For tests alone: small ones come and go within one. Any thread, before members
// are opened.
#pragma once

#include <cstdint>

namespace server {

// Of data directories opened from now on.
void set_wal_segment_bytes_for_test(uint64_t bytes);

}  // namespace server
