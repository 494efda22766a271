// Three members that get on well, for tests of what happens when one thing goes wrong: questions asked of one of them and their
// answers, waits in virtual time.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "rpc.pb.h"
#include "sim/cluster.h"

namespace sim {

inline constexpr base::Duration kReadyWithin = std::chrono::seconds(20);
inline constexpr base::Duration kPatience = std::chrono::seconds(10);  // more than the servers'

class Told final : public server::Waiter {
 public:
  explicit Told(Cluster::Reply reply) : reply_(std::move(reply)) {}
  void done(server::Outcome outcome) override { reply_(outcome.status, outcome.revision, std::move(outcome.fields)); }

 private:
  const Cluster::Reply reply_;
};

struct Three {
  explicit Three(uint64_t seed = 7) : cluster(seed, 3) {
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
  std::vector<Machine*> others(const Machine& one) {
    std::vector<Machine*> others;
    for (const auto& machine : cluster.machines()) {
      if (machine.get() != &one) others.push_back(machine.get());
    }
    return others;
  }
  // The others' processes die, and it knows that nobody leads.
  void leave_alone(Machine& one) {
    for (Machine* machine : others(one)) machine->kill();
    REQUIRE(cluster.world().run_while_not(kReadyWithin, [&one] { return one.node().leader() == base::kNoNode; }));
  }
  void bring_back() {
    for (const auto& machine : cluster.machines()) {
      if (!machine->up()) cluster.start(*machine);
    }
    settle();
    cluster.world().run_for(std::chrono::seconds(2));
  }
  void ask(Machine& machine, wire::Op op, const google::protobuf::Message& request, Cluster::Done done) {
    cluster.call(
        machine,
        [op, body = request.SerializeAsString()](server::Node& node, const Cluster::Reply& reply) {
          node.propose(op, body, std::make_unique<Told>(reply));
        },
        kPatience, std::move(done));
  }
  // "": it was done.
  std::string propose(wire::Op op, const google::protobuf::Message& request) {
    std::optional<std::string> error;
    ask(*cluster.leader(), op, request,
        [&error](const Answer& answer) { error = answer.kind == Answer::kOk ? "" : answer.error; });
    REQUIRE(cluster.world().run_while_not(2 * kPatience, [&error] { return error.has_value(); }));
    return *error;
  }
  std::string alarm(etcdserverpb::AlarmRequest::AlarmAction action, etcdserverpb::AlarmType type) {
    etcdserverpb::AlarmRequest request;
    request.set_memberid(5);
    request.set_action(action);
    request.set_alarm(type);
    return propose(wire::Op::kAlarm, request);
  }
  // More than the leader keeps in its log for who is behind.
  void write_a_lot() {
    etcdserverpb::DeleteRangeRequest nothing;
    nothing.set_key("nothing");
    for (int i = 0; i < 400; ++i) REQUIRE(propose(wire::Op::kDeleteRange, nothing).empty());
    cluster.world().run_for(std::chrono::seconds(1));
  }
  // On the machine's own loop, as everything of its node; then the world goes on for a moment.
  void at(Machine& machine, std::function<void(server::Node&)> what) {
    (void)cluster.world().at(cluster.world().now(), &machine.loop(), [&machine, what] { what(machine.node()); });
    cluster.world().run_for(std::chrono::milliseconds(100));
  }

  Cluster cluster;
};

}  // namespace sim
