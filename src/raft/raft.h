// The Raft state machine: messages, ticks and proposals in; messages, entries to save and log positions out. No clock, no disk,
// no network, no thread: RawNode (raw_node.h) is the door for users. Owner: one thread.
// Source of behaviour: etcd-io/raft v3.7.0, which tests compare with, line by line of its log.
//
//   raft.cc      life cycle, terms, ticks, elections, membership
//   leader.cc    replication, commit, reads, leader transfer
//   follower.cc  followers and candidates, snapshots
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/status.h"
#include "raft/group.h"
#include "raft/log.h"
#include "raft/logger.h"
#include "raft/read_only.h"
#include "raft/types.h"

namespace raft {

struct Config {
  NodeId id;
  // Ticks without a word from a leader before an election; each wait is drawn from [election_ticks, 2 * election_ticks).
  int election_ticks = 10;
  int heartbeat_ticks = 1;
  LogStorage* storage = nullptr;  // outlives the node
  Logger* logger = nullptr;       // outlives the node
  uint64_t seed = 0;              // of the random waits
  // Entries up to here are applied already (restart).
  Index applied;
  // Entries are written and applied in answer to messages (kStorageAppend, kStorageApply) whose responses come back through
  // step(), instead of between take_ready() and advance(). Each of the two kinds must be worked off in order.
  bool async_storage_writes = false;

  uint64_t message_bytes_max = 1 << 20;  // encoded entries in one append; the first entry always goes
  uint64_t committed_bytes_max = 0;      // handed out and not yet applied; 0: message_bytes_max
  uint64_t uncommitted_bytes_max = 0;    // payload in a leader's uncommitted tail, else proposals are dropped; 0: no limit
  size_t inflight_messages_max = 512;    // appends on their way to one follower
  uint64_t inflight_bytes_max = 0;       // 0: no limit

  bool check_quorum = false;  // a leader that hears no quorum for an election timeout steps down; followers have leases
  bool pre_vote = false;      // ask before raising the term (thesis 9.6)
  ReadOnlyOption read_only = ReadOnlyOption::kSafe;
  bool disable_proposal_forwarding = false;
  bool disable_conf_change_validation = false;
  bool step_down_on_removal = false;

  base::Status validate() const;
};

// Texts of errors that callers tell apart.
inline constexpr std::string_view kProposalDropped = "raft proposal dropped";
inline constexpr std::string_view kStepLocalMessage = "raft: cannot step raft local message";
inline constexpr std::string_view kStepPeerNotFound = "raft: cannot step as peer not found";

class Raft {
 public:
  // REQUIRES: config.validate().ok().
  explicit Raft(const Config& config);
  Raft(const Raft&) = delete;
  Raft& operator=(const Raft&) = delete;

  // --- inputs ---------------------------------------------------------------------------------------------------------------
  // Errors: kUnavailable kProposalDropped; kInvalidArgument for a message that makes no sense.
  base::Status step(Message&& message);
  // Entries need type and data only. Error: kUnavailable kProposalDropped, for all of them.
  base::Status propose(std::vector<Entry> entries);
  void tick();
  void campaign() { hup(pre_vote_ ? Campaign::kPreElection : Campaign::kElection); }
  void check_quorum();
  void transfer_leader(NodeId to);
  void report_unreachable(NodeId id);
  void report_snapshot(NodeId id, bool failed);
  ConfState apply_conf_change(const ConfChangeV2& change);
  // The entries up to `index` with `bytes` encoded and `payload` bytes of data are applied.
  void applied_to(Index index, uint64_t bytes, uint64_t payload);
  void applied_snapshot(Index index);
  void stable_to(EntryId id) { log_.stable_to(id); }
  // A fresh group: one entry at term 1 for each member, committed. REQUIRES: the log is empty.
  void bootstrap(const std::vector<ConfChange>& members);

  // --- state ----------------------------------------------------------------------------------------------------------------
  NodeId id() const { return id_; }
  Term term() const { return term_; }
  NodeId vote() const { return vote_; }
  NodeId leader() const { return leader_; }
  Role role() const { return role_; }
  bool is_learner() const { return is_learner_; }
  NodeId lead_transferee() const { return lead_transferee_; }
  SoftState soft_state() const { return {leader_, role_}; }
  HardState hard_state() const { return {term_, vote_, log_.committed()}; }
  const Log& log() const { return log_; }
  Log& log() { return log_; }
  const Group& group() const { return group_; }
  Logger& logger() const { return logger_; }
  uint64_t uncommitted_bytes() const { return uncommitted_bytes_; }
  bool promotable() const;

  // --- outputs, taken by RawNode --------------------------------------------------------------------------------------------
  std::vector<Message> messages;             // to others, at once
  std::vector<Message> messages_after_save;  // to others and to us, when all that is unstable now is saved
  std::vector<ReadState> read_states;

  void set_randomized_election_timeout_for_test(int ticks) { randomized_timeout_ = ticks; }
  Progress* progress_for_test(NodeId id) { return group_.find(id); }

 private:
  enum class Campaign { kPreElection, kElection, kTransfer };

  // raft.cc
  void reset(Term term);
  void become_follower(Term term, NodeId leader);
  void become_candidate();
  void become_pre_candidate();
  void become_leader();
  void hup(Campaign kind);
  void start_campaign(Campaign kind);
  Tally poll(NodeId id, MessageType type, bool granted);
  bool has_unapplied_conf_changes() const;
  bool pass_term_rules(const Message& m);  // false: done with this message
  void step_older_term(const Message& m);
  void step_vote_request(const Message& m);
  void send(Message&& m);
  ConfState switch_to(Members members);
  void load(const HardState& state);
  template <class... Parts>
  void log_line(LogLevel level, const Parts&... parts) const {
    raft::log(logger_, level, parts...);
  }

  // leader.cc
  base::Status step_leader(Message&& m);
  base::Status lead_proposal(std::vector<Entry>&& entries);
  bool append_entries(std::vector<Entry>&& entries);
  void handle_append_response(const Message& m, Progress& progress);
  void handle_append_rejection(const Message& m, Progress& progress);
  void handle_heartbeat_response(const Message& m, Progress& progress);
  void handle_transfer_leader(NodeId to, Progress& progress);
  void lead_read_index(Message&& m);
  void start_read(ReadRequest request);
  void answer_read(ReadRequest request);
  void release_pending_reads();
  void send_append(NodeId to) { maybe_send_append(to, true); }
  bool maybe_send_append(NodeId to, bool even_empty);
  bool maybe_send_snapshot(NodeId to, Progress& progress);
  void send_timeout_now(NodeId to);
  void broadcast_append();
  void broadcast_heartbeat();
  bool maybe_commit() { return log_.maybe_commit({term_, group_.committed()}); }
  bool committed_in_current_term() const { return log_.term_or_zero(log_.committed()) == term_; }
  bool grow_uncommitted(uint64_t payload);

  // follower.cc
  base::Status step_follower(Message&& m);
  base::Status step_candidate(Message&& m);
  base::Status forward_proposal(Message&& m);
  void handle_append(Message&& m);
  void handle_heartbeat(Message&& m);
  void handle_snapshot(const Message& m);
  bool restore(const SnapshotPtr& snapshot);

  const NodeId id_;
  Logger& logger_;
  Log log_;
  Group group_;
  ReadOnly read_only_;
  base::Rng rng_;

  Term term_;
  NodeId vote_;
  Role role_ = Role::kFollower;
  NodeId leader_;
  bool is_learner_ = false;
  Index agreed_;  // follower: so far an append of this term, taken since the start, has shown our log to be the leader's
  bool told_of_other_log_ = false;  // in this term
  NodeId lead_transferee_;          // leader: being made leader
  // Leader: no conf change may be proposed before everything up to here is applied.
  Index pending_conf_index_;
  uint64_t uncommitted_bytes_ = 0;          // leader: payload proposed and not yet applied
  std::vector<ReadRequest> pending_reads_;  // leader: until an entry of its term is committed

  int election_elapsed_ = 0;   // ticks; since the leader was heard, on a leader since the last quorum check
  int heartbeat_elapsed_ = 0;  // ticks; leader only
  int randomized_timeout_ = 0;
  const int election_timeout_;
  const int heartbeat_timeout_;
  const bool check_quorum_;
  const bool pre_vote_;
  const bool disable_proposal_forwarding_;
  const bool disable_conf_change_validation_;
  const bool step_down_on_removal_;
  const uint64_t message_bytes_max_;
  const uint64_t uncommitted_bytes_max_;
};

}  // namespace raft
