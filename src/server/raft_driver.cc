#include "server/raft_driver.h"

#include <algorithm>
#include <atomic>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "server/applier.h"
#include "server/errors.h"
#include "server/metrics.h"
#include "server/peer_messages.h"
#include "server/snapshot_receiver.h"
#include "server/snapshot_sender.h"
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
// Bytes on their way to one follower: a good part of what the transport queues for it.
constexpr uint64_t kInflightBytesMax = 32u << 20;
constexpr auto kSlowSync = std::chrono::seconds(1);

// raft's lines, as zap prints those of the library: with a logger name.
class RaftLog final : public raft::Logger {
 public:
  bool enabled(raft::LogLevel level) const override { return base::log::enabled(level_of(level)); }
  void write(raft::LogLevel level, std::string_view text) override {
    // With several writes under way an answer that names entries an earlier one named is the rule, not news.
    const bool usual = text.ends_with(" missing from unstable log; ignoring");
    base::log::write_named("raft", usual ? base::log::Level::kDebug : level_of(level), text);
  }

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
  raft::SnapshotPtr received;                      // it is another member's, and to be installed; null: our own
  std::unique_ptr<storage::SnapFile> snap_file;    // of `received`
  Status done;
  bool wants_preparing = false;
  base::Duration write_took{0}, sync_took{0};
};

RaftDriver::RaftDriver(Node& node, const Config& config, Environment environment, DataDir& data)
    : node_(node),
      config_(config),
      environment_(environment),
      wal_(std::move(data.wal)),
      snap_dir_(environment.files, config.snap_dir()),
      logger_(std::make_unique<RaftLog>()),
      job_(std::make_unique<AppendJob>()),
      existing_members_(std::move(data.existing_members)),
      rng_(environment.seed ^ 0x70656572) {}

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
  hard_state_ = {data.log.state.term, data.log.state.vote, data.log.state.commit};

  raft::Config options;
  options.id = node_.id();
  options.election_ticks = static_cast<int>(config_.election_ticks());
  options.storage = &log_;
  options.applied = applied_;
  options.message_bytes_max = kMessageBytesMax;
  options.inflight_messages_max = kInflightMessagesMax;
  options.inflight_bytes_max = kInflightBytesMax;
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
  return {};
}

Term RaftDriver::term() const { return raft_->raft().term(); }
std::string RaftDriver::status_json() const { return raft::to_json(raft_->status()); }

void RaftDriver::tick() {
  if (held_up()) return;
  raft_->tick();
  save_commit_now_ = unsaved_commit_;
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
  if (!reaches_leader() || full()) return Status(base::Code::kUnavailable, std::string(raft::kProposalDropped));
  Status proposed = raft_->propose(std::move(data));
  if (proposed.ok()) wake();
  return proposed;
}

Status RaftDriver::propose_conf_change(const raft::ConfChange& change) {
  Status proposed = raft_->propose_conf_change(change);
  if (proposed.ok()) wake();
  return proposed;
}

// What is sent to a leader that cannot be reached is lost, and its client would wait in vain.
bool RaftDriver::reaches_leader() const {
  const NodeId leader = raft_->raft().leader();
  if (environment_.peers == nullptr) return leader != base::kNoNode;
  return leader == node_.id() || (leader != base::kNoNode && environment_.peers->reaches(leader));
}

bool RaftDriver::full() const {
  const raft::Raft& raft = raft_->raft();
  return raft.role() == raft::Role::kLeader && raft.uncommitted_bytes() >= kUncommittedBytesMax;
}

// A leader that hands over takes none, and nobody does while there is no leader.
bool RaftDriver::takes_proposals() const {
  return raft_->raft().leader() != base::kNoNode && raft_->raft().lead_transferee() == base::kNoNode;
}

bool RaftDriver::hands_over() const { return raft_->raft().lead_transferee() != base::kNoNode; }
bool RaftDriver::leads() const { return raft_->raft().role() == raft::Role::kLeader && takes_proposals(); }

// Another member's: it took us for the leader, and its client would wait its time out.
void RaftDriver::keep_proposal(raft::Message message) {
  size_t bytes = sizeof(KeptProposal);
  for (const raft::Entry& entry : message.entries) bytes += entry.payload().size();
  if (kept_proposals_.size() >= kForeignProposalsMax || kept_proposals_bytes_ + bytes > kForeignProposalsBytesMax) return;
  kept_proposals_bytes_ += bytes;
  const base::Instant deadline = environment_.loop.clock().now() + node_.request_timeout();
  kept_proposals_.push_back({std::move(message), bytes, deadline});
}

void RaftDriver::release_proposals() {
  const base::Instant now = environment_.loop.clock().now();
  while (!kept_proposals_.empty() && ((takes_proposals() && !full()) || kept_proposals_.front().deadline <= now)) {
    KeptProposal kept = std::move(kept_proposals_.front());
    kept_proposals_.pop_front();
    kept_proposals_bytes_ -= kept.bytes;
    if (kept.deadline > now) (void)raft_->step(std::move(kept.message));
  }
}

void RaftDriver::request_read_index(std::string context) {
  raft_->read_index(std::move(context));
  wake();
}

void RaftDriver::turn() {
  if (held_up()) return;
  if (!kept_proposals_.empty()) release_proposals();
  const bool any = handle_ready() || before_save_.reopened();
  if (any && !FAILPOINT_PASS(raftBeforeSave, before_save_, environment_.loop, [this] { wake(); })) return;
  while (answer_without_disk()) handle_ready();
  start_append();
  apply_some();
  g_term.store(term().value(), std::memory_order_relaxed);
  g_committed.store(committed_.value(), std::memory_order_relaxed);
  g_applied.store(applied_.value(), std::memory_order_relaxed);
  node_.after_turn();
}

bool RaftDriver::handle_ready() {
  bool any = false;
  for (; raft_->has_ready(); any = true) {
    raft::Ready ready = raft_->take_ready();
    if (ready.soft_state && ready.soft_state->leader != leader_) {
      const NodeId before = std::exchange(leader_, ready.soft_state->leader);
      log_leader(before, leader_);
      heartbeats_.clear();
      node_.on_leader_change(before, leader_);
    }
    if (ready.hard_state) committed_ = std::max(committed_, ready.hard_state->commit);
    for (const raft::ReadState& read : ready.read_states) node_.on_read_state(read.context, read.index);
    std::vector<raft::Message> candidacies;
    for (raft::Message& message : ready.messages) {
      if (message.type == raft::MessageType::kVote) {
        candidacies.push_back(std::move(message));
      } else if (message.to == raft::kLocalAppendThread) {
        // A candidate asks when its term is saved. Elected before and gone, it could be elected again in that term, and would
        // write other entries with the same index and term.
        std::move(candidacies.begin(), candidacies.end(), std::back_inserter(message.responses));
        candidacies.clear();
        if (message.snapshot != nullptr) VERIFY(log_.apply_snapshot(message.snapshot).ok());
        log_.append(message.entries);  // Readable at once: the unstable part of the log shares the entries.
        appends_.push_back(std::move(message));
      } else if (message.to == raft::kLocalApplyThread) {
        to_apply_.push_back({std::move(message.entries), 0, std::move(message.responses)});
      } else if (message.type == raft::MessageType::kSnap) {
        send_snapshot(std::move(message));
      } else {
        if (message.type == raft::MessageType::kHeartbeat) observe_heartbeat(message.to);
        send(std::move(message));  // A leader's appends leave here, while its own disk has not even begun.
      }
    }
    VERIFY(candidacies.empty());  // They come with a new term, which is to be saved.
  }
  if (any && raft_->raft().role() == raft::Role::kLeader) FAILPOINT(raftBeforeLeaderSend);
  flush_outbox();
  return any;
}

// A leader whose disk or processor is too busy is late: its followers may call an election.
void RaftDriver::observe_heartbeat(NodeId to) {
  const base::Instant now = environment_.loop.clock().now();
  const base::Duration interval = std::chrono::milliseconds(config_.heartbeat_ms);
  const auto [last, first] = heartbeats_.try_emplace(to, now);
  const base::Duration exceeded = now - std::exchange(last->second, now) - 2 * interval;
  if (first || exceeded <= base::Duration(0)) return;
  base::log::warn("leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk",
                  {{"to", base::hex(to.value())},
                   base::log::Field::duration("heartbeat-interval", interval.count()),
                   base::log::Field::duration("expected-duration", 2 * interval.count()),
                   base::log::Field::duration("exceeded-duration", exceeded.count())});
  node_.metrics().heartbeat_send_failures.add();
}

// What a storage message of ours answers: for us, or, now that the disk has it, for another member.
void RaftDriver::step_own(raft::Message response) {
  if (response.to != node_.id()) return send(std::move(response));
  const Status stepped = raft_->step(std::move(response));
  // Removed meanwhile (sim seed 1068): raft takes no answers of who is no member.
  VERIFY(stepped.ok() || raft_->raft().group().find(node_.id()) == nullptr);
}

// With the disk at rest, what changes nothing but the commit index is answered at once: a commit index may be lost, so it is
// written with the next entries, or at the next tick. False: the front of the queue is not of that kind.
bool RaftDriver::answer_without_disk() {
  if (disk_busy_ || appends_.empty()) return false;
  raft::Message& front = appends_.front();
  const bool same = front.term == Term(0) || (front.term == hard_state_.term && front.vote == hard_state_.vote);
  if (!same || !front.entries.empty() || front.snapshot != nullptr) return false;
  if (front.term != Term(0)) {
    hard_state_.commit = front.commit;
    unsaved_commit_ = true;
  }
  std::vector<raft::Message> responses = std::move(front.responses);
  appends_.pop_front();
  for (raft::Message& response : responses) step_own(std::move(response));
  return true;
}

void RaftDriver::start_append() {
  const bool save_commit = unsaved_commit_ && (save_commit_now_ || node_.stopping());
  if (disk_busy_ || (appends_.empty() && job_snapshot_ == nullptr && !save_commit)) return;
  AppendJob& job = *job_;
  job.snapshot = std::move(job_snapshot_);
  job.entries.clear();
  job.responses.clear();
  job.received.reset();
  size_t taken = 0;
  for (raft::Message& message : appends_) {
    if (message.snapshot != nullptr) {
      // Alone: what was to be written before it is answered before it, and it takes a record of its own.
      if (taken > 0 || job.snapshot != nullptr) break;
      const raft::Snapshot& snapshot = *message.snapshot;
      job.received = message.snapshot;
      job.snap_file = std::make_unique<storage::SnapFile>();
      job.snap_file->index = snapshot.index;
      job.snap_file->term = snapshot.term;
      job.snap_file->conf_state = to_storage(snapshot.conf_state);
      job.snap_file->data = snapshot.data;
      job.snapshot = std::make_unique<storage::WalSnapshot>(
          storage::WalSnapshot{snapshot.index, snapshot.term, job.snap_file->conf_state});
    }
    ++taken;
    for (const raft::Entry& entry : message.entries) job.entries.push_back(to_storage(entry));
    if (message.term != Term(0)) {
      hard_state_ = {message.term, message.vote, message.commit};
      unsaved_commit_ = true;
    }
    std::move(message.responses.begin(), message.responses.end(), std::back_inserter(job.responses));
    if (job.received != nullptr) break;
  }
  appends_.erase(appends_.begin(), appends_.begin() + static_cast<ptrdiff_t>(taken));
  job.state = unsaved_commit_ ? hard_state_ : storage::HardState();
  unsaved_commit_ = save_commit_now_ = false;
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
        if (job.received != nullptr) {
          FAILPOINT(raftBeforeSaveSnap);
          job.done = snap_dir_.save(*job.snap_file);
        } else {
          job.done = Status();
        }
        if (job.snapshot != nullptr) FAILPOINT(raftBeforeWALSaveSnaphot);
        if (job.done.ok()) job.done = wal_->write(job.batch, [&written, &clock] { written = clock.now(); });
        if (job.received != nullptr) FAILPOINT(raftAfterSaveSnap);
        job.write_took = written - before;
        job.sync_took = clock.now() - written;
        job.wants_preparing = job.done.ok() && wal_->wants_preparing();
      },
      [this, &job] { finish_append(job.done); });
}

void RaftDriver::finish_append(const Status& done) {
  if (!done.ok()) base::fatal("raft log: the state of the disk is unknown after a failed write: " + done.to_string());
  AppendJob& job = *job_;
  if (!FAILPOINT_PASS(raftAfterSave, after_save_, environment_.loop, [this] { finish_append(job_->done); })) return;
  node_.metrics().wal_write_duration.observe_ns(job.write_took.count());
  if (job.batch.must_sync()) {
    node_.metrics().wal_fsync_duration.observe_ns(job.sync_took.count());
    if (job.sync_took > kSlowSync) {
      base::log::warn("slow fdatasync", {base::log::Field::duration("took", job.sync_took.count()),
                                         base::log::Field::duration("expected-duration", base::Duration(kSlowSync).count())});
    }
  }
  node_.metrics().wal_write_bytes.add(static_cast<double>(job.batch.bytes()));
  if (job.received != nullptr) {
    FAILPOINT(raftBeforeApplySnap);
    snapshot_index_ = job.received->index;
    FAILPOINT(raftAfterApplySnap);
  }
  if (job.snapshot != nullptr) {
    // Up to the snapshot that the log knows of now: there may be a newer one that waits for the next batch.
    const Index index = job.snapshot->index;
    job.snapshot.reset();
    environment_.disk.submit(
        [this, index, keep = config_.max_wals, received = job.received != nullptr] {
          Status released = wal_->release_to(index);
          if (received) FAILPOINT(raftAfterWALRelease);
          if (released.ok() && keep > 0) released = wal_->purge(keep).status();
          if (!released.ok()) base::log::warn("failed to purge WAL files", {{"error", released}});
        },
        [] {});
  }
  std::vector<raft::Message> responses;
  responses.swap(job.responses);
  if (job.received != nullptr) return install(std::move(job.received), std::move(responses));
  disk_busy_ = false;
  for (raft::Message& response : responses) step_own(std::move(response));
  if (stopped_) return;
  if (raft_->raft().role() != raft::Role::kLeader) FAILPOINT(raftBeforeFollowerSend);
  flush_outbox();
  FAILPOINT(raftBeforeAdvance);
  turn();
  if (!disk_busy_ && job.wants_preparing) prepare_log();
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
  if (node_.installing() || before_entry_.closed() || before_conf_change_.closed()) return;
  size_t budget = kApplyEntriesPerTurn;
  while (!to_apply_.empty() && budget > 0 && !node_.backend().must_wait()) {
    ApplyJob& job = to_apply_.front();
    for (; job.next < job.entries.size() && budget > 0; ++job.next, --budget) {
      if (!may_apply(job.entries[job.next])) return;
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

// False while a failpoint holds up what comes next.
bool RaftDriver::may_apply(const raft::Entry& entry) {
  base::Loop& loop = environment_.loop;
  if (entry.type == raft::EntryType::kConfChange) {
    return FAILPOINT_PASS(beforeApplyOneConfChange, before_conf_change_, loop, [this] { wake(); });
  }
  return FAILPOINT_PASS(beforeApplyOneEntryNormal, before_entry_, loop, [this] { wake(); });
}

void RaftDriver::apply_entry(const raft::Entry& entry) {
  VERIFY(entry.index == applied_ + 1);
  applied_ = entry.index;
  applied_term_ = entry.term;
  bytes_since_snapshot_ += entry.payload().size();
  committed_ = std::max(committed_, entry.index);
  if (entry.type == raft::EntryType::kConfChange) return apply_conf_change(entry);
  VERIFY(entry.type == raft::EntryType::kNormal);  // Nobody writes the other kind (wire-and-disk 4.9).
  node_.applier().apply(entry.index, entry.term, entry.data);
}

void RaftDriver::apply_conf_change(const raft::Entry& entry) {
  raft::ConfChange change = node_.applier().apply_conf_change(entry.index, entry.term, entry.data);
  conf_state_ = raft_->apply_conf_change(change);
  node_.applier().save_conf_state(conf_state_);
  sync_peers();
}

// --- the other members ------------------------------------------------------------------------------------------------------

void RaftDriver::start_peers() {
  if (environment_.peers == nullptr) return;
  environment_.peers->start(*this);
  sync_peers();
  if (config_.initial_election_tick_advance) fast_start(environment_.loop.clock().now() + kFastStartWait);
}

void RaftDriver::sync_peers() {
  if (environment_.peers == nullptr || stopped_) return;
  const Membership& membership = node_.membership();
  if (membership.find(node_.id()) == nullptr && !membership.is_removed(node_.id())) {
    // A newcomer whom the log has not told yet: those who told us of the cluster.
    for (const Member& member : existing_members_) {
      if (member.id == node_.id() || known_peers_.contains(member.id)) continue;
      environment_.peers->add_peer(member.id, member.peer_urls);
      known_peers_[member.id] = member.peer_urls;
    }
    return;
  }
  const std::string self = base::hex(node_.id().value());
  for (auto known = known_peers_.begin(); known != known_peers_.end();) {
    if (membership.find(known->first) != nullptr) {
      ++known;
      continue;
    }
    environment_.peers->remove_peer(known->first, membership.is_removed(known->first));
    node_.metrics().known_peers.with({self, base::hex(known->first.value())}).set(0);
    known = known_peers_.erase(known);
  }
  for (const auto& [id, member] : membership.members()) {
    if (id == node_.id() || member.peer_urls.empty()) continue;
    const auto known = known_peers_.find(id);
    if (known != known_peers_.end() && known->second == member.peer_urls) continue;
    environment_.peers->add_peer(id, member.peer_urls);
    node_.metrics().known_peers.with({self, base::hex(id.value())}).set(1);
    known_peers_[id] = member.peer_urls;
  }
  for (const NodeId id : membership.removed()) environment_.peers->remove_peer(id, true);
}

// A member that finds the others at work need not wait a whole election timeout for a leader's word (etcd's tick advance).
void RaftDriver::fast_start(base::Instant deadline) {
  if (stopped_ || leader_ != base::kNoNode) return;
  const size_t active = environment_.peers->active_peers();
  if (active > 0) {
    const uint32_t ticks = config_.election_ticks();
    base::log::info("initialized peer connections; fast-forwarding election ticks",
                    {{"local-member-id", base::hex(node_.id().value())},
                     {"forward-ticks", ticks - std::min(ticks, kFastStartTicksLeft)},
                     {"active-remote-members", active}});
    for (uint32_t i = kFastStartTicksLeft; i < ticks; ++i) raft_->tick();
    return wake();
  }
  if (environment_.loop.clock().now() >= deadline) return;
  environment_.loop.after(std::chrono::milliseconds(config_.heartbeat_ms), [this, deadline] { fast_start(deadline); });
}

void RaftDriver::send(raft::Message message) {
  if (environment_.peers == nullptr || stopped_) return;
  outbox_.push_back(to_wire(std::move(message)));
}

void RaftDriver::flush_outbox() {
  if (!outbox_.empty()) environment_.peers->send(std::exchange(outbox_, {}));
}

Status RaftDriver::step(raft::Message message) {
  Status stepped = raft_->step(std::move(message));
  wake();
  return stepped;
}

base::Result<bool> RaftDriver::step_snapshot(raft::Message message) {
  const Index index = message.snapshot->index;
  if (Status stepped = step(std::move(message)); !stepped.ok()) return stepped;
  const raft::SnapshotPtr pending = raft_->raft().log().pending_snapshot();
  return (pending != nullptr && pending->index == index) || node_.installs(index);
}

void RaftDriver::on_messages(std::vector<wire::RaftMessage> messages) {
  if (stopped_) return;
  for (wire::RaftMessage& wire_message : messages) {
    if (wire_message.to != node_.id() || FAILPOINT_RETURNS(raftDropHeartbeat)) continue;
    std::optional<raft::Message> message = from_wire(std::move(wire_message));
    if (!message) continue;
    if (message->type == raft::MessageType::kProp &&
        !std::all_of(message->entries.begin(), message->entries.end(), can_apply)) {
      base::log::warn("dropped a proposal of another member that no member could apply",
                      {{"from", base::hex(message->from.value())}});
      continue;
    }
    if (message->type == raft::MessageType::kProp && (!takes_proposals() || full())) {
      keep_proposal(std::move(*message));
      continue;
    }
    // What is refused (a stranger's answer) has nobody to tell.
    (void)raft_->step(std::move(*message));
  }
  wake();
}

void RaftDriver::on_unreachable(NodeId id) {
  if (stopped_) return;
  raft_->report_unreachable(id);
  wake();
}

void RaftDriver::on_snapshot_sent(NodeId id, bool sent) {
  if (snapshots_in_flight_ > 0) --snapshots_in_flight_;
  if (stopped_) return;
  if (sent) hold_log_until_ = environment_.loop.clock().now() + kLogHeldAfterSnapshot;
  raft_->report_snapshot(id, !sent);
  wake();
}

// The lease that keeps us from voting protects a leader that is slow; one whose process is gone needs none. A pre-vote changes
// nothing at members that still hear their leader: they do not even answer.
void RaftDriver::on_gone(NodeId id) {
  if (stopped_ || id != leader_ || !config_.pre_vote || raft_->raft().role() != raft::Role::kFollower) return;
  if (!raft_->forget_leader().ok()) return;
  wake();
  const auto range = static_cast<uint64_t>(base::Duration(kGoneLeaderWaitMax - kGoneLeaderWaitMin).count());
  const base::Duration wait = kGoneLeaderWaitMin + base::Duration(rng_.below(range));
  environment_.loop.after(wait, [this, id, at = term()] { campaign_for_gone_leader(id, at); });
}

void RaftDriver::campaign_for_gone_leader(NodeId gone, Term at) {
  const raft::Raft& raft = raft_->raft();
  if (stopped_ || raft.leader() != base::kNoNode || raft.role() != raft::Role::kFollower || raft.term() != at) return;
  base::log::info("the leader's process is gone; asking for a pre-vote at once",
                  {{"local-member-id", base::hex(node_.id().value())}, {"leader", base::hex(gone.value())}});
  raft_->campaign();
  wake();
}

void RaftDriver::on_self_removed() {
  if (!stopped_) node_.on_removed(base::Duration(0));
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
  if (snapshot_running_ || stopped_ || node_.installing()) return;
  const bool many = durable_ > snapshot_index_ && durable_ - snapshot_index_ > config_.snapshot_count;
  const bool big = durable_ > snapshot_index_ && bytes_since_snapshot_ > kSnapshotAfterBytes;
  if (!many && !big) return;
  snapshot_running_ = true;
  bytes_since_snapshot_ = 0;
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
        // A newer one came from another member, if only on its way into the log; what follows it does not begin at ours.
        const bool overtaken = raft_->raft().log().pending_snapshot() != nullptr;
        if (stopped_ || snap->index < snapshot_index_ || node_.installing() || overtaken) return;
        snapshot_index_ = snap->index;
        job_snapshot_ = std::make_unique<storage::WalSnapshot>(storage::WalSnapshot{snap->index, snap->term, snap->conf_state});
        if (log_.first_index() <= snap->index + 1 && snap->index <= log_.last_index()) {
          const raft::ConfState conf_state = from_storage(snap->conf_state);
          (void)log_.create_snapshot(snap->index, &conf_state, "");
        }
        base::log::info("saved snapshot to disk", {{"snapshot-index", snap->index.value()}});
        compact_log(snap->index);
        wake();
      });
}

bool RaftDriver::holds_log() const { return snapshots_in_flight_ > 0 || environment_.loop.clock().now() < hold_log_until_; }

// Raft's snapshot only says that the log does not reach back far enough: the store as it is now goes out, and its index.
void RaftDriver::send_snapshot(raft::Message message) {
  const NodeId to = message.to;
  base::Result<std::unique_ptr<peer::SnapshotBody>> body = Status(base::Code::kResourceExhausted, "too many under way");
  if (environment_.peers != nullptr && snapshots_in_flight_ < kSnapshotsInFlightMax && !node_.installing()) {
    body = open_snapshot_body(node_);
  }
  if (!body.ok()) {
    base::log::warn("cannot send a database snapshot", {{"to", base::hex(to.value())}, {"error", body.status()}});
    return environment_.loop.post([this, to] {
      if (!stopped_) raft_->report_snapshot(to, true);
    });
  }
  auto snapshot = std::make_shared<raft::Snapshot>();
  snapshot->index = applied_;
  snapshot->term = applied_term_;
  snapshot->conf_state = conf_state_;
  snapshot->data = v2_store_json(node_.membership());
  message.snapshot = std::move(snapshot);
  ++snapshots_in_flight_;
  base::log::info(
      "sending merged snapshot",
      {{"from", base::hex(node_.id().value())}, {"to", base::hex(to.value())}, {"snapshot-index", applied_.value()}});
  environment_.peers->send_snapshot(to_wire(std::move(message)), std::move(*body));
}

// The snapshot is in the log. What was committed before it is applied first, because its proposers wait for it.
void RaftDriver::install(raft::SnapshotPtr snapshot, std::vector<raft::Message> responses) {
  while (!to_apply_.empty()) {
    ApplyJob job = std::move(to_apply_.front());
    to_apply_.pop_front();
    for (; job.next < job.entries.size(); ++job.next) apply_entry(job.entries[job.next]);
    for (raft::Message& response : job.responses) step_own(std::move(response));
  }
  if (stopped_) return;
  VERIFY(snapshot->index > applied_);
  auto answers = std::make_shared<std::vector<raft::Message>>(std::move(responses));
  node_.install_snapshot(snapshot->index, snapshot->term, received_database_path(config_.snap_dir(), snapshot->index),
                         [this, snapshot, answers] {
                           applied_ = durable_ = snapshot->index;
                           applied_term_ = durable_term_ = snapshot->term;
                           committed_ = std::max(committed_, snapshot->index);
                           conf_state_ = snapshot->conf_state;
                           node_.applier().save_conf_state(conf_state_);
                           disk_busy_ = false;
                           for (raft::Message& answer : *answers) step_own(std::move(answer));
                           flush_outbox();
                           sync_peers();
                           wake();
                         });
}

void RaftDriver::compact_log(Index snapshot_index) {
  if (holds_log() && log_.size_bytes() <= kLogBytesHeldMax) return;
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
