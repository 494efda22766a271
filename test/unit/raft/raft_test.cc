#include "raft/raft.h"

#include <doctest/doctest.h>

#include <deque>
#include <tuple>

#include "base/bytes.h"
#include "raft/describe.h"
#include "unit/raft/support.h"

using namespace raft;
using raft::test::entry;
using raft::test::message;
using raft::test::Single;

namespace {

const Message* find(const std::vector<Message>& messages, MessageType type, uint64_t to) {
  for (const Message& m : messages) {
    if (m.type == type && m.to == NodeId(to)) return &m;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("raft: who gets the vote of a member at term 2 with log 1/1 2/2") {
  struct Row {
    const char* rule;
    uint64_t voted_for;  // in term 2
    uint64_t term, last_term, last_index;
    bool granted;
  };
  for (const Row& row : {Row{"same term, equal log", 0, 2, 2, 2, true}, Row{"same term, longer log", 0, 2, 2, 3, true},
                         Row{"same term, shorter log", 0, 2, 2, 1, false}, Row{"same term, older last term", 0, 2, 1, 9, false},
                         Row{"same term, newer last term", 0, 2, 3, 1, true}, Row{"voted for it", 2, 2, 2, 2, true},
                         Row{"voted for another", 3, 2, 2, 2, false}, Row{"newer term frees the vote", 3, 3, 2, 2, true},
                         Row{"newer term, shorter log", 0, 3, 2, 1, false}}) {
    CAPTURE(row.rule);
    Single member({1, 2, 3}, nullptr, {Term(2), NodeId(row.voted_for), Index(0)}, {entry(1, 1), entry(2, 2)});
    Message m = message(MessageType::kVote, 2, 1, row.term);
    m.log_term = Term(row.last_term);
    m.index = Index(row.last_index);
    REQUIRE(member.node->step(m).ok());
    const std::vector<Message> sent = member.work();
    REQUIRE(sent.size() == 1);
    CHECK(sent.front().type == MessageType::kVoteResp);
    CHECK(sent.front().reject == !row.granted);
    CHECK(sent.front().term == Term(row.term));
    CHECK(member.log.hard_state().vote == NodeId(row.granted ? 2 : row.term == 2 ? row.voted_for : 0));
  }
}

TEST_CASE("raft: a vote leaves only after its save, a pre-vote changes nothing") {
  Single member({1, 2, 3});
  REQUIRE(member.node->step(message(MessageType::kVote, 2, 1, 1)).ok());
  const Ready ready = member.node->take_ready();
  CHECK(ready.messages.empty());
  REQUIRE(ready.messages_after_save.size() == 1);
  REQUIRE(ready.hard_state.has_value());
  CHECK(*ready.hard_state == HardState{Term(1), NodeId(2), Index(0)});
  CHECK(ready.must_sync);
  member.node->advance();

  REQUIRE(member.node->step(message(MessageType::kPreVote, 3, 1, 5)).ok());
  const Ready opinion = member.node->take_ready();
  CHECK_FALSE(opinion.hard_state.has_value());
  CHECK_FALSE(opinion.must_sync);
  REQUIRE(opinion.messages_after_save.size() == 1);
  CHECK(opinion.messages_after_save.front().term == Term(5));
  CHECK_FALSE(opinion.messages_after_save.front().reject);
}

TEST_CASE("raft: a leader's lease stands against votes, except those that the leader asked for") {
  for (const bool forced : {false, true}) {
    CAPTURE(forced);
    Single member({1, 2, 3}, [](Config& config) { config.check_quorum = true; });
    REQUIRE(member.node->step(message(MessageType::kHeartbeat, 2, 1, 1)).ok());
    (void)member.work();
    REQUIRE(member.node->step(message(MessageType::kPreVote, 3, 1, 2)).ok());
    CHECK(member.work().empty());  // Else who was cut off would end a term that everybody else is content with.
    Message m = message(MessageType::kVote, 3, 1, 2);
    if (forced) m.context = "CampaignTransfer";
    REQUIRE(member.node->step(m).ok());
    CHECK(member.work().size() == (forced ? 1 : 0));
    CHECK(member.node->raft().term() == Term(forced ? 2 : 1));
    // The lease ends with the shortest election timeout.
    for (int i = 0; i < member.config.election_ticks; ++i) {
      member.node->raft_for_test().set_randomized_election_timeout_for_test(1000);
      member.node->tick();
    }
    m = message(MessageType::kVote, 3, 1, 7);
    REQUIRE(member.node->step(m).ok());
    CHECK(member.node->raft().vote() == NodeId(3));
  }
}

TEST_CASE("raft: which entries a leader commits") {
  struct Row {
    const char* rule;
    std::vector<uint64_t> voters;
    std::vector<uint64_t> acks;  // of members 2, 3, ...
    uint64_t committed;
  };
  // The leader's log: 1/1 1/2, then its own 2/3.
  for (const Row& row :
       {Row{"alone", {1}, {}, 3}, Row{"three: itself only", {1, 2, 3}, {0, 0}, 0},
        Row{"three: entries of old terms do not count", {1, 2, 3}, {2, 0}, 0},
        Row{"three: one of its own takes the old ones with it", {1, 2, 3}, {3, 0}, 3},
        Row{"four: one is not enough", {1, 2, 3, 4}, {3, 0, 0}, 0}, Row{"four: two are", {1, 2, 3, 4}, {3, 0, 3}, 3},
        Row{"five: two", {1, 2, 3, 4, 5}, {0, 3, 2, 3}, 3}}) {
    CAPTURE(row.rule);
    Single leader(row.voters, nullptr, {Term(1), NodeId(0), Index(0)}, {entry(1, 1), entry(1, 2)});
    leader.lead({row.voters.begin() + 1, row.voters.end()});
    uint64_t from = 2;
    for (const uint64_t index : row.acks) {
      if (index > 0) REQUIRE(leader.acknowledge(from, index).ok());
      ++from;
    }
    (void)leader.work();
    CHECK(leader.node->raft().log().committed() == Index(row.committed));
    CHECK(leader.applied.size() == row.committed);
  }
}

TEST_CASE("raft: a heartbeat commits nothing that was not seen to be the leader's") {
  struct Row {
    const char* rule;
    std::vector<Entry> log;
    std::vector<Message> before;
    uint64_t commit, committed;
    uint64_t term = 5;
  };
  const auto append = [](uint64_t log_term, uint64_t index, std::vector<Entry> entries) {
    Message m = message(MessageType::kApp, 2, 1, 5);
    m.log_term = Term(log_term);
    m.index = Index(index);
    m.entries = std::move(entries);
    return m;
  };
  // It was restarted at term 5 with entry 1 committed; the leader of term 5 says how far all is committed that it has
  // acknowledged.
  for (const Row& row :
       {Row{"an entry of the leader's term vouches for the log", {entry(1, 1), entry(3, 2), entry(5, 3)}, {}, 3, 3},
        Row{"the disk went back: other entries stand there", {entry(1, 1), entry(3, 2), entry(3, 3)}, {}, 3, 1},
        Row{"what the leader replaced is its own",
            {entry(1, 1), entry(3, 2), entry(3, 3)},
            {append(1, 1, {entry(5, 2)})},
            2,
            2},
        Row{"an append shows that the logs agree so far", {entry(1, 1), entry(3, 2), entry(3, 3)}, {append(3, 2, {})}, 2, 2},
        Row{"and no farther", {entry(1, 1), entry(3, 2), entry(3, 3)}, {append(3, 2, {})}, 3, 2},
        Row{"a refused one shows nothing", {entry(1, 1), entry(3, 2), entry(3, 3)}, {append(4, 2, {})}, 2, 1},
        Row{"the leader of a later term has shown nothing yet",
            {entry(1, 1), entry(3, 2), entry(3, 3)},
            {append(3, 3, {})},
            3,
            1,
            6}}) {
    CAPTURE(row.rule);
    Single follower({1, 2, 3}, nullptr, {Term(5), NodeId(0), Index(1)}, row.log);
    for (Message m : row.before) REQUIRE(follower.node->step(std::move(m)).ok());
    Message heartbeat = message(MessageType::kHeartbeat, 2, 1, row.term);
    heartbeat.commit = Index(row.commit);
    REQUIRE(follower.node->step(std::move(heartbeat)).ok());
    CHECK(follower.node->raft().log().committed() == Index(row.committed));
  }
}

TEST_CASE("raft: its own entry counts for a leader only when it is saved") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  REQUIRE(leader.node->propose(std::make_shared<const std::string>("x")).ok());
  const Ready ready = leader.node->take_ready();
  REQUIRE(ready.entries.size() == 1);
  CHECK(ready.must_sync);
  CHECK(ready.messages_after_save.empty());  // Appends may leave beside the save.
  REQUIRE(leader.acknowledge(2, 2).ok());
  CHECK(leader.node->raft().log().committed() == Index(1));
  leader.log.append(ready.entries);
  leader.node->advance();
  CHECK(leader.node->raft().log().committed() == Index(2));
}

TEST_CASE("raft: a follower acknowledges what it knows to be the leader's, not the end of its own log") {
  struct Row {
    const char* rule;
    uint64_t commit;
    MessageType type;
    uint64_t index, term;  // of the message's previous entry, or of the snapshot
    uint64_t acknowledged, last;
  };
  // Its log: 1/1 1/2 1/3, of which the leader of term 2 may have none.
  for (const Row& row : {Row{"an append from before the commit index", 2, MessageType::kApp, 1, 1, 2, 3},
                         Row{"an append that matches", 1, MessageType::kApp, 2, 1, 2, 3},
                         Row{"a snapshot that is old", 2, MessageType::kSnap, 1, 1, 2, 3},
                         Row{"a snapshot that the log covers: nothing behind it goes", 1, MessageType::kSnap, 2, 1, 2, 3},
                         Row{"a snapshot that the log contradicts", 1, MessageType::kSnap, 2, 2, 2, 2}}) {
    CAPTURE(row.rule);
    Single follower({1, 2, 3}, nullptr, {Term(2), NodeId(0), Index(row.commit)}, {entry(1, 1), entry(1, 2), entry(1, 3)});
    (void)follower.work();
    Message m = message(row.type, 2, 1, 2);
    if (row.type == MessageType::kApp) {
      m.index = Index(row.index);
      m.log_term = Term(row.term);
    } else {
      auto snapshot = std::make_shared<Snapshot>();
      snapshot->index = Index(row.index);
      snapshot->term = Term(row.term);
      snapshot->conf_state.voters = {NodeId(1), NodeId(2), NodeId(3)};
      m.snapshot = snapshot;
    }
    REQUIRE(follower.node->step(std::move(m)).ok());
    const std::vector<Message> sent = follower.work();
    const Message* answer = find(sent, MessageType::kAppResp, 2);
    REQUIRE(answer != nullptr);
    CHECK_FALSE(answer->reject);
    CHECK(answer->index == Index(row.acknowledged));
    CHECK(follower.node->raft().log().last_index() == Index(row.last));
  }
}

TEST_CASE("raft: a leader that hears no majority for an election timeout steps down") {
  Single leader({1, 2, 3}, [](Config& config) { config.check_quorum = true; });
  leader.lead({2, 3});
  for (int round = 0; round < 3; ++round) {
    REQUIRE(leader.acknowledge(2, 1).ok());
    for (int i = 0; i < leader.config.election_ticks; ++i) leader.node->tick();
    (void)leader.work();
    CHECK(leader.node->raft().role() == Role::kLeader);
  }
  for (int i = 0; i < leader.config.election_ticks; ++i) leader.node->tick();
  CHECK(leader.node->raft().role() == Role::kFollower);
}

TEST_CASE("raft: a leadership is handed over to a voter that has everything, within an election timeout") {
  struct Row {
    const char* rule;
    uint64_t to;
    bool up_to_date, catches_up, told, waited_for;
  };
  for (const Row& row : {Row{"it has everything", 2, true, false, true, true}, Row{"it lags", 2, false, false, false, true},
                         Row{"it lagged", 2, false, true, true, true}, Row{"a learner", 4, true, false, false, false},
                         Row{"ourselves", 1, true, false, false, false}}) {
    CAPTURE(row.rule);
    Single leader({1, 2, 3});
    leader.lead({2, 3});
    (void)leader.node->apply_conf_change(as_v2({0, ConfChangeType::kAddLearnerNode, NodeId(4), ""}));
    const uint64_t last = leader.node->raft().log().last_index().value();
    if (row.up_to_date && row.to != 1) REQUIRE(leader.acknowledge(row.to, last).ok());
    (void)leader.work();
    leader.node->transfer_leader(NodeId(row.to));
    bool told = find(leader.work(), MessageType::kTimeoutNow, row.to) != nullptr;
    CHECK(told == (row.told && row.up_to_date));
    if (row.catches_up) {
      REQUIRE(leader.acknowledge(row.to, last).ok());
      told = find(leader.work(), MessageType::kTimeoutNow, row.to) != nullptr;
    }
    CHECK(told == row.told);
    const auto propose = [&] { return leader.node->propose(std::make_shared<const std::string>("x")).ok(); };
    CHECK(propose() == !row.waited_for);
    for (int i = 0; i < leader.config.election_ticks; ++i) leader.node->tick();
    CHECK(propose());
  }
}

TEST_CASE("raft: with a voter that is removed more may be committed, and nobody is waited for that is gone") {
  const auto remove = [](Single& leader, uint64_t id) {
    (void)leader.node->apply_conf_change(as_v2({0, ConfChangeType::kRemoveNode, NodeId(id), ""}));
  };
  const auto propose = [](Single& leader) { return leader.node->propose(std::make_shared<const std::string>("x")).ok(); };
  Single leader({1, 2, 3, 4});
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  CHECK(leader.node->raft().log().committed() == Index(0));
  leader.node->transfer_leader(NodeId(4));
  CHECK_FALSE(propose(leader));
  remove(leader, 4);
  CHECK(leader.node->raft().log().committed() == Index(1));
  CHECK(propose(leader));
  remove(leader, 1);  // It leads until the others know, and takes nothing.
  CHECK_FALSE(propose(leader));
}

TEST_CASE("raft: nobody asks for votes before the changes of the members that are committed are applied") {
  Entry change = entry(1, 1, encode(ConfChange{1, ConfChangeType::kAddNode, NodeId(4), ""}));
  change.type = EntryType::kConfChange;
  Single member({1, 2, 3}, nullptr, {Term(1), NodeId(0), Index(1)}, {change});
  member.node->campaign();
  CHECK(member.node->raft().role() == Role::kFollower);
  (void)member.work();
  member.node->campaign();
  CHECK(member.node->raft().role() == Role::kCandidate);
}

TEST_CASE("raft: a batch of proposals is one append") {
  Single leader({1, 2});
  leader.lead({2});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  std::vector<Data> batch;
  for (int i = 0; i < 100; ++i) batch.push_back(std::make_shared<const std::string>(std::to_string(i)));
  const Data first = batch.front();
  REQUIRE(leader.node->propose(batch).ok());
  const std::vector<Message> sent = leader.work();
  REQUIRE(sent.size() == 1);
  CHECK(sent.front().entries.size() == 100);
  CHECK(sent.front().entries.front().data == first);  // Shared, not copied.
  CHECK(sent.front().entries.back().index == Index(101));
}

TEST_CASE("raft: appends are cut to their size, and sent on while the window has room") {
  Single leader({1, 2}, [](Config& config) {
    config.message_bytes_max = 200;
    config.inflight_messages_max = 3;
  });
  leader.lead({2});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  std::vector<Data> batch(10, std::make_shared<const std::string>(90, 'x'));
  REQUIRE(leader.node->propose(batch).ok());
  std::vector<Message> sent = leader.work();
  REQUIRE(sent.size() == 1);  // Two entries each; the others follow the acknowledgements.
  CHECK(sent[0].entries.size() == 2);
  REQUIRE(leader.acknowledge(2, 3).ok());
  sent = leader.work();
  size_t entries = 0;
  for (const Message& m : sent) entries += m.entries.size();
  CHECK(entries == 6);  // The window is full.
  CHECK(leader.node->status().progress.at(NodeId(2)).to_string() == "StateReplicate match=3 next=10 paused inflight=3[full]");
}

// --- reads ------------------------------------------------------------------------------------------------------------------

TEST_CASE("read index: a quorum's echo of a position confirms all reads up to it") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  std::vector<std::string> contexts;
  for (const char* name : {"a", "b", "c"}) {
    leader.node->read_index(name);
    const std::vector<Message> sent = leader.work();
    const Message* heartbeat = find(sent, MessageType::kHeartbeat, 2);
    REQUIRE(heartbeat != nullptr);
    contexts.push_back(heartbeat->context);
  }
  for (uint64_t i = 0; i < 3; ++i) {
    REQUIRE(contexts[i].size() == 8);
    CHECK(base::load_le64(contexts[i].data()) == i + 1);
  }
  CHECK(leader.reads.empty());
  const auto echo = [&](uint64_t from, std::string context) {
    Message m = message(MessageType::kHeartbeatResp, from, 1, leader.node->raft().term().value());
    m.context = std::move(context);
    REQUIRE(leader.node->step(std::move(m)).ok());
    (void)leader.work();
  };
  // What is no echo of ours confirms nothing and harms nothing.
  std::string absurd;
  base::append_le64(absurd, UINT64_MAX);
  echo(2, absurd);
  echo(2, "short");
  echo(2, "");
  CHECK(leader.reads.empty());
  echo(3, contexts[1]);
  REQUIRE(leader.reads.size() == 2);
  CHECK(leader.reads[0].context == "a");
  CHECK(leader.reads[1].context == "b");
  CHECK(leader.reads[1].index == Index(1));
  echo(2, contexts[0]);  // Long confirmed.
  CHECK(leader.reads.size() == 2);
  echo(2, contexts[2]);
  REQUIRE(leader.reads.size() == 3);
  CHECK(leader.reads[2].context == "c");
}

TEST_CASE("read index: waits for the first commit of the leader's term, then asks the quorum") {
  Single leader({1, 2, 3}, nullptr, {Term(1), NodeId(0), Index(0)}, {entry(1, 1)});
  leader.lead({2, 3});
  leader.node->read_index("early");
  Message m = message(MessageType::kReadIndex, 3, 1, 0);
  m.entries.push_back(make_entry("far"));
  REQUIRE(leader.node->step(m).ok());
  CHECK(find(leader.work(), MessageType::kHeartbeat, 2) == nullptr);
  REQUIRE(leader.acknowledge(2, 2).ok());
  const std::vector<Message> sent = leader.work();
  CHECK(leader.reads.empty());
  REQUIRE(sent.size() >= 4);
  std::string last_context;
  for (const Message& one : sent) {
    if (one.type == MessageType::kHeartbeat) last_context = one.context;
  }
  Message echo = message(MessageType::kHeartbeatResp, 2, 1, leader.node->raft().term().value());
  echo.context = last_context;
  REQUIRE(leader.node->step(echo).ok());
  const std::vector<Message> answers = leader.work();
  REQUIRE(leader.reads.size() == 1);
  CHECK(leader.reads.front().index == Index(2));
  const Message* far = find(answers, MessageType::kReadIndexResp, 3);
  REQUIRE(far != nullptr);
  CHECK(far->index == Index(2));
  REQUIRE(far->entries.size() == 1);
  CHECK(far->entries.front().payload() == "far");
}

TEST_CASE("read index: those that wait are forgotten with the leadership, and are not endless") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  ReadOnly waiting(ReadOnlyOption::kSafe);
  for (size_t i = 0; i < kReadsWaitingMax; ++i) REQUIRE(waiting.add({}));
  CHECK_FALSE(waiting.add({}));
  CHECK(base::load_le64(waiting.heartbeat_context().data()) == kReadsWaitingMax);

  leader.node->read_index("lost");
  (void)leader.work();
  REQUIRE(leader.node->step(message(MessageType::kHeartbeat, 2, 1, 9)).ok());
  leader.lead({2, 3});
  Message echo = message(MessageType::kHeartbeatResp, 2, 1, leader.node->raft().term().value());
  base::append_le64(echo.context, 1);
  REQUIRE(leader.node->step(echo).ok());
  (void)leader.work();
  CHECK(leader.reads.empty());
  // Nor does a read of this term bring it back.
  REQUIRE(leader.acknowledge(2, leader.node->raft().log().last_index().value()).ok());
  leader.node->read_index("new");
  for (const Message& sent : leader.work()) {
    if (sent.type == MessageType::kHeartbeat) echo.context = sent.context;
  }
  REQUIRE(leader.node->step(echo).ok());
  (void)leader.work();
  REQUIRE(leader.reads.size() == 1);
  CHECK(leader.reads.front().context == "new");
}

// --- what the network may bring ---------------------------------------------------------------------------------------------

TEST_CASE("raft: messages that no member sends are refused and change nothing") {
  Single member({1, 2, 3});
  RawNode& node = *member.node;
  for (int i = 0; i < kMessageTypes; ++i) {
    const auto type = static_cast<MessageType>(i);
    CAPTURE(name_of(type));
    const base::Status stepped = node.step(message(type, 2, 1, 3));
    if (is_local(type)) CHECK(stepped.text() == kStepLocalMessage);
    const base::Status stranger = node.step(message(type, 77, 1, node.raft().term().value()));
    if (!is_local(type) && is_response(type)) CHECK(stranger.text() == kStepPeerNotFound);
    (void)member.work();
  }
  // Without a term these would reach behind all the rules.
  for (const MessageType type : {MessageType::kApp, MessageType::kHeartbeat, MessageType::kSnap, MessageType::kVote,
                                 MessageType::kPreVote, MessageType::kTimeoutNow}) {
    CAPTURE(name_of(type));
    const Term before = node.raft().term();
    REQUIRE(node.step(message(type, 2, 1, 0)).ok());
    CHECK(member.work().empty());
    CHECK(node.raft().term() == before);
  }
  CHECK_FALSE(node.step(message(static_cast<MessageType>(99), 2, 1, 0)).code() == base::Code::kInternal);
}

TEST_CASE("raft: arbitrary messages stop no member, whatever it is doing") {
  base::Rng rng(3);
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    Single member({1, 2, 3}, [&](Config& config) {
      config.check_quorum = round % 2 == 0;
      config.pre_vote = round % 3 == 0;
    });
    member.lines.keep(false);
    RawNode& node = *member.node;
    const auto number = [&](uint64_t near) {
      switch (rng.below(4)) {
        case 0:
          return UINT64_MAX - rng.below(3);
        case 1:
          return rng.next();
        default:
          return near + rng.below(4) - 1;
      }
    };
    for (int i = 0; i < 500; ++i) {
      if (rng.one_in(20)) node.campaign();
      if (rng.one_in(10)) (void)node.propose(std::make_shared<const std::string>("x"));
      const Log& log = node.raft().log();
      Message m;
      m.type = static_cast<MessageType>(rng.below(kMessageTypes + 2));
      m.from = NodeId(rng.below(6));
      m.to = NodeId(1);
      m.term = rng.one_in(30) ? Term(0) : node.raft().term() + (rng.one_in(10) ? 1 : 0);
      m.reject = rng.one_in(3);
      m.index = Index(number(log.last_index().value()));
      m.log_term = Term(number(node.raft().term().value()));
      m.reject_hint = Index(number(log.last_index().value()));
      // A leader that contradicts what is committed ends the process by design: none such here.
      m.commit = log.committed();
      for (uint64_t count = rng.below(4); count > 0; --count) {
        m.entries.push_back(entry(number(1), m.index.value() + m.entries.size() + 1, std::string(rng.below(20), '\x0a')));
        m.entries.back().type = static_cast<EntryType>(rng.below(5));
      }
      if (m.type == MessageType::kApp && m.index <= log.committed()) m.entries.clear();
      for (uint64_t count = rng.below(12); count > 0; --count) m.context.push_back(static_cast<char>(rng.next()));
      if (rng.one_in(2)) {
        auto snapshot = std::make_shared<Snapshot>();
        snapshot->index = Index(rng.below(5));
        snapshot->term = Term(rng.below(3));
        for (std::vector<NodeId>* ids : {&snapshot->conf_state.voters, &snapshot->conf_state.learners,
                                         &snapshot->conf_state.voters_outgoing, &snapshot->conf_state.learners_next}) {
          for (uint64_t count = rng.below(3); count > 0; --count) ids->emplace_back(rng.below(4));
        }
        m.snapshot = std::move(snapshot);
      }
      (void)node.step(std::move(m));
      if (!rng.one_in(3)) (void)member.work();
      if (rng.one_in(5)) node.tick();
    }
  }
}

TEST_CASE("raft: appends with holes or falling terms are ignored") {
  struct Row {
    const char* rule;
    std::vector<Entry> entries;
  };
  for (const Row& row : {Row{"a hole before", {entry(1, 2)}}, Row{"a hole between", {entry(1, 1), entry(1, 3)}},
                         Row{"a falling term", {entry(2, 1), entry(1, 2)}}, Row{"a term of the future", {entry(9, 1)}}}) {
    CAPTURE(row.rule);
    Single member({1, 2, 3});
    Message m = message(MessageType::kApp, 2, 1, 3);
    m.entries = row.entries;
    REQUIRE(member.node->step(m).ok());
    CHECK(member.work().empty());
    CHECK(member.node->raft().log().last_index() == Index(0));
  }
}

TEST_CASE("raft: proposals that make no sense do not reach the log") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  CHECK_FALSE(leader.node->propose(std::vector<Data>{}).ok());
  CHECK_FALSE(leader.node->step(message(MessageType::kProp, 2, 1, 0)).ok());
  Message m = message(MessageType::kProp, 2, 1, 0);
  m.entries.push_back(make_entry("\xff\xff"));
  m.entries.back().type = EntryType::kConfChange;
  CHECK_FALSE(leader.node->step(m).ok());
  m = message(MessageType::kReadIndex, 2, 1, 0);
  CHECK(leader.node->step(m).ok());
  CHECK(leader.node->raft().log().last_index() == Index(1));
}

TEST_CASE("raft: a second conf change before the first is applied becomes an empty entry") {
  Single leader({1, 2, 3});
  leader.lead({2, 3});
  REQUIRE(leader.acknowledge(2, 1).ok());
  (void)leader.work();
  const ConfChange change{1, ConfChangeType::kAddNode, NodeId(4), "context"};
  REQUIRE(leader.node->propose_conf_change(change).ok());
  REQUIRE(leader.node->propose_conf_change(change).ok());
  std::vector<Entry> entries;
  REQUIRE(leader.node->raft().log().entries_from(Index(2), kNoLimit, entries));
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].type == EntryType::kConfChange);
  CHECK(*decode_conf_change(entries[0].payload()) == change);
  CHECK(entries[1].type == EntryType::kNormal);
  CHECK(entries[1].payload().empty());
  CHECK(
      leader.lines.count("ignoring conf change transition:ConfChangeTransitionAuto changes:{type:ConfChangeAddNode node_id:4} "
                         "context:\"context\" at config voters=(1 2 3): possible unapplied conf change at index 2 "
                         "(applied to 1)") == 1);
}

TEST_CASE("raft: without forwarding a follower drops proposals; with it the leader gets them as they are") {
  for (const bool disabled : {false, true}) {
    CAPTURE(disabled);
    Single follower({1, 2, 3}, [&](Config& config) { config.disable_proposal_forwarding = disabled; });
    CHECK(follower.node->propose(std::make_shared<const std::string>("x")).text() == kProposalDropped);
    REQUIRE(follower.node->step(message(MessageType::kHeartbeat, 2, 1, 1)).ok());
    (void)follower.work();
    CHECK(follower.node->propose(std::make_shared<const std::string>("x")).ok() == !disabled);
    const std::vector<Message> sent = follower.work();
    REQUIRE(sent.size() == (disabled ? 0 : 1));
    if (disabled) continue;
    CHECK(describe(sent.front()) == "1->2 MsgProp Term:0 Log:0/0 Entries:[0/0 EntryNormal \"x\"]");
  }
}

TEST_CASE("raft: election timeouts are spread over one to two times the setting") {
  std::vector<int> seen(20);
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Single member({1, 2, 3}, [&](Config& config) { config.seed = seed; });
    int ticks = 0;
    for (; member.node->raft().role() == Role::kFollower; ++ticks) member.node->tick();
    REQUIRE(ticks >= 10);
    REQUIRE(ticks < 20);
    ++seen[static_cast<size_t>(ticks)];
  }
  for (size_t ticks = 10; ticks < 20; ++ticks) CHECK(seen[ticks] > 10);
}

// --- asynchronous storage ---------------------------------------------------------------------------------------------------

TEST_CASE("raw node: entries that come back while they are replaced are stable only with the last write") {
  Single follower({1, 2, 3}, [](Config& config) { config.async_storage_writes = true; });
  RawNode& node = *follower.node;
  // The leader of term 1 sends an entry, that of term 2 another one in its place, and that of term 3 the first one again. All
  // three writes are under way.
  std::vector<Message> writes;
  for (const auto& [from, term, entry_term] : {std::tuple<uint64_t, uint64_t, uint64_t>{2, 1, 1}, {3, 2, 2}, {2, 3, 1}}) {
    Message m = message(MessageType::kApp, from, 1, term);
    m.entries.push_back(entry(entry_term, 1));
    REQUIRE(node.step(m).ok());
    Ready ready = node.take_ready();
    REQUIRE(ready.messages.size() == 1);
    REQUIRE(ready.messages.front().to == kLocalAppendThread);
    writes.push_back(std::move(ready.messages.front()));
    CHECK(writes.back().term == Term(term));  // A HardState, with the new term.
  }
  for (size_t i = 0; i < writes.size(); ++i) {
    follower.log.append(writes[i].entries);
    for (Message& response : writes[i].responses) {
      if (response.to == NodeId(1)) REQUIRE(node.step(std::move(response)).ok());
    }
    // After the first write the storage holds what the log says, but the second will undo it.
    CHECK(node.raft().log().has_unstable_entries() == (i < 2));
  }
  CHECK(node.raft().log().term(Index(1)) == Term(1));
}

TEST_CASE("raw node: asynchronous writes overlap, and nothing is applied before it is in the own log") {
  Single leader({1}, [](Config& config) { config.async_storage_writes = true; });
  RawNode& node = *leader.node;
  std::deque<Message> appends, applies;
  const auto take = [&] {
    while (node.has_ready()) {
      Ready ready = node.take_ready();
      CHECK(ready.messages_after_save.empty());
      for (Message& m : ready.messages) (m.to == kLocalAppendThread ? appends : applies).push_back(std::move(m));
    }
  };
  const auto finish = [&](std::deque<Message>& queue) {
    REQUIRE_FALSE(queue.empty());
    Message m = std::move(queue.front());
    queue.pop_front();
    if (m.to == kLocalAppendThread) leader.log.append(m.entries);
    for (Message& response : m.responses) REQUIRE(node.step(std::move(response)).ok());
    take();
  };
  node.campaign();
  take();
  CHECK(node.raft().role() == Role::kCandidate);  // Its own vote is on its way to the disk.
  finish(appends);
  CHECK(node.raft().role() == Role::kLeader);
  for (const char* data : {"a", "b"}) {
    REQUIRE(node.propose(std::make_shared<const std::string>(data)).ok());
    take();
  }
  CHECK(appends.size() == 3);
  CHECK(applies.empty());
  finish(appends);
  CHECK(node.raft().log().committed() == Index(1));
  REQUIRE(applies.size() == 1);
  finish(appends);
  finish(appends);
  CHECK(node.raft().log().committed() == Index(3));
  CHECK(node.raft().log().applied() == Index(0));
  while (!applies.empty()) finish(applies);
  CHECK(node.raft().log().applied() == Index(3));
  while (!appends.empty()) finish(appends);  // The commit index.
  CHECK_FALSE(node.has_ready());
}

TEST_CASE("raw node: bootstrap makes the same first entries everywhere, and an election is possible at once") {
  raft::test::Lines lines;
  MemoryLog log;
  Config config;
  config.id = NodeId(2);
  config.storage = &log;
  config.logger = &lines;
  RawNode node(config);
  node.bootstrap({{0, ConfChangeType::kAddNode, NodeId(1), "one"}, {0, ConfChangeType::kAddNode, NodeId(2), "two"}});
  REQUIRE(node.has_ready());
  Ready ready = node.take_ready();
  CHECK(*ready.hard_state == HardState{Term(1), NodeId(0), Index(2)});
  CHECK(ready.must_sync);
  REQUIRE(ready.entries.size() == 2);
  REQUIRE(ready.committed.size() == 2);
  log.set_hard_state(*ready.hard_state);
  log.append(ready.entries);
  for (const Entry& one : ready.committed) {
    const base::Result<ConfChange> change = decode_conf_change(one.payload());
    REQUIRE(change.ok());
    CHECK(node.apply_conf_change(*change).voters == std::vector<NodeId>{NodeId(1), NodeId(2)});
  }
  node.advance();
  CHECK_FALSE(node.has_ready());
  node.campaign();
  CHECK(node.raft().role() == Role::kCandidate);
  CHECK(node.raft().term() == Term(2));
}

TEST_CASE("raw node: status") {
  Single leader({1, 2});
  CHECK(leader.node->status().progress.empty());
  leader.lead({2});
  CHECK(to_json(leader.node->status()) ==
        R"({"id":"1","term":1,"vote":"1","commit":0,"lead":"1","raftState":"StateLeader","applied":0,"progress":{)"
        R"("1":{"match":1,"next":2,"state":"StateReplicate"},"2":{"match":0,"next":1,"state":"StateProbe"}},)"
        R"("leadtransferee":"0"})");
}

TEST_CASE("config: settings that contradict each other") {
  MemoryLog log;
  raft::test::Lines lines;
  Config good;
  good.id = NodeId(1);
  good.storage = &log;
  good.logger = &lines;
  REQUIRE(good.validate().ok());
  struct Row {
    const char* text;
    void (*spoil)(Config&);
  };
  for (const Row& row : {Row{"cannot use none as id", [](Config& c) { c.id = kNoNode; }},
                         Row{"cannot use local target as id", [](Config& c) { c.id = kLocalApplyThread; }},
                         Row{"heartbeat tick must be greater than 0", [](Config& c) { c.heartbeat_ticks = 0; }},
                         Row{"election tick must be greater than heartbeat tick", [](Config& c) { c.election_ticks = 1; }},
                         Row{"storage cannot be nil", [](Config& c) { c.storage = nullptr; }},
                         Row{"max inflight messages must be greater than 0", [](Config& c) { c.inflight_messages_max = 0; }},
                         Row{"max inflight bytes must be >= max message size", [](Config& c) { c.inflight_bytes_max = 1; }},
                         Row{"CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased",
                             [](Config& c) { c.read_only = ReadOnlyOption::kLeaseBased; }}}) {
    Config bad = good;
    row.spoil(bad);
    CHECK(bad.validate().text() == row.text);
  }
}
