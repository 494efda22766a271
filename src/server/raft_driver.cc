#include "server/raft_driver.h"

#include <algorithm>
#include <atomic>

#include "base/bytes.h"
#include "base/log.h"
#include "server/applier.h"
#include "server/errors.h"
#include "server/metrics.h"
#include "server/v2_store_json.h"

namespace server {
namespace {

using base::Index;
using base::NodeId;
using base::Status;
using base::Term;

// etcd's settings of raft (wire-and-disk 4.2).
constexpr uint64_t kMessageBytesMax = 1u << 20;
constexpr uint64_t kInflightMessagesMax = 512;

// raft's lines, as zap prints those of the library: with a logger name.
class RaftLog final : public raft::Logger {
 public:
  bool enabled(raft::LogLevel level) const override { return base::log::enabled(level_of(level)); }
  void write(raft::LogLevel level, std::string_view text) override { base::log::write_named("raft", level_of(level), text); }

 private:
  static base::log::Level level_of(raft::LogLevel level) {
    switch (level) {
      case raft::LogLevel::kDebug:
        return base::log::Level::kDebug;
      case raft::LogLevel::kInfo:
        return base::log::Level::kInfo;
      case raft::LogLevel::kWarn:
        return base::log::Level::kWarn;
      case raft::LogLevel::kError:
        return base::log::Level::kError;
      case raft::LogLevel::kFatal:
        break;
    }
    return base::log::Level::kPanic;
  }
};

storage::ConfState to_storage(const raft::ConfState& from) {
  storage::ConfState to;
  to.voters = from.voters;
  to.learners = from.learners;
  to.voters_outgoing = from.voters_outgoing;
  to.learners_next = from.learners_next;
  to.auto_leave = from.auto_leave;
  return to;
}

raft::ConfState from_storage(const storage::ConfState& from) {
  raft::ConfState to;
  to.voters = from.voters;
  to.learners = from.learners;
  to.voters_outgoing = from.voters_outgoing;
  to.learners_next = from.learners_next;
  to.auto_leave = from.auto_leave;
  return to;
}

raft::Entry from_storage(storage::WalEntry& from) {
  raft::Entry to;
  to.term = from.term;
  to.index = from.index;
  to.type = static_cast<raft::EntryType>(from.type);
  to.data = std::move(from.data);
  return to;
}

storage::WalEntry to_storage(const raft::Entry& from) {
  return {from.term, from.index, static_cast<uint32_t>(from.type), from.data};
}

// Where this process stands, for the line of a fatal error; written by the core loop, read by whoever fails.
std::atomic<uint64_t> g_member{0}, g_term{0}, g_committed{0}, g_applied{0};

std::string where_we_stand() {
  return "member=" + base::hex(g_member) + " term=" + std::to_string(g_term) + " committed=" + std::to_string(g_committed) +
         " applied=" + std::to_string(g_applied);
}

}  // namespace

// Several append requests of Raft that go to the disk as one write and one sync.
struct RaftDriver::AppendJob {
  storage::WalBatch batch;
  std::vector<storage::WalEntry> entries;
  std::vector<raft::Message> responses;
  storage::HardState state;
  std::unique_ptr<storage::WalSnapshot> snapshot;  // a snapshot record to write
  Status done;
  base::Duration write_took{0}, sync_took{0};
};

RaftDriver::RaftDriver(Node& node, const Config& config, Environment environment, DataDir& data)
    : node_(node),
      config_(config),
      environment_(environment),
      wal_(std::move(data.wal)),
      snap_dir_(environment.files, config.snap_dir()),
      logger_(std::make_unique<RaftLog>()),
      job_(std::make_unique<AppendJob>()) {}

RaftDriver::~RaftDriver() = default;

Status RaftDriver::start(DataDir& data, Index applied, Term applied_term, const raft::ConfState& conf_state) {
  snapshot_index_ = data.snapshot.index;
  durable_ = applied_ = applied;
  durable_term_ = applied_term_ = applied_term;
  conf_state_ = conf_state;
  if (data.snapshot.index > Index(0)) {
    auto snapshot = std::make_shared<raft::Snapshot>();
    snapshot->index = data.snapshot.index;
    snapshot->term = data.snapshot.term;
    snapshot->conf_state = from_storage(data.snapshot.conf_state);
    Status adopted = log_.apply_snapshot(std::move(snapshot));
    VERIFY(adopted.ok());
  }
  std::vector<raft::Entry> entries;
  entries.reserve(data.log.entries.size());
  for (storage::WalEntry& entry : data.log.entries) entries.push_back(from_storage(entry));
  const Index last = entries.empty() ? data.snapshot.index : entries.back().index;
  if (applied > last) {
    return Status(base::Code::kDataLoss,
                  "the store of " + config_.member_dir() + " holds entry " + std::to_string(applied.value()) +
                      " but the log ends at " + std::to_string(last.value()) +
                      ": the log was damaged or replaced; restore the member from a snapshot, or remove its data "
                      "directory and let it join anew");
  }
  log_.append(entries);
  if (applied >
      data.snapshot.index) {  // The configuration as of what is applied: earlier conf changes are not handed out again.
    Status marked = log_.create_snapshot(applied, &conf_state, "");
    VERIFY(marked.ok());
  }
  raft::HardState state;
  state.term = data.log.state.term;
  state.vote = data.log.state.vote;
  // A commit index that moved without anything else is not synced: what the store has applied was committed.
  state.commit = std::max({data.log.state.commit, applied, data.snapshot.index});
  log_.set_hard_state(state);

  raft::Config options;
  options.id = node_.id();
  options.election_ticks = static_cast<int>(config_.election_ticks());
  options.storage = &log_;
  options.applied = applied_;
  options.message_bytes_max = kMessageBytesMax;
  options.inflight_messages_max = kInflightMessagesMax;
  options.check_quorum = true;
  options.pre_vote = config_.pre_vote;
  options.async_storage_writes = true;
  options.logger = logger_.get();
  options.seed = environment_.seed;
  committed_ = state.commit;
  raft_ = std::make_unique<raft::RawNode>(options);
  g_member = node_.id().value();
  base::set_fatal_context(where_we_stand);
  if (!data.bootstrap_members.empty()) {
    std::vector<raft::ConfChange> members;
    for (const Member& member : data.bootstrap_members) {
      members.push_back({0, raft::ConfChangeType::kAddNode, member.id, member_json(member)});
    }
    raft_->bootstrap(members);
  }
  wake();
  return {};
}

Term RaftDriver::term() const { return raft_->raft().term(); }
std::string RaftDriver::status_json() const { return raft::to_json(raft_->status()); }

void RaftDriver::tick() {
  raft_->tick();
  wake();
}

void RaftDriver::campaign_if_alone() {
  if (!alone() || raft_->raft().role() != raft::Role::kFollower || !idle()) return;
  raft_->campaign();
  wake();
}

void RaftDriver::wake() {
  if (turn_posted_ || stopped_) return;
  turn_posted_ = true;
  environment_.loop.post([this] {
    turn_posted_ = false;
    if (!stopped_) turn();
  });
}

Status RaftDriver::propose(std::shared_ptr<const std::string> data) {
  Status proposed = raft_->propose(std::move(data));
  if (proposed.ok()) wake();
  return proposed;
}

Status RaftDriver::propose_conf_change(const raft::ConfChange& change) {
  Status proposed = raft_->propose_conf_change(change);
  if (proposed.ok()) wake();
  return proposed;
}

void RaftDriver::request_read_index(std::string context) {
  raft_->read_index(std::move(context));
  wake();
}

void RaftDriver::turn() {
  handle_ready();
  start_append();
  apply_some();
  g_term.store(term().value(), std::memory_order_relaxed);
  g_committed.store(committed_.value(), std::memory_order_relaxed);
  g_applied.store(applied_.value(), std::memory_order_relaxed);
  node_.after_turn();
}

void RaftDriver::handle_ready() {
  while (raft_->has_ready()) {
    raft::Ready ready = raft_->take_ready();
    if (ready.soft_state && ready.soft_state->leader != leader_) {
      const NodeId before = std::exchange(leader_, ready.soft_state->leader);
      log_leader(before, leader_);
      node_.on_leader_change(before, leader_);
    }
    if (ready.hard_state) committed_ = std::max(committed_, ready.hard_state->commit);
    for (const raft::ReadState& read : ready.read_states) node_.on_read_state(read.context, read.index);
    for (raft::Message& message : ready.messages) {
      if (message.to == raft::kLocalAppendThread) {
        log_.append(message.entries);  // Readable at once: the unstable part of the log shares the entries.
        appends_.push_back(std::move(message));
      } else if (message.to == raft::kLocalApplyThread) {
        to_apply_.push_back({std::move(message.entries), 0, std::move(message.responses)});
      }
      // Messages to other members: there are none in a cluster of one.
    }
  }
}

// What a storage message of ours answers. Responses name us, or the threads; those for other members have nobody to go to.
void RaftDriver::step_own(raft::Message response) {
  if (response.to != node_.id()) return;
  Status stepped = raft_->step(std::move(response));
  VERIFY(stepped.ok());
}

void RaftDriver::start_append() {
  if (disk_busy_ || (appends_.empty() && job_snapshot_ == nullptr)) return;
  AppendJob& job = *job_;
  job.snapshot = std::move(job_snapshot_);
  job.entries.clear();
  job.responses.clear();
  job.state = storage::HardState();
  for (raft::Message& message : appends_) {
    for (const raft::Entry& entry : message.entries) job.entries.push_back(to_storage(entry));
    if (message.term != Term(0)) job.state = {message.term, message.vote, message.commit};
    std::move(message.responses.begin(), message.responses.end(), std::back_inserter(job.responses));
  }
  appends_.clear();
  wal_->encode(job.entries, job.state, &job.batch, job.snapshot.get());
  disk_busy_ = true;
  if (job.batch.must_sync()) {
    ++syncs_;
    synced_entries_ += job.entries.size();
  }
  const base::Clock& clock = environment_.loop.clock();
  environment_.disk.submit(
      [this, &job, &clock] {
        const base::Instant before = clock.now();
        base::Instant written = before;
        job.done = wal_->write(job.batch, [&written, &clock] { written = clock.now(); });
        job.write_took = written - before;
        job.sync_took = clock.now() - written;
      },
      [this, &job] { finish_append(job.done); });
}

void RaftDriver::finish_append(const Status& done) {
  if (!done.ok()) base::fatal("raft log: the state of the disk is unknown after a failed write: " + done.to_string());
  disk_busy_ = false;
  AppendJob& job = *job_;
  node_.metrics().wal_write_duration.observe_ns(job.write_took.count());
  if (job.batch.must_sync()) node_.metrics().wal_fsync_duration.observe_ns(job.sync_took.count());
  node_.metrics().wal_write_bytes.add(static_cast<double>(job.batch.bytes()));
  if (job.snapshot != nullptr) {
    job.snapshot.reset();
    environment_.disk.submit(
        [this, index = snapshot_index_, keep = config_.max_wals] {
          Status released = wal_->release_to(index);
          if (released.ok() && keep > 0) released = wal_->purge(keep).status();
          if (!released.ok()) base::log::warn("failed to purge WAL files", {{"error", released}});
        },
        [] {});
  }
  std::vector<raft::Message> responses;
  responses.swap(job.responses);
  for (raft::Message& response : responses) step_own(std::move(response));
  if (stopped_) return;
  turn();
  if (!disk_busy_) prepare_log();
}

// While no batch waits, the log is zero-filled ahead, one slice a time.
void RaftDriver::prepare_log() {
  if (preparing_) return;
  preparing_ = true;
  auto more = std::make_shared<base::Result<bool>>(false);
  environment_.disk.submit([this, more] { *more = wal_->prepare(); },
                           [this, more] {
                             preparing_ = false;
                             if (!more->ok()) base::fatal("raft log: cannot prepare space: " + more->status().to_string());
                             if (**more && !disk_busy_ && !stopped_) prepare_log();
                           });
}

void RaftDriver::apply_some() {
  size_t budget = kApplyEntriesPerTurn;
  while (!to_apply_.empty() && budget > 0 && !node_.backend().must_wait()) {
    ApplyJob& job = to_apply_.front();
    for (; job.next < job.entries.size() && budget > 0; ++job.next, --budget) {
      apply_entry(job.entries[job.next]);
      if (stopped_) return;
    }
    if (job.next < job.entries.size()) break;
    std::vector<raft::Message> responses = std::move(job.responses);
    to_apply_.pop_front();
    for (raft::Message& response : responses) step_own(std::move(response));
  }
  if (raft_->has_ready() || (!to_apply_.empty() && !node_.backend().must_wait())) wake();
  maybe_snapshot();
}

void RaftDriver::apply_entry(const raft::Entry& entry) {
  VERIFY(entry.index == applied_ + 1);
  applied_ = entry.index;
  applied_term_ = entry.term;
  committed_ = std::max(committed_, entry.index);
  if (entry.type == raft::EntryType::kConfChange) return apply_conf_change(entry);
  VERIFY(entry.type == raft::EntryType::kNormal);  // Nobody writes the other kind (wire-and-disk 4.9).
  node_.applier().apply(entry.index, entry.term, entry.data);
}

void RaftDriver::apply_conf_change(const raft::Entry& entry) {
  raft::ConfChange change = node_.applier().apply_conf_change(entry.index, entry.term, entry.data);
  conf_state_ = raft_->apply_conf_change(change);
  node_.applier().save_conf_state(conf_state_);
}

void RaftDriver::transfer_leader(NodeId to) {
  raft_->transfer_leader(to);
  wake();
}

void RaftDriver::on_durable(Index index, Term term) {
  durable_ = index;
  durable_term_ = term;
  maybe_snapshot();
  if (!stopped_) wake();  // Applying may have waited for the engine.
}

// Raft's snapshot of a member is its engine; what is taken here is the note in the log that entries up to an index are not
// needed to start again, and the .snap file older versions look for.
void RaftDriver::maybe_snapshot() {
  if (snapshot_running_ || stopped_ || durable_ <= snapshot_index_ || durable_ - snapshot_index_ <= config_.snapshot_count)
    return;
  snapshot_running_ = true;
  base::log::info("triggering snapshot", {{"local-member-id", base::hex(node_.id().value())},
                                          {"local-member-applied-index", durable_.value()},
                                          {"local-member-snapshot-index", snapshot_index_.value()},
                                          {"local-member-snapshot-count", config_.snapshot_count},
                                          {"snapshot-forced", false}});
  auto snap = std::make_shared<storage::SnapFile>();
  snap->index = durable_;
  snap->term = durable_term_;
  snap->conf_state = to_storage(conf_state_);
  snap->data = v2_store_json(node_.membership());
  auto saved = std::make_shared<Status>();
  environment_.helper.submit(
      [this, snap, saved] {
        *saved = snap_dir_.save(*snap);
        if (saved->ok() && config_.max_snapshots > 0) *saved = snap_dir_.purge(config_.max_snapshots).status();
      },
      [this, snap, saved] {
        snapshot_running_ = false;
        if (!saved->ok()) base::fatal("cannot save a snapshot of the raft log: " + saved->to_string());
        if (stopped_) return;
        snapshot_index_ = snap->index;
        job_snapshot_ = std::make_unique<storage::WalSnapshot>(storage::WalSnapshot{snap->index, snap->term, snap->conf_state});
        base::log::info("saved snapshot to disk", {{"snapshot-index", snap->index.value()}});
        compact_log(snap->index);
        wake();
      });
}

void RaftDriver::compact_log(Index snapshot_index) {
  const bool alone = node_.membership().members().size() <= 1;
  const uint64_t keep =
      alone ? std::min(kLogEntriesKeptAlone, config_.snapshot_catchup_entries) : config_.snapshot_catchup_entries;
  Index to = snapshot_index.value() > keep ? Index(snapshot_index.value() - keep) : Index(0);
  if (to >= log_.first_index()) (void)log_.compact(to);
  while (log_.size_bytes() > kLogBytesKeptMax && log_.first_index() < snapshot_index) {
    to = log_.first_index() + (snapshot_index - log_.first_index() + 1) / 2;
    (void)log_.compact(to);
  }
  base::log::info("compacted Raft logs", {{"compact-index", to.value()}});
}

void RaftDriver::log_leader(NodeId from, NodeId to) {
  const std::string self = base::hex(node_.id().value()), term_text = std::to_string(term().value());
  std::string text = "raft.node: " + self;
  if (to == base::kNoNode)
    text += " lost leader " + base::hex(from.value());
  else if (from == base::kNoNode)
    text += " elected leader " + base::hex(to.value());
  else
    text += " changed leader from " + base::hex(from.value()) + " to " + base::hex(to.value());
  logger_->write(raft::LogLevel::kInfo, text + " at term " + term_text);
}

void RaftDriver::stop() { stopped_ = true; }

}  // namespace server
