// Who is in the group and how far each one is: voters, learners, progress, votes; and the rules by which the group changes.
// Source of behaviour: etcd raft tracker/tracker.go, confchange/. Raft thesis 4.1, 4.3.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>

#include "base/status.h"
#include "raft/progress.h"
#include "raft/quorum.h"
#include "raft/types.h"

namespace raft {

// Invariants: a learner is in neither half of the voters; learners_next (voters that become learners when the joint
// configuration is left) are outgoing voters; only a joint configuration has learners_next or auto_leave.
struct GroupConfig {
  JointVoters voters;
  NodeSet learners;
  NodeSet learners_next;
  bool auto_leave = false;

  ConfState conf_state() const;
  std::string to_string() const;  // "voters=(1 2)&&(1) learners=(3) autoleave"
  friend bool operator==(const GroupConfig&, const GroupConfig&) = default;
};

using ProgressMap = std::map<NodeId, Progress>;

// A configuration and one Progress for each member of it: always changed together.
struct Members {
  GroupConfig config;
  ProgressMap progress;
};

struct Tally {
  size_t granted = 0;
  size_t rejected = 0;
  VoteResult result = VoteResult::kPending;
};

class Group {
 public:
  Group(size_t inflight_count_max, uint64_t inflight_bytes_max)
      : inflight_count_max_(inflight_count_max), inflight_bytes_max_(inflight_bytes_max) {}

  const GroupConfig& config() const { return members_.config; }
  const ProgressMap& progress() const { return members_.progress; }
  ProgressMap& progress() { return members_.progress; }
  Progress* find(NodeId id);
  const Progress* find(NodeId id) const { return const_cast<Group*>(this)->find(id); }
  Inflights new_inflights() const { return Inflights(inflight_count_max_, inflight_bytes_max_); }

  bool single_voter() const { return config().voters.incoming.size() == 1 && !config().voters.joint(); }
  // Largest index on a quorum.
  Index committed() const;
  // A quorum was heard from lately.
  bool quorum_active() const;

  void reset_votes() { votes_.clear(); }
  // The first answer of a member counts.
  void record_vote(NodeId id, bool granted) { votes_.try_emplace(id, granted); }
  Tally tally() const;

  // What the group would look like after a change; this group stays as it is until set(). `last_index`: of the local log.
  // Errors (kFailedPrecondition, etcd's texts): the change breaks a rule.
  base::Result<Members> enter_joint(bool auto_leave, std::span<const ConfChangeSingle> changes, Index last_index) const;
  base::Result<Members> leave_joint() const;
  // At most one voter comes or goes.
  base::Result<Members> simple(std::span<const ConfChangeSingle> changes, Index last_index) const;
  // Whichever of the three `change` asks for.
  base::Result<Members> changed(const ConfChangeV2& change, Index last_index) const;
  // A group as described, all progress new. Limits as in this one.
  base::Result<Members> restored(const ConfState& state, Index last_index) const;
  void set(Members members) { members_ = std::move(members); }

 private:
  size_t inflight_count_max_;
  uint64_t inflight_bytes_max_;
  Members members_;
  std::map<NodeId, bool> votes_;
};

}  // namespace raft
