#include "raft/quorum.h"

#include <doctest/doctest.h>

#include <map>

using namespace raft;

namespace {

// One letter or number for each voter in the order of their ids; 0 and '_' mean no answer.
Index committed(const JointVoters& voters, const std::vector<uint64_t>& acked) {
  std::map<NodeId, uint64_t> by_id;
  size_t next = 0;
  for (const NodeId id : voters.all()) by_id[id] = acked.at(next++);
  return voters.committed([&](NodeId id) -> std::optional<Index> {
    if (by_id.at(id) == 0) return std::nullopt;
    return Index(by_id.at(id));
  });
}

VoteResult voted(const JointVoters& voters, const std::string& votes) {
  std::map<NodeId, char> by_id;
  size_t next = 0;
  for (const NodeId id : voters.all()) by_id[id] = votes.at(next++);
  return voters.result([&](NodeId id) -> std::optional<bool> {
    if (by_id.at(id) == '_') return std::nullopt;
    return by_id.at(id) == 'y';
  });
}

NodeSet first(uint64_t count) {
  NodeSet ids;
  for (uint64_t i = 1; i <= count; ++i) ids.insert(NodeId(i));
  return ids;
}

}  // namespace

TEST_CASE("quorum: the index that a majority has reached") {
  struct Row {
    const char* rule;
    uint64_t voters;
    std::vector<uint64_t> acked;
    uint64_t committed;
  };
  for (const Row& row : {Row{"nobody to ask", 0, {}, UINT64_MAX}, Row{"one, silent", 1, {0}, 0}, Row{"one", 1, {12}, 12},
                         Row{"two need both", 2, {5, 0}, 0}, Row{"two: the smaller", 2, {5, 7}, 5},
                         Row{"three: the middle", 3, {103, 101, 102}, 102}, Row{"three: one silent", 3, {12, 0, 9}, 9},
                         Row{"three: two silent", 3, {12, 0, 0}, 0}, Row{"four: the second smallest", 4, {4, 3, 2, 1}, 2},
                         Row{"five: the middle", 5, {9, 1, 9, 1, 9}, 9},
                         Row{"eleven: beyond what fits on the stack", 11, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 6}}) {
    CAPTURE(row.rule);
    CHECK(committed({first(row.voters), {}}, row.acked) == Index(row.committed));
    // Half a joint configuration, and one joint with itself, decide like the plain one.
    CHECK(committed({{}, first(row.voters)}, row.acked) == Index(row.committed));
    CHECK(committed({first(row.voters), first(row.voters)}, row.acked) == Index(row.committed));
  }
}

TEST_CASE("quorum: a joint configuration commits what both halves have") {
  const NodeSet old_half{NodeId(1), NodeId(2), NodeId(3)}, new_half{NodeId(3), NodeId(4), NodeId(5)};
  struct Row {
    const char* rule;
    std::vector<uint64_t> acked;
    uint64_t committed;
  };
  for (const Row& row :
       {Row{"only the old half", {9, 9, 9, 0, 0}, 0}, Row{"only the new half", {0, 0, 9, 9, 9}, 0},
        Row{"the common voter helps both", {7, 0, 9, 8, 0}, 7}, Row{"the slower half decides", {9, 9, 1, 4, 5}, 4}}) {
    CAPTURE(row.rule);
    CHECK(committed({new_half, old_half}, row.acked) == Index(row.committed));
    CHECK(committed({old_half, new_half}, row.acked) == Index(row.committed));
  }
}

TEST_CASE("quorum: votes") {
  constexpr VoteResult kWon = VoteResult::kWon, kLost = VoteResult::kLost, kPending = VoteResult::kPending;
  const JointVoters joint{{NodeId(1), NodeId(2), NodeId(3)}, {NodeId(3), NodeId(4), NodeId(5)}};
  struct Row {
    const char* rule;
    JointVoters voters;
    std::string votes;
    VoteResult result;
  };
  for (const Row& row :
       {Row{"nobody to ask", {}, "", kWon}, Row{"one, silent", {first(1), {}}, "_", kPending},
        Row{"one, no", {first(1), {}}, "n", kLost}, Row{"two: one yes", {first(2), {}}, "y_", kPending},
        Row{"two: one no", {first(2), {}}, "_n", kLost}, Row{"three: two yes", {first(3), {}}, "y_y", kWon},
        Row{"three: one each", {first(3), {}}, "yn_", kPending}, Row{"three: two no", {first(3), {}}, "nn_", kLost},
        Row{"four: a tie is lost", {first(4), {}}, "yynn", kLost}, Row{"joint: both won", joint, "yy_yy", kWon},
        Row{"joint: one won, one open", joint, "yy___", kPending}, Row{"joint: one won, one lost", joint, "yy_nn", kLost},
        Row{"joint: one lost, one open", joint, "nn___", kLost}, Row{"joint: the common voter", joint, "y_yy_", kWon}}) {
    CAPTURE(row.rule);
    CHECK(voted(row.voters, row.votes) == row.result);
    CHECK(voted({row.voters.outgoing, row.voters.incoming}, row.votes) == row.result);
  }
}

TEST_CASE("quorum: sets of ids are sorted, without duplicates, hexadecimal in text") {
  NodeSet ids;
  CHECK(ids.insert(NodeId(26)));
  CHECK(ids.insert(NodeId(3)));
  CHECK_FALSE(ids.insert(NodeId(26)));
  CHECK(ids.to_string() == "(3 1a)");
  CHECK(ids.contains(NodeId(3)));
  CHECK_FALSE(ids.contains(NodeId(4)));
  CHECK(ids.erase(NodeId(3)));
  CHECK_FALSE(ids.erase(NodeId(3)));
  CHECK(JointVoters{ids, {}}.to_string() == "(1a)");
  CHECK(JointVoters{ids, {NodeId(1)}}.to_string() == "(1a)&&(1)");
}
