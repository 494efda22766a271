#include "server/force_new_cluster.h"

#include <doctest/doctest.h>

#include "raft.pb.h"

namespace {

using base::Index;
using base::NodeId;
using base::Term;
using raft::ConfChangeType;

std::vector<NodeId> ids(std::initializer_list<uint64_t> values) {
  std::vector<NodeId> out;
  for (const uint64_t value : values) out.emplace_back(value);
  return out;
}

raft::ConfState state_of(std::initializer_list<uint64_t> voters, std::initializer_list<uint64_t> learners = {}) {
  raft::ConfState state;
  state.voters = ids(voters);
  state.learners = ids(learners);
  return state;
}

storage::WalEntry change(uint64_t index, ConfChangeType type, uint64_t id) {
  raftpb::ConfChange message;
  message.set_type(static_cast<raftpb::ConfChangeType>(type));
  message.set_node_id(id);
  return {Term(1), Index(index), storage::kEntryConfChange, std::make_shared<const std::string>(message.SerializeAsString())};
}

}  // namespace

TEST_CASE("force new cluster: the configuration that the log ends with") {
  const raft::ConfState before = state_of({1, 2}, {3});
  std::vector<storage::WalEntry> log = {change(4, ConfChangeType::kRemoveNode, 1),  // applied already
                                        change(5, ConfChangeType::kAddLearnerNode, 4),
                                        {Term(1), Index(6), storage::kEntryNormal, std::make_shared<const std::string>("x")},
                                        change(7, ConfChangeType::kAddNode, 3),  // a promotion
                                        change(8, ConfChangeType::kRemoveNode, 2),
                                        change(9, ConfChangeType::kUpdateNode, 1)};
  const base::Result<raft::ConfState> after = server::conf_state_after(before, Index(4), log);
  REQUIRE(after.ok());
  CHECK(after->voters == ids({1, 3}));
  CHECK(after->learners == ids({4}));
  log.push_back({Term(1), Index(10), storage::kEntryConfChange, std::make_shared<const std::string>("\xff")});
  CHECK(server::conf_state_after(before, Index(4), log).status().code() == base::Code::kDataLoss);
}

TEST_CASE("force new cluster: the changes that leave one member") {
  struct Row {
    const char* rule;
    raft::ConfState state;
    std::vector<std::pair<ConfChangeType, uint64_t>> changes;
  };
  constexpr auto kAdd = ConfChangeType::kAddNode, kRemove = ConfChangeType::kRemoveNode;
  for (const Row& row : {
           Row{"alone already", state_of({2}), {}},
           Row{"one of three", state_of({3, 1, 2}), {{kRemove, 1}, {kRemove, 3}}},
           Row{"learners go too", state_of({2, 1}, {9, 4}), {{kRemove, 1}, {kRemove, 4}, {kRemove, 9}}},
           Row{"a learner is promoted first", state_of({1, 3}, {2, 4}), {{kAdd, 2}, {kRemove, 1}, {kRemove, 3}, {kRemove, 4}}},
           Row{"unknown to its log", state_of({1}), {{kAdd, 2}, {kRemove, 1}}},
           Row{"nobody known", state_of({}), {{kAdd, 2}}},
       }) {
    CAPTURE(row.rule);
    const std::vector<raft::ConfChange> changes = server::changes_to_be_alone(row.state, NodeId(2));
    REQUIRE(changes.size() == row.changes.size());
    for (size_t i = 0; i < changes.size(); ++i) {
      CHECK(changes[i].type == row.changes[i].first);
      CHECK(changes[i].node_id == NodeId(row.changes[i].second));
    }
  }
}
