// A member alone in virtual time, on a disk in memory that forgets at a power cut what was not synced.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>

#include "base/rng.h"
#include "base/stop_hook.h"
#include "io/mem_disk.h"
#include "mvcc/request.h"
#include "rpc.pb.h"
#include "server/data_dir.h"
#include "server/metrics.h"
#include "server/node.h"
#include "sim/sim_loop.h"
#include "sim/world.h"

namespace sim {

inline server::Config small_config() {
  server::Config config = server::Config::defaults();
  config.name = "sim";
  config.data_dir = "/data";
  config.initial_cluster = "sim=http://localhost:2380";
  config.snapshot_count = 60;  // so that snapshots and segment releases happen within a test
  config.snapshot_catchup_entries = 20;
  return config;
}

class SimMember {
 public:
  SimMember(server::Config config, uint64_t seed) : rng_(seed), config_(std::move(config)) {}

  // From the disk as it is to a member that serves; false with a reason: it refused to start.
  base::Status boot() {
    using namespace std::chrono_literals;
    loop_ = std::make_unique<SimLoop>(clock_);
    disk_worker_ = std::make_unique<SimWorker>(*loop_, rng_, 2ms);
    helper_worker_ = std::make_unique<SimWorker>(*loop_, rng_, 30ms);
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

  void power_cut() {
    loop_->clear();
    node_.reset();
    disk_.power_cut(rng_);
  }

  server::Node& node() { return *node_; }
  base::Rng& rng() { return rng_; }

  // revision 0: now.
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

 protected:
  // LevelDB's own thread may be what uses up the power, and what reads next stops the member: no fault of it then.
  template <class Task>
  void until_power_fails(const Task& task) {
    struct Hook {
      Hook() { base::set_stop_hook_for_test([](const std::string& text) { throw MemberStopped(text); }); }
      ~Hook() { base::set_stop_hook_for_test(nullptr); }
    } hook;
    try {
      task();
    } catch (const MemberStopped& stopped) {
      REQUIRE_MESSAGE((disk_.lost_power() && !stopped.broken), stopped.what());
    }
  }

  base::Rng rng_;
  io::MemDisk disk_;
  const server::Config config_;
  SimClock clock_;
  std::unique_ptr<SimLoop> loop_;
  std::unique_ptr<SimWorker> disk_worker_, helper_worker_;
  std::unique_ptr<server::Metrics> metrics_;
  std::unique_ptr<server::Node> node_;
};

}  // namespace sim
