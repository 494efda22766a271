#include "sim/run.h"

#include <algorithm>
#include <map>

#include "server/leases.h"
#include "server/maintainer.h"
#include "server/raft_driver.h"
#include "sim/checkers.h"
#include "sim/history_files.h"
#include "sim/nemesis.h"

namespace sim {

using base::Duration;
using base::Instant;
using base::NodeId;
using namespace std::chrono_literals;

namespace {

constexpr Duration kReadyWithin = 20s;    // a new cluster, of virtual time
constexpr Duration kServiceWithin = 20s;  // after the end of all faults
constexpr Duration kAgreeWithin = 30s;    // all members at the same entry, watchers included
constexpr Duration kLook = 20ms;          // between looks at all members
constexpr Duration kLeaseLateMax = 20s;   // after peace: the longest TTL, an election and what piled up
constexpr double kDriftMax = 0.011;
constexpr Duration kStaleRenewalMax = 1100ms;  // a leader that is none any more finds out within an election timeout

// What all members must agree on at the same applied entry, besides what the oracle sees.
uint64_t state_of(server::Node& node) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&hash](uint64_t what) { hash = (hash ^ what) * 0x100000001b3; };
  mix(static_cast<uint64_t>(node.store().current_revision()));
  mix(static_cast<uint64_t>(node.store().compact_revision()));
  mix(node.store().keys());
  mix(node.leases().lessor().size());
  for (const auto& [id, member] : node.membership().members()) {
    mix(id.value());
    mix(member.is_learner);
  }
  for (const NodeId id : node.membership().removed()) mix(id.value());
  for (const NodeId id : node.driver().conf_state().voters) mix(id.value());
  return hash;
}

class Story {
 public:
  explicit Story(const Plan& plan)
      : plan_(plan),
        cluster_(plan.seed, plan.members, true, !plan.for_validator.empty()),
        nemesis_(cluster_, plan.for_validator.empty() ? plan.faults : plan.faults & ~static_cast<uint32_t>(Fault::kMembers)) {
    history_.for_validator = !plan.for_validator.empty();
  }

  Verdict tell() {
    play();
    Verdict verdict;
    verdict.failure = cluster_.failure();
    verdict.story = cluster_.story();
    verdict.trace_hash = cluster_.world().trace_hash();
    verdict.steps = cluster_.world().steps();
    verdict.simulated = cluster_.world().now() - Instant(1s);
    verdict.ok = history_.ok;
    verdict.refused = history_.refused;
    verdict.unknown = history_.unknown;
    verdict.revisions = static_cast<uint64_t>(cluster_.oracle().revision());
    return verdict;
  }

 private:
  World& world() { return cluster_.world(); }
  bool wait(Duration limit, const std::function<bool()>& condition) {
    return world().run_while_not(limit, [&] { return cluster_.failed() || condition(); }) && !cluster_.failed();
  }

  void play() {
    cluster_.start_all();
    watch_over();
    const auto all_serve = [this] {
      return std::ranges::all_of(cluster_.members(), [](Machine* machine) { return machine->serves(); });
    };
    if (!wait(kReadyWithin, all_serve)) return cluster_.fail("a new cluster did not get ready");
    if (history_.for_validator && !look_at_nothing()) return cluster_.fail("no first read");
    start_clients();
    nemesis_.start();
    const Instant end = world().now() + plan_.storm;
    while (world().now() < end && !cluster_.failed()) world().run_for(100ms);
    if (cluster_.failed()) return;
    nemesis_.end();
    if (!service_is_back()) return;
    for (const auto& client : clients_) client->stop();
    const auto all_idle = [this] { return std::ranges::all_of(clients_, [](const auto& c) { return c->idle(); }); };
    if (!wait(kClientPatience + 3s, all_idle)) return cluster_.fail("a client's call has no end");
    world().run_for(kLeaseLateMax);  // All leases end meanwhile.
    if (cluster_.failed() || !members_agree() || !watchers_have_heard() || !hashes_agree()) return;
    judge();
    if (!history_.for_validator || cluster_.failed()) return;
    if (std::string wrong = write_history(plan_.for_validator, cluster_, history_); !wrong.empty()) cluster_.fail(wrong);
  }

  // The validator wants to see that the store was empty.
  bool look_at_nothing() {
    look_ = make_client(Work::kLook, cluster_, history_, static_cast<int>(plan_.clients), plan_.pace);
    look_->start();
    const auto seen = [this] { return !history_.operations.empty() && history_.operations.back().outcome == Operation::kOk; };
    const bool looked = wait(kReadyWithin, seen);
    look_->stop();
    return looked && wait(kClientPatience, [this] { return look_->idle(); });
  }

  // Every 20 ms: one leader a term, one state an entry.
  void watch_over() {
    (void)world().after(kLook, [this] {
      watch_over();
      for (const auto& machine : cluster_.machines()) {
        if (!machine->up() || machine->node().installing()) continue;
        server::Node& node = machine->node();
        if (node.is_leader()) {
          const auto [known, fresh] = leader_of_.emplace(node.term().value(), node.id());
          if (!fresh && known->second != node.id()) {
            cluster_.fail("two leaders of term " + std::to_string(node.term().value()));
          }
        }
        const auto [state, fresh] = state_at_.emplace(node.applied_index().value(), state_of(node));
        if (!fresh && state->second != state_of(node)) {
          cluster_.fail("member " + std::to_string(machine->number()) + " differs from another at entry " +
                        std::to_string(node.applied_index().value()));
        }
      }
      while (state_at_.size() > 20000) state_at_.erase(state_at_.begin());
    });
  }

  void start_clients() {
    constexpr Work kWork[] = {Work::kKeys,  Work::kObjects, Work::kTransfers, Work::kLeases, Work::kKeys,
                              Work::kLocks, Work::kLeases,  Work::kObjects,   Work::kKeys};
    for (size_t i = 0; i < plan_.clients; ++i) {
      const Work work = kWork[i % std::size(kWork)];
      if (history_.for_validator && work == Work::kLeases) continue;  // They end by themselves.
      clients_.push_back(make_client(work, cluster_, history_, static_cast<int>(i), plan_.pace));
    }
    if (!history_.for_validator) clients_.push_back(make_client(Work::kCompactions, cluster_, history_, 99, plan_.pace));
    constexpr const char* kPrefixes[] = {"k", "o", "a", "l"};
    for (size_t i = 0; i < plan_.watchers; ++i) {
      watchers_.push_back(std::make_unique<WatchClient>(cluster_, history_, kPrefixes[i % std::size(kPrefixes)]));
    }
    for (const auto& client : clients_) client->start();
    for (const auto& watcher : watchers_) watcher->start();
  }

  // A write of each member's client succeeds soon after the faults have ended.
  bool service_is_back() {
    const Instant since = world().now();
    const auto works = [this, since] {
      return std::ranges::any_of(history_.operations, [since](const Operation& operation) {
        return operation.call > since && operation.outcome == Operation::kOk && operation.op == wire::Op::kTxn;
      });
    };
    if (wait(kServiceWithin, works)) return true;
    cluster_.fail("no service within the bound after the faults ended");
    return false;
  }

  std::vector<Machine*> present() {
    std::vector<Machine*> all;
    Machine* leader = cluster_.leader();
    if (leader == nullptr) return all;
    for (const auto& [id, member] : leader->node().membership().members()) {
      Machine* machine = cluster_.by_id(id);
      if (machine != nullptr && !machine->gone) all.push_back(machine);
    }
    return all;
  }

  bool members_agree() {
    const auto agree = [this] {
      const std::vector<Machine*> all = present();
      if (all.empty()) return false;
      const base::Index committed = all.front()->node().committed_index();
      return std::ranges::all_of(all, [&](Machine* machine) {
        return machine->up() && !machine->node().installing() && machine->node().applied_index() == committed &&
               machine->node().leader() == cluster_.leader()->node().id();
      });
    };
    if (wait(kAgreeWithin, agree)) return true;
    std::string where;
    for (const auto& machine : cluster_.machines()) {
      if (machine->gone) continue;
      where += " member " + std::to_string(machine->number());
      if (!machine->up()) {
        where += " down;";
        continue;
      }
      where += " applied " + std::to_string(machine->node().applied_index().value()) + " leader " +
               std::to_string(machine->node().leader() == base::kNoNode) + " term " +
               std::to_string(machine->node().term().value()) + ";";
    }
    cluster_.fail("the members do not come to one state after the faults ended:" + where);
    return false;
  }

  bool watchers_have_heard() {
    for (const auto& watcher : watchers_) watcher->hurry();
    final_ = cluster_.oracle().revision();
    const auto heard = [this] {
      return std::ranges::all_of(watchers_, [this](const auto& w) { return w->has_heard(final_); });
    };
    if (wait(kAgreeWithin, heard)) return true;
    cluster_.fail("reliable: a watcher has not heard of everything up to revision " + std::to_string(final_));
    return false;
  }

  // A hash kept from a compaction to the last revision is of the store before it (as with etcd), and lost at a restart: only
  // hashes of stores compacted alike are compared.
  bool hashes_agree() {
    std::map<int64_t, std::map<uint32_t, std::string>> seen;  // members by compacted revision and hash
    size_t asked = 0, answered = 0;
    for (Machine* machine : present()) {
      ++asked;
      (void)world().after(1ms, &machine->loop(), [&, machine] {
        machine->node().maintainer().hash_kv(final_, [&, machine](const base::Result<server::HashAnswer>& hash) {
          ++answered;
          if (!hash.ok()) return cluster_.fail("no hash: " + hash.status().to_string());
          seen[hash->compact_revision][hash->hash] += " " + std::to_string(machine->number());
        });
      });
    }
    if (!wait(kAgreeWithin, [&] { return answered == asked; })) {
      cluster_.fail("a hash did not come");
      return false;
    }
    for (const auto& [compacted, hashes] : seen) {
      if (hashes.size() == 1 && (compacted == seen.rbegin()->first || seen.rbegin()->first == final_)) continue;
      std::string text = "HashKV differs, compacted to " + std::to_string(compacted) + ":";
      for (const auto& [hash, members] : hashes) text += " members" + members + " have " + std::to_string(hash) + ";";
      cluster_.fail(text);
      return false;
    }
    return true;
  }

  void judge() {
    const Oracle& oracle = cluster_.oracle();
    if (std::string wrong = check_operations(oracle, history_.operations); !wrong.empty()) return cluster_.fail(wrong);
    for (const Operation& operation : history_.operations) {
      if (operation.outcome != Operation::kUnknown || operation.op != wire::Op::kPut) continue;
      etcdserverpb::PutRequest put;
      VERIFY(put.ParseFromString(operation.request));
      probe(oracle.revision_of(put.value()) > 0 ? "a write ended unknown and had happened"
                                                : "a write ended unknown and had not happened");
    }
    for (const auto& watch : history_.watches) {
      const bool is_last = std::ranges::any_of(watchers_, [&](const auto& w) { return w->current() == watch.get(); });
      const std::string wrong = check_watch(oracle, *watch, history_.compaction_asked, is_last ? final_ : 0);
      if (!wrong.empty()) return cluster_.fail("a watch of " + watch->request.ShortDebugString() + ": " + wrong);
    }
    for (const LeaseRecord& lease : history_.leases) {
      const std::string wrong = check_lease(oracle, lease, kDriftMax, kStaleRenewalMax);
      if (!wrong.empty()) return cluster_.fail(wrong);
      if (lease.key.empty() || lease.key_lost) continue;
      if (oracle.model().get(lease.key, oracle.revision())) {
        return cluster_.fail("lease " + std::to_string(lease.id) + " of " + std::to_string(lease.ttl_s) +
                             " s did not take its key along, long after its end");
      }
      if (!lease.revoked) probe("a lease ended by time");
    }
    for (Machine* machine : present()) {
      const std::vector<NodeId>& voters = machine->node().driver().conf_state().voters;
      for (const auto& [id, member] : machine->node().membership().members()) {
        const bool votes = std::ranges::count(voters, id) > 0;
        if (member.is_learner != votes) continue;
        return cluster_.fail("member " + std::to_string(machine->number()) + " lists as a " +
                             (member.is_learner ? "learner one that votes" : "voter one that has no vote"));
      }
      const size_t left = machine->node().leases().lessor().size();
      if (left > 0)
        return cluster_.fail("member " + std::to_string(machine->number()) + " still has " + std::to_string(left) + " leases");
    }
  }

  const Plan plan_;
  Cluster cluster_;
  Nemesis nemesis_;
  History history_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<Client> look_;
  std::vector<std::unique_ptr<WatchClient>> watchers_;
  std::map<uint64_t, NodeId> leader_of_;
  std::map<uint64_t, uint64_t> state_at_;
  int64_t final_ = 0;
};

}  // namespace

Plan plan_of(uint64_t seed) {
  base::Rng rng(seed * 0x9e3779b97f4a7c15 + 1);
  Plan plan;
  plan.seed = seed;
  constexpr size_t kMembers[] = {3, 3, 3, 4, 5, 5, 1, 7};
  plan.members = kMembers[rng.below(std::size(kMembers))];
  if (rng.one_in(3)) plan.faults = static_cast<uint32_t>(rng.next()) & kAllFaults;
  plan.pace = std::chrono::milliseconds(30 + rng.below(300));
  return plan;
}

std::string describe(const Plan& plan) {
  return "seed " + std::to_string(plan.seed) + ", " + std::to_string(plan.members) + " members, faults " +
         std::to_string(plan.faults) + ", " +
         std::to_string(std::chrono::duration_cast<std::chrono::seconds>(plan.storm).count()) + " s, " +
         std::to_string(plan.clients) + " clients, " + std::to_string(plan.watchers) + " watchers";
}

Verdict run(const Plan& plan) { return Story(plan).tell(); }

Plan shrink(const Plan& plan) {
  Plan best = plan;
  const auto still_fails = [](const Plan& candidate) { return !run(candidate).failure.empty(); };
  for (uint32_t bit = 1; bit <= kAllFaults; bit <<= 1) {
    Plan candidate = best;
    candidate.faults &= ~bit;
    if (candidate.faults != best.faults && still_fails(candidate)) best = candidate;
  }
  for (const auto seconds : {5s, 10s, 20s}) {
    Plan candidate = best;
    candidate.storm = seconds;
    if (candidate.storm >= best.storm || !still_fails(candidate)) continue;
    best = candidate;
    break;
  }
  return best;
}

}  // namespace sim
