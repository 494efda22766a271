// What a store keeps in memory, read from all rows of one moment. Made on any thread, then handed to the store: a database that
// another member sent takes seconds to be read, and the core loop has heartbeats to answer meanwhile.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "mvcc/key_index.h"

namespace storage {
class View;
}

namespace mvcc {

inline constexpr std::string_view kScheduledCompactRow = "scheduledCompactRev";
inline constexpr std::string_view kFinishedCompactRow = "finishedCompactRev";

struct StoreImage {
  KeyIndex index;
  int64_t newest = 1;  // main of the last row; 1: none
  int64_t scheduled_compact = -1, finished_compact = -1;
  // Keys that are attached to a lease, ascending. They live in `index`. The store attaches them through its LeaseHooks; who has
  // done so before hands none over.
  std::vector<std::pair<std::string_view, int64_t>> leased;

  // Walks all rows. kDataLoss: a row that cannot be understood.
  static base::Result<std::unique_ptr<StoreImage>> read(const storage::View& view);
};

}  // namespace mvcc
