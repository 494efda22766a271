// Every state a disk may be left in: one run of a member is cut off at each of its changes of the disk in turn, and from what
// is not synced there each allowed choice of pieces (sectors, sizes, names; any order, so any subset) makes a disk from which
// the member must start with all that was acknowledged. The run is the same each time: one thread, one seed.
//
// All of it takes minutes: STRIDE=1 makes it so; CUT=n looks at one cut alone. In between every STRIDE-th cut is taken.
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "io/disk.h"
#include "server/database_export.h"
#include "server/defragmenter.h"
#include "server/restore.h"
#include "sim/sim_member.h"

namespace {

using base::Status;

constexpr uint64_t kSeed = 11;
constexpr uint64_t kEvents = 1500;       // of the loop, in a run
constexpr uint64_t kStrideDefault = 41;  // a few seconds
constexpr uint64_t kRestoreStrideDefault = 5;
constexpr int kInFlightMax = 4;
constexpr int kKeys = 5;
constexpr size_t kAllSubsetsPieces = 5;  // up to so many pieces: each subset
constexpr size_t kChoicesMax = 24;       // else of each kind: prefixes, one alone, one missing

struct Acknowledged {
  std::map<int64_t, std::pair<std::string, std::string>> puts;  // revision -> key, value
  int64_t compacted = -1, compaction_proposed = -1;
};

class PutWaiter final : public server::Waiter {
 public:
  PutWaiter(Acknowledged& history, int& in_flight, std::string key, std::string value)
      : history_(history), in_flight_(in_flight), key_(std::move(key)), value_(std::move(value)) {}
  void done(server::Outcome outcome) override {
    --in_flight_;
    if (outcome.status.ok()) history_.puts.emplace(outcome.revision, std::pair(key_, value_));
  }

 private:
  Acknowledged& history_;
  int& in_flight_;
  const std::string key_, value_;
};

class CompactWaiter final : public server::Waiter {
 public:
  CompactWaiter(Acknowledged& history, int64_t revision) : history_(history), revision_(revision) {}
  void done(server::Outcome outcome) override {
    if (outcome.status.ok()) history_.compacted = std::max(history_.compacted, revision_);
  }

 private:
  Acknowledged& history_;
  const int64_t revision_;
};

server::Config config() {
  server::Config config = sim::small_config();
  config.snapshot_count = 10;  // of the log: often, with new segments and released ones
  config.snapshot_catchup_entries = 5;
  return config;
}

class Machine final : public sim::SimMember {
 public:
  explicit Machine(uint64_t seed, server::Config config = ::config()) : SimMember(std::move(config), seed) {}

  // Starts on an empty disk and works until its power fails in the middle of change number `cut`, or until the end.
  // False: the run has no such change.
  bool run(uint64_t cut, Acknowledged& history) {
    disk_.lose_power_after(cut);
    int in_flight = 0;
    bool served = false;
    until_power_fails([&] {
      served = boot_until_cut();
      if (!served) return;
      for (uint64_t i = 0; i < kEvents && !disk_.lost_power(); ++i) {
        if (in_flight < kInFlightMax && rng_.one_in(3)) put(history, in_flight);
        if (rng_.one_in(150) && node_->store().current_revision() > 3) compact(history);
        if (rng_.one_in(400)) node_->defragmenter().run([](const Status&) {});
        if (!loop_->step()) break;
      }
    });
    return !served || disk_.lost_power();
  }

  std::unique_ptr<io::MemDisk> take_disk() {
    loop_->clear();
    node_.reset();
    return disk_.clone();
  }

  // What `etcdctl snapshot save` would write of it.
  std::string saved() {
    server::DatabaseExport database(node_->backend().view());
    while (database.status().ok() && database.more()) database.step();
    REQUIRE(database.status().ok());
    return database.buffer() + database.digest();
  }

  // Starts on `disk`.
  Status boot_on(const io::MemDisk& disk) {
    if (node_ != nullptr) {
      loop_->clear();
      node_.reset();
    }
    disk_ = *disk.clone();
    return boot();
  }

 private:
  // False: the power failed before the member served.
  bool boot_until_cut() {
    using namespace std::chrono_literals;
    loop_ = std::make_unique<sim::SimLoop>(clock_);
    disk_worker_ = std::make_unique<sim::SimWorker>(*loop_, rng_, 2ms);
    helper_worker_ = std::make_unique<sim::SimWorker>(*loop_, rng_, 30ms);
    metrics_ = std::make_unique<server::Metrics>(config_);
    base::Result<server::DataDir> data = server::open_data_dir(config_, disk_, server::AskPeer());
    if (!data.ok()) return false;
    const server::Environment environment{*loop_, *disk_worker_, *helper_worker_, disk_, rng_.next(), *metrics_};
    auto node = server::Node::open(config_, environment, std::move(*data));
    if (!node.ok()) return false;
    node_ = std::move(*node);
    bool ready = false;
    node_->start([&ready] { ready = true; });
    while (!ready && !disk_.lost_power() && loop_->step()) {
    }
    return ready && !disk_.lost_power();
  }

  void put(Acknowledged& history, int& in_flight) {
    const std::string key = "key" + std::to_string(rng_.below(kKeys));
    std::string value = "v" + std::to_string(++proposed_);
    value.resize(value.size() + rng_.below(600), '.');
    wire::PutRequest request;
    request.key = key;
    request.value = value;
    ++in_flight;
    node_->propose(wire::Op::kPut, wire::encode(request), std::make_unique<PutWaiter>(history, in_flight, key, value));
  }

  void compact(Acknowledged& history) {
    wire::CompactionRequest request;
    request.revision = node_->store().current_revision() - 1;
    history.compaction_proposed = std::max(history.compaction_proposed, request.revision);
    node_->propose(wire::Op::kCompaction, wire::encode(request), std::make_unique<CompactWaiter>(history, request.revision));
  }

  uint64_t proposed_ = 0;
};

// Which pieces are kept, as a function of the piece's number.
using Choice = std::function<bool(size_t)>;

size_t count_pieces(const io::MemDisk& disk) {
  size_t pieces = 0;
  disk.clone()->power_cut([&pieces] { return ++pieces > 0; });
  return pieces;
}

std::vector<std::pair<std::string, Choice>> choices(size_t pieces) {
  std::vector<std::pair<std::string, Choice>> all;
  if (pieces <= kAllSubsetsPieces) {
    for (size_t subset = 0; subset < size_t{1} << pieces; ++subset) {
      all.emplace_back("subset " + std::to_string(subset),
                       [subset](size_t i) { return (subset >> std::min<size_t>(i, 63) & 1) != 0; });
    }
    return all;
  }
  all.emplace_back("none", [](size_t) { return false; });
  all.emplace_back("all", [](size_t) { return true; });
  const size_t step = pieces / kChoicesMax + 1;
  for (size_t n = 0; n < pieces; n += step) {
    all.emplace_back("the first " + std::to_string(n + 1), [n](size_t i) { return i <= n; });
    all.emplace_back("number " + std::to_string(n) + " alone", [n](size_t i) { return i == n; });
    all.emplace_back("all but number " + std::to_string(n), [n](size_t i) { return i != n; });
  }
  return all;
}

void check(Machine& machine, const Acknowledged& history) {
  const int64_t current = machine.node().store().current_revision();
  if (!history.puts.empty()) REQUIRE(current >= history.puts.rbegin()->first);
  const int64_t compacted = machine.node().store().compact_revision();
  REQUIRE(compacted >= history.compacted);
  REQUIRE(compacted <= history.compaction_proposed);
  for (const auto& [revision, pair] : history.puts) {
    if (revision >= compacted) REQUIRE(machine.value_at(pair.first, revision) == pair.second);
  }
}

uint64_t number_of(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

TEST_CASE("crash states: from each state that a cut may leave, a member starts with all that was acknowledged") {
  base::log::set_level(base::log::Level::kError);
  const uint64_t stride = number_of("STRIDE", kStrideDefault), only = number_of("CUT", UINT64_MAX);
  uint64_t cuts = 0, states = 0;
  for (uint64_t cut = only == UINT64_MAX ? 0 : only;; cut += stride) {
    CAPTURE(cut);
    Acknowledged history;
    Machine machine(kSeed);
    const bool was_cut = machine.run(cut, history);
    const std::unique_ptr<io::MemDisk> left = machine.take_disk();
    const size_t pieces = count_pieces(*left);
    CAPTURE(pieces);
    ++cuts;
    for (const auto& [name, choice] : choices(pieces)) {
      CAPTURE(name);
      const std::unique_ptr<io::MemDisk> disk = left->clone();
      size_t piece = 0;
      disk->power_cut([&piece, &choice = choice] { return choice(piece++); });
      const Status booted = machine.boot_on(*disk);
      REQUIRE_MESSAGE(booted.ok(), booted.to_string());
      check(machine, history);
      ++states;
    }
    if (!was_cut || only != UINT64_MAX) break;
  }
  CHECK(states > cuts);
  MESSAGE("looked at " << states << " states after " << cuts << " cuts");
}

namespace {

constexpr const char* kSavedPath = "/saved.db";

Status restore(io::MemDisk& disk) {
  server::RestoreOptions options;
  options.snapshot_path = kSavedPath;
  options.data_dir = "/target";
  options.wal_dir = "/target/member/wal";
  options.peer_urls = {"http://localhost:2380"};
  options.initial_cluster = "default=http://localhost:2380";
  options.initial_cluster_token = "etcd-cluster";
  return server::restore_snapshot(disk, options);
}

server::Config config_of_target() {
  server::Config target = config();
  target.name = "default";
  target.data_dir = "/target";
  target.initial_cluster = "default=http://localhost:2380";
  return target;
}

}  // namespace

TEST_CASE("crash states: a restore that is cut off leaves all of the target or none, and can be done again") {
  base::log::set_level(base::log::Level::kError);
  const uint64_t stride = number_of("STRIDE", kRestoreStrideDefault), only = number_of("CUT", UINT64_MAX);
  Acknowledged history;
  std::string saved;
  {
    Machine machine(kSeed);
    REQUIRE(machine.run(UINT64_MAX, history) == false);
    saved = machine.saved();
  }
  uint64_t cuts = 0, states = 0, whole = 0;
  for (uint64_t cut = only == UINT64_MAX ? 0 : only;; cut += stride) {
    CAPTURE(cut);
    io::MemDisk broken;
    REQUIRE(io::write_file_durably(broken, kSavedPath, saved).ok());
    broken.lose_power_after(cut);
    const bool done = restore(broken).ok();
    const std::unique_ptr<io::MemDisk> left = broken.clone();
    ++cuts;
    for (const auto& [name, choice] : choices(count_pieces(*left))) {
      CAPTURE(name);
      const std::unique_ptr<io::MemDisk> disk = left->clone();
      size_t piece = 0;
      disk->power_cut([&piece, &choice = choice] { return choice(piece++); });
      const base::Result<bool> there = io::exists(*disk, "/target/member");
      REQUIRE(there.ok());
      whole += *there;
      if (done) REQUIRE(*there);
      if (!*there) {
        const Status again = restore(*disk);
        REQUIRE_MESSAGE(again.ok(), again.to_string());
      }
      Machine machine(kSeed, config_of_target());
      const Status booted = machine.boot_on(*disk);
      REQUIRE_MESSAGE(booted.ok(), booted.to_string());
      check(machine, history);
      ++states;
    }
    if (done || only != UINT64_MAX) break;
  }
  CHECK(whole > 0);
  MESSAGE("looked at " << states << " states after " << cuts << " cuts; " << whole << " had a target");
}
