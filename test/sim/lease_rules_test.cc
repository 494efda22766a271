// What a member does for those who hold leases when something is wrong: nobody leads, the leader has no quorum or stood still,
// ends are refused; and what a new leader knows of the time that is left.
#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/errors.h"
#include "server/leases.h"
#include "server/raft_driver.h"
#include "server/reconfiguration.h"
#include "sim/three.h"

namespace {

using base::Duration;
using base::Instant;
using base::LeaseId;
using base::Result;
using base::Status;
using sim::kPatience;
using sim::kReadyWithin;
using sim::Machine;
using wire::Op;
using namespace std::chrono_literals;

constexpr LeaseId kLease{77};

struct Holders : sim::Three {
  void grant(LeaseId id, int64_t ttl_s) {
    etcdserverpb::LeaseGrantRequest request;
    request.set_id(id.value());
    request.set_ttl(ttl_s);
    REQUIRE(propose(Op::kLeaseGrant, request).empty());
  }
  // Answers come in any order; `after`: how long it took.
  struct Renewal {
    std::optional<Result<int64_t>> ttl;
    Duration after{};
  };
  void renew(Machine& machine, LeaseId id, std::shared_ptr<Renewal> out) {
    at_once(machine, [this, id, out, asked = cluster.world().now()](server::Node& node) {
      node.leases().renew(id, [this, out, asked](Result<int64_t> ttl) {
        out->ttl = std::move(ttl);
        out->after = cluster.world().now() - asked;
      });
    });
  }
  std::shared_ptr<Renewal> renew(Machine& machine, LeaseId id) {
    auto out = std::make_shared<Renewal>();
    renew(machine, id, out);
    return out;
  }
  void at_once(Machine& machine, std::function<void(server::Node&)> what) {
    (void)cluster.world().at(cluster.world().now(), &machine.loop(), [&machine, what] { what(machine.node()); });
  }
  void run_for(Duration span) { cluster.world().run_for(span); }
  int64_t remaining_s(Machine& machine, LeaseId id) {
    std::optional<Result<server::Leases::Found>> found;
    at_once(machine, [&](server::Node& node) {
      node.leases().find(id, false, [&found](Result<server::Leases::Found> answer) { found = std::move(answer); });
    });
    REQUIRE(cluster.world().run_while_not(kReadyWithin, [&] { return found.has_value(); }));
    REQUIRE(found->ok());
    return (*found)->remaining_s;
  }
  // Both ways, from everybody.
  void cut_off(Machine& one) {
    for (Machine* other : others(one)) {
      cluster.network().cut(one.id(), other->id());
      cluster.network().cut(other->id(), one.id());
    }
  }
};

}  // namespace

TEST_CASE("lease rules: whoever is asked while nobody leads answers when somebody does") {
  Holders group;
  group.grant(kLease, 60);
  Machine& dead = *group.cluster.leader();
  dead.kill();
  const auto knows_no_leader = [](Machine* machine) { return machine->node().leader() == base::kNoNode; };
  for (Machine* machine : group.others(dead)) {
    group.at_once(*machine, [&dead](server::Node& node) { node.driver().on_gone(dead.id()); });
  }
  std::vector<std::shared_ptr<Holders::Renewal>> renewals;
  bool asked_without = false;
  for (int i = 0; i < 1000; ++i) {
    for (Machine* machine : group.others(dead)) {
      asked_without |= knows_no_leader(machine);
      renewals.push_back(group.renew(*machine, kLease));
    }
    group.run_for(200us);
  }
  REQUIRE(asked_without);
  group.settle();
  group.run_for(1s);
  for (const auto& renewal : renewals) {
    REQUIRE(renewal->ttl.has_value());
    CHECK(renewal->ttl->ok());
  }
}

TEST_CASE("lease rules: who waits for an end that a leader without a quorum cannot bring asks the next leader") {
  Holders group;
  Machine& old = *group.cluster.leader();
  group.grant(kLease, 6);
  // Its clock goes on, its proposals do not; a lease that is over is no longer renewed.
  group.run_for(5900ms);
  group.cut_off(old);
  group.run_for(300ms);
  const auto renewal = group.renew(old, kLease);
  group.run_for(100ms);
  CHECK_FALSE(renewal->ttl.has_value());
  group.run_for(3s);  // It has stepped down by now.
  REQUIRE(old.node().leader() == base::kNoNode);
  group.cluster.network().heal();
  group.run_for(kPatience);
  REQUIRE(renewal->ttl.has_value());
  CHECK(renewal->ttl->ok());  // It has given every lease its time again.
}

TEST_CASE("lease rules: those who waited for an end leave room for as many others") {
  constexpr int kRounds = 2;
  constexpr size_t kEach = server::Leases::kWaitsMax * 3 / 5;
  Holders group;
  Machine& leader = *group.cluster.leader();
  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(round);
    const LeaseId id(100 + round);
    group.grant(id, 3);
    group.run_for(2900ms);
    for (Machine* other : group.others(leader)) other->pause();
    group.run_for(200ms);
    size_t told = 0, not_found = 0;
    group.at_once(leader, [&](server::Node& node) {
      for (size_t i = 0; i < kEach; ++i) {
        node.leases().renew_here(id, [&](const Result<int64_t>& ttl) {
          ++told;
          not_found += !ttl.ok() && ttl.status().code() == base::Code::kNotFound ? 1 : 0;
        });
      }
    });
    group.run_for(10ms);
    CHECK(told == 0);
    for (Machine* other : group.others(leader)) other->resume();
    group.run_for(2s);
    REQUIRE(group.cluster.leader() == &leader);
    CHECK(told == kEach);
    CHECK(not_found == kEach);
  }
}

TEST_CASE("lease rules: while ends are refused they are asked for at a rate; when they no longer are, all end") {
  constexpr int kLeases = 3000;
  constexpr Duration kRefused = 5s;
  Holders group;
  for (int i = 0; i < kLeases; ++i) {
    etcdserverpb::LeaseGrantRequest request;
    request.set_id(1000 + i);
    request.set_ttl(3);
    group.ask(*group.cluster.leader(), Op::kLeaseGrant, request, [](const sim::Answer&) {});
    if (i % 100 == 0) group.run_for(5ms);
  }
  group.run_for(1s);
  server::Node& node = group.cluster.leader()->node();
  REQUIRE(node.leases().lessor().size() == kLeases);
  REQUIRE(group.alarm(etcdserverpb::AlarmRequest::ACTIVATE, etcdserverpb::CORRUPT).empty());
  group.run_for(3s);
  const base::Index before = node.applied_index();
  group.run_for(kRefused);
  const uint64_t asked = node.applied_index().value() - before.value();
  CHECK(node.leases().lessor().size() == kLeases);
  CHECK(asked > 0);
  CHECK(asked <= (kRefused / server::Leases::kRevokePause + 1) * server::Leases::kRevokesInFlightMax);
  REQUIRE(group.alarm(etcdserverpb::AlarmRequest::DEACTIVATE, etcdserverpb::CORRUPT).empty());
  CHECK(group.cluster.world().run_while_not(5s, [&] { return node.leases().lessor().size() == 0; }));
}

// Raft leaves an empty entry in its place, as at the beginning of a term.
TEST_CASE("lease rules: a change of the members that has to wait gives no lease more time") {
  Holders group;
  group.run_for(kPatience);  // Connections count when they have lasted.
  group.grant(kLease, 10);
  group.run_for(9500ms);
  int told = 0, refused = 0;
  group.at_once(*group.cluster.leader(), [&](server::Node& node) {
    for (int i = 0; i < 2; ++i) {
      server::Member learner;
      learner.id = base::NodeId(99 + i);
      learner.peer_urls = {"http://machine-" + std::to_string(99 + i) + ":2380"};
      learner.is_learner = true;
      node.reconfiguration().add(
          learner,
          [&](const Status& status) {
            ++told;
            refused += status.ok() ? 0 : 1;
          },
          nullptr);
    }
  });
  group.run_for(800ms);
  CHECK(told == 1);  // The other is told much later that its time is up.
  CHECK(refused == 0);
  CHECK_FALSE(group.cluster.leader()->node().leases().exists(kLease));
}

TEST_CASE("lease rules: what is left is told to the others again and again, and a renewal takes it back") {
  Holders group;
  for (const auto& machine : group.cluster.machines()) {
    machine->kill();
    REQUIRE(machine->next_config().feature_gates.set("LeaseCheckpoint=true,LeaseCheckpointPersist=true").ok());
    group.cluster.start(*machine);
  }
  group.settle();
  constexpr LeaseId kRenewed{78};
  group.grant(kLease, 1000);
  group.grant(kRenewed, 1000);
  group.run_for(650s);  // It is told every 300 s.
  for (Machine* machine : {group.cluster.leader(), &group.follower()}) {
    const auto renewal = group.renew(*machine, kRenewed);
    group.run_for(1s);
    REQUIRE(renewal->ttl.has_value());
    CHECK(renewal->ttl->ok());
  }
  Machine& old = *group.cluster.leader();
  old.kill();
  group.settle();
  Machine& leader = *group.cluster.leader();
  CHECK(group.remaining_s(leader, kLease) <= 400 + 2);  // and what a new leader gives on top
  CHECK(group.remaining_s(leader, kLease) >= 1000 - 660);
  CHECK(group.remaining_s(leader, kRenewed) > 990);
}

TEST_CASE("lease rules: what a quorum said before a leader stood still again does not count") {
  Holders group;
  Machine& leader = *group.cluster.leader();
  group.grant(kLease, 60);
  constexpr Duration kStill = 600ms;  // less than an election timeout
  leader.pause();
  group.run_for(kStill);
  leader.resume();
  group.run_for(1us);
  const auto renewal = group.renew(leader, kLease);
  group.run_for(1us);
  REQUIRE_FALSE(renewal->ttl.has_value());
  leader.pause();  // The others' answers come while it stands still.
  group.run_for(kStill);
  group.cut_off(leader);
  leader.resume();
  group.run_for(50ms);
  std::optional<bool> certain;
  group.at_once(leader, [&certain](server::Node& node) { certain = node.leases().renew_now(kLease).has_value(); });
  group.run_for(1ms);
  REQUIRE(certain.has_value());
  CHECK_FALSE(*certain);
}

TEST_CASE("lease rules: what a leader says of ends is for its own term, and is handed to no other") {
  Holders group;
  group.grant(kLease, 60);
  Machine& leader = *group.cluster.leader();
  etcdserverpb::LeaseRevokeRequest revoke;
  revoke.set_id(kLease.value());
  const auto say = [&](Machine& machine) {
    std::optional<std::string> said;
    group.cluster.call(
        machine,
        [body = revoke.SerializeAsString()](server::Node& node, const sim::Cluster::Reply& reply) {
          node.propose_in_term(Op::kLeaseRevoke, body, std::make_unique<sim::Told>(reply));
        },
        kPatience, [&said](const sim::Answer& answer) { said = answer.error; });
    group.run_for(1s);
    return said;
  };
  CHECK(say(group.follower()) == server::errors::not_leader().to_string());
  group.run_for(kPatience);
  CHECK(leader.node().leases().exists(kLease));
  // Nobody is there to take the leadership, and what clients ask is held back meanwhile.
  group.cut_off(leader);
  group.at_once(leader, [](server::Node& node) { node.reconfiguration().hand_over([](const Status&) {}); });
  group.run_for(100us);
  CHECK(say(leader) == server::errors::not_leader().to_string());
  group.cluster.network().heal();
  group.settle();
  group.run_for(1s);
  CHECK(group.cluster.leader()->node().leases().exists(kLease));
  CHECK(say(*group.cluster.leader()) == "");
  CHECK_FALSE(group.cluster.leader()->node().leases().exists(kLease));
}
