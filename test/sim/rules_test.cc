// Rules that a storm seldom meets: alarms and what they forbid, also for who missed them; proposals that wait for a leader; who
// may be removed; a vote in a term that is known already.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "base/log.h"
#include "rpc.pb.h"
#include "server/errors.h"
#include "server/raft_driver.h"
#include "server/reconfiguration.h"
#include "sim/cluster.h"

namespace {

using base::Duration;
using base::Status;
using sim::Machine;
using wire::Op;
using namespace std::chrono_literals;

constexpr Duration kReadyWithin = 20s;
constexpr Duration kPatience = 10s;  // more than the servers'

class Told final : public server::Waiter {
 public:
  explicit Told(sim::Cluster::Reply reply) : reply_(std::move(reply)) {}
  void done(server::Outcome outcome) override { reply_(outcome.status, outcome.revision, std::move(outcome.fields)); }

 private:
  const sim::Cluster::Reply reply_;
};

struct Three {
  Three() : cluster(7, 3) {
    base::log::set_level(base::log::Level::kPanic);
    cluster.start_all();
    settle();
  }
  // Everybody who is up serves, knows the leader and has applied what it has.
  void settle() {
    REQUIRE(cluster.world().run_while_not(kReadyWithin, [this] {
      Machine* leader = cluster.leader();
      return leader != nullptr && std::ranges::all_of(cluster.machines(), [&](const auto& machine) {
               return !machine->up() || (machine->serves() && machine->node().leader() == leader->id() &&
                                         machine->node().applied_index() == leader->node().committed_index());
             });
    }));
  }
  Machine& follower() { return *cluster.machines()[cluster.leader()->number() == 0 ? 1 : 0]; }
  void ask(Machine& machine, Op op, const google::protobuf::Message& request, sim::Cluster::Done done) {
    cluster.call(
        machine,
        [op, body = request.SerializeAsString()](server::Node& node, const sim::Cluster::Reply& reply) {
          node.propose(op, body, std::make_unique<Told>(reply));
        },
        kPatience, std::move(done));
  }
  // "": it was done.
  std::string propose(Op op, const google::protobuf::Message& request) {
    std::optional<std::string> error;
    ask(*cluster.leader(), op, request,
        [&error](const sim::Answer& answer) { error = answer.kind == sim::Answer::kOk ? "" : answer.error; });
    REQUIRE(cluster.world().run_while_not(2 * kPatience, [&error] { return error.has_value(); }));
    return *error;
  }
  std::string alarm(etcdserverpb::AlarmRequest::AlarmAction action, etcdserverpb::AlarmType type) {
    etcdserverpb::AlarmRequest request;
    request.set_memberid(5);
    request.set_action(action);
    request.set_alarm(type);
    return propose(Op::kAlarm, request);
  }
  // More than the leader keeps in its log for who is behind.
  void write_a_lot() {
    etcdserverpb::DeleteRangeRequest nothing;
    nothing.set_key("nothing");
    for (int i = 0; i < 400; ++i) REQUIRE(propose(Op::kDeleteRange, nothing).empty());
    cluster.world().run_for(1s);
  }
  // On the machine's own loop, as everything of its node; then the world goes on for a moment.
  void at(Machine& machine, std::function<void(server::Node&)> what) {
    (void)cluster.world().at(cluster.world().now(), &machine.loop(), [&machine, what] { what(machine.node()); });
    cluster.world().run_for(100ms);
  }

  sim::Cluster cluster;
};

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
  Three group;
  constexpr size_t kValueBytes = 1 << 20;
  constexpr int kRounds = 4, kEach = 17;  // together more than the room there is
  static_assert(kRounds * kEach * kValueBytes > server::kHeldBytesMax);
  Machine& asked = group.follower();
  int done = 0;
  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(round);
    for (const auto& machine : group.cluster.machines()) {
      if (machine.get() != &asked) machine->kill();
    }
    REQUIRE(group.cluster.world().run_while_not(kReadyWithin, [&] { return asked.node().leader() == base::kNoNode; }));
    for (int i = 0; i < kEach; ++i) {
      group.ask(asked, Op::kPut, put_of(std::string(kValueBytes, static_cast<char>('a' + i))),
                [&done](const sim::Answer& answer) { done += answer.kind == sim::Answer::kOk ? 1 : 0; });
    }
    group.cluster.world().run_for(50ms);
    for (const auto& machine : group.cluster.machines()) {
      if (!machine->up()) group.cluster.start(*machine);
    }
    group.settle();
    group.cluster.world().run_for(2s);
    CHECK(done == (round + 1) * kEach);
  }
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
