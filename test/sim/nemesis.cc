#include "sim/nemesis.h"

#include <algorithm>

#include "base/bytes.h"
#include "server/membership.h"
#include "server/raft_driver.h"
#include "server/reconfiguration.h"

namespace sim {

using base::Duration;
using base::NodeId;
using base::Status;
using namespace std::chrono_literals;

namespace {
constexpr size_t kMachinesMax = 12;
std::string name_of(const Machine& machine) { return "member " + std::to_string(machine.number()); }
// As it knows them. REQUIRES: up.
std::vector<NodeId> voters_of(Machine& machine) { return machine.node().driver().status().config.conf_state().voters; }
}  // namespace

void Nemesis::rest() {
  if (ended_) return;
  (void)cluster_.world().after(100ms + cluster_.world().random(1500ms), [this] {
    if (ended_) return;
    act();
    rest();
  });
}

size_t Nemesis::impaired() {
  size_t count = 0;
  for (Machine* machine : cluster_.members()) count += !machine->up() || machine->paused() || machine->fault_planned();
  return count;
}

Machine* Nemesis::victim() {
  base::Rng& rng = cluster_.world().rng();
  Machine* leader = cluster_.leader();
  if (leader != nullptr && rng.one_in(3)) return leader;
  std::vector<Machine*> up;
  for (Machine* machine : cluster_.members()) {
    if (machine->up()) up.push_back(machine);
  }
  return up.empty() ? nullptr : up[rng.below(up.size())];
}

Machine* Nemesis::any_server() {
  std::vector<Machine*> all;
  for (Machine* machine : cluster_.members()) {
    if (machine->serves() && !machine->paused() && !machine->node().is_learner()) all.push_back(machine);
  }
  return all.empty() ? nullptr : all[cluster_.world().rng().below(all.size())];
}

bool Nemesis::recover_something() {
  std::vector<Machine*> hurt;
  for (Machine* machine : cluster_.members()) {
    if (!machine->up() || machine->paused()) hurt.push_back(machine);
  }
  base::Rng& rng = cluster_.world().rng();
  Network& network = cluster_.network();
  if (network.any_cut() && (hurt.empty() || rng.one_in(2))) {
    if (rng.one_in(2)) {
      cluster_.tell("the network is whole");
      network.heal();
    } else {  // One link at a time.
      auto link = network.cuts().begin();
      std::advance(link, rng.below(network.cuts().size()));
      cluster_.tell("a link is mended");
      network.mend(link->first, link->second);
    }
    return true;
  }
  if (hurt.empty()) return false;
  Machine& machine = *hurt[rng.below(hurt.size())];
  if (machine.up()) {
    cluster_.tell(name_of(machine) + " goes on");
    machine.resume();
  } else {
    cluster_.tell(name_of(machine) + " starts");
    cluster_.start(machine);
  }
  return true;
}

void Nemesis::cut() {
  base::Rng& rng = cluster_.world().rng();
  std::vector<Machine*> all = cluster_.members();
  Network& network = cluster_.network();
  const auto cut_both = [&](NodeId a, NodeId b) {
    network.cut(a, b);
    network.cut(b, a);
  };
  switch (rng.below(4)) {
    case 0: {  // two sides
      std::vector<int> side(all.size());
      for (int& s : side) s = static_cast<int>(rng.below(2));
      for (size_t i = 0; i < all.size(); ++i) {
        for (size_t k = 0; k < all.size(); ++k) {
          if (side[i] == 0 && side[k] == 1) cut_both(all[i]->id(), all[k]->id());
        }
      }
      return cluster_.tell("the network is cut in two");
    }
    case 1: {  // one alone
      Machine* alone = victim();
      if (alone == nullptr) return;
      for (Machine* other : all) {
        if (other != alone) cut_both(alone->id(), other->id());
      }
      return cluster_.tell(name_of(*alone) + " is cut off");
    }
    case 2: {  // one that hears nobody, or is heard by nobody
      Machine* deaf = victim();
      if (deaf == nullptr) return;
      const bool deaf_not_mute = rng.one_in(2);
      for (Machine* other : all) {
        if (other == deaf) continue;
        deaf_not_mute ? network.cut(other->id(), deaf->id()) : network.cut(deaf->id(), other->id());
      }
      return cluster_.tell(name_of(*deaf) + (deaf_not_mute ? " is deaf" : " is mute"));
    }
    default: {  // a pair
      Machine *a = all[rng.below(all.size())], *b = all[rng.below(all.size())];
      if (a == b) return;
      rng.one_in(2) ? cut_both(a->id(), b->id()) : network.cut(a->id(), b->id());
      cluster_.tell(name_of(*a) + " and " + name_of(*b) + " are apart");
    }
  }
}

void Nemesis::break_disk(Machine& machine) {
  switch (cluster_.world().rng().below(4)) {
    case 0:
      cluster_.tell("a sync of " + name_of(machine) + " will fail");
      return machine.fail_next_sync();
    case 1:
      cluster_.tell("the disk of " + name_of(machine) + " is full");
      return machine.fill_disk();
    case 2:
      cluster_.tell("a write of " + name_of(machine) + " will fail");
      return machine.fail_a_change();
    default:
      damage_due_ = has(Fault::kMembers) && has(Fault::kPower);
  }
}

// A disk that loses what was acknowledged breaks what Raft stands on; what is promised then: alone among members that all hold
// what is committed, such a member harms nobody. It refuses to start, stops itself, or catches up, and what it serves is right.
bool Nemesis::may_lose_state(const Machine& machine) {
  Machine* leader = cluster_.leader();
  // A change of the members that is under way could leave it as one of two.
  if (leader == nullptr || leader == &machine || changing_ || cluster_.network().any_cut()) return false;
  const raft::NodeStatus status = leader->node().driver().status();
  for (const auto& [id, member] : leader->node().membership().members()) {
    Machine* other = cluster_.by_id(id);
    if (other == nullptr || other->gone || other->damaged() || !other->serves() || other->paused() || other->fault_planned()) {
      return false;
    }
    const auto progress = status.progress.find(id);
    if (progress == status.progress.end()) return false;
    if (other == &machine ? progress->second.match > leader->node().committed_index()
                          : progress->second.match < leader->node().committed_index()) {
      return false;
    }
  }
  return leader->node().membership().voter_count() >= 3;
}

bool Nemesis::may_start_anew(const Machine& machine) {
  if (machine.config().existing_cluster) return false;
  const std::vector<Machine*> all = cluster_.members();
  return std::any_of(all.begin(), all.end(), [&machine](const Machine* other) {
    return other != &machine && other->serves() &&
           (machine.config().initial_cluster + ",").find("=" + other->url() + ",") != std::string::npos;
  });
}

// Its disk has who votes now: what it does not know yet, or knows and has not written, it would not know afterwards.
void Nemesis::keep_state(Machine& machine) {
  Machine* leader = cluster_.leader();
  if (leader == nullptr || !machine.up()) return;
  const base::Instant now = cluster_.world().now();
  if (std::vector<NodeId> voters = voters_of(*leader); voters != voters_) {
    voters_ = std::move(voters);
    voters_since_ = now;
  }
  if (changing_ || now - voters_since_ < 1s || voters_of(machine) != voters_) return;
  machine.keep_state();
  kept_voters_[machine.number()] = voters_;
}

void Nemesis::damage(Machine& machine) {
  if (!may_lose_state(machine)) return;
  constexpr const char* kNames[] = {"a bit flips", "a sector is lost", "a sector is misplaced", "an older state is back",
                                    "nothing is left"};
  auto kind = static_cast<Machine::Damage>(cluster_.world().rng().below(std::size(kNames)));
  // One that went back to when fewer voted could be a majority of those alone: no member stands that.
  const bool same_voters = kept_voters_[machine.number()] == voters_of(*cluster_.leader());
  if (kind == Machine::Damage::kOlderState && !(machine.has_kept_state() && same_voters)) kind = Machine::Damage::kLostSector;
  // A newcomer without its files would join again under its old name: that is no fault of a disk any more.
  // And one whose founders are all gone has nobody to ask whether the cluster exists.
  if (kind == Machine::Damage::kNothingLeft && !may_start_anew(machine)) kind = Machine::Damage::kFlippedBit;
  cluster_.tell(name_of(machine) + " loses power, and on its disk " + kNames[static_cast<size_t>(kind)]);
  probe("a disk lost or changed what it held");
  damage_due_ = false;
  machine.cut_power();
  machine.damage(kind);
  cluster_.start(machine);
}

void Nemesis::act() {
  base::Rng& rng = cluster_.world().rng();
  const size_t minority = (cluster_.members().size() - 1) / 2;
  if (plots_.busy()) return;
  if (rng.one_in(8)) plots_.start();
  if (rng.one_in(10)) {
    if (Machine* one = victim(); has(Fault::kBrokenDisk) && one != nullptr) keep_state(*one);
  }
  if (plots_.busy()) return;
  if (damage_due_) {
    for (Machine* machine : cluster_.members()) {
      if (damage_due_ && machine->up()) damage(*machine);
    }
  }
  if (has(Fault::kPower) && rng.one_in(60)) {
    cluster_.tell("power is gone everywhere");
    probe("the whole cluster lost power at once");
    for (Machine* machine : cluster_.members()) {
      if (machine->up()) machine->cut_power();
    }
    return;
  }
  if (impaired() > minority || rng.one_in(3)) {
    if (recover_something()) return;
  }
  Machine* machine = victim();
  if (machine == nullptr) return;
  const bool spare = impaired() >= std::max<size_t>(minority, 1) && !rng.one_in(6);
  switch (rng.below(10)) {
    case 0:
    case 1:
      if (has(Fault::kCuts) && !(cluster_.network().any_cut() && !rng.one_in(4))) cut();
      break;
    case 2:
      if (!has(Fault::kKills) || spare) break;
      cluster_.tell(name_of(*machine) + " is killed");
      machine->kill();
      break;
    case 3:
      if (!has(Fault::kPower) || spare) break;
      cluster_.tell(name_of(*machine) + " loses power");
      machine->cut_power();
      break;
    case 4:
      if (has(Fault::kDates) && rng.one_in(3)) {
        const int64_t now_ns = machine->loop().unix_ns();
        const Duration jump = cluster_.world().random(48h) - 24h;
        cluster_.tell("the date of " + name_of(*machine) + " jumps");
        machine->loop().set_date(now_ns - cluster_.world().now().time_since_epoch().count() + jump.count());
        break;
      }
      if (!has(Fault::kPauses) || spare || machine->paused()) break;
      cluster_.tell(name_of(*machine) + " is paused");
      machine->pause();
      break;
    case 5: {
      if (!has(Fault::kSlowDisk)) break;
      if (rng.one_in(3)) {
        cluster_.tell("the disk of " + name_of(*machine) + " hangs");
        machine->disk_worker().stall(cluster_.world().random(4s));
      } else {
        // One may be late with what the other is long done with.
        const auto times = static_cast<int64_t>(1 + rng.below(3) * 40),
                   helper_times = static_cast<int64_t>(1 + rng.below(3) * 40);
        cluster_.tell("the disk of " + name_of(*machine) + " is " + std::to_string(times) + " times slower, its helper " +
                      std::to_string(helper_times) + " times");
        machine->set_slowness(times, helper_times);
      }
      break;
    }
    case 6:
      if (!has(Fault::kSlowNetwork)) break;
      cluster_.network().set_slowness(rng.one_in(2) ? 1 : static_cast<int64_t>(1 + rng.below(200)));
      cluster_.network().set_posts_in(rng.one_in(4) ? 2 : 40);
      cluster_.tell("the network has another pace");
      break;
    case 7:
      if (!has(Fault::kBrokenDisk) || spare || machine->paused() || machine->fault_planned()) break;
      break_disk(*machine);
      break;
    case 8: {
      Machine* leader = cluster_.leader();
      if (!has(Fault::kTransfers) || leader == nullptr || leader->paused()) break;
      cluster_.tell(name_of(*leader) + " hands over");
      probe("a leader was asked to hand over");
      (void)cluster_.world().after(1us, &leader->loop(), [leader] {
        if (leader->serves()) leader->node().reconfiguration().hand_over([](const Status&) {});
      });
      break;
    }
    default:
      if (has(Fault::kMembers)) change_members();
  }
}

// --- who belongs to it ------------------------------------------------------------------------------------------------------

void Nemesis::change_members() {
  if (changing_) return;
  Machine* leader = cluster_.leader();
  if (leader == nullptr) return;
  base::Rng& rng = cluster_.world().rng();
  const server::Membership& membership = leader->node().membership();
  for (const auto& [id, member] : membership.members()) {
    Machine* machine = cluster_.by_id(id);
    if (machine == nullptr || machine->gone) return remove(id);  // One that never came, or never will.
    if (machine->damaged() && membership.voter_count() >= 3)
      return remove(id);  // It may fail at any time; before the others do.
  }
  if (membership.voter_count() >= 4 || (membership.voter_count() == 3 && rng.one_in(4))) {
    auto member = membership.members().begin();
    std::advance(member, rng.below(membership.members().size()));
    return remove(member->first);
  }
  if (cluster_.machines().size() < kMachinesMax) add();
}

void Nemesis::add() {
  Machine* through = any_server();
  if (through == nullptr) return;
  changing_ = true;
  const std::string url = "http://10.0.0." + std::to_string(cluster_.machines().size() + 1) + ":2380";
  server::Member member;
  member.peer_urls = {url};
  member.is_learner = true;
  member.id = server::member_id({url}, "etcd-cluster", through->loop().unix_ns() / 1'000'000'000);
  cluster_.tell("a learner is added through " + name_of(*through));
  for (uint64_t i = cluster_.world().rng().below(4); i > 0; --i) change_nothing();
  cluster_.call(
      *through,
      [member](server::Node& node, const Cluster::Reply& reply) {
        node.reconfiguration().add(member, [reply](const Status& status) { reply(status, 0, {}); });
      },
      10s,
      [this, member](const Answer& answer) {
        changing_ = false;
        if (answer.kind == Answer::kOk && !ended_) join(member.id, member.peer_urls.front());
      });
}

// A change that changes nothing, at the same time as another one: only one of them may happen now.
void Nemesis::change_nothing() {
  Machine* through = any_server();
  Machine* leader = cluster_.leader();
  if (through == nullptr || leader == nullptr) return;
  const server::Member* member = leader->node().membership().find(leader->id());
  if (member == nullptr) return;
  cluster_.call(
      *through,
      [id = member->id, urls = member->peer_urls](server::Node& node, const Cluster::Reply& reply) {
        node.reconfiguration().update(id, urls, [reply](const Status& status) { reply(status, 0, {}); });
      },
      10s, [](const Answer&) {});
}

void Nemesis::join(NodeId, const std::string& url) {
  Machine* through = any_server();
  if (through == nullptr) return;
  std::string initial;
  for (const auto& [id, member] : through->node().membership().members()) {
    Machine* machine = cluster_.by_url(member.peer_urls.front());
    const size_t number = machine != nullptr ? machine->number() : cluster_.machines().size();
    initial += (initial.empty() ? "m" : ",m") + std::to_string(number) + "=" + member.peer_urls.front();
  }
  Machine& machine = cluster_.add_machine(initial);
  VERIFY(machine.url() == url);
  std::string why;
  if (!machine.start(&why)) {
    // Another change came between; nobody promised that it can join.
    cluster_.tell(name_of(machine) + " could not join: " + why);
    machine.gone = true;
    return;
  }
  cluster_.tell(name_of(machine) + " joins");
  changing_ = true;
  promote(machine, 20);
}

void Nemesis::promote(Machine& machine, int tries) {
  if (ended_ || tries == 0 || machine.gone) {
    changing_ = false;
    return;
  }
  (void)cluster_.world().after(500ms, [this, &machine, tries] {
    Machine* through = any_server();
    if (through == nullptr || machine.gone) return promote(machine, tries - 1);
    cluster_.call(
        *through,
        [id = machine.id()](server::Node& node, const Cluster::Reply& reply) {
          node.reconfiguration().promote(id, "", [reply](const Status& status) { reply(status, 0, {}); });
        },
        10s,
        [this, &machine, tries](const Answer& answer) {
          if (answer.kind != Answer::kOk) return promote(machine, tries - 1);
          cluster_.tell(name_of(machine) + " is promoted");
          probe("a learner was promoted");
          changing_ = false;
        });
  });
}

void Nemesis::remove(NodeId id) {
  Machine* through = any_server();
  if (through == nullptr) return;
  changing_ = true;
  Machine* machine = cluster_.by_id(id);
  cluster_.tell("member " + (machine == nullptr ? base::hex(id.value()) : std::to_string(machine->number())) + " is removed");
  cluster_.call(
      *through,
      [id](server::Node& node, const Cluster::Reply& reply) {
        node.reconfiguration().remove(id, [reply](const Status& status) { reply(status, 0, {}); });
      },
      10s,
      [this, machine](const Answer& answer) {
        changing_ = false;
        if (answer.kind != Answer::kOk || machine == nullptr) return;
        probe("a member was replaced");
        // One that is up hears of it; one that is down need not come back.
        if (!machine->up()) machine->gone = true;
      });
}

void Nemesis::end() {
  ended_ = true;
  plots_.end();
  cluster_.tell("peace");
  cluster_.network().heal();
  cluster_.network().set_slowness(1);
  cluster_.network().set_posts_in(40);
  for (Machine* machine : cluster_.members()) {
    if (machine->up() && machine->fault_planned()) machine->cut_power();
    if (machine->paused()) machine->resume();
    machine->set_slowness(1, 1);
    if (!machine->up()) cluster_.start(*machine);
  }
}

}  // namespace sim
