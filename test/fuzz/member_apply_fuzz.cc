// Entries of the log on two members: keys on leases, leases, alarms, members and their attributes, versions, and bytes as they
// come. Whatever an entry holds, both have the same rows, leases, alarms and members after it, or stop with the same words. One
// member lives through it, commits early and holds the leases' deadlines; the other, at another time of its clock, is started
// again from its rows in between.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/stop_hook.h"
#include "etcdserver.pb.h"
#include "io/mem_disk.h"
#include "lease/lessor.h"
#include "membership.pb.h"
#include "raft.pb.h"
#include "rpc.pb.h"
#include "server/applier.h"
#include "server/data_dir.h"
#include "server/leases.h"
#include "server/metrics.h"
#include "server/node.h"
#include "server/watchers.h"
#include "sim/sim_loop.h"
#include "storage/keyspace.h"
#include "storage/memory_engine.h"
#include "wire/codec.h"

namespace {

using base::Index;
using base::NodeId;
using base::Term;

constexpr int kEntriesMax = 100;
constexpr int kEventsPerEntryMax = 3;  // of the first member's loop

void require(bool condition) {
  if (!condition) std::abort();
}

struct Stopped {
  std::string text;
};

// Entries that no version can apply stop every member, as they stop etcd's. A broken invariant is none of those.
[[noreturn]] void stop(const std::string& text) {
  if (text.starts_with("invariant broken")) {
    fprintf(stderr, "%s\n", text.c_str());
    std::abort();
  }
  throw Stopped{text};
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  uint8_t byte() { return empty() ? 0 : *at_++; }
  std::string raw(size_t size_max = 64) {
    const size_t wanted = byte() % (size_max + 1);
    const size_t size = std::min(wanted, static_cast<size_t>(end_ - at_));
    std::string bytes(reinterpret_cast<const char*>(at_), size);
    at_ += size;
    return bytes;
  }
  int64_t number() {
    const uint8_t b = byte();
    if (b < 240) return b % 8;
    return b < 248 ? INT64_MAX - b % 8 : INT64_MIN + b % 8;
  }
  uint64_t member() { return byte() % 6; }

 private:
  const uint8_t* at_;
  const uint8_t* const end_;
};

// The engine outlives the member that is started again.
class SharedEngine final : public storage::Engine {
 public:
  explicit SharedEngine(std::shared_ptr<storage::MemoryEngine> to) : to_(std::move(to)) {}
  base::Result<bool> get(std::string_view key, std::string* value, const storage::EngineSnapshot* at) const override {
    return to_->get(key, value, at);
  }
  std::unique_ptr<storage::EngineIterator> iterate(const storage::EngineSnapshot* at) const override {
    return to_->iterate(at);
  }
  std::shared_ptr<const storage::EngineSnapshot> snapshot() const override { return to_->snapshot(); }
  base::Status write(const storage::Changes& changes, bool sync) override { return to_->write(changes, sync); }
  uint64_t size_bytes() const override { return to_->size_bytes(); }
  uint64_t range_bytes(std::string_view begin, std::string_view limit) const override { return to_->range_bytes(begin, limit); }
  base::Status compact(std::string_view begin, std::string_view limit) override { return to_->compact(begin, limit); }

 private:
  const std::shared_ptr<storage::MemoryEngine> to_;
};

struct Entry {
  bool is_conf_change = false;
  std::shared_ptr<const std::string> data;
};

class Member {
 public:
  Member(bool lives_on, std::chrono::seconds clock)
      : lives_on_(lives_on),
        engine_(std::make_shared<storage::MemoryEngine>()),
        config_(server::Config::defaults()),
        metrics_(config_) {
    clock_.set(base::Instant(clock));
    config_.quota_backend_bytes = -1;
    config_.feature_gates = server::FeatureGates();
    open();
    if (lives_on_) node_->leases().on_leading(Term(1));
  }

  // The words it stopped with; empty: it goes on.
  std::string apply(Index index, const Entry& entry) {
    try {
      if (entry.is_conf_change)
        (void)node_->applier().apply_conf_change(index, Term(1), entry.data);
      else
        node_->applier().apply(index, Term(1), entry.data);
      if (lives_on_) {
        node_->after_turn();
        for (int i = 0; i < kEventsPerEntryMax && loop_->step(); ++i) continue;
      }
      return {};
    } catch (const Stopped& stopped) {
      return stopped.text.empty() ? "stopped" : stopped.text;
    }
  }

  void restart() {
    require(node_->backend().commit_now().ok());
    close();
    open();
  }

  std::string state() const {
    std::string all = std::to_string(node_->store().current_revision()) + "\n";
    for (const storage::Bucket bucket : storage::kBuckets) {
      if (bucket == storage::Bucket::kMeta) continue;  // how far it is durable: each member's own
      all += storage::bucket_name(bucket);
      const base::Status read =
          storage::for_each_row(node_->backend(), bucket, [&all](std::string_view key, std::string_view value) {
            ((((all += ' ') += base::hex_bytes(key)) += '=') += base::hex_bytes(value)) += '\n';
          });
      require(read.ok());
    }
    return all + held();
  }

 private:
  // What it keeps in memory of its rows.
  std::string held() const {
    std::string all;
    std::vector<std::pair<int64_t, int64_t>> leases;
    for (const lease::Info& info : node_->leases().lessor().unsorted(clock_.now()))
      leases.emplace_back(info.id.value(), info.granted_ttl_s);
    std::sort(leases.begin(), leases.end());
    for (const auto& [id, ttl] : leases) {
      all += "lease " + std::to_string(id) + " " + std::to_string(ttl);
      const base::Result<std::vector<std::string>> keys = node_->leases().lessor().keys(base::LeaseId(id));
      require(keys.ok());
      for (const std::string& key : *keys) all += " " + base::hex_bytes(key);
      all += "\n";
    }
    for (const server::Alarm& alarm : node_->alarms().all()) {
      all += "alarm " + std::to_string(alarm.member.value()) + " " + std::to_string(static_cast<int>(alarm.type)) + "\n";
    }
    for (const auto& [id, member] : node_->membership().members()) all += server::go_text(member) + "\n";
    for (const NodeId id : node_->membership().removed()) all += "removed " + std::to_string(id.value()) + "\n";
    return all + node_->cluster_version() + "\n" + node_->membership().downgrade_target() + "\n";
  }

  void open() {
    loop_ = std::make_unique<sim::SimLoop>(clock_);
    disk_worker_ = std::make_unique<sim::SimWorker>(*loop_, rng_, std::chrono::milliseconds(1));
    helper_ = std::make_unique<sim::SimWorker>(*loop_, rng_, std::chrono::milliseconds(1));
    server::DataDir data;
    data.self = NodeId(1);
    data.cluster_id = 7;
    data.engine = std::make_unique<SharedEngine>(engine_);
    auto node =
        server::Node::open(config_, server::Environment{*loop_, *disk_worker_, *helper_, disk_, 1, metrics_}, std::move(data));
    require(node.ok());
    node_ = std::move(*node);
  }
  void close() {
    loop_->clear();
    node_.reset();
  }

  const bool lives_on_;
  base::Rng rng_{1};
  io::MemDisk disk_;
  const std::shared_ptr<storage::MemoryEngine> engine_;
  server::Config config_;
  server::Metrics metrics_;
  sim::SimClock clock_;
  std::unique_ptr<sim::SimLoop> loop_;
  std::unique_ptr<sim::SimWorker> disk_worker_, helper_;
  std::unique_ptr<server::Node> node_;
};

Entry request(wire::Op op, const std::string& body) {
  wire::RequestHeader header;
  header.id = 5;
  return {false, std::make_shared<const std::string>(wire::encode_internal_request(header, op, body))};
}
Entry request(wire::Op op, const google::protobuf::Message& body) { return request(op, body.SerializeAsString()); }

std::string some_version(Input& in) {
  switch (in.byte() % 8) {
    case 0:
      return "3.5.0";
    case 1:
      return "3.6.0";
    case 2:
      return "3.7.0";
    case 3:
      return "3.8.0";
    default:
      return in.raw(8);
  }
}

Entry conf_change(Input& in) {
  const uint8_t how = in.byte();
  raftpb::ConfChange change;
  change.set_type(static_cast<raftpb::ConfChangeType>(how % 4));
  change.set_node_id(in.member());
  server::Member member;
  member.id = NodeId(how & 128 ? in.member() : change.node_id());
  member.is_learner = how & 4;
  for (int count = how >> 3 & 3; count > 0; --count)
    member.peer_urls.push_back("http://" + std::string(1, static_cast<char>('a' + in.byte() % 8)) + ":1");
  if (how & 32) member.name = in.raw(8);
  std::string context = server::member_json(member);
  if (how & 64) context.insert(context.size() - 1, in.byte() & 1 ? ",\"isPromote\":true" : in.raw(20));
  change.set_context(context);
  return {true, std::make_shared<const std::string>(change.SerializeAsString())};
}

Entry next_entry(Input& in) {
  switch (const uint8_t what = in.byte(); what % 16) {
    case 0:
    case 1: {
      etcdserverpb::LeaseGrantRequest grant;
      grant.set_id(in.number());
      grant.set_ttl(in.number());
      return request(wire::Op::kLeaseGrant, grant);
    }
    case 2: {
      etcdserverpb::LeaseRevokeRequest revoke;
      revoke.set_id(in.number());
      return request(wire::Op::kLeaseRevoke, revoke);
    }
    case 3: {
      etcdserverpb::LeaseCheckpointRequest checkpoint;
      for (int count = what >> 6; count >= 0; --count) {
        auto* one = checkpoint.add_checkpoints();
        one->set_id(in.number());
        one->set_remaining_ttl(in.number());
      }
      return request(wire::Op::kLeaseCheckpoint, checkpoint);
    }
    case 4:
    case 5:
    case 6: {
      etcdserverpb::PutRequest put;
      put.set_key(std::string(1, static_cast<char>('a' + in.byte() % 4)));
      put.set_value(in.raw(8));
      put.set_lease(in.number());
      put.set_ignore_lease(what & 16);
      put.set_ignore_value(what & 32);
      return request(wire::Op::kPut, put);
    }
    case 7: {
      etcdserverpb::DeleteRangeRequest remove;
      remove.set_key(std::string(1, static_cast<char>('a' + in.byte() % 4)));
      if (what & 16) remove.set_range_end(std::string(1, '\0'));
      return request(wire::Op::kDeleteRange, remove);
    }
    case 8: {
      etcdserverpb::AlarmRequest alarm;
      alarm.set_action(static_cast<etcdserverpb::AlarmRequest::AlarmAction>(in.byte() % 4));
      alarm.set_memberid(in.member());
      alarm.set_alarm(static_cast<etcdserverpb::AlarmType>(in.byte() % 4));
      return request(wire::Op::kAlarm, alarm);
    }
    case 9: {
      membershippb::ClusterMemberAttrSetRequest attributes;
      attributes.set_member_id(in.member());
      attributes.mutable_member_attributes()->set_name(in.raw(8));
      for (int count = what >> 6; count > 0; --count) attributes.mutable_member_attributes()->add_client_urls(in.raw(12));
      return request(wire::Op::kClusterMemberAttrSet, attributes);
    }
    case 10: {
      membershippb::ClusterVersionSetRequest version;
      version.set_ver(some_version(in));
      return request(wire::Op::kClusterVersionSet, version);
    }
    case 11: {
      membershippb::DowngradeInfoSetRequest downgrade;
      downgrade.set_enabled(what & 16);
      downgrade.set_ver(some_version(in));
      return request(wire::Op::kDowngradeInfoSet, downgrade);
    }
    case 12: {
      etcdserverpb::Request old;
      old.set_method("PUT");
      old.set_path(what & 16 ? "/0/version" : "/0/members/" + std::to_string(in.member()) + "/attributes");
      old.set_val(what & 16   ? some_version(in)
                  : what & 32 ? in.raw()
                              : R"({"name":")" + in.raw(6) + R"(","clientURLs":["http://a"]})");
      return {false, std::make_shared<const std::string>(old.SerializeAsString())};
    }
    case 13: {
      constexpr wire::Op kOps[] = {
          wire::Op::kPut,         wire::Op::kTxn,   wire::Op::kDeleteRange,     wire::Op::kLeaseGrant,
          wire::Op::kLeaseRevoke, wire::Op::kAlarm, wire::Op::kLeaseCheckpoint, wire::Op::kClusterMemberAttrSet};
      const wire::Op op = kOps[what / 16 % std::size(kOps)];
      return request(op, in.raw());
    }
    case 14:
      return {(what & 16) != 0, std::make_shared<const std::string>(in.raw())};
    default:
      return conf_change(in);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::set_stop_hook_for_test(stop);
  base::log::set_level(base::log::Level::kFatal);
  Input in(data, size);
  Member lives(true, std::chrono::seconds(100)), restarted(false, std::chrono::seconds(70'000));
  for (int i = 1; i <= kEntriesMax && !in.empty(); ++i) {
    if (in.byte() % 8 == 0) restarted.restart();
    const Entry entry = next_entry(in);
    const std::string a = lives.apply(Index(static_cast<uint64_t>(i)), entry);
    const std::string b = restarted.apply(Index(static_cast<uint64_t>(i)), entry);
    require(a == b);
    if (!a.empty()) return 0;
  }
  require(lives.state() == restarted.state());
  restarted.restart();
  require(lives.state() == restarted.state());
  return 0;
}
