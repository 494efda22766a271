// The shell around raft: the only place where Raft meets the log on disk and the other members. It never waits: while the disk
// worker syncs one batch the next one collects, reads go on, and what is committed is applied (Raft with asynchronous storage
// writes, thesis 10.2.1). Owner: core loop.
//
//   turn():  take what Raft has ready -> entries to the disk worker, committed entries to the applier, messages to the peers
//
// Invariant: no vote, acknowledgement or commit that needs an entry on disk leaves before its sync has returned.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/failpoint.h"
#include "base/rng.h"
#include "peer/transport.h"
#include "raft/memory_log.h"
#include "raft/raw_node.h"
#include "server/data_dir.h"
#include "server/node.h"
#include "storage/snap/snap.h"
#include "storage/wal/wal.h"

namespace server {

// While a member gets a database, the entries behind it are kept, up to so many bytes, and this much longer.
inline constexpr size_t kLogBytesHeldMax = 256u << 20;
inline constexpr auto kLogHeldAfterSnapshot = std::chrono::seconds(30);
// Databases on their way to other members; a member that asks for one more has to ask again.
inline constexpr int kSnapshotsInFlightMax = 4;
// Applied entries that stay in memory for followers that lag, beyond what --snapshot-catchup-entries says at most these bytes.
inline constexpr size_t kLogBytesKeptMax = 64u << 20;
// A member alone in its cluster has nobody to catch up.
inline constexpr uint64_t kLogEntriesKeptAlone = 128;
// Bytes applied since the last snapshot that bring the next one, whatever --snapshot-count says: the log in memory is bounded.
inline constexpr uint64_t kSnapshotAfterBytes = kLogBytesKeptMax / 2;
// Entries applied in one go before other work on the loop gets its turn.
inline constexpr size_t kApplyEntriesPerTurn = 2048;

// What a leader takes on that is not committed yet, because its disk or those of the others stand still (etcd: no bound).
inline constexpr uint64_t kUncommittedBytesMax = 1u << 30;

// Proposals that other members sent us while nobody could take them: between two leaders they are kept, not lost.
inline constexpr size_t kForeignProposalsMax = 10'000;
inline constexpr size_t kForeignProposalsBytesMax = 64u << 20;

// A follower that sees its leader's process die asks for a pre-vote after a wait drawn from this, so that not all ask at once.
inline constexpr auto kGoneLeaderWaitMin = std::chrono::milliseconds(5), kGoneLeaderWaitMax = std::chrono::milliseconds(60);
// The fast start of a member that finds others: waited for so long, and the election timeout then has this many ticks left.
inline constexpr auto kFastStartWait = std::chrono::seconds(5);
inline constexpr uint32_t kFastStartTicksLeft = 2;

class RaftDriver final : public peer::Events {
 public:
  RaftDriver(Node& node, const Config& config, Environment environment, DataDir& data);
  ~RaftDriver() override;
  RaftDriver(const RaftDriver&) = delete;
  RaftDriver& operator=(const RaftDriver&) = delete;

  // Puts the log to work. `applied`, its term and `conf_state` as the store has them.
  base::Status start(DataDir& data, base::Index applied, base::Term applied_term, const raft::ConfState& conf_state);
  // Connects to the other members.
  void start_peers();
  // Brings the transport up to what the membership says.
  void sync_peers();
  void tick();
  // Starts an election at once if we are the only voter and no leader yet.
  void campaign_if_alone();
  // Asks for a turn of the loop; many calls, one turn.
  void wake();

  // Dropped (kUnavailable) without a leader, or while there is no connection to it.
  base::Status propose(std::shared_ptr<const std::string> data);
  base::Status propose_conf_change(const raft::ConfChange& change);
  void request_read_index(std::string context);
  void transfer_leader(base::NodeId to);
  // Whether what is proposed now goes into our own log as the leader's; leader() may still be us for a turn after it did not.
  bool leads() const;
  // Another member was told to lead, and may do so before we hear of it.
  bool hands_over() const;

  // --- from the other members ---
  void on_messages(std::vector<wire::RaftMessage> messages) override;
  void on_unreachable(base::NodeId id) override;
  void on_snapshot_sent(base::NodeId id, bool sent) override;
  void on_gone(base::NodeId id) override;
  void on_self_removed() override;
  // What a message does to raft; what it has to say goes out in the next turn.
  base::Status step(raft::Message message);
  // The same for a snapshot; whether its database will be installed.
  base::Result<bool> step_snapshot(raft::Message message);

  // Copies; with the progress of all if we lead.
  raft::NodeStatus status() const { return raft_->status(); }
  base::NodeId leader() const { return leader_; }
  // There is a leader, and a connection to it.
  bool reaches_leader() const;
  // A leader that has kUncommittedBytesMax: it takes no proposal until some of it is applied.
  bool full() const;
  base::Term term() const;
  base::Index committed() const { return committed_; }
  base::Index applied() const { return applied_; }
  std::string status_json() const;  // as /debug/vars shows it
  base::Term applied_term() const { return applied_term_; }
  const raft::ConfState& conf_state() const { return conf_state_; }
  // We are the only voter.
  bool alone() const { return conf_state_.voters.size() == 1 && conf_state_.voters[0] == node_.id(); }
  // Nothing committed waits to be applied and nothing is on its way to the disk.
  bool idle() const { return to_apply_.empty() && !disk_busy_ && appends_.empty() && !unsaved_commit_; }
  // Entries are needed by a member that is getting, or has just got, a database.
  bool holds_log() const;

  // The engine durably holds everything up to `index`: a snapshot of the log may be due.
  void on_durable(base::Index index, base::Term term);
  // Takes no more work; entries under way are written.
  void stop();

  uint64_t syncs() const { return syncs_; }
  uint64_t synced_entries() const { return synced_entries_; }

 private:
  void turn();
  bool handle_ready();  // whether there was something
  bool answer_without_disk();
  void start_append();
  void step_own(raft::Message response);
  void finish_append(const base::Status& done);
  void prepare_log();
  void apply_some();
  bool may_apply(const raft::Entry& entry);
  void apply_entry(const raft::Entry& entry);
  void apply_conf_change(const raft::Entry& entry);
  void maybe_snapshot();
  void send_snapshot(raft::Message message);
  void install(raft::SnapshotPtr snapshot, std::vector<raft::Message> responses);
  void compact_log(base::Index snapshot_index);
  void log_leader(base::NodeId from, base::NodeId to);
  bool takes_proposals() const;
  void keep_proposal(raft::Message message);
  void release_proposals();
  void send(raft::Message message);
  void flush_outbox();
  void observe_heartbeat(base::NodeId to);
  void fast_start(base::Instant deadline);
  void campaign_for_gone_leader(base::NodeId gone, base::Term term);

  struct AppendJob;
  struct ApplyJob {
    std::vector<raft::Entry> entries;
    size_t next = 0;
    std::vector<raft::Message> responses;
  };

  Node& node_;
  const Config& config_;
  Environment environment_;
  std::unique_ptr<storage::Wal> wal_;
  storage::SnapDir snap_dir_;
  raft::MemoryLog log_;
  std::unique_ptr<raft::Logger> logger_;
  std::unique_ptr<raft::RawNode> raft_;

  std::deque<raft::Message> appends_;  // for the disk, in order
  std::unique_ptr<AppendJob> job_;     // on the disk
  bool disk_busy_ = false;
  storage::HardState hard_state_;  // newest that Raft asked to save
  bool unsaved_commit_ = false;    // its commit index is not on the disk; its term and vote are
  bool save_commit_now_ = false;
  std::deque<ApplyJob> to_apply_;
  raft::ConfState conf_state_;
  base::NodeId leader_ = base::kNoNode;
  base::Index committed_, applied_, snapshot_index_;
  base::Term applied_term_;
  base::Index durable_;
  base::Term durable_term_;
  std::unique_ptr<storage::WalSnapshot> job_snapshot_;  // a record for the next write
  bool snapshot_running_ = false;
  uint64_t bytes_since_snapshot_ = 0;  // applied
  bool preparing_ = false;
  bool turn_posted_ = false;
  bool stopped_ = false;
  uint64_t syncs_ = 0, synced_entries_ = 0;

  struct KeptProposal {
    raft::Message message;
    size_t bytes = 0;
    base::Instant deadline;  // its client has given up by then
  };
  std::deque<KeptProposal> kept_proposals_;
  size_t kept_proposals_bytes_ = 0;
  int snapshots_in_flight_ = 0;  // to other members
  base::Instant hold_log_until_{};
  std::vector<wire::RaftMessage> outbox_;                         // of this turn
  std::map<base::NodeId, base::Instant> heartbeats_;              // as leader: when each member was last sent one
  std::map<base::NodeId, std::vector<std::string>> known_peers_;  // as the transport knows them
  const std::vector<Member> existing_members_;                    // of the cluster that we join
  base::Rng rng_;

  // Raft's loop, or applying alone, stands still while a failpoint sleeps.
  bool held_up() const { return before_save_.closed() || after_save_.closed(); }
  [[no_unique_address]] base::failpoint::Gate before_save_, after_save_, before_entry_, before_conf_change_;
};

}  // namespace server
