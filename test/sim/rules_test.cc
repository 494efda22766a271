// Rules that a storm seldom meets: alarms and what they forbid, also for who missed them; proposals that wait for a leader; who
// may be removed; a vote in a term that is known already.
#include <doctest/doctest.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/errors.h"
#include "server/maintainer.h"
#include "server/raft_driver.h"
#include "server/reconfiguration.h"
#include "server/wal_segments.h"
#include "sim/probe.h"
#include "sim/three.h"
#include "storage/keyspace.h"

namespace {

using base::Status;
using sim::kPatience;
using sim::kReadyWithin;
using sim::Machine;
using sim::Three;
using wire::Op;
using namespace std::chrono_literals;

constexpr int64_t kSlow = 50;  // times as long

etcdserverpb::PutRequest put_of(const std::string& value) {
  etcdserverpb::PutRequest put;
  put.set_key("key");
  put.set_value(value);
  return put;
}

}  // namespace

TEST_CASE("rules: what an alarm forbids and what it leaves") {
  etcdserverpb::DeleteRangeRequest erase;
  erase.set_key("key");
  etcdserverpb::LeaseRevokeRequest revoke;
  revoke.set_id(77);
  etcdserverpb::LeaseGrantRequest grant, more;
  grant.set_id(77);
  grant.set_ttl(600);
  more = grant;
  more.set_id(78);
  etcdserverpb::RangeRequest range;
  range.set_key("key");
  etcdserverpb::TxnRequest putting, erasing;
  *putting.add_success()->mutable_request_put() = put_of("b");
  *erasing.add_failure()->mutable_request_delete_range() = erase;
  etcdserverpb::CompactionRequest compaction;
  compaction.set_revision(2);
  struct Row {
    Op op;
    const google::protobuf::Message* request;
    bool no_space, corrupt;  // forbidden
  };
  for (const bool corrupt : {false, true}) {
    Three group;
    REQUIRE(group.propose(Op::kPut, put_of("a")).empty());
    REQUIRE(group.propose(Op::kLeaseGrant, grant).empty());
    const auto type = corrupt ? etcdserverpb::CORRUPT : etcdserverpb::NOSPACE;
    REQUIRE(group.alarm(etcdserverpb::AlarmRequest::ACTIVATE, type).empty());
    const std::string text = (corrupt ? server::errors::corrupt() : server::errors::no_space()).to_string();
    const auto put = put_of("c");
    for (const Row& row : {Row{Op::kPut, &put, true, true}, Row{Op::kLeaseGrant, &more, true, true},
                           Row{Op::kTxn, &putting, true, true}, Row{Op::kTxn, &erasing, false, true},
                           Row{Op::kRange, &range, false, true}, Row{Op::kDeleteRange, &erase, false, true},
                           Row{Op::kCompaction, &compaction, false, true}, Row{Op::kLeaseRevoke, &revoke, false, true}}) {
      CAPTURE(corrupt);
      CAPTURE(static_cast<int>(row.op));
      const bool forbidden = corrupt ? row.corrupt : row.no_space;
      CHECK(group.propose(row.op, *row.request) == (forbidden ? text : ""));
    }
    REQUIRE(group.alarm(etcdserverpb::AlarmRequest::DEACTIVATE, type).empty());
    CHECK(group.propose(Op::kPut, put).empty());
  }
}

TEST_CASE("rules: who gets the store of another member has its alarms, no more and no less") {
  Three group;
  const auto has = [](Machine& machine, server::AlarmType type) { return machine.node().alarms().any(type); };
  Machine& late = group.follower();
  const auto miss = [&](etcdserverpb::AlarmRequest::AlarmAction action) {
    late.kill();
    group.settle();
    REQUIRE(group.alarm(action, etcdserverpb::NOSPACE).empty());
    group.write_a_lot();
    group.cluster.start(late);
    group.settle();
  };
  miss(etcdserverpb::AlarmRequest::ACTIVATE);
  CHECK(has(late, server::AlarmType::kNoSpace));
  miss(etcdserverpb::AlarmRequest::DEACTIVATE);
  CHECK_FALSE(has(late, server::AlarmType::kNoSpace));
  // Put up while it was there, taken away while it runs but hears nothing: the store comes to a member at work.
  REQUIRE(group.alarm(etcdserverpb::AlarmRequest::ACTIVATE, etcdserverpb::NOSPACE).empty());
  group.settle();
  for (const auto& machine : group.cluster.machines()) {
    if (machine.get() == &late) continue;
    group.cluster.network().cut(machine->id(), late.id());
    group.cluster.network().cut(late.id(), machine->id());
  }
  group.cluster.world().run_for(kPatience);
  REQUIRE(group.alarm(etcdserverpb::AlarmRequest::DEACTIVATE, etcdserverpb::NOSPACE).empty());
  group.write_a_lot();
  CHECK(has(late, server::AlarmType::kNoSpace));
  group.cluster.network().heal();
  group.settle();
  CHECK_FALSE(has(late, server::AlarmType::kNoSpace));
  CHECK(group.propose(Op::kPut, put_of("x")).empty());
  group.settle();
  CHECK(group.cluster.failure().empty());
}

TEST_CASE("rules: room for proposals that wait for a leader is had again when they are gone") {
  int done = 0;
  Three group;
  constexpr size_t kValueBytes = 1 << 20;
  constexpr int kRounds = 4, kEach = 17;  // together more than the room there is
  static_assert(kRounds * kEach * kValueBytes > server::kHeldBytesMax);
  Machine& asked = group.follower();
  const auto ask = [&] {
    for (int i = 0; i < kEach; ++i) {
      group.ask(asked, Op::kPut, put_of(std::string(kValueBytes, static_cast<char>('a' + i))),
                [&done](const sim::Answer& answer) { done += answer.kind == sim::Answer::kOk ? 1 : 0; });
    }
    group.cluster.world().run_for(50ms);
  };
  group.leave_alone(asked);
  ask();
  group.bring_back();
  CHECK(done == kEach);
  // Also of those whose time is over while nobody leads.
  group.leave_alone(asked);
  for (int round = 0; round < kRounds; ++round) ask();
  group.cluster.world().run_for(kPatience);
  done = 0;
  ask();
  group.bring_back();
  CHECK(done == kEach);
}

TEST_CASE("rules: only so many proposals wait at a member, whoever is beyond hears it at once") {
  size_t refused = 0, over = 0;  // told until the members are gone
  Three group;
  Machine& asked = group.follower();
  group.leave_alone(asked);
  const std::string body = put_of("x").SerializeAsString(), too_many = server::errors::too_many_requests().to_string();
  const auto propose = [&](size_t count) {
    group.at(asked, [&](server::Node& node) {
      for (size_t i = 0; i < count; ++i) {
        node.propose(Op::kPut, body, std::make_unique<sim::Told>([&](const Status& status, int64_t, const std::string&) {
                       ++(status.to_string() == too_many ? refused : over);
                     }));
      }
    });
  };
  propose(server::kProposalsMax + 3);
  CHECK(refused == 3);
  CHECK(over == 0);
  group.cluster.world().run_for(kPatience);
  CHECK(over == server::kProposalsMax);
  propose(1);
  CHECK(refused == 3);
}

TEST_CASE("rules: what a leader cannot commit has a bound, and who comes then hears it at once") {
  constexpr int64_t kStuck = 100'000;  // times as long: no disk gets anything done
  constexpr size_t kValueBytes = 1 << 20;
  std::string error;
  Three group;
  Machine& leader = *group.cluster.leader();
  for (const auto& machine : group.cluster.machines()) machine->set_slowness(kStuck, 1);
  group.ask(leader, Op::kPut, put_of("x"), [](const sim::Answer&) {});
  group.cluster.world().run_for(50ms);
  wire::RequestHeader header;
  header.id = 1;
  const auto data = std::make_shared<const std::string>(
      wire::encode_internal_request(header, Op::kPut, put_of(std::string(kValueBytes, 'x')).SerializeAsString()));
  uint64_t taken = 0;
  group.at(leader, [&](server::Node& node) {
    while (taken < 2 * server::kUncommittedBytesMax && node.driver().propose(data).ok()) taken += data->size();
  });
  CHECK(taken >= server::kUncommittedBytesMax - kValueBytes);
  CHECK(taken <= server::kUncommittedBytesMax + kValueBytes);
  REQUIRE(group.cluster.leader() == &leader);
  group.ask(leader, Op::kPut, put_of("x"), [&error](const sim::Answer& answer) { error = answer.error; });
  group.cluster.world().run_for(50ms);
  CHECK(error == server::errors::too_many_requests().to_string());
}

TEST_CASE("rules: what other members propose to one that knows no leader is kept for its time, up to so much") {
  Three group;
  Machine& asked = group.follower();
  const auto member = group.others(asked).front()->id();
  uint64_t id = 1;
  const auto hand = [&](int count, size_t value_bytes) {
    group.at(asked, [&](server::Node& node) {
      for (int i = 0; i < count; ++i) {
        wire::RaftMessage message;
        message.type = wire::RaftMessageType::kProp;
        message.from = member;
        message.to = asked.id();
        wire::RequestHeader header;
        header.id = id++;
        message.entries.emplace_back().data = std::make_shared<const std::string>(
            wire::encode_internal_request(header, Op::kPut, put_of(std::string(value_bytes, 'x')).SerializeAsString()));
        std::vector<wire::RaftMessage> messages;
        messages.push_back(std::move(message));
        node.driver().on_messages(std::move(messages));
      }
    });
  };
  // How many of them are done once there is a leader again.
  auto written = [&, before = int64_t{0}]() mutable {
    group.bring_back();
    const int64_t revision = group.cluster.leader()->node().store().current_revision();
    return revision - std::exchange(before, revision);
  };
  REQUIRE(written() == 1);

  constexpr size_t kLarge = 4 << 20;
  constexpr int kRoom = server::kForeignProposalsBytesMax / kLarge;
  group.leave_alone(asked);
  hand(kRoom + 1, kLarge);
  CHECK(written() == kRoom - 1);  // They are a little larger than their values.

  group.leave_alone(asked);
  hand(kRoom + 1, kLarge);
  group.cluster.world().run_for(kPatience);
  hand(2, kLarge);
  CHECK(written() == 2);

  group.leave_alone(asked);
  hand(server::kForeignProposalsMax + 5, 1);
  CHECK(written() == server::kForeignProposalsMax);
}

TEST_CASE("rules: a snapshot of the log says the term of its last entry, also when the store is slow and leaders change") {
  std::map<uint64_t, uint64_t> terms;  // of entries, by index
  Three group;
  group.cluster.set_on_sent([&](base::NodeId, const wire::RaftMessage& message) {
    for (const wire::RaftEntry& entry : message.entries) terms[entry.index.value()] = entry.term.value();
  });
  Machine& slow = group.follower();
  slow.kill();
  slow.next_config().snapshot_count = 1;
  group.cluster.start(slow);
  group.settle();
  slow.set_slowness(1, kSlow);
  std::map<uint64_t, uint64_t> snapshots;  // index -> term
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 5; ++i) {
      REQUIRE(group.propose(Op::kPut, put_of("x")).empty());
      group.cluster.world().run_for(10ms);
    }
    Machine& leader = *group.cluster.leader();
    const std::vector<Machine*> others = group.others(leader);
    Machine& next = others.front() == &slow ? *others.back() : *others.front();
    group.at(leader, [&](server::Node& node) { node.driver().transfer_leader(next.id()); });
    REQUIRE(group.cluster.world().run_while_not(kReadyWithin, [&] { return group.cluster.leader() == &next; }));
    group.settle();
    const base::Result<std::vector<std::string>> files = slow.disk().list(slow.config().snap_dir());
    REQUIRE(files.ok());
    for (const std::string& file : *files) {
      uint64_t term = 0, index = 0;
      if (std::sscanf(file.c_str(), "%16" SCNx64 "-%16" SCNx64 ".snap", &term, &index) == 2) snapshots[index] = term;
    }
  }
  CHECK(snapshots.size() > 5);
  for (const auto& [index, term] : snapshots) {
    CAPTURE(index);
    if (terms.contains(index)) CHECK(terms[index] == term);
  }
}

TEST_CASE("rules: the log begins before the last snapshot that it knows of, whenever power is lost") {
  constexpr uint64_t kSegmentBytes = 8 << 10;
  constexpr int kCuts = 20;
  base::log::set_level(base::log::Level::kPanic);
  sim::Cluster cluster(7, 1);
  server::set_wal_segment_bytes_for_test(kSegmentBytes);
  Machine& machine = cluster.machine(0);
  machine.next_config().snapshot_count = 1;
  machine.next_config().max_wals = machine.next_config().max_snapshots = 1;
  int written = 0;
  const auto write_for = [&](base::Duration time) {
    for (base::Duration left = time; left > base::Duration(0); left -= 2ms) {
      (void)cluster.world().at(cluster.world().now(), &machine.loop(), [&] {
        const std::string value = std::to_string(++written) + std::string(kSegmentBytes / 2, 'x');
        machine.node().propose(Op::kPut, put_of(value).SerializeAsString(),
                               std::make_unique<sim::Told>([](const Status&, int64_t, const std::string&) {}));
      });
      cluster.world().run_for(2ms);
    }
  };
  for (int cut = 0; cut < kCuts; ++cut) {
    cluster.start(machine);
    CAPTURE(cut);
    CAPTURE(cluster.failure());
    REQUIRE(cluster.world().run_while_not(kReadyWithin, [&] { return machine.serves(); }));
    // A snapshot is there before the disk has written down the one before it.
    machine.set_slowness(1, kSlow / 5);
    write_for(100ms + cluster.world().random(200ms));
    machine.set_slowness(kSlow * 4, kSlow / 5);
    write_for(100ms + cluster.world().random(900ms));
    machine.cut_power();
  }
  CHECK(cluster.failure().empty());
}

TEST_CASE("rules: with one member down, one that is up may not be removed") {
  Three group;
  Machine& down = group.follower();
  Machine& leader = *group.cluster.leader();
  const auto other = std::ranges::find_if(group.cluster.machines(),
                                          [&](const auto& one) { return one.get() != &down && one.get() != &leader; });
  group.cluster.world().run_for(kPatience);  // Connections count when they have lasted.
  down.kill();
  group.cluster.world().run_for(kPatience);
  const auto remove = [&](base::NodeId id) {
    std::string said = "nothing";
    group.at(leader, [&](server::Node& node) {
      node.reconfiguration().remove(id, [&said](const Status& status) { said = status.text(); }, nullptr);
    });
    group.cluster.world().run_for(1s);
    return said;
  };
  CHECK(remove((*other)->id()) == server::errors::unhealthy().text());
  CHECK(remove(down.id()).empty());
  // Who was removed while it was away hears of it when it comes back, also from members that were away since.
  group.settle();
  leader.kill();
  (*other)->kill();
  group.cluster.start(leader);
  group.cluster.start(**other);
  group.settle();
  group.cluster.start(down);
  CHECK(group.cluster.world().run_while_not(kReadyWithin, [&down] { return !down.up(); }));
}

TEST_CASE("rules: a change that the members refuse changes nothing for Raft either") {
  Three group;
  Machine& leader = *group.cluster.leader();
  const raft::ConfState before = leader.node().driver().status().config.conf_state();
  server::Member twin;
  twin.id = base::NodeId(99);
  twin.peer_urls = {group.follower().url()};
  twin.is_learner = true;
  std::string said = "nothing";
  group.cluster.world().run_for(kPatience);  // Connections count when they have lasted.
  group.at(leader, [&](server::Node& node) {
    node.reconfiguration().add(twin, [&said](const Status& status) { said = status.text(); }, nullptr);
  });
  group.cluster.world().run_for(1s);
  CHECK(said == server::errors::peer_urls_exist().text());
  for (const auto& machine : group.cluster.machines()) {
    CHECK(machine->node().driver().status().config.conf_state() == before);
  }
}

// The term is saved when somebody whose log is too old asks for the vote; the vote itself is not until it is given to another.
TEST_CASE("rules: a vote in a term that is known already is on disk before it leaves") {
  Three group;
  Machine& voter = group.follower();
  const base::NodeId first = group.cluster.leader()->id();
  const auto third = std::ranges::find_if(group.cluster.machines(),
                                          [&](const auto& one) { return one.get() != &voter && one->id() != first; });
  for (const auto& machine : group.cluster.machines()) {
    if (machine.get() != &voter) machine->kill();
  }
  group.cluster.world().run_for(kPatience);
  const base::Term term = voter.node().term() + 5;
  const auto ask_for_vote = [&](base::NodeId candidate, bool good_log) {
    raft::Message m;
    m.type = raft::MessageType::kVote;
    m.from = candidate;
    m.to = voter.id();
    m.term = term;
    m.log_term = good_log ? term : base::Term(0);
    m.index = base::Index(good_log ? 1'000'000 : 0);
    m.context = "CampaignTransfer";
    (void)voter.node().driver().step(std::move(m));
  };
  bool given = false, answered = false;
  group.cluster.set_on_sent([&](base::NodeId from, const wire::RaftMessage& message) {
    if (from != voter.id() || message.type != wire::RaftMessageType::kVoteResp || message.term != term) return;
    answered = true;
    if (message.reject || given) return;
    given = true;
    (void)group.cluster.world().after(1us, [&voter] { voter.cut_power(); });
  });
  group.at(voter, [&](server::Node&) { ask_for_vote((*third)->id(), false); });
  REQUIRE(answered);
  REQUIRE_FALSE(given);
  group.at(voter, [&](server::Node&) { ask_for_vote(first, true); });
  REQUIRE(given);
  REQUIRE_FALSE(voter.up());
  group.cluster.start(voter);
  group.cluster.world().run_for(100ms);
  const raft::HardState state = voter.node().driver().status().hard_state;
  CHECK(state.term == term);
  CHECK(state.vote == first);
}

TEST_CASE("rules: who waits for a compaction hears of it when its rows are off the disk, and waits for no batch") {
  Three group;
  for (int i = 0; i < 50; ++i) REQUIRE(group.propose(Op::kPut, put_of("value " + std::to_string(i))).empty());
  group.cluster.world().run_for(1s);
  etcdserverpb::CompactionRequest compaction;
  Machine& leader = *group.cluster.leader();
  compaction.set_revision(leader.node().store().current_revision());
  REQUIRE(group.propose(Op::kCompaction, compaction).empty());
  // Together with writes that have just begun to wait for their batch.
  for (const uint64_t expected_rows : {2, 3}) {
    CAPTURE(expected_rows);
    REQUIRE(group.propose(Op::kPut, put_of("new")).empty());
    const base::Instant asked = group.cluster.world().now();
    base::Instant told = base::Instant::max();
    uint64_t rows = 0, left = 0;
    group.at(leader, [&](server::Node& node) {
      node.maintainer().when_compacted([&](const Status& status) {
        CHECK(status.ok());
        told = group.cluster.world().now();
        left = node.backend().pending_changes();
        CHECK(node.store().finished_compact_revision() == compaction.revision());
        const auto on_disk = node.backend().engine().iterate();
        for (on_disk->seek(storage::row_key(storage::Bucket::kKey, "")); on_disk->valid(); on_disk->next()) {
          if (on_disk->key() >= storage::bucket_end(storage::Bucket::kKey)) break;
          ++rows;
        }
      });
    });
    group.cluster.world().run_for(1s);
    REQUIRE(told < base::Instant::max());
    CHECK(told - asked < storage::BackendOptions().commit_interval / 2);
    CHECK(left == 0);
    CHECK(rows == expected_rows);
  }
}

TEST_CASE("rules: what passes the quota is done, said to be too much, and counts before it is on the disk") {
  Three group;
  Machine& leader = *group.cluster.leader();
  constexpr int kWrites = 8;
  constexpr size_t kValueBytes = 8192;
  const std::string text = server::errors::no_space().to_string();
  group.cluster.world().run_for(1s);
  const uint64_t before = leader.node().db_size_bytes();
  for (const auto& machine : group.cluster.machines()) {
    machine->kill();
    machine->next_config().quota_backend_bytes = static_cast<int64_t>(before + (kWrites / 2) * kValueBytes);
    group.cluster.start(*machine);
  }
  group.settle();
  // All in one turn: none of them is on the disk when the last is applied.
  std::vector<std::string> said;
  std::vector<bool> told;
  for (int i = 0; i < kWrites; ++i) {
    etcdserverpb::PutRequest put = put_of(std::string(kValueBytes, static_cast<char>('a' + i)));
    put.set_key("key " + std::to_string(i));
    group.ask(*group.cluster.leader(), Op::kPut, put, [&](const sim::Answer& answer) {
      told.push_back(answer.kind == sim::Answer::kOk);
      said.push_back(answer.error);
    });
  }
  group.cluster.world().run_for(kPatience);
  REQUIRE(said.size() == kWrites);
  CHECK(told.front());
  CHECK_FALSE(told.back());
  CHECK(said.back() == text);
  CHECK(std::ranges::count(told, true) < kWrites / 2);
  for (const auto& machine : group.cluster.machines()) {
    CAPTURE(machine->number());
    CHECK(machine->node().alarms().all().size() == 3);  // each for itself
    CHECK(machine->node().store().current_revision() >= 1 + std::ranges::count(told, true) + 1);
    CHECK(machine->node().store().current_revision() == group.cluster.leader()->node().store().current_revision());
  }
  CHECK(group.propose(Op::kPut, put_of("x")) == text);
}

TEST_CASE("rules: an alarm that got lost on its way is raised again by the next write that is too much") {
  Three group;
  Machine& small = group.follower();
  small.kill();
  small.next_config().quota_backend_bytes = 1;
  group.cluster.start(small);
  group.settle();
  const auto raised = [&] { return !group.cluster.leader()->node().alarms().all().empty(); };
  for (const auto& machine : group.cluster.machines()) {
    if (machine.get() != &small) group.cluster.network().cut(small.id(), machine->id());
  }
  REQUIRE(group.propose(Op::kPut, put_of("a")).empty());
  REQUIRE(group.cluster.world().run_while_not(kReadyWithin, [&] { return small.node().no_space_proposed(); }));
  REQUIRE(group.cluster.world().run_while_not(kReadyWithin, [&] { return !small.node().no_space_proposed(); }));
  group.cluster.network().heal();
  group.settle();
  group.cluster.world().run_for(kPatience);
  CHECK_FALSE(raised());
  REQUIRE(group.propose(Op::kPut, put_of("b")).empty());
  CHECK(group.cluster.world().run_while_not(kReadyWithin, raised));
  CHECK(*group.cluster.leader()->node().alarms().all().begin() == server::Alarm{small.id(), server::AlarmType::kNoSpace});
}

TEST_CASE("rules: whoever dies while a database is on its way to it, again and again, gets one in the end") {
  Three group;
  Machine& late = group.follower();
  late.kill();
  group.settle();
  group.write_a_lot();
  const auto cut = [] {
    const auto found = sim::probes().find("a database was cut on its way");
    return found == sim::probes().end() ? 0 : found->second;
  };
  const uint64_t before = cut();
  for (int i = 0; cut() - before < 2 * server::kSnapshotsInFlightMax; ++i) {
    REQUIRE(i < 200);
    group.cluster.start(late);
    REQUIRE(group.cluster.world().run_while_not(kReadyWithin, [&late] { return late.node().leader() != base::kNoNode; }));
    group.cluster.world().run_for(i % 20 * 200us);
    late.kill();
    group.cluster.world().run_for(1s);
  }
  group.cluster.start(late);
  group.settle();
  CHECK(late.node().applied_index() == group.cluster.leader()->node().applied_index());
}

TEST_CASE("rules: a proposal whose time is over is told why, as etcd tells it") {
  using server::errors::deadline_exceeded, server::errors::timeout, server::errors::timeout_connection_lost,
      server::errors::timeout_leader_fail;
  struct Told {
    std::optional<std::string> error;
  };
  const auto ask = [](Three& group, Machine& machine) {
    auto told = std::make_shared<Told>();
    group.ask(machine, Op::kPut, put_of("x"),
              [told](const sim::Answer& answer) { told->error = answer.kind == sim::Answer::kOk ? "done" : answer.error; });
    group.cluster.world().run_for(1ms);
    return told;
  };
  SUBCASE("nobody led from beginning to end") {
    Three group;
    Machine& alone = group.follower();
    for (Machine* other : group.others(alone)) other->kill();
    group.cluster.world().run_for(5s);
    const auto told = ask(group, alone);
    group.cluster.world().run_for(kPatience);
    CHECK(told->error == deadline_exceeded().to_string());
  }
  SUBCASE("the leader stepped down meanwhile") {
    Three group;
    Machine& leader = *group.cluster.leader();
    for (Machine* other : group.others(leader)) other->pause();
    const auto told = ask(group, leader);
    group.cluster.world().run_for(kPatience);
    CHECK(told->error == timeout().to_string());
  }
  SUBCASE("it was given to a leader that another one followed") {
    Three group;
    Machine& leader = *group.cluster.leader();
    Machine& follower = group.follower();
    leader.pause();
    const auto told = ask(group, follower);
    group.cluster.world().run_for(kPatience);
    CHECK(told->error == timeout_leader_fail().to_string());
  }
  SUBCASE("the leader does not hear who asks") {
    Three group;
    group.cluster.world().run_for(kPatience);
    Machine& follower = group.follower();
    group.cluster.network().cut(follower.id(), group.cluster.leader()->id());
    const auto told = ask(group, follower);
    group.cluster.world().run_for(kPatience);
    CHECK(told->error == timeout_connection_lost().to_string());
  }
  SUBCASE("it takes its time, and nothing is wrong") {
    Three group;
    group.cluster.world().run_for(kPatience);
    Machine& leader = *group.cluster.leader();
    for (Machine* other : group.others(leader)) other->disk_worker().stall(2 * kPatience);
    const auto told = ask(group, leader);
    group.cluster.world().run_for(kPatience);
    CHECK(told->error == timeout().to_string());
  }
}
