#include "raft/quorum.h"

namespace raft {

bool NodeSet::insert(NodeId id) {
  const auto at = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (at != ids_.end() && *at == id) return false;
  ids_.insert(at, id);
  return true;
}

bool NodeSet::erase(NodeId id) {
  const auto at = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (at == ids_.end() || *at != id) return false;
  ids_.erase(at);
  return true;
}

std::string NodeSet::to_string() const {
  std::string out = "(";
  for (const NodeId id : ids_) {
    if (out.size() > 1) out += ' ';
    out += base::hex(id.value());
  }
  return out + ")";
}

Index majority_index(std::span<Index> acked) {
  VERIFY(!acked.empty());
  // Of n sorted ones the n/2+1 last have all reached the first of them.
  const size_t at = acked.size() - (acked.size() / 2 + 1);
  std::nth_element(acked.begin(), acked.begin() + static_cast<ptrdiff_t>(at), acked.end());
  return acked[at];
}

VoteResult majority_vote(size_t voters, size_t yes, size_t missing) {
  if (voters == 0) return VoteResult::kWon;
  const size_t quorum = voters / 2 + 1;
  if (yes >= quorum) return VoteResult::kWon;
  return yes + missing >= quorum ? VoteResult::kPending : VoteResult::kLost;
}

VoteResult joint_vote(VoteResult a, VoteResult b) {
  if (a == b) return a;
  return a == VoteResult::kLost || b == VoteResult::kLost ? VoteResult::kLost : VoteResult::kPending;
}

NodeSet JointVoters::all() const {
  NodeSet both = incoming;
  for (const NodeId id : outgoing) both.insert(id);
  return both;
}

std::string JointVoters::to_string() const {
  return joint() ? incoming.to_string() + "&&" + outgoing.to_string() : incoming.to_string();
}

}  // namespace raft
