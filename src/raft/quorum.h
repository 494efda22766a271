// Majorities, single and joint (thesis 4.3): what is committed, who won. Pure functions over small sorted sets.
// By convention an empty majority agrees with everything, so that half of a joint configuration may be empty.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/verify.h"
#include "raft/types.h"

namespace raft {

// Sorted ids without duplicates.
class NodeSet {
 public:
  NodeSet() = default;
  NodeSet(std::initializer_list<NodeId> ids) {
    for (const NodeId id : ids) insert(id);
  }

  bool contains(NodeId id) const { return std::binary_search(ids_.begin(), ids_.end(), id); }
  bool insert(NodeId id);  // false: was there
  bool erase(NodeId id);   // false: was not there
  size_t size() const { return ids_.size(); }
  bool empty() const { return ids_.empty(); }
  auto begin() const { return ids_.begin(); }
  auto end() const { return ids_.end(); }
  const std::vector<NodeId>& ids() const { return ids_; }
  std::string to_string() const;  // "(1 2 a)"
  friend bool operator==(const NodeSet&, const NodeSet&) = default;

 private:
  std::vector<NodeId> ids_;
};

enum class VoteResult { kPending, kLost, kWon };

inline constexpr size_t kVotersOnStack = 9;

// Largest index that a majority of `acked` has reached. REQUIRES: acked not empty. Reorders `acked`.
Index majority_index(std::span<Index> acked);
VoteResult majority_vote(size_t voters, size_t yes, size_t missing);
VoteResult joint_vote(VoteResult a, VoteResult b);

// Largest index acknowledged by a majority of `voters`; the largest of all if there are none.
// `acked`: NodeId -> std::optional<Index>, nullopt if nothing is known.
template <class Acked>
Index committed_index(const NodeSet& voters, const Acked& acked) {
  if (voters.empty()) return Index(UINT64_MAX);
  std::array<Index, kVotersOnStack> few;
  std::vector<Index> many;
  std::span<Index> all(few.data(), std::min(few.size(), voters.size()));
  if (voters.size() > few.size()) {
    many.resize(voters.size());
    all = many;
  }
  size_t i = 0;
  for (const NodeId id : voters) all[i++] = acked(id).value_or(Index{});
  return majority_index(all);
}

// `vote`: NodeId -> std::optional<bool>, nullopt if there is no answer yet.
template <class Vote>
VoteResult vote_result(const NodeSet& voters, const Vote& vote) {
  size_t yes = 0, missing = 0;
  for (const NodeId id : voters) {
    const std::optional<bool> answer = vote(id);
    if (!answer.has_value()) ++missing;
    if (answer.value_or(false)) ++yes;
  }
  return majority_vote(voters.size(), yes, missing);
}

// Both halves must agree. Outgoing is empty outside of a membership change.
struct JointVoters {
  NodeSet incoming;
  NodeSet outgoing;

  bool joint() const { return !outgoing.empty(); }
  bool contains(NodeId id) const { return incoming.contains(id) || outgoing.contains(id); }
  NodeSet all() const;
  std::string to_string() const;  // "(1 2 3)" or "(1 2 3)&&(1 4)"
  friend bool operator==(const JointVoters&, const JointVoters&) = default;

  template <class Acked>
  Index committed(const Acked& acked) const {
    return std::min(committed_index(incoming, acked), committed_index(outgoing, acked));
  }
  template <class Vote>
  VoteResult result(const Vote& vote) const {
    return joint_vote(vote_result(incoming, vote), vote_result(outgoing, vote));
  }
};

}  // namespace raft
