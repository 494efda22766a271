// A member in virtual time on a disk that forgets what was not synced: power is cut at random instants under load, and what
// was acknowledged must be there afterwards, at its revision, with the same hash.
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "sim/sim_member.h"

namespace {

using base::Status;

constexpr int kCutsPerSeed = 6;
constexpr int kInFlightMax = 20;
constexpr int kKeys = 30;

// What one run of the member did, as its clients saw it.
struct History {
  std::map<int64_t, std::pair<std::string, std::string>> acknowledged;  // revision -> key, value
  int64_t compacted = -1;                                               // acknowledged
  int64_t compaction_proposed = -1;                                     // may have happened
  uint64_t proposed = 0;
};

class PutWaiter final : public server::Waiter {
 public:
  PutWaiter(History& history, int& in_flight, std::string key, std::string value)
      : history_(history), in_flight_(in_flight), key_(std::move(key)), value_(std::move(value)) {}
  void done(server::Outcome outcome) override {
    --in_flight_;
    if (!outcome.status.ok()) return;
    const bool fresh = history_.acknowledged.emplace(outcome.revision, std::pair(key_, value_)).second;
    CHECK(fresh);
  }

 private:
  History& history_;
  int& in_flight_;
  const std::string key_, value_;
};

class CompactWaiter final : public server::Waiter {
 public:
  CompactWaiter(History& history, int64_t revision) : history_(history), revision_(revision) {}
  void done(server::Outcome outcome) override {
    if (outcome.status.ok()) history_.compacted = std::max(history_.compacted, revision_);
  }

 private:
  History& history_;
  const int64_t revision_;
};

class Machine final : public sim::SimMember {
 public:
  explicit Machine(uint64_t seed) : SimMember(sim::small_config(), seed) {}

  // Load until `events` have happened, or the power fails in the middle of a write.
  void load(History& history, uint64_t events) {
    int in_flight = 0;
    if (rng_.one_in(2)) disk_.lose_power_after(rng_.below(200));
    until_power_fails([&] {
      for (uint64_t i = 0; i < events && !disk_.lost_power(); ++i) {
        if (in_flight < kInFlightMax && rng_.below(3) > 0) put(history, in_flight);
        if (rng_.one_in(200) && node_->store().current_revision() > 5) compact(history);
        if (!loop_->step()) break;
      }
    });
  }

 private:
  void put(History& history, int& in_flight) {
    const std::string key = "key" + std::to_string(rng_.below(kKeys));
    std::string value = "v" + std::to_string(++history.proposed);
    value.resize(value.size() + rng_.below(400), '.');
    wire::PutRequest request;
    request.key = key;
    request.value = value;
    ++in_flight;
    node_->propose(wire::Op::kPut, wire::encode(request), std::make_unique<PutWaiter>(history, in_flight, key, value));
  }

  void compact(History& history) {
    wire::CompactionRequest request;
    request.revision = node_->store().current_revision() - static_cast<int64_t>(rng_.below(5));
    history.compaction_proposed = std::max(history.compaction_proposed, request.revision);
    node_->propose(wire::Op::kCompaction, wire::encode(request), std::make_unique<CompactWaiter>(history, request.revision));
  }
};

void run_seed(uint64_t seed) {
  CAPTURE(seed);
  Machine machine(seed);
  Status booted = machine.boot();
  REQUIRE_MESSAGE(booted.ok(), booted.to_string());
  History history;
  for (int cut = 0; cut < kCutsPerSeed; ++cut) {
    CAPTURE(cut);
    machine.load(history, 50 + machine.rng().below(1500));
    machine.power_cut();
    booted = machine.boot();
    REQUIRE_MESSAGE(booted.ok(), booted.to_string());
    const int64_t current = machine.node().store().current_revision();
    if (!history.acknowledged.empty()) CHECK(current >= history.acknowledged.rbegin()->first);
    const int64_t compacted = machine.node().store().compact_revision();
    CHECK(compacted >= history.compacted);
    CHECK(compacted <= history.compaction_proposed);
    for (const auto& [revision, pair] : history.acknowledged) {
      if (revision < compacted) continue;
      CHECK(machine.value_at(pair.first, revision) == pair.second);
    }
  }
}

}  // namespace

TEST_CASE("power cuts: nothing acknowledged is lost, no revision goes back") {
  base::log::set_level(base::log::Level::kError);
  const char* one = std::getenv("SEED");
  if (one != nullptr) return run_seed(std::strtoull(one, nullptr, 10));
  const char* many = std::getenv("SEEDS");
  const uint64_t seeds = many != nullptr ? std::strtoull(many, nullptr, 10) : 40;
  for (uint64_t seed = 1; seed <= seeds; ++seed) run_seed(seed);
}
