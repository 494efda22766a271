// A member at work: the log, the state machine and what stands between them, without any socket. Everything from outside comes
// through the constructor, so the simulator runs this class unchanged. Owner: core loop, all of it.
//
//   propose()  -> raft -> WAL (disk worker) -> commit -> Applier -> Waiter::done
//   linearizable_read() -> one ReadIndex round for all that wait -> Reader::read
//
// Source of behaviour: etcd server/etcdserver/server.go.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "io/disk.h"
#include "mvcc/store.h"
#include "server/alarms.h"
#include "server/config.h"
#include "server/data_dir.h"
#include "server/health.h"
#include "server/membership.h"
#include "server/read_queue.h"
#include "server/request_id.h"
#include "server/waiters.h"
#include "storage/backend.h"
#include "wire/codec.h"

namespace google::protobuf {
class Message;
}

namespace peer {
class Transport;
}

namespace server {

class Applier;
class AutoCompactor;
class CorruptionChecker;
class Defragmenter;
class LeaderGuard;
class Leases;
class Maintainer;
class MemberClient;
class RaftDriver;
class Reconfiguration;
class VersionMonitor;
class Watchers;
struct Metrics;

// The threads and the world a member runs in; all outlive it.
struct Environment {
  base::Loop& loop;      // the core loop
  base::Worker& disk;    // the log's appends and syncs
  base::Worker& helper;  // engine commits, compaction walks, hashes
  io::Disk& files;
  uint64_t seed;
  Metrics& metrics;
  MemberClient* members = nullptr;  // asks other members; null: there are none to ask
  peer::Transport* peers = nullptr;  // the way to other members; null: there are none
};

// etcd's flow limit: entries committed but not applied; twice that for revokes with feature PriorityRequest.
inline constexpr uint64_t kCommitApplyGapMax = 5000;
// Proposals that wait for their entry; over it, `too many requests`. Their bytes are bounded by kUncommittedBytesMax.
inline constexpr size_t kProposalsMax = 200'000;
inline constexpr size_t kReadsMax = 500'000;
// Proposals that wait for a leader; what comes on top is lost and times out.
inline constexpr size_t kHeldProposalsMax = 10'000;
inline constexpr size_t kHeldBytesMax = 64u << 20;
// A change of the membership waits as long as its client does, but no longer than this.
inline constexpr auto kConfChangeWaitMax = std::chrono::hours(1);

class Node {
 public:
  // Reads all state back into memory (store, members, alarms). REQUIRES: data from open_data_dir.
  static base::Result<std::unique_ptr<Node>> open(const Config& config, Environment environment, DataDir data);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Starts ticking and proposing; `on_ready` runs once, when this member has published itself and may serve clients.
  void start(std::function<void()> on_ready);
  // `removed` runs once, when this member was removed from the cluster and the others know: it must stop.
  void set_on_removed(std::function<void()> removed) { on_removed_ = std::move(removed); }
  // The log or another member says that we are out.
  void on_removed(base::Duration delay);
  // Ends every wait with `server stopped`, makes what is applied durable, then runs `done`. Nothing may be called after.
  void stop(std::function<void()> done);
  bool stopping() const { return stopping_; }

  // --- requests
  // --------------------------------------------------------------------------------------------------------------- Puts a
  // request into the log; `waiter` hears how applying it went, or why it will never know. `body`: a well-formed message of
  // `op`. Refusals (size, flow, stop) come at once through the waiter.
  void propose(wire::Op op, std::string_view body, std::unique_ptr<Waiter> waiter);
  // What only a leader may say, in its own term: it is neither handed to another leader nor kept until there is one. Who does
  // not lead, or hands over, is refused at once.
  void propose_in_term(wire::Op op, std::string_view body, std::unique_ptr<Waiter> waiter);
  // The same for a change of the membership; its id is filled in. `waiter` hears the membership's own words. Without a leader
  // it is kept until there is one; it ends when its client is gone.
  void propose_conf_change(raft::ConfChange change, std::unique_ptr<Waiter> waiter);
  // Runs `reader` when the state machine holds everything that was acknowledged before this call.
  void linearizable_read(std::unique_ptr<Reader> reader);
  void linearizable_barrier(std::function<void(const base::Status&)> done);
  base::Status serializable_read_check() const;

  // --- answers
  // ----------------------------------------------------------------------------------------------------------------
  wire::ResponseHeader header(int64_t revision) const;
  wire::ResponseHeader header() const { return header(store().current_revision()); }

  // --- state
  // --------------------------------------------------------------------------------------------------------------------
  const Config& config() const { return config_; }
  const Environment& environment() const { return environment_; }
  Metrics& metrics() const { return environment_.metrics; }
  std::string metrics_text();
  const Membership& membership() const { return membership_; }
  const Alarms& alarms() const { return alarms_; }
  Applier& applier() { return *applier_; }
  mvcc::Store& store() { return *store_; }
  const mvcc::Store& store() const { return *store_; }
  storage::Backend& backend() { return backend_; }
  const storage::Backend& backend() const { return backend_; }
  Maintainer& maintainer() { return *maintainer_; }
  Defragmenter& defragmenter() { return *defragmenter_; }
  Health& health() { return health_; }
  // Everything as of the last applied entry, with its index and term: what may leave this member. The view must be gone before
  // the node is.
  std::shared_ptr<const storage::View> whole_view();
  Watchers& watchers() { return *watchers_; }
  RaftDriver& driver() { return *driver_; }
  Reconfiguration& reconfiguration() { return *reconfiguration_; }
  Leases& leases() { return *leases_; }
  CorruptionChecker& corruption_checker() { return *corruption_checker_; }
  LeaderGuard& leader_guard() { return *leader_guard_; }
  size_t big_reads = 0;  // range_source counts itself here

  base::NodeId id() const { return membership_.self(); }
  base::NodeId leader() const;
  base::Term term() const;
  base::Index committed_index() const;
  base::Index applied_index() const;
  bool is_leader() const { return leader() == id(); }
  base::LeaseId new_lease_id();  // positive, never given out before
  bool is_learner() const { return membership_.is_learner(id()); }
  const std::string& cluster_version() const { return membership_.cluster_version(); }
  const std::string& storage_version() const { return storage_version_; }
  int64_t quota_bytes() const;     // as Status shows it; the default filled in
  std::string raft_status_json() const;  // as /debug/vars shows it
  uint64_t db_size_bytes() const;  // engine and what is not there yet
  uint64_t db_size_in_use_bytes() const;
  // True if `cost` more bytes would pass the quota (wire-and-disk 5.3).
  bool over_quota(int64_t cost) const;

  // A received snapshot takes the place of everything in the store: `path` is its database. Waits until nothing else is at
  // work on the store, goes through it on the helper thread, reads all state back, then runs `done`. Reads meanwhile see the
  // state of before; watchers lose nothing. Damage is fatal: the log already begins with this snapshot.
  void install_snapshot(base::Index index, base::Term term, std::string path, std::function<void()> done);
  bool installing() const { return installation_ != nullptr; }
  // The received database of this index is being installed, or about to be.
  bool installs(base::Index index) const;

  // --- for Applier and RaftDriver
  // ---------------------------------------------------------------------------------------------
  Membership& mutable_membership() { return membership_; }
  Alarms& mutable_alarms() { return alarms_; }
  void set_consistent_index(base::Index index, base::Term term);
  std::unique_ptr<Waiter> take_waiter(uint64_t request_id, base::Instant* deadline = nullptr) {
    return waiters_.take(request_id, deadline);
  }
  std::unique_ptr<Waiter> take_conf_change_waiter(uint64_t request_id) { return conf_change_waiters_.take(request_id); }
  base::Duration request_timeout() const;
  void on_empty_entry(base::Term term);
  void on_leader_change(base::NodeId from, base::NodeId to);
  void on_read_state(std::string_view context, base::Index index) { reads_.confirm(context, index); }
  void after_turn();
  // Something waits in the pending batch: it is committed in time.
  void schedule_commit();
  void adopt_cluster_version(const std::string& version);
  bool no_space_proposed() const { return no_space_proposed_; }
  void propose_no_space_alarm();
  // What members tell each other through the log.
  void propose_message(wire::Op op, const google::protobuf::Message& message, std::function<void(const base::Status&)> done);

 private:
  Node(const Config& config, Environment environment, DataDir& data);

  struct Installation;
  base::Status recover(DataDir& data);
  base::Status recover_applied();  // what the store has applied
  base::Status recover_state();
  void read_image();
  void go_on_installing();
  void install_step();
  void finish_installing();
  void tick();
  void expire_waits(base::Instant now);
  struct Held {
    uint64_t request_id;
    std::shared_ptr<const std::string> data;  // null: a change of the membership
    raft::ConfChange change;
    size_t bytes() const { return data != nullptr ? data->size() : change.context.size(); }
  };
  void hold(Held held);
  void propose_now(const raft::ConfChange& change);
  void propose_held();
  bool awaited(const Held& held) const;  // its time is not over, its client not gone
  void drop_first_held();
  void publish();
  void tell_if_ready();
  void put_consistent_index();
  bool has_uncommitted() const { return consistent_index_moved_ || backend_.pending_changes() > 0; }
  void begin_commit();
  base::Status timeout_reason(base::Instant deadline) const;
  // `put_in` gives it to Raft, or keeps it; not ok: refused.
  void propose(wire::Op op, std::string_view body, std::unique_ptr<Waiter> waiter,
               const std::function<base::Status(uint64_t id, std::shared_ptr<const std::string> data)>& put_in);

  const Config config_;
  Environment environment_;
  std::unique_ptr<storage::Engine> engine_;
  storage::Backend backend_;
  Membership membership_;
  Alarms alarms_;
  std::unique_ptr<Leases> leases_;
  std::unique_ptr<mvcc::Store> store_;
  RequestIds request_ids_;
  Waiters waiters_;
  Waiters conf_change_waiters_;
  std::deque<Held> held_;  // in order
  size_t held_bytes_ = 0;
  ReadQueue reads_;
  std::unique_ptr<Applier> applier_;
  std::unique_ptr<Maintainer> maintainer_;
  std::unique_ptr<Defragmenter> defragmenter_;
  Health health_;
  std::unique_ptr<Watchers> watchers_;
  std::unique_ptr<LeaderGuard> leader_guard_;
  std::unique_ptr<VersionMonitor> versions_;
  std::unique_ptr<AutoCompactor> auto_compactor_;
  std::unique_ptr<Reconfiguration> reconfiguration_;
  std::unique_ptr<CorruptionChecker> corruption_checker_;
  std::unique_ptr<RaftDriver> driver_;

  std::string storage_version_;
  base::Index consistent_index_;  // of what is in the pending batch
  base::Term consistent_term_;
  bool consistent_index_moved_ = false;
  base::TimerId commit_timer_ = base::kNoTimer;
  base::TimerId tick_timer_ = base::kNoTimer;
  base::Instant next_tick_{};
  base::Instant lost_leader_at_{}, leader_since_{};  // the last time each
  std::function<void()> on_ready_;
  bool publishing_ = false;
  bool published_ = false;
  bool no_space_proposed_ = false;
  bool stopping_ = false;
  std::function<void()> on_stopped_;
  std::function<void()> on_removed_;
  std::shared_ptr<Installation> installation_;  // null: none under way
};

}  // namespace server
