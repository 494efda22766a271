#include "sim/plots.h"

#include <algorithm>
#include <utility>

#include "server/node.h"
#include "server/reconfiguration.h"
#include "sim/clients.h"

namespace sim {

using base::Duration;
using base::NodeId;
using wire::RaftMessage;
using wire::RaftMessageType;
using namespace std::chrono_literals;

namespace {

constexpr Duration kLook = 2ms;
constexpr size_t kBigValueBytes = 600 << 10;  // more than goes with others into one message
constexpr int kBigValuesOfAnInstallation = 20;

std::string name_of(const Machine& machine) { return "member " + std::to_string(machine.number()); }

}  // namespace

Plots::Plots(Cluster& cluster, uint32_t faults) : cluster_(cluster), faults_(faults) {
  cluster_.set_on_sent([this](NodeId from, const RaftMessage& message) {
    if (!fits_ || !fits_(from, message)) return;
    fits_ = nullptr;
    // Behind the sender's own turn, before anything that takes time.
    (void)cluster_.world().after(1us, std::exchange(sprung_, nullptr));
  });
}

void Plots::end() {
  ended_ = true;
  busy_ = false;
  ++act_;
  fits_ = nullptr;
}

void Plots::begin(const std::string& what) {
  busy_ = true;
  ++act_;
  cluster_.tell("plot: " + what);
}

void Plots::finish() {
  busy_ = false;
  ++act_;
  fits_ = nullptr;
  cluster_.tell("the plot is over");
  network().heal();
  for (Machine* machine : cluster_.members()) {
    if (!machine->up()) cluster_.start(*machine);
  }
}

void Plots::after(Duration span, Step step) {
  (void)cluster_.world().after(span, [this, act = act_, step = std::move(step)] {
    if (act == act_) step();
  });
}

void Plots::when(std::function<bool()> condition, Duration limit, Step step) {
  if (condition()) return step();
  if (limit <= Duration(0)) return finish();
  after(kLook, [this, condition = std::move(condition), limit, step = std::move(step)]() mutable {
    when(std::move(condition), limit - kLook, std::move(step));
  });
}

void Plots::trap(Fits fits, Duration limit, Step step) {
  const uint64_t act = act_;
  fits_ = std::move(fits);
  sprung_ = [this, act, step = std::move(step)] {
    if (act == act_) step();
  };
  // Sprung or not: nothing waits for ever.
  (void)cluster_.world().after(limit, [this, act] {
    if (act == act_ && fits_) finish();
  });
}

void Plots::apart(const std::vector<Machine*>& side, const std::vector<Machine*>& other, bool cut) {
  for (const Machine* a : side) {
    for (const Machine* b : other) {
      if (a == b) continue;
      cut ? network().cut(a->id(), b->id()) : network().mend(a->id(), b->id());
      cut ? network().cut(b->id(), a->id()) : network().mend(b->id(), a->id());
    }
  }
}

void Plots::cut_power(Machine& machine) {
  if (!machine.up()) return;
  cluster_.tell(name_of(machine) + " loses power");
  machine.cut_power();
}

void Plots::start_again(Machine& machine, Duration within) {
  after(cluster_.world().random(within), [this, &machine] {
    if (!machine.up() && !machine.gone) cluster_.start(machine);
  });
}

void Plots::put_big_value(Machine& machine, const std::string& key) {
  etcdserverpb::PutRequest put;
  put.set_key(key);
  put.set_value("big" + std::to_string(++big_values_) + std::string(kBigValueBytes, '.'));
  cluster_.call(
      machine,
      [body = put.SerializeAsString()](server::Node& node, Cluster::Reply reply) {
        serve_kv(node, wire::Op::kPut, body, std::move(reply));
      },
      kClientPatience, [](const Answer&) {});
}

void Plots::read(Machine& machine, int64_t at_least) {
  etcdserverpb::RangeRequest range;
  range.set_key("big");
  cluster_.call(
      machine,
      [body = range.SerializeAsString()](server::Node& node, Cluster::Reply reply) {
        serve_kv(node, wire::Op::kRange, body, std::move(reply));
      },
      kClientPatience,
      [this, at_least](const Answer& answer) {
        if (answer.kind != Answer::kOk || answer.revision >= at_least) return;
        cluster_.fail("a linearizable read of revision " + std::to_string(answer.revision) + " began when " +
                      std::to_string(at_least) + " was applied");
      });
}

void Plots::start() {
  if (busy_ || ended_ || network().any_cut()) return;
  for (const Machine* machine : cluster_.members()) {
    if (!machine->serves() || machine->paused() || machine->fault_planned()) return;
  }
  switch (rng().below(9)) {
    case 0:
      return two_votes();
    case 1:
      return figure_eight();
    case 2:
    case 4:
      return power_in_an_installation();
    case 3:
      return stale_commit();
    case 5:
      return deposed_leader();
    default:
      return power_at_a_message();
  }
}

// --- the plots --------------------------------------------------------------------------------------------------------------

// One member in the middle of two halves that do not see each other. It votes for a candidate of one half, and loses power the
// moment the vote is out; when it is back it sees only the other half, where somebody asks for the same term.
void Plots::two_votes() {
  if (!has(Fault::kPower) || !has(Fault::kCuts)) return;
  Machine* leader = cluster_.leader();
  std::vector<Machine*> others = cluster_.members();
  if (others.size() % 2 == 0) return two_halves();
  if (leader == nullptr || others.size() < 3) return;
  std::erase(others, leader);
  for (size_t i = others.size() - 1; i > 0; --i) std::swap(others[i], others[rng().below(i + 1)]);
  Machine& middle = *others.back();
  others.pop_back();
  const auto half = others.begin() + static_cast<ptrdiff_t>((others.size() + 1) / 2);
  const std::vector<Machine*> far(others.begin(), half);
  std::vector<Machine*> near(half, others.end());
  near.push_back(leader);
  begin("two votes of " + name_of(middle));
  apart(far, near, true);
  apart({&middle}, near, true);
  trap(
      [id = middle.id()](NodeId from, const RaftMessage& message) {
        return from == id && message.type == RaftMessageType::kVoteResp && !message.reject;
      },
      8s,
      [this, &middle, far, near] {
        probe("power was cut behind a vote");
        cut_power(middle);
        after(3ms, [this, &middle, far, near] {
          apart({&middle}, far, true);
          apart({&middle}, near, false);
          start_again(middle, 30ms);
          after(4s, [this] { finish(); });
        });
      });
}

// An even number of members, cut in the middle: neither side may elect anybody, and both want the same term.
void Plots::two_halves() {
  const std::vector<Machine*> all = cluster_.members();
  const auto middle = all.begin() + static_cast<ptrdiff_t>(all.size() / 2);
  begin("two halves");
  apart(std::vector<Machine*>(all.begin(), middle), std::vector<Machine*>(middle, all.end()), true);
  after(5s, [this] { finish(); });
}

// Raft's figure 8, with three. `first` has an entry that nobody else has; `second` wins an election and keeps its first entry
// to itself; `first` wins again and gives its entry to `third`, which hears no more of that leader; then `second` is back, with
// a log that is newer: the entry must go, and nobody may have taken it for committed.
void Plots::figure_eight() {
  Machine* leader = cluster_.leader();
  const std::vector<Machine*> all = cluster_.members();
  if (!has(Fault::kCuts) || leader == nullptr || all.size() != 3 || cluster_.keeps_log()) return;
  for (Machine* machine : all) {
    if (machine->node().is_learner()) return;
  }
  Machine& first = *leader;
  begin("figure 8 from " + name_of(first));
  std::vector<Machine*> others = all;
  std::erase(others, &first);
  apart({&first}, others, true);
  put_big_value(first, "big");
  trap([](NodeId, const RaftMessage& message) { return message.type == RaftMessageType::kVoteResp && !message.reject; }, 8s,
       [this, &first, others] {
         // Who was voted for wins alone: what it sends does not arrive any more.
         Machine& a = *others[0];
         Machine& b = *others[1];
         network().cut(a.id(), b.id());
         network().cut(b.id(), a.id());
         when([&a, &b] { return a.up() && b.up() && (a.node().is_leader() || b.node().is_leader()); }, 1s,
              [this, &first, &a, &b] {
                Machine& second = a.node().is_leader() ? a : b;
                Machine& third = &second == &a ? b : a;
                after(50ms, [this, &first, &second, &third] {
                  apart({&first}, {&third}, false);
                  trap(
                      [&first, &third](NodeId from, const RaftMessage& message) {
                        return from == third.id() && message.to == first.id() && message.type == RaftMessageType::kAppResp &&
                               !message.reject && first.up() && message.index > first.node().committed_index();
                      },
                      10s,
                      [this, &first, &second, &third] {
                        probe("an old entry was acknowledged to a new leader");
                        network().cut(first.id(), third.id());
                        after(100ms, [this, &first, &second, &third] {
                          apart({&first}, {&third}, true);
                          apart({&second}, {&third}, false);
                          when([&second] { return second.up() && second.node().is_leader(); }, 6s,
                               [this] { after(1s, [this] { finish(); }); });
                        });
                      });
                });
              });
       });
}

// Whoever sends the next message of some kind, or gets it, has no power any more when it is out.
void Plots::power_at_a_message() {
  if (!has(Fault::kPower)) return;
  constexpr RaftMessageType kTypes[] = {RaftMessageType::kAppResp, RaftMessageType::kApp, RaftMessageType::kVote,
                                        RaftMessageType::kVoteResp, RaftMessageType::kSnap};
  const RaftMessageType type = kTypes[rng().below(std::size(kTypes))];
  const bool sender = !rng().one_in(3);
  begin("power at a message of type " + std::to_string(static_cast<uint32_t>(type)));
  const auto victim = std::make_shared<NodeId>();
  trap(
      [type, sender, victim](NodeId from, const RaftMessage& message) {
        if (message.type != type || message.reject) return false;
        *victim = sender ? from : message.to;
        return true;
      },
      5s,
      [this, victim] {
        Machine* machine = cluster_.by_id(*victim);
        if (machine == nullptr || machine->gone) return finish();
        cut_power(*machine);
        start_again(*machine, rng().one_in(2) ? 50ms : 4s);
        after(4s, [this] { finish(); });
      });
}

// A member that lags gets a database, and loses power while it takes it over.
void Plots::power_in_an_installation() {
  if (!has(Fault::kPower) || cluster_.members().size() < 3 || cluster_.keeps_log()) return;
  std::vector<Machine*> all = cluster_.members();
  Machine* leader = cluster_.leader();
  if (leader == nullptr) return;
  std::erase(all, leader);
  Machine& late = *all[rng().below(all.size())];
  begin("power in an installation at " + name_of(late));
  const base::Index was = late.node().applied_index();
  cut_power(late);
  // More than fits into one write of the engine, now and then: then there is a half.
  if (rng().one_in(2)) {
    for (int i = 0; i < kBigValuesOfAnInstallation; ++i) put_big_value(*leader, "big" + std::to_string(i));
  }
  const auto far_ahead = [this, was, &late] {
    Machine* now = cluster_.leader();
    return now != nullptr && now->node().applied_index().value() >
                                 was.value() + late.config().snapshot_count + late.config().snapshot_catchup_entries;
  };
  when(far_ahead, 15s, [this, &late] {
    cluster_.start(late);
    when([&late] { return late.up() && late.node().installing(); }, 5s,
         [this, &late] {
           const Duration span = cluster_.world().random(20ms);
           after(span, [this, &late] {
             if (late.up() && late.node().installing()) probe("power was cut in an installation");
             cut_power(late);
             start_again(late, 1s);
             after(2s, [this] { finish(); });
           });
         });
  });
}

// A leader is cut off; the others have another one and go on writing, while it still takes itself for the leader and is asked.
void Plots::deposed_leader() {
  Machine* leader = cluster_.leader();
  if (!has(Fault::kCuts) || leader == nullptr || cluster_.members().size() < 3) return;
  begin(name_of(*leader) + " is cut off and asked");
  if (act_ % 2 == 0 || !has(Fault::kTransfers)) return ask_cut_off(*leader, {});
  // The second time that it leads, and with company, but too little of it: nothing of the first time may count.
  std::vector<Machine*> voters, company;
  for (Machine* machine : cluster_.members()) {
    const server::Member* member = leader->node().membership().find(machine->id());
    if (machine == leader || member == nullptr) continue;
    (member->is_learner ? company : voters).push_back(machine);
  }
  if (voters.size() < 2) return finish();
  Machine* other = voters.front();
  company.insert(company.end(), voters.end() - static_cast<ptrdiff_t>((voters.size() - 2) / 2), voters.end());
  lead(*leader, *other);
  when([this, other] { return cluster_.leader() == other; }, 6s,
       [this, leader, other, company] {
         lead(*other, *leader);
         when([this, leader] { return cluster_.leader() == leader; }, 6s,
              [this, leader, company] {
                probe("a leader of the second time was cut off and asked");
                after(200ms, [this, leader, company] { ask_cut_off(*leader, company); });
              });
       });
}

// Cuts the leader off, with its company, and reads from it for as long as it thinks it leads.
void Plots::ask_cut_off(Machine& leader, const std::vector<Machine*>& company) {
  std::vector<Machine*> side = company, others = cluster_.members();
  side.push_back(&leader);
  std::erase_if(others, [&side](Machine* machine) { return std::find(side.begin(), side.end(), machine) != side.end(); });
  apart(side, others, true);
  for (Duration at = 0s; at < 2500ms; at += 20ms) {
    after(at, [this, &leader] {
      if (leader.up() && leader.node().is_leader()) read(leader, cluster_.oracle().revision());
    });
  }
  after(4s, [this] { finish(); });
}

void Plots::lead(Machine& from, Machine& to) {
  (void)cluster_.world().after(1us, &from.loop(), [&from, id = to.id()] {
    if (from.serves()) from.node().reconfiguration().move_leader(id, 2s, [](const base::Status&) {});
  });
}

// A leader is cut off when its followers have acknowledged and do not know yet that this was enough. One of them leads then, on
// slow disks, and is asked at once.
void Plots::stale_commit() {
  Machine* leader = cluster_.leader();
  if (!has(Fault::kCuts) || !has(Fault::kSlowDisk) || leader == nullptr || cluster_.members().size() < 3) return;
  begin(name_of(*leader) + " is cut off when its followers have acknowledged, and disks are slow");
  std::vector<Machine*> others = cluster_.members();
  std::erase(others, leader);
  trap(
      [id = leader->id()](NodeId, const RaftMessage& message) {
        return message.type == RaftMessageType::kAppResp && message.to == id && !message.reject;
      },
      5s,
      [this, leader, others] {
        for (Machine* other : others) {
          network().cut(leader->id(), other->id());
          other->set_slowness(60, 1);
        }
        after(50ms, [this, leader, others] {
          if (!leader->up()) return finish();
          const int64_t applied = leader->node().store().current_revision();
          const auto another_leads = [this, leader] {
            const Machine* now = cluster_.leader();
            return now != nullptr && now != leader;
          };
          when(another_leads, 6s, [this, others, applied] {
            probe("a new leader was asked at once");
            read(*cluster_.leader(), applied);
            after(1s, [this, others] {
              for (Machine* other : others) other->set_slowness(1, 1);
              finish();
            });
          });
        });
      });
}

}  // namespace sim
