#include "server/node.h"

#include <google/protobuf/message.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/metrics.h"
#include "membership.pb.h"
#include "rpc.pb.h"
#include "server/applier.h"
#include "server/auto_compactor.h"
#include "server/conf_state_json.h"
#include "server/corruption_checker.h"
#include "server/defragmenter.h"
#include "server/errors.h"
#include "server/leader_guard.h"
#include "server/leases.h"
#include "server/maintainer.h"
#include "server/metrics.h"
#include "server/raft_driver.h"
#include "server/reconfiguration.h"
#include "server/snapshot_installer.h"
#include "server/version_monitor.h"
#include "server/watchers.h"
#include "storage/keyspace.h"

namespace server {
namespace {

using base::Index;
using base::LeaseId;
using base::NodeId;
using base::Status;
using base::Term;
using storage::Bucket;

// The row's key, LevelDB's sequence number and lengths, and its share of filter and index.
constexpr uint64_t kEngineBytesPerRow = 18 + 8 + 4 + 2;
constexpr uint64_t kSmallBucketsBytes = 4096;  // members, versions, the applied index: in use before the first key is
constexpr MinorVersion kStorageVersionSince{3, 6};
constexpr base::Duration kPublishRetry = std::chrono::seconds(1);

storage::BackendOptions backend_options(const Config& config) {
  storage::BackendOptions options;
  if (config.backend_batch_interval > base::Duration(0)) options.commit_interval = config.backend_batch_interval;
  if (config.backend_batch_limit > 0) options.commit_changes_max = static_cast<uint64_t>(config.backend_batch_limit);
  return options;
}

base::Result<uint64_t> read_meta_number(const storage::Backend& backend, std::string_view key) {
  base::Result<std::optional<std::string>> row = storage::read_row(backend, Bucket::kMeta, key);
  if (!row.ok()) return row.status();
  if (!row->has_value()) return uint64_t{0};
  if ((*row)->size() != 8) return Status(base::Code::kDataLoss, "the store's meta row " + std::string(key) + " is damaged");
  return base::load_be64((*row)->data());
}

// A waiter or reader made of a function, for what is not on the hot path.
class CallbackWaiter final : public Waiter {
 public:
  explicit CallbackWaiter(std::function<void(const Status&)> done) : done_(std::move(done)) {}
  void done(Outcome outcome) override { done_(outcome.status); }

 private:
  std::function<void(const Status&)> done_;
};

class CallbackReader final : public Reader {
 public:
  explicit CallbackReader(std::function<void(const Status&)> done) : done_(std::move(done)) {}
  void read(const Status& status) override { done_(status); }

 private:
  std::function<void(const Status&)> done_;
};

}  // namespace

Node::Node(const Config& config, Environment environment, DataDir& data)
    : config_(config),
      environment_(environment),
      engine_(std::move(data.engine)),
      backend_(*engine_, backend_options(config)),
      membership_(backend_, data.self, data.cluster_id, static_cast<size_t>(std::max<int64_t>(config.max_learners, 0))),
      alarms_(backend_),
      request_ids_(data.self, environment.loop.clock().unix_ns() / 1'000'000),
      reads_(request_ids_),
      applier_(std::make_unique<Applier>(*this)),
      leader_guard_(std::make_unique<LeaderGuard>(std::chrono::milliseconds(config.election_ms))),
      versions_(std::make_unique<VersionMonitor>(*this)),
      auto_compactor_(std::make_unique<AutoCompactor>(*this)),
      reconfiguration_(std::make_unique<Reconfiguration>(*this)),
      corruption_checker_(std::make_unique<CorruptionChecker>(*this)) {}

Node::~Node() = default;

base::Result<std::unique_ptr<Node>> Node::open(const Config& config, Environment environment, DataDir data) {
  std::unique_ptr<Node> node(new Node(config, environment, data));
  Status recovered = node->recover(data);
  if (!recovered.ok()) return recovered;
  return node;
}

Status Node::recover_applied() {
  base::Result<uint64_t> index = read_meta_number(backend_, "consistent_index");
  if (!index.ok()) return index.status();
  base::Result<uint64_t> term = read_meta_number(backend_, "term");
  if (!term.ok()) return term.status();
  base::Result<std::optional<std::string>> version = storage::read_row(backend_, Bucket::kMeta, "storageVersion");
  if (!version.ok()) return version.status();
  consistent_index_ = Index(*index);
  consistent_term_ = Term(*term);
  storage_version_ = version->value_or("");
  return {};
}

Status Node::recover(DataDir& data) {
  if (Status applied = recover_applied(); !applied.ok()) return applied;
  base::Result<std::optional<std::string>> conf_row = storage::read_row(backend_, Bucket::kMeta, "confState");
  if (!conf_row.ok()) return conf_row.status();
  raft::ConfState conf_state;
  if (conf_row->has_value()) {
    base::Result<raft::ConfState> parsed = parse_conf_state(**conf_row);
    if (!parsed.ok()) return parsed.status();
    conf_state = std::move(*parsed);
  } else {
    // A received database of an old version has no such row, and ours may not be durable yet.
    conf_state.voters = data.snapshot.conf_state.voters;
    conf_state.learners = data.snapshot.conf_state.learners;
  }
  base::log::info("restore consistentIndex", {{"index", consistent_index_.value()}});
  // Every member of etcd has it from its first start on, whether it knows users or not.
  const base::Result<std::optional<std::string>> auth_revision = storage::read_row(backend_, Bucket::kAuth, "authRevision");
  if (!auth_revision.ok()) return auth_revision.status();
  if (!auth_revision->has_value()) {
    std::string one;
    base::append_be64(one, 1);
    storage::put_row(backend_, Bucket::kAuth, "authRevision", one);
  }
  if (consistent_index_ < data.snapshot.index) {
    return Status(base::Code::kDataLoss,
                  "the store of " + config_.member_dir() + " ends at entry " + std::to_string(consistent_index_.value()) +
                      ", before the snapshot of the log at " + std::to_string(data.snapshot.index.value()) +
                      ": the store was damaged or replaced; restore the member from a snapshot, or remove "
                      "its data directory and let it join anew");
  }
  Status status = membership_.recover();
  if (status.ok()) status = alarms_.recover();
  if (!status.ok()) return status;
  if (!membership_.cluster_version().empty()) {
    base::log::info("enabled capabilities for version", {{"cluster-version", membership_.cluster_version()}});
  }
  mvcc::Options options;
  if (config_.compaction_batch_limit > 0) options.compaction_batch_rows = static_cast<size_t>(config_.compaction_batch_limit);
  leases_ = std::make_unique<Leases>(*this);
  status = leases_->recover();
  if (!status.ok()) return status;
  store_ = std::make_unique<mvcc::Store>(backend_, options);
  store_->set_leases(leases_.get());
  watchers_ = std::make_unique<Watchers>(environment_, config_, *store_);
  store_->set_observer(watchers_.get());
  status = store_->recover();
  if (!status.ok()) return status;
  base::log::info("kvstore restored", {{"current-rev", store_->current_revision()}});
  maintainer_ = std::make_unique<Maintainer>(*this);
  defragmenter_ = std::make_unique<Defragmenter>(*this);
  driver_ = std::make_unique<RaftDriver>(*this, config_, environment_, data);
  return driver_->start(data, consistent_index_, consistent_term_, conf_state);
}

void Node::start(std::function<void()> on_ready) {
  on_ready_ = std::move(on_ready);
  base::log::info(
      "starting etcd server",
      {{"local-member-id", base::hex(id().value())},
       {"local-server-version", std::string(kVersion)},
       {"cluster-id", base::hex(membership_.cluster_id())},
       {"cluster-version", membership_.cluster_version().empty() ? "to_be_decided" : membership_.cluster_version()}});
  environment_.metrics.set_server_id(base::hex(id().value()));
  if (!cluster_version().empty()) {
    environment_.metrics.set_cluster_version(cluster_version().substr(0, cluster_version().rfind('.')));
  }
  for (const Alarm& alarm : alarms_.all()) {
    environment_.metrics.set_alarm(base::hex(alarm.member.value()), std::string(alarm_name(alarm.type)), true);
  }
  next_tick_ = environment_.loop.clock().now();
  maintainer_->start();
  defragmenter_->run_at_start();
  versions_->start();
  auto_compactor_->start();
  corruption_checker_->start();
  driver_->start_peers();
  tick();
}

// One tick of raft's clock each heartbeat interval; missed ones are not made up for in a burst.
void Node::tick() {
  const base::Instant now = environment_.loop.clock().now();
  const base::Duration interval = std::chrono::milliseconds(config_.heartbeat_ms);
  next_tick_ = std::max(next_tick_ + interval, now);
  tick_timer_ = environment_.loop.at(next_tick_, [this] { tick(); });
  driver_->tick();
  expire_waits(now);
  leases_->tick(now);
  leader_guard_->tick(now, leader() != base::kNoNode);
}

base::Duration Node::request_timeout() const {
  return std::chrono::seconds(5) + 2 * std::chrono::milliseconds(config_.election_ms);
}

// etcd's texts by cause: nobody ever led, the leader was a new one, or whoever leads was out of reach.
Status Node::timeout_reason(base::Instant deadline) const {
  const base::Instant began = deadline - request_timeout();
  if (leader() == base::kNoNode && began >= lost_leader_at_) return errors::deadline_exceeded();
  if (began > leader_since_ - 2 * std::chrono::milliseconds(config_.election_ms) && began < leader_since_) {
    return errors::timeout_leader_fail();
  }
  if (leader() == base::kNoNode || environment_.peers == nullptr) return errors::timeout();
  const auto connected = [&](NodeId id) {
    const std::optional<base::Instant> since = environment_.peers->active_since(id);
    return id == this->id() || (since.has_value() && *since < began);
  };
  if (!is_leader()) return connected(leader()) ? errors::timeout() : errors::timeout_connection_lost();
  const auto& members = membership_.members();
  const auto count = static_cast<size_t>(
      std::count_if(members.begin(), members.end(), [&](const auto& member) { return connected(member.first); }));
  return count > members.size() / 2 ? errors::timeout() : errors::timeout_connection_lost();
}

void Node::expire_waits(base::Instant now) {
  waiters_.expire(now, [this](base::Instant deadline) {
    environment_.metrics.proposals_failed.add();
    return timeout_reason(deadline);
  });
  const auto reason = [](base::Instant) { return errors::timeout(); };
  conf_change_waiters_.expire(now, reason);
  conf_change_waiters_.drop_abandoned(errors::timeout());
  reads_.expire(now, errors::timeout());
  while (!held_.empty() && !awaited(held_.front())) drop_first_held();
}

void Node::propose(wire::Op op, std::string_view body, std::unique_ptr<Waiter> waiter) {
  propose(op, body, std::move(waiter), [this](uint64_t id, std::shared_ptr<const std::string> data) {
    if (!held_.empty() || !driver_->propose(data).ok()) hold({id, std::move(data), {}});
    return Status();
  });
}

void Node::propose_in_term(wire::Op op, std::string_view body, std::unique_ptr<Waiter> waiter) {
  propose(op, body, std::move(waiter), [this](uint64_t, std::shared_ptr<const std::string> data) {
    return driver_->leads() ? driver_->propose(std::move(data)) : errors::not_leader();
  });
}

void Node::propose(wire::Op op, std::string_view body, std::unique_ptr<Waiter> waiter,
                   const std::function<Status(uint64_t id, std::shared_ptr<const std::string> data)>& put_in) {
  const auto refuse = [&waiter](Status status) { waiter->done({std::move(status), 0, {}}); };
  if (stopping_) return refuse(errors::stopped());
  const bool priority = op == wire::Op::kLeaseRevoke && config_.feature_gates.enabled(Feature::kPriorityRequest);
  const uint64_t gap_max = priority ? 2 * kCommitApplyGapMax : kCommitApplyGapMax;
  if (driver_->committed() - driver_->applied() > gap_max || waiters_.size() >= kProposalsMax || driver_->full()) {
    return refuse(errors::too_many_requests());
  }
  wire::RequestHeader header;
  header.id = request_ids_.next();
  if (wire::internal_request_size(header, op, body.size()) > config_.max_request_bytes) {
    environment_.metrics.record_request(op_name(op), true, base::Duration(0));  // As etcd counts it.
    return refuse(errors::request_too_large());
  }
  auto data = std::make_shared<const std::string>(wire::encode_internal_request(header, op, body));
  if (Status status = put_in(header.id, std::move(data)); !status.ok()) return refuse(std::move(status));
  waiters_.add(header.id, std::move(waiter), environment_.loop.clock().now() + request_timeout());
  environment_.metrics.proposals_pending.set(static_cast<double>(waiters_.size()));
}

// No leader now, or leadership is being handed over: it is proposed when there is one, unless its time is over.
void Node::hold(Held held) {
  if (held_.size() >= kHeldProposalsMax || held_bytes_ + held.bytes() > kHeldBytesMax) return;  // It fails by its deadline.
  held_bytes_ += held.bytes();
  held_.push_back(std::move(held));
}

void Node::propose_held() {
  while (!held_.empty() && leader() != base::kNoNode) {
    const Held& held = held_.front();
    if (held.data == nullptr && !driver_->reaches_leader()) return;
    if (awaited(held)) {
      if (held.data == nullptr) {
        propose_now(held.change);
      } else if (!driver_->propose(held.data).ok()) {
        return;
      }
    }
    drop_first_held();
  }
}

bool Node::awaited(const Held& held) const {
  return held.data != nullptr ? waiters_.contains(held.request_id) : conf_change_waiters_.contains(held.request_id);
}

void Node::drop_first_held() {
  held_bytes_ -= held_.front().bytes();
  held_.pop_front();
}

void Node::propose_conf_change(raft::ConfChange change, std::unique_ptr<Waiter> waiter) {
  if (stopping_) return waiter->done({errors::stopped(), 0, {}});
  if (conf_change_waiters_.size() >= kProposalsMax) return waiter->done({errors::too_many_requests(), 0, {}});
  change.id = request_ids_.next();
  conf_change_waiters_.add(change.id, std::move(waiter), environment_.loop.clock().now() + kConfChangeWaitMax);
  if (held_.empty() && driver_->reaches_leader()) return propose_now(change);
  const uint64_t id = change.id;
  hold({id, nullptr, std::move(change)});
}

// Dropped, or replaced by an empty entry while another change is under way: the client waits its time out, as with etcd.
void Node::propose_now(const raft::ConfChange& change) {
  if (!driver_->propose_conf_change(change).ok()) environment_.metrics.proposals_failed.add();
}

void Node::on_removed(base::Duration delay) {
  if (stopping_ || on_removed_ == nullptr) return;
  environment_.loop.after(delay, [this, removed = std::exchange(on_removed_, nullptr)] {
    if (!stopping_) removed();
  });
}

void Node::linearizable_read(std::unique_ptr<Reader> reader) {
  if (stopping_) return reader->read(errors::stopped());
  if (reads_.size() >= kReadsMax) return reader->read(errors::too_many_requests());
  reads_.add(std::move(reader), environment_.loop.clock().now() + request_timeout());
  driver_->wake();
}

void Node::linearizable_barrier(std::function<void(const Status&)> done) {
  linearizable_read(std::make_unique<CallbackReader>(std::move(done)));
}

Status Node::serializable_read_check() const {
  if (stopping_) return errors::stopped();
  return {};
}

// At the end of each turn of the driver: reads that may run now, a round for those that wait, the engine's next commit.
void Node::after_turn() {
  // Alone, there is nobody to wait for before an election.
  if (leader() == base::kNoNode && !stopping_) driver_->campaign_if_alone();
  propose_held();
  reads_.run(driver_->applied());
  leases_->on_applied();
  std::string context = reads_.take_request(environment_.loop.clock().now());
  if (!context.empty()) driver_->request_read_index(std::move(context));
  schedule_commit();
  if (stopping_ && driver_->idle() && !backend_.commit_running() && !installing()) begin_commit();
}

wire::ResponseHeader Node::header(int64_t revision) const {
  return {membership_.cluster_id(), id().value(), revision, term().value()};
}

LeaseId Node::new_lease_id() {
  for (;;) {
    const auto id = static_cast<int64_t>(request_ids_.next() & INT64_MAX);
    if (id != 0) return LeaseId(id);
  }
}

NodeId Node::leader() const { return driver_->leader(); }
Term Node::term() const { return driver_->term(); }
Index Node::committed_index() const { return driver_->committed(); }
std::string Node::raft_status_json() const { return driver_->status_json(); }
Index Node::applied_index() const { return driver_->applied(); }

// --- the engine's commits ---------------------------------------------------------------------------------------------------

void Node::set_consistent_index(Index index, Term term) {
  consistent_index_ = index;
  consistent_term_ = term;
  consistent_index_moved_ = true;
}

void Node::schedule_commit() {
  if (backend_.commit_running() || !has_uncommitted() || installing()) return;
  const base::Instant now = environment_.loop.clock().now();
  if (backend_.commit_due(now) || backend_.must_wait() || maintainer_->awaits_commit()) return begin_commit();
  if (commit_timer_ != base::kNoTimer) return;
  const std::optional<base::Instant> deadline = backend_.commit_deadline(now);
  const base::Instant when = deadline.value_or(now + storage::BackendOptions().commit_interval);
  commit_timer_ = environment_.loop.at(when, [this] {
    commit_timer_ = base::kNoTimer;
    if (!backend_.commit_running() && has_uncommitted() && !installing()) begin_commit();
  });
}

void Node::put_consistent_index() {
  if (!consistent_index_moved_) return;
  std::string number;
  base::append_be64(number, consistent_index_.value());
  storage::put_row(backend_, Bucket::kMeta, "consistent_index", number);
  number.clear();
  base::append_be64(number, consistent_term_.value());
  storage::put_row(backend_, Bucket::kMeta, "term", number);
  consistent_index_moved_ = false;
}

std::shared_ptr<const storage::View> Node::whole_view() {
  put_consistent_index();
  schedule_commit();
  return backend_.view();
}

void Node::begin_commit() {
  FAILPOINT(commitBeforePreCommitHook);
  put_consistent_index();
  FAILPOINT(commitAfterPreCommitHook);
  std::shared_ptr<storage::Commit> commit = backend_.begin_commit(consistent_index_.value());
  if (commit == nullptr) {
    if (stopping_ && on_stopped_) std::exchange(on_stopped_, nullptr)();
    return;
  }
  struct Run {
    Status done;
    base::Duration took{0};
  };
  auto run = std::make_shared<Run>();
  const base::Clock& clock = environment_.loop.clock();
  environment_.helper.submit(
      [this, commit, run, &clock] {
        const base::Instant before = clock.now();
        run->done = backend_.run(*commit);
        run->took = clock.now() - before;
      },
      [this, commit, run, term = consistent_term_] {
        Metrics& metrics = environment_.metrics;
        metrics.backend_commit_duration.observe_ns(run->took.count());
        metrics.backend_commit_write_duration.observe_ns(run->took.count());
        metrics.backend_rebalance_duration.observe(0);
        metrics.backend_spill_duration.observe(0);
        if (!run->done.ok())
          base::fatal("store: the state of the disk is unknown after a failed write: " + run->done.to_string());
        const Index durable(commit->tag());
        backend_.finish_commit(commit, run->done);
        maintainer_->on_commit();
        if (installing()) return go_on_installing();
        driver_->on_durable(durable, term);
        if (stopping_)
          begin_commit();
        else
          schedule_commit();
      });
}

// --- a received snapshot ----------------------------------------------------------------------------------------------------

struct Node::Installation {
  Index index;
  Term term;
  std::string path;
  std::function<void()> done;
  bool held = false;  // nothing else works on the store in the background
  std::unique_ptr<SnapshotInstaller> installer;
  base::Result<bool> stepped = false;
  base::Result<std::unique_ptr<mvcc::StoreImage>> image = std::unique_ptr<mvcc::StoreImage>();
  base::Result<std::unique_ptr<lease::LessorImage>> leases = std::unique_ptr<lease::LessorImage>();

  void read(const storage::Engine& engine, int64_t ttl_seconds_min);
};

// What store and lessor keep in memory. Helper thread.
void Node::Installation::read(const storage::Engine& engine, int64_t ttl_seconds_min) {
  const storage::View view({}, engine, engine.snapshot());
  image = mvcc::StoreImage::read(view);
  leases = lease::LessorImage::read(view, ttl_seconds_min);
  if (!image.ok() || !leases.ok()) return;
  for (const auto& [key, lease] : (*image)->leased) (*leases)->attach(base::LeaseId(lease), key);
  (*image)->leased = {};
}

bool Node::installs(Index index) const { return installation_ != nullptr && installation_->index == index; }

void Node::install_snapshot(Index index, Term term, std::string path, std::function<void()> done) {
  VERIFY(!installing() && index > consistent_index_);
  base::log::info("applying snapshot", {{"current-snapshot-index", consistent_index_.value()},
                                        {"current-applied-index", consistent_index_.value()},
                                        {"incoming-leader-snapshot-index", index.value()},
                                        {"incoming-leader-snapshot-term", term.value()}});
  environment_.metrics.snapshot_apply_in_progress.set(1);
  installation_ = std::make_shared<Installation>();
  installation_->index = index;
  installation_->term = term;
  installation_->path = std::move(path);
  installation_->done = std::move(done);
  maintainer_->hold([this] {
    installation_->held = true;
    go_on_installing();
  });
}

// Once no commit and no task is at work, readers keep the state of this moment.
void Node::go_on_installing() {
  if (!installation_->held || backend_.commit_running() || installation_->installer != nullptr) return;
  backend_.freeze();
  installation_->installer =
      std::make_unique<SnapshotInstaller>(*engine_, environment_.files, installation_->path, installation_->index);
  install_step();
}

void Node::install_step() {
  // Shared: when the member stops meanwhile, the step ends without us.
  environment_.helper.submit(
      [installation = installation_] { installation->stepped = installation->installer->step(); },
      [this] {
        const base::Result<bool>& stepped = installation_->stepped;
        if (!stepped.ok()) {
          base::fatal("store: cannot take over the snapshot " + installation_->path + ": " + stepped.status().to_string());
        }
        *stepped ? read_image() : install_step();
      });
}

// For many keys this takes seconds.
void Node::read_image() {
  environment_.helper.submit([installation = installation_, engine = engine_.get(),
                              ttl_min = leases_->lessor().ttl_seconds_min()] { installation->read(*engine, ttl_min); },
                             [this] {
                               const Status read =
                                   installation_->image.ok() ? installation_->leases.status() : installation_->image.status();
                               if (!read.ok()) base::fatal("store: a received snapshot cannot be read: " + read.to_string());
                               finish_installing();
                             });
}

void Node::finish_installing() {
  const base::Instant before = environment_.loop.clock().now();
  const uint64_t rows = installation_->installer->rows_written();
  const int64_t revision_before = store_->current_revision();
  maintainer_->give_up();
  backend_.thaw();
  const Status recovered = recover_state();
  if (!recovered.ok()) base::fatal("store: a received snapshot cannot be read: " + recovered.to_string());
  VERIFY(consistent_index_ >= installation_->index);
  consistent_index_moved_ = false;
  watchers_->on_restart(revision_before);
  const std::function<void()> done = std::move(installation_->done);
  base::log::info("applied snapshot", {{"current-snapshot-index", installation_->index.value()},
                                       {"current-applied-index", consistent_index_.value()},
                                       {"incoming-leader-snapshot-index", installation_->index.value()},
                                       {"incoming-leader-snapshot-term", installation_->term.value()},
                                       {"rows-written", rows},
                                       base::log::Field::duration("pause", (environment_.loop.clock().now() - before).count()),
                                       {"current-rev", store_->current_revision()}});
  environment_.helper.submit(
      [&files = environment_.files, installation = installation_] {
        (void)files.unlink(installation->path);
        installation->image->reset();  // the index of before, which takes its time, and the leases
        installation->leases->reset();
      },
      [] {});
  installation_.reset();
  environment_.metrics.snapshot_apply_in_progress.set(0);
  done();
  if (publishing_ && !published_) {
    // What we proposed may be in the snapshot, and then nobody would ever tell.
    publishing_ = false;
    publish();
  }
  maintainer_->resume();
  schedule_commit();
}

// Everything that is kept in memory, from the rows of the snapshot.
Status Node::recover_state() {
  Status status = recover_applied();
  if (status.ok()) status = membership_.recover();
  if (status.ok()) status = alarms_.recover();
  if (!status.ok()) return status;
  installation_->leases = leases_->restart(std::move(*installation_->leases));
  installation_->image = store_->restart(std::move(*installation_->image));
  if (!membership_.cluster_version().empty()) {
    environment_.metrics.set_cluster_version(membership_.cluster_version().substr(0, membership_.cluster_version().rfind('.')));
    leases_->on_cluster_version();
    tell_if_ready();
  }
  return {};
}

// --- the cluster ------------------------------------------------------------------------------------------------------------

void Node::propose_message(wire::Op op, const google::protobuf::Message& message, std::function<void(const Status&)> done) {
  propose(op, message.SerializeAsString(), std::make_unique<CallbackWaiter>(std::move(done)));
}

void Node::on_leader_change(NodeId from, NodeId to) {
  Metrics& metrics = environment_.metrics;
  metrics.has_leader.set(to == base::kNoNode ? 0 : 1);
  metrics.is_leader.set(to == id() ? 1 : 0);
  if (to != base::kNoNode) {
    metrics.leader_changes_seen.add();
    leader_since_ = environment_.loop.clock().now();
  }
  if (from != base::kNoNode) lost_leader_at_ = environment_.loop.clock().now();
  if (to != id()) leases_->on_following();
  if (to == base::kNoNode) return;
  publish();
}

// The first entry of a leader's term is applied: what it decides for the cluster it may decide now. A refused change of the
// members leaves an empty entry, too.
void Node::on_empty_entry(Term term) {
  if (is_leader() && term == this->term()) leases_->on_leading(term);
  reads_.ask_again();
  versions_->check();
}

// Client traffic is served once this member's name and URLs are in the log, in this run.
void Node::publish() {
  if (publishing_ || stopping_ || on_ready_ == nullptr) return;
  publishing_ = true;
  FAILPOINT(beforePublishing);
  membershippb::ClusterMemberAttrSetRequest request;
  request.set_member_id(id().value());
  request.mutable_member_attributes()->set_name(config_.name);
  for (const Url& url : config_.advertise_client_urls) request.mutable_member_attributes()->add_client_urls(url.text);
  propose_message(wire::Op::kClusterMemberAttrSet, request, [this](const Status& published) {
    if (stopping_ || published_) return;
    publishing_ = false;
    if (!published.ok()) {
      base::log::warn("failed to publish local member to cluster through raft",
                      {{"local-member-id", base::hex(id().value())}, {"error", published}});
      environment_.loop.after(kPublishRetry, [this] { publish(); });
      return;
    }
    std::string attributes = "{Name:" + config_.name + " ClientURLs:[";
    for (size_t i = 0; i < config_.advertise_client_urls.size(); ++i) {
      attributes += (i > 0 ? " " : "") + config_.advertise_client_urls[i].text;
    }
    base::log::info("published local member to cluster through raft",
                    {{"local-member-id", base::hex(id().value())},
                     {"local-member-attributes", attributes + "]}"},
                     {"cluster-id", base::hex(membership_.cluster_id())},
                     base::log::Field::duration("publish-timeout", request_timeout().count())});
    published_ = true;
    tell_if_ready();
  });
}

// Before the cluster has a version every call would be refused.
void Node::tell_if_ready() {
  if (published_ && on_ready_ != nullptr && !membership_.cluster_version().empty()) std::exchange(on_ready_, nullptr)();
}

void Node::adopt_cluster_version(const std::string& version) {
  const bool first = membership_.cluster_version().empty();
  const std::optional<MinorVersion> parsed = parse_minor_version(version);
  if (!parsed) return base::log::warn("ignored a cluster version of the log", {{"version", version}});
  if (*parsed > *parse_minor_version(kVersion)) {
    base::fatal("invalid downgrade; server version is lower than determined cluster version: " + version);
  }
  const std::string minor = version.substr(0, version.rfind('.'));
  base::log::info(first ? "set initial cluster version" : "updated cluster version",
                  {{"cluster-id", base::hex(membership_.cluster_id())},
                   {"local-member-id", base::hex(id().value())},
                   {first ? "cluster-version" : "to", minor}});
  membership_.set_cluster_version(version);
  leases_->on_cluster_version();
  environment_.metrics.set_cluster_version(minor);
  base::log::info("enabled capabilities for version", {{"cluster-version", minor}});
  if (storage_version_ != version && *parsed >= kStorageVersionSince) {
    storage_version_ = version;
    storage::put_row(backend_, Bucket::kMeta, "storageVersion", version);
    base::log::info("updated storage version", {{"new-storage-version", version}});
  }
  tell_if_ready();
}

// --- space ------------------------------------------------------------------------------------------------------------------

int64_t Node::quota_bytes() const {
  return config_.quota_backend_bytes == 0 ? kQuotaBytesDefault : config_.quota_backend_bytes;
}
uint64_t Node::db_size_bytes() const { return engine_->size_bytes() + backend_.pending_row_bytes(); }
// What the versions that the index knows take after a defragmentation, about: the rest is what LevelDB has not dropped yet.
uint64_t Node::db_size_in_use_bytes() const {
  return std::min(db_size_bytes(), kSmallBucketsBytes + store_->row_bytes() + store_->versions() * kEngineBytesPerRow);
}

bool Node::over_quota(int64_t cost) const {
  if (quota_bytes() < 0 || cost <= 0) return false;
  return db_size_bytes() + static_cast<uint64_t>(cost) >= static_cast<uint64_t>(quota_bytes());
}

void Node::propose_no_space_alarm() {
  no_space_proposed_ = true;
  etcdserverpb::AlarmRequest request;
  request.set_memberid(id().value());
  request.set_action(etcdserverpb::AlarmRequest::ACTIVATE);
  request.set_alarm(etcdserverpb::NOSPACE);
  propose_message(wire::Op::kAlarm, request, [this](const Status&) { no_space_proposed_ = false; });
}

// --- the end ----------------------------------------------------------------------------------------------------------------

void Node::stop(std::function<void()> done) {
  VERIFY(!stopping_);
  stopping_ = true;
  on_stopped_ = std::move(done);
  environment_.loop.cancel(tick_timer_);
  environment_.loop.cancel(commit_timer_);
  maintainer_->stop();
  defragmenter_->stop();
  versions_->stop();
  auto_compactor_->stop();
  corruption_checker_->stop();
  watchers_->stop();
  leases_->stop();
  waiters_.fail_all(errors::stopped());
  conf_change_waiters_.fail_all(errors::stopped());
  reads_.fail_all(errors::stopped());
  driver_->wake();
}

std::string Node::metrics_text() {
  Metrics& metrics = environment_.metrics;
  const mvcc::Statistics& statistics = store_->statistics();
  metrics.range_total.set_total(statistics.ranges);
  metrics.txn_total.set_total(statistics.txns);
  metrics.put_total.set_total(statistics.puts);
  metrics.delete_total.set_total(statistics.deletes);
  metrics.total_put_size.set(static_cast<double>(statistics.put_bytes));
  metrics.keys_total.set(static_cast<double>(store_->keys()));
  metrics.current_revision.set(static_cast<double>(store_->current_revision()));
  metrics.compact_revision.set(static_cast<double>(store_->compact_revision()));
  metrics.db_total_size.set(static_cast<double>(db_size_bytes()));
  metrics.db_total_size_in_use.set(static_cast<double>(db_size_in_use_bytes()));
  metrics.db_open_read_transactions.set(static_cast<double>(1 + big_reads));  // One always reads the present.
  watchers_->refresh_metrics();
  metrics.known_peers.clear();
  for (const auto& [member, ignored] : membership().members()) {
    metrics.known_peers.with({base::hex(id().value()), base::hex(member.value())}).set(1);
  }
  metrics.is_learner.set(is_learner() ? 1 : 0);
  metrics.quota_backend_bytes.set(static_cast<double>(quota_bytes()));
  metrics.proposals_committed.set(static_cast<double>(committed_index().value()));
  metrics.proposals_applied.set(static_cast<double>(applied_index().value()));
  metrics.proposals_pending.set(static_cast<double>(waiters_.size()));
  metrics.slow_read_indexes.set_total(reads_.slow());
  metrics.read_indexes_failed.set_total(reads_.failed());
  return metrics.expose();
}

}  // namespace server
