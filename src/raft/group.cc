#include "raft/group.h"

#include <algorithm>

#include "base/verify.h"

namespace raft {

using base::Code;
using base::Result;
using base::Status;

namespace {

Status refused(std::string text) { return {Code::kFailedPrecondition, std::move(text)}; }

std::string decimal(NodeId id) { return std::to_string(id.value()); }

// What both the input and the result of a change must keep.
Status check(const Members& members) {
  const GroupConfig& config = members.config;
  for (const NodeSet& ids : {config.voters.all(), config.learners, config.learners_next}) {
    for (const NodeId id : ids) {
      if (members.progress.count(id) == 0) return refused("no progress for " + decimal(id));
    }
  }
  for (const NodeId id : config.learners_next) {
    if (!config.voters.outgoing.contains(id)) return refused(decimal(id) + " is in LearnersNext, but not Voters[1]");
    if (members.progress.at(id).is_learner) {
      return refused(decimal(id) + " is in LearnersNext, but is already marked as learner");
    }
  }
  for (const NodeId id : config.learners) {
    if (config.voters.outgoing.contains(id)) return refused(decimal(id) + " is in Learners and Voters[1]");
    if (config.voters.incoming.contains(id)) return refused(decimal(id) + " is in Learners and Voters[0]");
    if (!members.progress.at(id).is_learner) {
      return refused(decimal(id) + " is in Learners, but is not marked as learner");
    }
  }
  if (!config.voters.joint()) {
    if (!config.learners_next.empty()) return refused("cfg.LearnersNext must be nil when not joint");
    if (config.auto_leave) return refused("AutoLeave must be false when not joint");
  }
  return {};
}

Result<Members> checked(Members members) {
  Status status = check(members);
  if (!status.ok()) return status;
  return members;
}

// Applies single changes to the incoming half; the outgoing half only says who must be kept.
class Editor {
 public:
  Editor(Members& members, const Group& group, Index last_index)
      : config_(members.config), progress_(members.progress), group_(group), last_index_(last_index) {}

  Status apply(std::span<const ConfChangeSingle> changes) {
    for (const ConfChangeSingle& change : changes) {
      if (change.node_id == kNoNode) continue;  // Refused by the state machine after it was committed.
      switch (change.type) {
        case ConfChangeType::kAddNode:
          make_voter(change.node_id);
          break;
        case ConfChangeType::kAddLearnerNode:
          make_learner(change.node_id);
          break;
        case ConfChangeType::kRemoveNode:
          remove(change.node_id);
          break;
        case ConfChangeType::kUpdateNode:
          break;
        default:
          return refused("unexpected conf type " + std::to_string(static_cast<int>(change.type)));
      }
    }
    if (config_.voters.incoming.empty()) return refused("removed all voters");
    return {};
  }

 private:
  void make_voter(NodeId id) {
    const auto known = progress_.find(id);
    if (known == progress_.end()) {
      add(id, false);
      config_.voters.incoming.insert(id);
      return;
    }
    known->second.is_learner = false;
    config_.learners.erase(id);
    config_.learners_next.erase(id);
    config_.voters.incoming.insert(id);
  }

  void make_learner(NodeId id) {
    const auto known = progress_.find(id);
    if (known == progress_.end()) {
      add(id, true);
      config_.learners.insert(id);
      return;
    }
    if (known->second.is_learner) return;
    config_.voters.incoming.erase(id);
    config_.learners_next.erase(id);
    // A voter of the outgoing half stays one until the joint configuration is left: nobody is voter and learner at once.
    if (config_.voters.outgoing.contains(id)) {
      config_.learners_next.insert(id);
    } else {
      known->second.is_learner = true;
      config_.learners.insert(id);
    }
  }

  void remove(NodeId id) {
    if (progress_.count(id) == 0) return;
    config_.voters.incoming.erase(id);
    config_.learners.erase(id);
    config_.learners_next.erase(id);
    if (!config_.voters.outgoing.contains(id)) progress_.erase(id);
  }

  void add(NodeId id, bool learner) {
    // Probing starts at the end of our log; a member with an empty one answers where its own ends.
    Progress progress(Index{}, std::max(last_index_, Index(1)), group_.new_inflights(), learner);
    progress.recent_active = true;  // Else the next quorum check could count it as silent before it could speak.
    progress_.emplace(id, std::move(progress));
  }

  GroupConfig& config_;
  ProgressMap& progress_;
  const Group& group_;
  const Index last_index_;
};

size_t only_in_one(const NodeSet& a, const NodeSet& b) {
  std::vector<NodeId> differ;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(differ));
  return differ.size();
}

}  // namespace

ConfState GroupConfig::conf_state() const {
  return {voters.incoming.ids(), learners.ids(), voters.outgoing.ids(), learners_next.ids(), auto_leave};
}

std::string GroupConfig::to_string() const {
  std::string out = "voters=" + voters.to_string();
  if (!learners.empty()) out += " learners=" + learners.to_string();
  if (!learners_next.empty()) out += " learners_next=" + learners_next.to_string();
  if (auto_leave) out += " autoleave";
  return out;
}

Progress* Group::find(NodeId id) {
  const auto found = members_.progress.find(id);
  return found == members_.progress.end() ? nullptr : &found->second;
}

Index Group::committed() const {
  return config().voters.committed([this](NodeId id) -> std::optional<Index> {
    const Progress* progress = find(id);
    if (progress == nullptr) return std::nullopt;
    return progress->match;
  });
}

bool Group::quorum_active() const {
  const auto active = [this](NodeId id) -> std::optional<bool> {
    const Progress* progress = find(id);
    if (progress == nullptr || progress->is_learner) return std::nullopt;
    return progress->recent_active;
  };
  return config().voters.result(active) == VoteResult::kWon;
}

Tally Group::tally() const {
  Tally tally;
  for (const auto& [id, progress] : members_.progress) {
    const auto vote = votes_.find(id);
    if (progress.is_learner || vote == votes_.end()) continue;
    ++(vote->second ? tally.granted : tally.rejected);
  }
  tally.result = config().voters.result([this](NodeId id) -> std::optional<bool> {
    const auto vote = votes_.find(id);
    if (vote == votes_.end()) return std::nullopt;
    return vote->second;
  });
  return tally;
}

Result<Members> Group::enter_joint(bool auto_leave, std::span<const ConfChangeSingle> changes, Index last_index) const {
  Result<Members> result = checked(members_);
  if (!result.ok()) return result;
  GroupConfig& config = result->config;
  if (config.voters.joint()) return refused("config is already joint");
  if (config.voters.incoming.empty()) return refused("can't make a zero-voter config joint");
  config.voters.outgoing = config.voters.incoming;
  Status applied = Editor(*result, *this, last_index).apply(changes);
  if (!applied.ok()) return applied;
  config.auto_leave = auto_leave;
  return checked(std::move(*result));
}

Result<Members> Group::leave_joint() const {
  Result<Members> result = checked(members_);
  if (!result.ok()) return result;
  GroupConfig& config = result->config;
  if (!config.voters.joint()) return refused("can't leave a non-joint config");
  for (const NodeId id : config.learners_next) {
    config.learners.insert(id);
    result->progress.at(id).is_learner = true;
  }
  config.learners_next = {};
  for (const NodeId id : config.voters.outgoing) {
    if (!config.voters.incoming.contains(id) && !config.learners.contains(id)) result->progress.erase(id);
  }
  config.voters.outgoing = {};
  config.auto_leave = false;
  return checked(std::move(*result));
}

Result<Members> Group::simple(std::span<const ConfChangeSingle> changes, Index last_index) const {
  Result<Members> result = checked(members_);
  if (!result.ok()) return result;
  if (config().voters.joint()) return refused("can't apply simple config change in joint config");
  Status applied = Editor(*result, *this, last_index).apply(changes);
  if (!applied.ok()) return applied;
  if (only_in_one(config().voters.incoming, result->config.voters.incoming) > 1) {
    return refused("more than one voter changed without entering joint config");
  }
  return checked(std::move(*result));
}

Result<Members> Group::changed(const ConfChangeV2& change, Index last_index) const {
  if (change.leaves_joint()) return leave_joint();
  if (change.enters_joint()) return enter_joint(change.auto_leave(), change.changes, last_index);
  return simple(change.changes, last_index);
}

Result<Members> Group::restored(const ConfState& state, Index last_index) const {
  // First the outgoing half, voter by voter, as if it were all there is; then one step into the joint configuration that
  // replaces it by the incoming half. Example: voters (1 2 3), outgoing (1 2 4), learners next (4):
  //   +1 +2 +4  ->  (1 2 4);   joint: -1 -2 -4 +1 +2 +3 learner 4  ->  (1 2 3)&&(1 2 4) learners_next=(4)
  std::vector<ConfChangeSingle> outgoing, incoming;
  for (const NodeId id : state.voters_outgoing) {
    outgoing.push_back({ConfChangeType::kAddNode, id});
    incoming.push_back({ConfChangeType::kRemoveNode, id});
  }
  for (const NodeId id : state.voters) incoming.push_back({ConfChangeType::kAddNode, id});
  for (const NodeId id : state.learners) incoming.push_back({ConfChangeType::kAddLearnerNode, id});
  for (const NodeId id : state.learners_next) incoming.push_back({ConfChangeType::kAddLearnerNode, id});

  Group group(inflight_count_max_, inflight_bytes_max_);
  for (const ConfChangeSingle& one : outgoing.empty() ? incoming : outgoing) {
    Result<Members> next = group.simple(std::span(&one, 1), last_index);
    if (!next.ok()) return next;
    group.set(std::move(*next));
  }
  if (outgoing.empty()) return std::move(group.members_);
  return group.enter_joint(state.auto_leave, incoming, last_index);
}

}  // namespace raft
