// A member in virtual time on a disk that forgets what was not synced: power is cut at random instants under load, and what
// was acknowledged must be there afterwards, at its revision, with the same hash.
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/rng.h"
#include "io/mem_disk.h"
#include "mvcc/request.h"
#include "rpc.pb.h"
#include "server/data_dir.h"
#include "server/metrics.h"
#include "server/node.h"
#include "sim/sim_loop.h"

namespace {

using base::Duration;
using base::Status;
using namespace std::chrono_literals;

constexpr int kCutsPerSeed = 6;
constexpr int kInFlightMax = 20;
constexpr int kKeys = 30;

server::Config small_config() {
  server::Config config = server::Config::defaults();
  config.name = "sim";
  config.data_dir = "/data";
  config.initial_cluster = "sim=http://localhost:2380";
  config.snapshot_count = 60;  // so that snapshots and segment releases happen within a test
  config.snapshot_catchup_entries = 20;
  return config;
}

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

class Machine {
 public:
  explicit Machine(uint64_t seed) : rng_(seed), config_(small_config()) {}

  // From the disk as it is to a member that serves; false with a reason: it refused to start.
  Status boot() {
    loop_ = std::make_unique<sim::SimLoop>(clock_);
    disk_worker_ = std::make_unique<sim::SimWorker>(*loop_, rng_, 2ms);
    helper_worker_ = std::make_unique<sim::SimWorker>(*loop_, rng_, 30ms);
    metrics_ = std::make_unique<server::Metrics>(config_);
    base::Result<server::DataDir> data = server::open_data_dir(config_, disk_, server::AskPeer());
    if (!data.ok()) return data.status();
    auto node = server::Node::open(
        config_, server::Environment{*loop_, *disk_worker_, *helper_worker_, disk_, rng_.next(), *metrics_}, std::move(*data));
    if (!node.ok()) return node.status();
    node_ = std::move(*node);
    bool ready = false;
    node_->start([&ready] { ready = true; });
    for (int i = 0; i < 100000 && !ready; ++i) REQUIRE(loop_->step());
    REQUIRE(ready);
    return {};
  }

  // Load until `events` have happened, or the power fails in the middle of a write.
  void load(History& history, uint64_t events) {
    int in_flight = 0;
    if (rng_.one_in(2)) disk_.lose_power_after(rng_.below(200));
    for (uint64_t i = 0; i < events && !disk_.lost_power(); ++i) {
      if (in_flight < kInFlightMax && rng_.below(3) > 0) put(history, in_flight);
      if (rng_.one_in(200) && node_->store().current_revision() > 5) compact(history);
      if (!loop_->step()) break;
    }
  }

  void power_cut() {
    loop_->clear();
    node_.reset();
    disk_.power_cut(rng_);
  }

  server::Node& node() { return *node_; }
  base::Rng& rng() { return rng_; }

  std::string value_at(const std::string& key, int64_t revision) {
    wire::RangeRequest request;
    request.key = key;
    request.revision = revision;
    const std::string bytes = wire::encode(request);
    auto reply = mvcc::execute_read(node_->store(), wire::Op::kRange, bytes);
    if (!reply.ok()) return "error: " + std::string(reply.status().text());
    etcdserverpb::RangeResponse response;
    REQUIRE(response.ParseFromString(reply->fields));
    return response.kvs_size() == 0 ? "absent" : response.kvs(0).value();
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

  base::Rng rng_;
  io::MemDisk disk_;
  const server::Config config_;
  sim::SimClock clock_;
  std::unique_ptr<sim::SimLoop> loop_;
  std::unique_ptr<sim::SimWorker> disk_worker_, helper_worker_;
  std::unique_ptr<server::Metrics> metrics_;
  std::unique_ptr<server::Node> node_;
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
