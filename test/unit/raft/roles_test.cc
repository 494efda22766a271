// Small promises of each role that are kept on rare paths only.
#include <doctest/doctest.h>

#include "base/bytes.h"
#include "raft/raft.h"
#include "unit/raft/support.h"

using namespace raft;
using raft::test::entry;
using raft::test::message;
using raft::test::Single;

namespace {

std::vector<const Message*> all_of(const std::vector<Message>& messages, MessageType type, uint64_t to) {
  std::vector<const Message*> found;
  for (const Message& m : messages) {
    if (m.type == type && m.to == NodeId(to)) found.push_back(&m);
  }
  return found;
}

Message append(uint64_t from, uint64_t term, uint64_t log_term, uint64_t index, std::vector<Entry> entries,
               uint64_t commit = 0) {
  Message m = message(MessageType::kApp, from, 1, term);
  m.log_term = Term(log_term);
  m.index = Index(index);
  m.entries = std::move(entries);
  m.commit = Index(commit);
  return m;
}

Message heartbeat(uint64_t from, uint64_t term, uint64_t commit = 0) {
  Message m = message(MessageType::kHeartbeat, from, 1, term);
  m.commit = Index(commit);
  return m;
}

Message heartbeat_response(const Single& leader, uint64_t from, std::string context = "") {
  Message m = message(MessageType::kHeartbeatResp, from, 1, leader.node->raft().term().value());
  m.context = std::move(context);
  return m;
}

SnapshotPtr snapshot_at(uint64_t term, uint64_t index, const std::vector<uint64_t>& voters,
                        const std::vector<uint64_t>& learners = {}) {
  auto made = std::make_shared<Snapshot>();
  made->term = Term(term);
  made->index = Index(index);
  for (const uint64_t id : voters) made->conf_state.voters.emplace_back(id);
  for (const uint64_t id : learners) made->conf_state.learners.emplace_back(id);
  return made;
}

Message snapshot_message(uint64_t from, uint64_t term, SnapshotPtr snapshot) {
  Message m = message(MessageType::kSnap, from, 1, term);
  m.snapshot = std::move(snapshot);
  return m;
}

ConfChangeV2 change(ConfChangeType type, uint64_t id) {
  ConfChangeV2 made;
  made.changes.push_back({type, NodeId(id)});
  return made;
}

void ticks(Single& member, int count) {
  for (int i = 0; i < count; ++i) member.node->tick();
}

}  // namespace

// --- followers and candidates
// ----------------------------------------------------------------------------------------------------

TEST_CASE("raft: a pre-vote for an older term is refused aloud, at the term of who refuses") {
  Single member({1, 2, 3}, nullptr, {Term(5), NodeId(0), Index(0)});
  REQUIRE(member.node->step(message(MessageType::kPreVote, 2, 1, 3)).ok());
  const std::vector<Message> sent = member.work();
  REQUIRE(sent.size() == 1);
  CHECK(sent.front().type == MessageType::kPreVoteResp);
  CHECK(sent.front().to == NodeId(2));
  CHECK(sent.front().term == Term(5));
  CHECK(sent.front().reject);
}

TEST_CASE("raft: a candidate follows the leader of its term and does what that says") {
  for (const MessageType type : {MessageType::kApp, MessageType::kHeartbeat, MessageType::kSnap}) {
    CAPTURE(static_cast<int>(type));
    Single member({1, 2, 3});
    member.node->campaign();
    (void)member.work();
    REQUIRE(member.node->raft().role() == Role::kCandidate);
    Message m = heartbeat(3, 1);
    if (type == MessageType::kApp) m = append(3, 1, 0, 0, {entry(1, 1)});
    if (type == MessageType::kSnap) m = snapshot_message(3, 1, snapshot_at(1, 7, {1, 2, 3}));
    REQUIRE(member.node->step(std::move(m)).ok());
    CHECK(member.node->raft().role() == Role::kFollower);
    CHECK(member.node->raft().leader() == NodeId(3));
    const std::vector<Message> sent = member.work();
    REQUIRE(sent.size() == 1);
    CHECK(sent.front().to == NodeId(3));
    CHECK(sent.front().type == (type == MessageType::kHeartbeat ? MessageType::kHeartbeatResp : MessageType::kAppResp));
    CHECK(sent.front().index == Index(type == MessageType::kApp ? 1 : type == MessageType::kSnap ? 7 : 0));
  }
}

TEST_CASE("raft: a follower that voted and knows no leader learns of it from whatever it sends") {
  for (const MessageType type : {MessageType::kApp, MessageType::kHeartbeat, MessageType::kSnap}) {
    CAPTURE(static_cast<int>(type));
    Single member({1, 2, 3}, nullptr, {Term(4), NodeId(2), Index(0)});
    Message m = heartbeat(2, 4);
    if (type == MessageType::kApp) m = append(2, 4, 0, 0, {});
    if (type == MessageType::kSnap) m = snapshot_message(2, 4, snapshot_at(4, 7, {1, 2, 3}));
    REQUIRE(member.node->step(std::move(m)).ok());
    CHECK(member.node->raft().leader() == NodeId(2));
  }
}

TEST_CASE("raft: an append behind the commit is answered with the commit") {
  Single member({1, 2, 3}, nullptr, {Term(2), NodeId(0), Index(3)}, {entry(1, 1), entry(1, 2), entry(2, 3)});
  REQUIRE(member.node->step(append(2, 2, 1, 1, {entry(1, 2)})).ok());
  const std::vector<Message> sent = member.work();
  REQUIRE(sent.size() == 1);
  CHECK(sent.front().type == MessageType::kAppResp);
  CHECK_FALSE(sent.front().reject);
  CHECK(sent.front().index == Index(3));
}

TEST_CASE("raft: what a snapshot does to a follower with log 1/1 1/2 2/3, committed up to 2") {
  struct Row {
    const char* rule;
    SnapshotPtr snapshot;
    bool restored;
    uint64_t committed, answered;
  };
  for (const Row& row : {Row{"behind the commit", snapshot_at(1, 1, {1, 2, 3}), false, 2, 2},
                         Row{"behind the commit, of a term that the log lacks", snapshot_at(2, 1, {1, 2, 3}), false, 2, 2},
                         Row{"at the commit", snapshot_at(1, 2, {1, 2, 3}), false, 2, 2},
                         Row{"the log has it: only the commit is news", snapshot_at(2, 3, {1, 2, 3}), false, 3, 3},
                         Row{"same index, another term", snapshot_at(3, 3, {1, 2, 3}), true, 3, 3},
                         Row{"beyond the log", snapshot_at(3, 9, {1, 2, 3}), true, 9, 9},
                         Row{"of a group without it", snapshot_at(3, 9, {2, 3, 4}), false, 2, 2},
                         Row{"it is a learner now", snapshot_at(3, 9, {2, 3}, {1}), true, 9, 9},
                         Row{"ConfState that contradicts itself", snapshot_at(3, 9, {1, 2}, {2}), false, 2, 2}}) {
    CAPTURE(row.rule);
    Single member({1, 2, 3}, nullptr, {Term(3), NodeId(0), Index(2)}, {entry(1, 1), entry(1, 2), entry(2, 3)});
    REQUIRE(member.node->step(snapshot_message(2, 3, row.snapshot)).ok());
    CHECK(member.node->raft().log().committed() == Index(row.committed));
    const std::vector<Message> sent = member.work();
    REQUIRE(sent.size() == 1);
    CHECK(sent.front().type == MessageType::kAppResp);
    CHECK(sent.front().index == Index(row.answered));
    CHECK((member.log.first_index() == Index(10)) == (row.restored && row.committed == 9));
  }
}

TEST_CASE("raft: what one leader showed says nothing about the next one's log, nor does a snapshot that was ignored") {
  const std::vector<Entry> log = {entry(1, 1), entry(3, 2), entry(3, 3)};
  Single member({1, 2, 3}, nullptr, {Term(5), NodeId(0), Index(1)}, log);
  REQUIRE(member.node->step(append(2, 5, 3, 3, {})).ok());  // The leader of term 5 has all of it.
  REQUIRE(member.node->step(heartbeat(3, 6, 3)).ok());
  CHECK(member.node->raft().log().committed() == Index(1));
  CHECK(member.lines.count("does not commit up to 3") == 1);
  REQUIRE(member.node->step(heartbeat(3, 6, 2)).ok());
  CHECK(member.lines.count("does not commit up to") == 1);  // Once a term.
  REQUIRE(member.node->step(heartbeat(2, 7, 2)).ok());
  CHECK(member.lines.count("does not commit up to 2") == 1);

  Single other({1, 2, 3}, nullptr, {Term(5), NodeId(0), Index(1)}, log);
  REQUIRE(other.node->step(snapshot_message(2, 5, snapshot_at(1, 1, {1, 2, 3}))).ok());
  REQUIRE(other.node->step(heartbeat(2, 5, 3)).ok());
  CHECK(other.node->raft().log().committed() == Index(1));

  Single restored({1, 2, 3}, nullptr, {Term(5), NodeId(0), Index(1)}, log);
  REQUIRE(restored.node->step(snapshot_message(2, 5, snapshot_at(4, 6, {1, 2, 3}))).ok());
  (void)restored.work();
  REQUIRE(restored.node->step(append(2, 5, 4, 6, {entry(4, 7)})).ok());
  REQUIRE(restored.node->step(heartbeat(2, 5, 7)).ok());
  CHECK(restored.node->raft().log().committed() == Index(7));
}

TEST_CASE("raft: a granted vote, a leader's word and an election of its own start the wait for the next election anew") {
  struct Row {
    const char* rule;
    Message m;
    bool waits;
  };
  // It is at term 1.
  for (const Row& row :
       {Row{"vote", message(MessageType::kVote, 2, 1, 1), true}, Row{"append", append(2, 1, 0, 0, {}), true},
        Row{"heartbeat", heartbeat(2, 1), true}, Row{"snapshot", snapshot_message(2, 1, snapshot_at(1, 4, {1, 2, 3})), true},
        Row{"a later term", message(MessageType::kAppResp, 2, 1, 2), true},
        Row{"an earlier term", message(MessageType::kVote, 2, 1, 0), false},
        Row{"pre-vote", message(MessageType::kPreVote, 2, 1, 2), false}}) {
    CAPTURE(row.rule);
    Single member({1, 2, 3}, nullptr, {Term(1), NodeId(0), Index(0)});
    Raft& raft = member.node->raft_for_test();
    raft.set_randomized_election_timeout_for_test(12);
    ticks(member, 11);
    (void)member.work();
    Message m = row.m;
    m.log_term = Term(m.type == MessageType::kApp ? 0 : 1);
    (void)member.node->step(std::move(m));
    (void)member.work();
    raft.set_randomized_election_timeout_for_test(12);
    member.node->tick();
    CHECK((raft.role() == Role::kFollower) == row.waits);
    ticks(member, 10);
    CHECK((raft.role() == Role::kFollower) == row.waits);
  }

  Single candidate({1, 2, 3});
  Raft& raft = candidate.node->raft_for_test();
  raft.set_randomized_election_timeout_for_test(12);
  ticks(candidate, 12);
  CHECK(raft.term() == Term(1));
  raft.set_randomized_election_timeout_for_test(12);
  ticks(candidate, 11);
  CHECK(raft.term() == Term(1));
  candidate.node->tick();
  CHECK(raft.term() == Term(2));
}

TEST_CASE("raft: no election while a committed change of members is not applied") {
  Entry conf = entry(1, 2);
  conf.type = EntryType::kConfChange;
  conf.data = std::make_shared<const std::string>(encode(ConfChange{1, ConfChangeType::kAddNode, NodeId(4), ""}));
  conf.index = Index(3);
  for (const uint64_t committed : {2, 5}) {
    for (const uint64_t limit : {uint64_t{1}, kNoLimit}) {  // Looked for page by page.
      CAPTURE(committed);
      Single member({1, 2, 3}, [&](Config& config) { config.committed_bytes_max = limit; },
                    {Term(1), NodeId(0), Index(committed)}, {entry(1, 1), entry(1, 2), conf, entry(1, 4), entry(1, 5)});
      member.node->campaign();
      CHECK((member.node->raft().role() == Role::kCandidate) == (committed == 2));
    }
  }
}

TEST_CASE("raft: a follower forgets its leader, but not where reads rely on it") {
  for (const ReadOnlyOption option : {ReadOnlyOption::kSafe, ReadOnlyOption::kLeaseBased}) {
    Single member({1, 2, 3}, [&](Config& config) {
      config.read_only = option;
      config.check_quorum = true;
    });
    REQUIRE(member.node->step(heartbeat(2, 1)).ok());
    (void)member.node->forget_leader();
    CHECK(member.node->raft().leader() == NodeId(option == ReadOnlyOption::kSafe ? 0 : 2));
  }
}

// --- leaders
// ---------------------------------------------------------------------------------------------------------------------

TEST_CASE("raft: leadership is handed to a member when it has everything, and only then") {
  Single leader({1, 2, 3}, [](Config& config) { config.check_quorum = true; });
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  REQUIRE(leader.acknowledge(3, 1).ok());
  REQUIRE(leader.node->propose(std::make_shared<const std::string>("x")).ok());
  REQUIRE(leader.node->propose(std::make_shared<const std::string>("y")).ok());
  (void)leader.work();
  leader.node->transfer_leader(NodeId(3));
  CHECK(all_of(leader.work(), MessageType::kTimeoutNow, 3).empty());
  CHECK_FALSE(leader.node->propose(std::make_shared<const std::string>("z")).ok());
  REQUIRE(leader.acknowledge(2, 3).ok());
  REQUIRE(leader.acknowledge(3, 2).ok());
  CHECK(all_of(leader.work(), MessageType::kTimeoutNow, 3).empty());
  REQUIRE(leader.acknowledge(3, 3).ok());
  const std::vector<Message> sent = leader.work();
  CHECK(all_of(sent, MessageType::kTimeoutNow, 3).size() == 1);
  CHECK(all_of(sent, MessageType::kTimeoutNow, 2).empty());

  // After an election timeout it is given up.
  for (int i = 0; i < leader.config.election_ticks; ++i) {
    CHECK_FALSE(leader.node->propose(std::make_shared<const std::string>("z")).ok());
    REQUIRE(leader.node->step(heartbeat_response(leader, 2)).ok());
    leader.node->tick();
  }
  CHECK(leader.node->propose(std::make_shared<const std::string>("z")).ok());
}

TEST_CASE("raft: a lagging member is sent what it lacks when leadership is to go to it") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  // 3 was never heard of: one probe is out, and its loss is known.
  leader.node->report_unreachable(NodeId(3));
  REQUIRE(leader.node->step(heartbeat_response(leader, 3)).ok());
  (void)leader.work();
  REQUIRE(leader.acknowledge(3, 1).ok());
  REQUIRE(leader.node->propose(std::make_shared<const std::string>("x")).ok());
  (void)leader.work();
  leader.node->transfer_leader(NodeId(3));
  CHECK(all_of(leader.work(), MessageType::kApp, 3).size() == 1);
}

TEST_CASE("raft: leadership is not handed to a learner, and the promise to a removed member ends with it") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  (void)leader.node->apply_conf_change(change(ConfChangeType::kAddLearnerNode, 4));
  leader.node->transfer_leader(NodeId(4));
  CHECK(leader.node->basic_status().lead_transferee == base::kNoNode);
  leader.node->transfer_leader(NodeId(3));
  CHECK(leader.node->basic_status().lead_transferee == NodeId(3));
  (void)leader.node->apply_conf_change(change(ConfChangeType::kAddLearnerNode, 5));
  CHECK(leader.node->basic_status().lead_transferee == NodeId(3));
  (void)leader.node->apply_conf_change(change(ConfChangeType::kRemoveNode, 3));
  CHECK(leader.node->basic_status().lead_transferee == base::kNoNode);
  CHECK(leader.node->propose(std::make_shared<const std::string>("x")).ok());

  leader.node->transfer_leader(NodeId(2));
  REQUIRE(leader.node->step(heartbeat(2, 9)).ok());
  (void)leader.work();
  leader.lead({2});
  CHECK(leader.node->propose(std::make_shared<const std::string>("x")).ok());
}

TEST_CASE("raft: who is heard keeps a leader in office, who is not heard ends it") {
  struct Row {
    const char* rule;
    bool heartbeats, acks, checked;
  };
  for (const Row& row :
       {Row{"nobody", false, false, true}, Row{"heartbeats are answered", true, false, true},
        Row{"appends are answered", false, true, true}, Row{"nobody, and nobody looks", false, false, false}}) {
    CAPTURE(row.rule);
    Single leader({1, 2, 3}, [&](Config& config) { config.check_quorum = row.checked; });
    leader.lead({2, 3});
    for (int i = 0; i < 3 * leader.config.election_ticks; ++i) {
      if (row.heartbeats) REQUIRE(leader.node->step(heartbeat_response(leader, 2)).ok());
      if (row.acks) REQUIRE(leader.acknowledge(2, 1).ok());
      leader.node->tick();
      (void)leader.work();
    }
    CHECK((leader.node->raft().role() == Role::kLeader) == (row.heartbeats || row.acks || !row.checked));
  }
}

TEST_CASE("raft: a leader's heartbeats come as often as they are set, the first one that long after its election") {
  Single leader({1, 2, 3}, [](Config& config) {
    config.heartbeat_ticks = 3;
    config.election_ticks = 10;
  });
  ticks(leader, 2);
  leader.lead({2, 3});
  std::vector<int> at;
  for (int tick = 1; tick <= 12; ++tick) {
    leader.node->tick();
    if (!all_of(leader.work(), MessageType::kHeartbeat, 2).empty()) at.push_back(tick);
  }
  CHECK(at == std::vector<int>{3, 6, 9, 12});
  // In office once more: what was counted before is forgotten.
  ticks(leader, 2);
  REQUIRE(leader.node->step(heartbeat(2, 9)).ok());
  (void)leader.work();
  leader.lead({2, 3});
  ticks(leader, 2);
  CHECK(all_of(leader.work(), MessageType::kHeartbeat, 2).empty());
}

TEST_CASE("raft: confirmations of an earlier leadership confirm no read of this one") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  for (const char* name : {"a", "b", "c"}) leader.node->read_index(name);
  std::string third;
  base::append_le64(third, 3);
  REQUIRE(leader.node->step(heartbeat_response(leader, 2, third)).ok());
  (void)leader.work();
  CHECK(leader.reads.size() == 3);
  REQUIRE(leader.node->step(heartbeat(2, 9)).ok());
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 2).ok());
  (void)leader.work();
  leader.node->read_index("d");
  const std::vector<Message> sent = leader.work();
  CHECK(leader.reads.size() == 3);
  const std::vector<const Message*> heartbeats = all_of(sent, MessageType::kHeartbeat, 3);
  REQUIRE(heartbeats.size() == 1);
  REQUIRE(leader.node->step(heartbeat_response(leader, 3, heartbeats.front()->context)).ok());
  (void)leader.work();
  REQUIRE(leader.reads.size() == 4);
  CHECK(leader.reads.back().context == "d");
  leader.node->read_index("e");
  (void)leader.work();
  REQUIRE(leader.node->step(heartbeat_response(leader, 3, heartbeats.front()->context)).ok());  // An echo of the one before.
  (void)leader.work();
  CHECK(leader.reads.size() == 4);
}

TEST_CASE("read index: a leader without a commit of its term keeps so many reads, not more") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  leader.lines.keep(false);
  for (size_t i = 0; i < kReadsWaitingMax + 10; ++i) leader.node->read_index(std::to_string(i));
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  std::string all;
  base::append_le64(all, kReadsWaitingMax);
  REQUIRE(leader.node->step(heartbeat_response(leader, 2, all)).ok());
  (void)leader.work();
  REQUIRE(leader.reads.size() == kReadsWaitingMax);
  CHECK(leader.reads.back().context == std::to_string(kReadsWaitingMax - 1));
}

TEST_CASE("raft: a late acknowledgement ends the probing of a member that has everything") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  leader.node->report_unreachable(NodeId(2));
  (void)leader.work();
  const auto state = [&] { return leader.node->raft().group().progress().at(NodeId(2)).state; };
  REQUIRE(state() == ProgressState::kProbe);
  REQUIRE(leader.node->step(heartbeat_response(leader, 2)).ok());
  CHECK(all_of(leader.work(), MessageType::kApp, 2).size() == 1);  // Empty: only to be answered.
  REQUIRE(leader.acknowledge(2, 0).ok());
  CHECK(state() == ProgressState::kProbe);
  REQUIRE(leader.acknowledge(2, 1).ok());
  CHECK(state() == ProgressState::kReplicate);
}

TEST_CASE("raft: a member that needs a snapshot gets it once it is there, and entries when it says that it has it") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  for (int i = 0; i < 9; ++i) REQUIRE(leader.node->propose(std::make_shared<const std::string>("x")).ok());
  (void)leader.work();
  REQUIRE(leader.acknowledge(2, 10).ok());
  (void)leader.work();
  ConfState conf;
  conf.voters = {NodeId(1), NodeId(2), NodeId(3)};
  REQUIRE(leader.log.create_snapshot(Index(8), &conf, "").ok());
  REQUIRE(leader.log.compact(Index(8)).ok());
  const auto progress = [&]() -> const Progress& { return leader.node->raft().group().progress().at(NodeId(3)); };

  Message refusal = message(MessageType::kAppResp, 3, 1, leader.node->raft().term().value());
  refusal.reject = true;
  refusal.index = Index(0);
  leader.node->report_unreachable(NodeId(3));
  CHECK(all_of(leader.work(), MessageType::kSnap, 3).empty());  // Never heard of.
  REQUIRE(leader.node->step(heartbeat_response(leader, 3)).ok());
  CHECK(all_of(leader.work(), MessageType::kSnap, 3).size() == 1);
  REQUIRE(progress().state == ProgressState::kSnapshot);

  // Nothing else goes meanwhile, whatever is told of it.
  leader.node->report_unreachable(NodeId(3));
  REQUIRE(leader.node->step(heartbeat_response(leader, 3)).ok());
  REQUIRE(leader.acknowledge(3, 4).ok());  // Behind what the log still has.
  CHECK(progress().state == ProgressState::kSnapshot);
  std::vector<Message> sent = leader.work();
  CHECK(all_of(sent, MessageType::kSnap, 3).empty());
  CHECK(all_of(sent, MessageType::kApp, 3).empty());
  REQUIRE(leader.acknowledge(3, 8).ok());
  CHECK(progress().state == ProgressState::kReplicate);
  sent = leader.work();
  REQUIRE_FALSE(all_of(sent, MessageType::kApp, 3).empty());
  CHECK(all_of(sent, MessageType::kApp, 3).back()->index == Index(8));
  CHECK(all_of(sent, MessageType::kApp, 3).back()->entries.size() == 2);

  // A report about a snapshot that nobody waits for changes nothing.
  leader.node->report_snapshot(NodeId(3), true);
  CHECK(progress().state == ProgressState::kReplicate);
  CHECK_FALSE(progress().paused());
}

TEST_CASE("raft: a refusal without a term moves the probe to the end that it names") {
  Single leader({1, 2, 3}, nullptr, {Term(1), NodeId(0), Index(0)}, {entry(1, 1), entry(1, 2), entry(1, 3), entry(1, 4)});
  leader.lead({2, 3});
  Message refusal = message(MessageType::kAppResp, 2, 1, leader.node->raft().term().value());
  refusal.reject = true;
  refusal.index = Index(4);
  refusal.reject_hint = Index(2);
  REQUIRE(leader.node->step(std::move(refusal)).ok());
  const std::vector<Message> sent = leader.work();
  REQUIRE_FALSE(all_of(sent, MessageType::kApp, 2).empty());
  CHECK(all_of(sent, MessageType::kApp, 2).back()->index == Index(2));
}

// What etcd's leader asks for again and again, as fast as it is refused.
TEST_CASE("raft: a member whose disk went back in time is sent again what it had acknowledged, each refusal answered once") {
  Single leader({1, 2, 3}, nullptr, {Term(1), NodeId(0), Index(0)}, {entry(1, 1), entry(1, 2), entry(1, 3), entry(1, 4)});
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 5).ok());
  (void)leader.work();
  leader.node->report_unreachable(NodeId(2));
  const auto& progress = leader.node->raft().group().progress().at(NodeId(2));
  REQUIRE(progress.state == ProgressState::kProbe);
  REQUIRE(progress.match == Index(5));
  const auto refuse = [&leader] {
    Message refusal = message(MessageType::kAppResp, 2, 1, leader.node->raft().term().value());
    refusal.reject = true;
    refusal.index = Index(5);
    refusal.reject_hint = Index(2);
    refusal.log_term = Term(1);
    REQUIRE(leader.node->step(std::move(refusal)).ok());
    return leader.work();
  };
  const std::vector<Message> sent = refuse();
  REQUIRE(all_of(sent, MessageType::kApp, 2).size() == 1);
  CHECK(all_of(sent, MessageType::kApp, 2).back()->index == Index(2));
  CHECK(all_of(sent, MessageType::kApp, 2).back()->entries.size() == 3);
  CHECK(progress.match == Index(2));
  CHECK(all_of(refuse(), MessageType::kApp, 2).empty());
  REQUIRE(leader.acknowledge(2, 5).ok());
  CHECK(progress.state == ProgressState::kReplicate);
  CHECK(progress.match == Index(5));
}

// --- changes of members
// ------------------------------------------------------------------------------------------------------------

TEST_CASE("raft: with fewer voters more is committed, and the others are told at once") {
  Single leader({1, 2, 3, 4});
  leader.lead({2, 3, 4});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  REQUIRE(leader.node->raft().log().committed() == Index(0));
  (void)leader.node->apply_conf_change(change(ConfChangeType::kRemoveNode, 4));
  CHECK(leader.node->raft().log().committed() == Index(1));
  const std::vector<Message> sent = leader.work();
  REQUIRE_FALSE(all_of(sent, MessageType::kApp, 2).empty());
  CHECK(all_of(sent, MessageType::kApp, 2).back()->commit == Index(1));
}

TEST_CASE("raft: a leader that is removed proposes nothing more; it stays or steps down as it is set") {
  for (const bool steps_down : {false, true}) {
    for (const bool demoted : {false, true}) {
      CAPTURE(steps_down);
      CAPTURE(demoted);
      Single leader({1, 2, 3}, [&](Config& config) { config.step_down_on_removal = steps_down; });
      leader.lead({2, 3});
      REQUIRE(leader.acknowledge(2, 1).ok());
      (void)leader.work();
      (void)leader.node->apply_conf_change(change(demoted ? ConfChangeType::kAddLearnerNode : ConfChangeType::kRemoveNode, 1));
      CHECK((leader.node->raft().role() == Role::kLeader) == !steps_down);
      CHECK(leader.node->raft().is_learner() == demoted);
      if (!demoted) CHECK_FALSE(leader.node->propose(std::make_shared<const std::string>("x")).ok());
      (void)leader.work();
      if (steps_down) {
        for (int i = 0; i < 4 * leader.config.election_ticks; ++i) leader.node->tick();
        CHECK(leader.node->raft().role() == Role::kFollower);  // Neither may stand for election.
      }
    }
  }
}

TEST_CASE("raft: which changes of members become empty entries") {
  struct Row {
    const char* rule;
    bool joint;
    ConfChangeV2 proposed;
    bool unchecked, kept;
  };
  ConfChangeV2 two = change(ConfChangeType::kAddNode, 5);
  two.changes.push_back({ConfChangeType::kRemoveNode, NodeId(2)});
  two.transition = ConfChangeTransition::kJointExplicit;
  for (const Row& row :
       {Row{"simple", false, change(ConfChangeType::kAddNode, 4), false, true}, Row{"two at once", false, two, false, true},
        Row{"leaving what was not entered", false, ConfChangeV2{}, false, false},
        Row{"leaving", true, ConfChangeV2{}, false, true},
        Row{"another one before leaving", true, change(ConfChangeType::kAddNode, 4), false, false},
        Row{"unchecked", true, change(ConfChangeType::kAddNode, 4), true, true}}) {
    CAPTURE(row.rule);
    Single leader({1, 2, 3}, [&](Config& config) { config.disable_conf_change_validation = row.unchecked; });
    leader.lead({2, 3});
    REQUIRE(leader.acknowledge(2, 1).ok());
    (void)leader.work();
    if (row.joint) (void)leader.node->apply_conf_change(two);
    REQUIRE(leader.node->propose_conf_change(row.proposed).ok());
    std::vector<Entry> entries;
    REQUIRE(leader.node->raft().log().entries_from(Index(2), kNoLimit, entries));
    REQUIRE(entries.size() == 1);
    CHECK((entries.front().type != EntryType::kNormal) == row.kept);
  }
}

TEST_CASE("raft: a joint configuration that leaves by itself is left when its entry is applied, not before") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  ConfChangeV2 two = change(ConfChangeType::kAddNode, 5);
  two.changes.push_back({ConfChangeType::kRemoveNode, NodeId(3)});
  two.transition = ConfChangeTransition::kJointImplicit;
  REQUIRE(leader.node->propose(std::make_shared<const std::string>("before")).ok());
  REQUIRE(leader.node->propose_conf_change(two).ok());
  (void)leader.work();
  // Applied early here: what is applied next is the entry before it.
  (void)leader.node->apply_conf_change(two);
  const auto last_entry = [&] {
    std::vector<Entry> entries;
    (void)leader.node->raft().log().entries_from(leader.node->raft().log().last_index(), kNoLimit, entries);
    return entries.back();
  };
  REQUIRE(leader.acknowledge(2, 2).ok());
  REQUIRE(leader.acknowledge(3, 2).ok());
  (void)leader.work();
  CHECK(leader.node->raft().log().last_index() == Index(3));
  REQUIRE(leader.acknowledge(2, 3).ok());
  (void)leader.work();
  CHECK(leader.node->raft().log().last_index() == Index(4));
  CHECK(last_entry().type == EntryType::kConfChangeV2);
  CHECK(last_entry().payload().empty());
}

TEST_CASE(
    "raft: proposals beyond the uncommitted limit are dropped; those without data, and those of a new leadership, are not") {
  Single leader({1, 2, 3}, [](Config& config) { config.uncommitted_bytes_max = 100; });
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  const auto propose = [&](size_t bytes) { return leader.node->propose(std::make_shared<const std::string>(bytes, 'x')).ok(); };
  CHECK(propose(500));  // The first goes whatever its size.
  CHECK_FALSE(propose(1));
  CHECK(propose(0));
  REQUIRE(leader.node->step(heartbeat(2, 9)).ok());
  (void)leader.work();
  leader.lead({2, 3});
  CHECK(propose(60));
  CHECK(propose(40));
  CHECK_FALSE(propose(1));
}
