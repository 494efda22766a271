// Stable log in memory (etcd's MemoryStorage): the entries that a member keeps at hand after they are on disk, from the last
// compaction on. Entries are shared with messages in flight, so dropping them here frees them when the last message is gone.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "raft/log_storage.h"

namespace raft {

class MemoryLog : public LogStorage {
 public:
  MemoryLog();

  HardState hard_state() const override { return hard_state_; }
  ConfState conf_state() const override { return snapshot_->conf_state; }
  Index first_index() const override { return base_index_ + 1; }
  Index last_index() const override { return base_index_ + entries_.size(); }
  std::optional<Term> term(Index index) const override;
  bool entries(Index lo, Index hi, uint64_t bytes_max, std::vector<Entry>& out) const override;
  SnapshotPtr snapshot() const override { return snapshot_; }

  void set_hard_state(const HardState& state) { hard_state_ = state; }
  // Adds entries, replacing those of the same and higher indexes; what is compacted already is skipped.
  // REQUIRES: consecutive indexes, and no gap behind last_index().
  void append(std::span<const Entry> entries);
  // The snapshot takes the place of the whole log. Error: kOutOfRange if it is not newer than the one here.
  base::Status apply_snapshot(SnapshotPtr snapshot);
  // A snapshot of the state machine as of `index`. Without `conf_state` that of the last snapshot stays.
  // Error: kOutOfRange if it is not newer than the one here. REQUIRES: first_index() - 1 <= index <= last_index().
  base::Status create_snapshot(Index index, const ConfState* conf_state, std::string data);
  // Drops all entries up to and including `index`; its term stays known. Error: kOutOfRange if that was done before.
  // REQUIRES: index <= last_index().
  base::Status compact(Index index);

  // Encoded size of what is kept: for bounds on memory.
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  HardState hard_state_;
  SnapshotPtr snapshot_;  // never null
  Index base_index_;      // of the last entry that is gone
  Term base_term_;
  std::deque<Entry> entries_;  // base_index_ + 1, ...
  uint64_t size_bytes_ = 0;
};

}  // namespace raft
