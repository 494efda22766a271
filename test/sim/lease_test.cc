// Leases of a member in virtual time, whose power is cut at random instants: a lease never ends before what its holder was
// promised, never later than a bound after it, takes its key along, and does not come back.
#include <doctest/doctest.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <set>

#include "base/log.h"
#include "server/leases.h"
#include "sim/sim_member.h"

namespace {

using base::Duration;
using base::Instant;
using base::LeaseId;
using namespace std::chrono_literals;

constexpr int kCutsPerSeed = 5;
constexpr int64_t kLeasesMax = 50;
// The look after ends, the log's sync and the apply of the revokes that come together.
constexpr Duration kLateMax = 200ms;

class CallbackWaiter final : public server::Waiter {
 public:
  explicit CallbackWaiter(std::function<void(bool)> done) : done_(std::move(done)) {}
  void done(server::Outcome outcome) override { done_(outcome.status.ok()); }

 private:
  std::function<void(bool)> done_;
};

// Every second seed has leases long enough for checkpoints, and the features that make them.
server::Config config_of(uint64_t seed) {
  server::Config config = sim::small_config();
  if (seed % 2 == 0) REQUIRE(config.feature_gates.set("LeaseCheckpoint=true,LeaseCheckpointPersist=true").ok());
  return config;
}

class Holder final : public sim::SimMember {
 public:
  explicit Holder(uint64_t seed)
      : SimMember(config_of(seed), seed),
        checkpoints_(seed % 2 == 0),
        ttl_min_(checkpoints_ ? 310 : 2),
        ttl_max_(checkpoints_ ? 1000 : 20) {}

  void run(Duration span) {
    if (rng_.one_in(2)) disk_.lose_power_after(rng_.below(300));
    const Instant end = now() + span;
    Instant next = now();
    until_power_fails([&] {
      while (now() < end && !disk_.lost_power()) {
        if (now() >= next) {
          act();
          next = now() + Duration(static_cast<int64_t>(rng_.below(static_cast<uint64_t>(ttl_max_ * 50'000'000))));
        }
        REQUIRE(loop_->step());
        if (!disk_.lost_power()) check();
      }
    });
  }

  // Until the last lease has ended.
  void run_out() {
    while (!leases_.empty()) {
      REQUIRE(loop_->step());
      check();
    }
  }

  // Off for a while, then back with the time of every lease begun again.
  void restart() {
    power_cut();
    clock_.set(now() + Duration(static_cast<int64_t>(rng_.below(static_cast<uint64_t>(ttl_max_ * 2'000'000'000)))));
    const Instant began = now();
    const base::Status booted = boot();
    REQUIRE_MESSAGE(booted.ok(), booted.to_string());
    for (auto& [id, lease] : leases_) {
      if (!exists(id)) continue;  // its end was in the log already
      // A checkpoint may have left less than the whole time, but never less than was promised.
      if (!checkpoints_) lease.not_before = began + std::chrono::seconds(lease.ttl_s);
      lease.not_after = now() + std::chrono::milliseconds(config_.election_ms) + std::chrono::seconds(lease.ttl_s) + kLateMax;
    }
    for (const int64_t id : ended_) CHECK_FALSE(exists(id));
    check();
  }

  size_t ended() const { return ended_.size(); }
  size_t renewed() const { return renewed_; }

 private:
  struct Lease {
    int64_t ttl_s;
    Instant not_before, not_after;
  };

  Instant now() const { return clock_.now(); }
  bool exists(int64_t id) { return node_->leases().lessor().exists(LeaseId(id)); }
  static std::string key(int64_t id) { return "key" + std::to_string(id); }

  void act() {
    if (static_cast<int64_t>(leases_.size()) < kLeasesMax && rng_.below(3) == 0) return grant();
    if (leases_.empty()) return;
    renew(std::next(leases_.begin(), static_cast<int64_t>(rng_.below(leases_.size())))->first);
  }

  void grant() {
    const int64_t id = ++last_id_;
    const auto ttl_s = ttl_min_ + static_cast<int64_t>(rng_.below(static_cast<uint64_t>(ttl_max_ - ttl_min_)));
    etcdserverpb::LeaseGrantRequest request;
    request.set_id(id);
    request.set_ttl(ttl_s);
    const Instant asked = now();
    node_->propose(wire::Op::kLeaseGrant, request.SerializeAsString(),
                   std::make_unique<CallbackWaiter>([=, this](bool granted) {
                     if (!granted) return;
                     const auto ttl = std::chrono::seconds(ttl_s);
                     leases_[id] = {ttl_s, asked + ttl, now() + ttl + kLateMax};
                   }));
    wire::PutRequest put;
    const std::string name = key(id);
    put.key = name;
    put.value = "v";
    put.lease = id;
    node_->propose(wire::Op::kPut, wire::encode(put), std::make_unique<CallbackWaiter>([=, this](bool is_there) {
                     if (is_there) with_key_.insert(id);
                   }));
  }

  void renew(int64_t id) {
    const Instant asked = now();
    node_->leases().renew(LeaseId(id), [=, this](const base::Result<int64_t>& ttl_s) {
      const auto lease = leases_.find(id);
      if (!ttl_s.ok() || lease == leases_.end()) return;
      CHECK(*ttl_s == lease->second.ttl_s);
      ++renewed_;
      lease->second.not_before = std::max(lease->second.not_before, asked + std::chrono::seconds(*ttl_s));
      lease->second.not_after = now() + std::chrono::seconds(*ttl_s) + kLateMax;
    });
  }

  void check() {
    for (auto it = leases_.begin(); it != leases_.end();) {
      const auto& [id, lease] = *it;
      CAPTURE(id);
      if (exists(id)) {
        REQUIRE(now() <= lease.not_after);
        ++it;
        continue;
      }
      CHECK(now() >= lease.not_before);
      if (with_key_.contains(id)) CHECK(value_at(key(id), 0) == "absent");
      ended_.insert(id);
      it = leases_.erase(it);
    }
    if (leases_.empty()) return;
    const int64_t some = std::next(leases_.begin(), static_cast<int64_t>(rng_.below(leases_.size())))->first;
    if (with_key_.contains(some)) CHECK(value_at(key(some), 0) == "v");
  }

  const bool checkpoints_;
  const int64_t ttl_min_, ttl_max_;
  int64_t last_id_ = 0;
  std::map<int64_t, Lease> leases_;  // granted for certain, and there
  std::set<int64_t> with_key_, ended_;
  size_t renewed_ = 0;
};

size_t run_seed(uint64_t seed) {
  CAPTURE(seed);
  Holder member(seed);
  const base::Status booted = member.boot();
  REQUIRE_MESSAGE(booted.ok(), booted.to_string());
  const Duration longest = seed % 2 == 0 ? Duration(1500s) : Duration(60s);
  for (int cut = 0; cut < kCutsPerSeed; ++cut) {
    CAPTURE(cut);
    member.run(Duration(static_cast<int64_t>(member.rng().below(static_cast<uint64_t>(longest.count())))));
    member.restart();
  }
  member.run_out();
  CHECK(member.renewed() > 0);
  return member.ended();
}

}  // namespace

TEST_CASE("power cuts: no lease ends early, nor late beyond a bound, nor comes back") {
  base::log::set_level(base::log::Level::kError);
  const char* one = std::getenv("SEED");
  if (one != nullptr) return (void)run_seed(std::strtoull(one, nullptr, 10));
  const char* many = std::getenv("SEEDS");
  const uint64_t seeds = many != nullptr ? std::strtoull(many, nullptr, 10) : 40;
  size_t ended = 0;
  for (uint64_t seed = 1; seed <= seeds; ++seed) ended += run_seed(seed);
  CHECK(ended > 10 * seeds);
}
