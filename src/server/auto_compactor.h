// Compaction by itself: --auto-compaction-mode and --auto-compaction-retention. Every member remembers, only the leader
// compacts. CompactionPlan decides and is told the time; AutoCompactor waits, proposes and logs. Owner: core loop.
// Source: feature map 4 (flags); etcd server/etcdserver/api/v3compactor.
#pragma once

#include <deque>
#include <optional>

#include "base/clock.h"
#include "base/loop.h"
#include "base/status.h"
#include "server/config.h"

namespace server {

class Node;

// By time: the revision is looked up ten times a period (ten times an hour for longer ones); the first compaction comes after a
// whole period, the next every period or every hour, at the revision of a period and a look ago. By revision: every five
// minutes, so many revisions below the current one. A revision that was compacted at is not compacted at again.
class CompactionPlan {
 public:
  static constexpr base::Duration kRevisionInterval = std::chrono::minutes(5);
  static constexpr base::Duration kPeriodicIntervalMax = std::chrono::hours(1);
  static constexpr int kLooksPerInterval = 10;
  // Below it looks would only burn CPU (etcd spins there, or fails to divide).
  static constexpr base::Duration kLookMin = std::chrono::milliseconds(1);

  // `retention`: nanoseconds by time, revisions by revision.
  CompactionPlan(CompactionMode mode, int64_t retention, base::Instant now);

  // A wait begins at `revision`, to be followed by due() after look_interval().
  void begin_wait(int64_t revision);
  base::Duration look_interval() const { return look_; }
  // The wait is over: where to compact now. `revision`: the current one.
  std::optional<int64_t> due(base::Instant now, int64_t revision, bool leading);
  // What due() said is done, or was done by somebody else. Not called after a failure: the next wait tries again.
  void compacted(base::Instant now, int64_t revision);

 private:
  const CompactionMode mode_;
  const int64_t retention_;
  const base::Duration look_;
  const size_t kept_;       // revisions to remember: the first of so many is a period old
  base::Duration between_;  // least time between compactions
  base::Instant last_at_;
  int64_t last_revision_ = 0;
  std::deque<int64_t> revisions_;
};

class AutoCompactor {
 public:
  explicit AutoCompactor(Node& node);
  void start();  // nothing, if the flags say so
  void stop();

 private:
  void wait();
  void look();
  void finish(int64_t revision, base::Instant started, const base::Status& status);

  Node& node_;
  const CompactionMode mode_;
  const int64_t retention_;
  CompactionPlan plan_;
  base::TimerId timer_ = base::kNoTimer;
  bool stopped_ = false;
};

}  // namespace server
