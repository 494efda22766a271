// The log as Raft sees it: what is in the stable storage, and behind it what is still on its way there.
//
//   compacted | storage ........ | unstable: in progress | unstable: not handed out |
//             ^first_index       ^offset                 ^                          ^last_index
//
// Invariants: applied <= applying <= committed <= last_index. An unstable entry hides a stored one of the same index (the
// storage will be truncated by the write under way). Source of behaviour: etcd raft log.go, log_unstable.go.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "raft/log_storage.h"
#include "raft/logger.h"
#include "raft/types.h"

namespace raft {

struct EntryId {
  Term term;
  Index index;
  friend bool operator==(const EntryId&, const EntryId&) = default;
};

// Entries (and perhaps a snapshot before them) that are not known to be in the storage.
class Unstable {
 public:
  Unstable(Index offset, Logger& logger) : offset_(offset), in_progress_(offset), logger_(&logger) {}

  Index offset() const { return offset_; }
  Index offset_in_progress() const { return in_progress_; }
  const std::vector<Entry>& entries() const { return entries_; }
  const SnapshotPtr& snapshot() const { return snapshot_; }

  std::optional<Index> first_index() const;
  std::optional<Index> last_index() const;
  std::optional<Term> term(Index index) const;
  // REQUIRES: offset() <= lo <= hi <= offset() + entries().size().
  std::span<const Entry> slice(Index lo, Index hi) const;

  // What accept() has not marked as being written.
  std::span<const Entry> next_entries() const;
  SnapshotPtr next_snapshot() const { return snapshot_in_progress_ ? nullptr : snapshot_; }
  void accept();

  // Written up to and including `id`, and no write under way can undo that. Ignored if the entry is no longer this one.
  void stable_to(EntryId id);
  void stable_snapshot_to(Index index);
  void restore(SnapshotPtr snapshot);
  // REQUIRES: entries not empty, indexes consecutive, no gap.
  void truncate_and_append(std::vector<Entry> entries);

 private:
  SnapshotPtr snapshot_;
  std::vector<Entry> entries_;  // entries_[i] has index offset_ + i
  Index offset_;
  Index in_progress_;  // entries before it are being written
  bool snapshot_in_progress_ = false;
  Logger* logger_;
};

class Log {
 public:
  // `applying_bytes_max`: of entries handed out to be applied and not yet reported as applied.
  Log(const LogStorage& storage, Logger& logger, uint64_t applying_bytes_max = kNoLimit);

  Index committed() const { return committed_; }
  Index applying() const { return applying_; }
  Index applied() const { return applied_; }
  Index first_index() const;
  Index last_index() const;
  EntryId last_entry_id() const;
  // nullopt: compacted or not there.
  std::optional<Term> term(Index index) const;
  Term term_or_zero(Index index) const { return term(index).value_or(Term{}); }
  bool matches(EntryId id) const { return term(id.index) == id.term; }
  // Raft 5.4.1: a log that ends with `other` holds at least what ours holds.
  bool up_to_date(EntryId other) const;
  // Where this log may end to match one that has `term` at `index`: the largest guess <= index with a term <= `term`, and that
  // term (0: not known).
  EntryId find_conflict_by_term(Index index, Term term) const;
  // Index of the first entry that is not in this log with the same term; 0: all are.
  Index find_conflict(std::span<const Entry> entries) const;

  // Adds the leader's entries behind `prev`. nullopt: `prev` is not in this log. Else the last index of what was sent, and
  // commits up to min(commit, that). A conflict with what is committed stops the process.
  std::optional<Index> maybe_append(EntryId prev, std::vector<Entry> entries, Index commit);
  // Replaces what follows. REQUIRES: does not touch committed entries.
  Index append(std::vector<Entry> entries);
  void commit_to(Index index);
  // Only entries of the current term count (Raft 5.4.2).
  bool maybe_commit(EntryId at);
  void restore(SnapshotPtr snapshot);
  // For a log that is being loaded or bootstrapped.
  void set_committed(Index index) { committed_ = index; }

  // [lo, hi), as many as fit into `bytes_max`, at least one; appended to `out`. False: lo is compacted.
  bool slice(Index lo, Index hi, uint64_t bytes_max, std::vector<Entry>& out) const;
  // From `lo` to the end, with the same limits.
  bool entries_from(Index lo, uint64_t bytes_max, std::vector<Entry>& out) const;
  SnapshotPtr snapshot() const;

  // What is to be written next.
  std::span<const Entry> next_unstable_entries() const { return unstable_.next_entries(); }
  bool has_unstable_entries() const { return !unstable_.entries().empty(); }
  SnapshotPtr next_unstable_snapshot() const { return unstable_.next_snapshot(); }
  bool has_snapshot() const { return unstable_.snapshot() != nullptr; }
  SnapshotPtr pending_snapshot() const { return unstable_.snapshot(); }  // adopted, and not known to be in the storage
  void accept_unstable() { unstable_.accept(); }
  void stable_to(EntryId id) { unstable_.stable_to(id); }
  void stable_snapshot_to(Index index) { unstable_.stable_snapshot_to(index); }

  // What is to be applied next. `allow_unstable`: also entries that are committed but not in our own storage.
  bool has_next_committed(bool allow_unstable) const;
  std::vector<Entry> next_committed(bool allow_unstable) const;
  void accept_applying(Index index, uint64_t bytes, bool allow_unstable);
  void applied_to(Index index, uint64_t bytes);
  uint64_t applying_bytes_max() const { return applying_bytes_max_; }
  uint64_t applying_bytes() const { return applying_bytes_; }
  bool applying_paused() const { return applying_paused_; }

  const Unstable& unstable() const { return unstable_; }
  std::string to_string() const;

 private:
  Index appliable(bool allow_unstable) const;
  bool in_bounds(Index lo, Index hi) const;

  const LogStorage& storage_;
  Logger& logger_;
  Unstable unstable_;
  Index committed_;
  Index applying_;
  Index applied_;
  const uint64_t applying_bytes_max_;
  uint64_t applying_bytes_ = 0;
  bool applying_paused_ = false;
};

}  // namespace raft
