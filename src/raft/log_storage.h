// The stable part of the log, as Raft reads it. Written by whoever handles Ready (or the storage messages), never by Raft.
// Implementations answer at once, from memory. Owner: the thread of Raft.
#pragma once

#include <optional>
#include <vector>

#include "raft/types.h"

namespace raft {

class LogStorage {
 public:
  virtual ~LogStorage() = default;

  // What was saved last; both empty on a fresh start.
  virtual HardState hard_state() const = 0;
  virtual ConfState conf_state() const = 0;

  // Index of the first entry that is there; one more than the snapshot's (or the last compacted) index.
  virtual Index first_index() const = 0;
  // first_index() - 1 if there are no entries.
  virtual Index last_index() const = 0;
  // nullopt outside of [first_index() - 1, last_index()].
  virtual std::optional<Term> term(Index index) const = 0;
  // Appends the entries [lo, hi) to `out`: as many as fit into `bytes_max` encoded bytes, at least one. False, and nothing
  // appended, if lo is compacted. REQUIRES: lo < hi <= last_index() + 1.
  virtual bool entries(Index lo, Index hi, uint64_t bytes_max, std::vector<Entry>& out) const = 0;
  // Newest snapshot. Null: not at hand now; Raft asks again later.
  virtual SnapshotPtr snapshot() const = 0;
};

}  // namespace raft
