// What a leader knows about one follower, and how much it may send to it. State machine of spec 4.7; only the leader's data
// is alive. Source of behaviour: etcd raft tracker/progress.go, tracker/inflights.go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "raft/types.h"

namespace raft {

// Window of append messages that are under way: at most `count_max` of them and about `bytes_max` bytes (the one that crosses
// the line still goes). A ring that grows on demand.
class Inflights {
 public:
  explicit Inflights(size_t count_max = 1, uint64_t bytes_max = kNoLimit) : count_max_(count_max), bytes_max_(bytes_max) {}

  // `last`: index of the last entry in the message. REQUIRES: !full(), and `last` not below those added before.
  void add(Index last, uint64_t bytes);
  // Everything up to and including `index` has arrived.
  void free_to(Index index);
  void clear();
  bool full() const { return count_ == count_max_ || bytes_ >= bytes_max_; }
  size_t count() const { return count_; }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Flight {
    Index last;
    uint64_t bytes;
  };
  void grow();

  size_t count_max_;
  uint64_t bytes_max_;
  size_t start_ = 0;
  size_t count_ = 0;
  uint64_t bytes_ = 0;
  std::vector<Flight> ring_;
};

enum class ProgressState : int { kProbe = 0, kReplicate = 1, kSnapshot = 2 };
std::string_view name_of(ProgressState state);  // "StateProbe"

// Invariant: match < next. Everything in (match, next) is on its way.
class Progress {
 public:
  Progress() = default;
  Progress(Index match_index, Index next_index, Inflights window, bool learner)
      : match(match_index), next(next_index), is_learner(learner), inflights(std::move(window)) {}

  Index match;  // the follower's log equals ours up to here
  Index next;   // first entry to send
  ProgressState state = ProgressState::kProbe;
  Index pending_snapshot;      // kSnapshot: index of the snapshot that was sent
  bool recent_active = false;  // heard from since the last quorum check
  bool append_paused = false;  // no appends before the next answer to a heartbeat
  bool is_learner = false;
  Inflights inflights;

  void become_probe();
  void become_replicate();
  void become_snapshot(Index snapshot);

  // Appends must wait: an answer, a snapshot or room in the window is due.
  bool paused() const { return state == ProgressState::kSnapshot || append_paused; }
  // An append with `entries` entries from `next` on has left. REQUIRES: state is not kSnapshot.
  void sent_entries(size_t entries, uint64_t bytes);
  void sent_commit(Index commit) { sent_commit_ = commit; }
  // Whether telling the follower of `commit` can move its commit index.
  bool can_bump_commit(Index commit) const { return commit > sent_commit_ && sent_commit_ < next - 1; }

  // The follower has acknowledged `index`. False: known before.
  bool maybe_update(Index index);
  // The follower has refused the append behind `rejected`; `hint`: where logs may agree. False: an old story. A probe refused
  // at `match` takes `match` back: the follower has lost what it had acknowledged.
  bool maybe_decrease(Index rejected, Index hint);

  std::string to_string() const;  // "StateReplicate match=11 next=12 inflight=1"

 private:
  void enter(ProgressState to);
  Index sent_commit_;
};

}  // namespace raft
