// What a leader does: replicate, commit, answer reads, hand over. Class and owner: raft.h.
#include <algorithm>

#include "base/verify.h"
#include "raft/describe.h"
#include "raft/raft.h"

namespace raft {

using base::Code;
using base::Status;

namespace {

Status dropped() { return {Code::kUnavailable, std::string(kProposalDropped)}; }

}  // namespace

Status Raft::step_leader(Message&& m) {
  switch (m.type) {
    case MessageType::kBeat:
      broadcast_heartbeat();
      return {};
    case MessageType::kCheckQuorum:
      check_quorum();
      return {};
    case MessageType::kProp:
      return lead_proposal(std::move(m.entries));
    case MessageType::kReadIndex:
      lead_read_index(std::move(m));
      return {};
    case MessageType::kForgetLeader:
      return {};
    default:
      break;
  }
  // All others are about a member of the group.
  Progress* progress = group_.find(m.from);
  if (progress == nullptr) {
    log_line(LogLevel::kDebug, id_, " no progress available for ", m.from);
    return {};
  }
  switch (m.type) {
    case MessageType::kAppResp:
      handle_append_response(m, *progress);
      break;
    case MessageType::kHeartbeatResp:
      handle_heartbeat_response(m, *progress);
      break;
    case MessageType::kTransferLeader:
      handle_transfer_leader(m.from, *progress);
      break;
    default:
      break;
  }
  return {};
}

// --- proposals --------------------------------------------------------------------------------------------------------------

Status Raft::lead_proposal(std::vector<Entry>&& entries) {
  if (entries.empty()) return {Code::kInvalidArgument, "raft: empty proposal"};
  if (group_.find(id_) == nullptr) return dropped();  // Removed, and still leading until the others know.
  if (lead_transferee_ != kNoNode) {
    log_line(LogLevel::kDebug, id_, " [term ", term_, "] transfer leadership to ", lead_transferee_,
             " is in progress; dropping proposal");
    return dropped();
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].type == EntryType::kNormal) continue;
    const base::Result<ConfChangeV2> change = decode_conf_change(entries[i]);
    if (!change.ok()) return change.status();
    // One change at a time, each checked against the configuration it will meet (thesis 4.1). The check is a good guess: the
    // configuration in force is that of the last applied entry.
    const bool joint = group_.config().voters.joint();
    std::string failed;
    if (pending_conf_index_ > log_.applied()) {
      failed = text_of("possible unapplied conf change at index ", pending_conf_index_, " (applied to ", log_.applied(), ")");
    } else if (joint && !change->leaves_joint()) {
      failed = "must transition out of joint config first";
    } else if (!joint && change->changes.empty()) {
      failed = "not in joint state; refusing empty conf change";
    } else if (const auto next = group_.changed(*change, log_.last_index()); !next.ok()) {
      failed = next.status().text();  // In the log it would stop every member; etcd leaves this to its users.
    }
    if (!failed.empty() && !disable_conf_change_validation_) {
      log_line(LogLevel::kInfo, id_, " ignoring conf change ", describe(*change), " at config ", group_.config().to_string(),
               ": ", failed);
      entries[i] = Entry{};
    } else {
      pending_conf_index_ = log_.last_index() + i + 1;
    }
  }
  if (!append_entries(std::move(entries))) return dropped();
  broadcast_append();
  return {};
}

bool Raft::append_entries(std::vector<Entry>&& entries) {
  Index index = log_.last_index();
  for (Entry& entry : entries) {
    entry.term = term_;
    entry.index = ++index;
  }
  if (!grow_uncommitted(payload_size(entries))) {
    log_line(LogLevel::kWarn, id_,
             " appending new entries to log would exceed uncommitted entry size limit; dropping proposal");
    return false;
  }
  // We acknowledge to ourselves like a follower does: when the entries are saved.
  Message ack;
  ack.type = MessageType::kAppResp;
  ack.to = id_;
  ack.index = log_.append(std::move(entries));
  send(std::move(ack));
  return true;
}

bool Raft::grow_uncommitted(uint64_t payload) {
  // One proposal of any size always goes, and so does what has no data: a new leader's first entry, and leaving a joint
  // configuration.
  const bool over = payload > uncommitted_bytes_max_ || uncommitted_bytes_ > uncommitted_bytes_max_ - payload;
  if (uncommitted_bytes_ > 0 && payload > 0 && over) return false;
  uncommitted_bytes_ += payload;
  return true;
}

// --- replication ------------------------------------------------------------------------------------------------------------

bool Raft::maybe_send_append(NodeId to, bool even_empty) {
  Progress* progress = group_.find(to);
  if (to == id_ || progress == nullptr || progress->paused()) return false;
  const Index prev = progress->next - 1;
  const std::optional<Term> prev_term = log_.term(prev);
  if (!prev_term.has_value()) return maybe_send_snapshot(to, *progress);  // Compacted.

  Message m;
  // With a full window only an empty append goes out: it finds out whether what filled the window was lost.
  bool found = true;
  if (progress->state != ProgressState::kReplicate || !progress->inflights.full()) {
    found = log_.entries_from(progress->next, message_bytes_max_, m.entries);
  }
  if (m.entries.empty() && !even_empty) return false;
  if (!found) return maybe_send_snapshot(to, *progress);

  m.type = MessageType::kApp;
  m.to = to;
  m.index = prev;
  m.log_term = *prev_term;
  m.commit = log_.committed();
  progress->sent_entries(m.entries.size(), payload_size(m.entries));
  progress->sent_commit(m.commit);
  send(std::move(m));
  return true;
}

bool Raft::maybe_send_snapshot(NodeId to, Progress& progress) {
  if (!progress.recent_active) {
    log_line(LogLevel::kDebug, "ignore sending snapshot to ", to, " since it is not recently active");
    return false;
  }
  SnapshotPtr snapshot = log_.snapshot();
  if (snapshot == nullptr) {
    log_line(LogLevel::kDebug, id_, " failed to send snapshot to ", to, " because snapshot is temporarily unavailable");
    return false;
  }
  if (snapshot->empty()) panic(logger_, "need non-empty snapshot");
  log_line(LogLevel::kDebug, id_, " [firstindex: ", log_.first_index(), ", commit: ", log_.committed(),
           "] sent snapshot[index: ", snapshot->index, ", term: ", snapshot->term, "] to ", to, " [", progress.to_string(),
           "]");
  progress.become_snapshot(snapshot->index);
  log_line(LogLevel::kDebug, id_, " paused sending replication messages to ", to, " [", progress.to_string(), "]");
  Message m;
  m.type = MessageType::kSnap;
  m.to = to;
  m.snapshot = std::move(snapshot);
  send(std::move(m));
  return true;
}

void Raft::broadcast_append() {
  for (auto& [id, progress] : group_.progress()) {
    if (id != id_) send_append(id);
  }
}

void Raft::broadcast_heartbeat() {
  const std::string context = read_only_.heartbeat_context();
  for (auto& [id, progress] : group_.progress()) {
    if (id == id_) continue;
    Message m;
    m.type = MessageType::kHeartbeat;
    m.to = id;
    // Never more than the follower is known to have: it would have to commit what it has not got.
    m.commit = std::min(progress.match, log_.committed());
    m.context = context;
    progress.sent_commit(m.commit);
    send(std::move(m));
  }
}

void Raft::handle_append_rejection(const Message& m, Progress& progress) {
  log_line(LogLevel::kDebug, id_, " received MsgAppResp(rejected, hint: (index ", m.reject_hint, ", term ", m.log_term,
           ")) from ", m.from, " for index ", m.index);
  // Terms only grow along a log. The follower has `log_term` at the hint, so nothing of ours with a higher term can be in its
  // log up to there: the next probe goes to the last entry of ours whose term is not higher. With the same step taken by the
  // follower this needs one probe for each term in which the logs differ, not one for each entry.
  Index probe = m.reject_hint;
  if (m.log_term > Term{}) probe = log_.find_conflict_by_term(m.reject_hint, m.log_term).index;
  const Index acknowledged = progress.match;
  if (!progress.maybe_decrease(m.index, probe)) return;
  if (progress.match < acknowledged) {
    log_line(LogLevel::kWarn, id_, " sends ", m.from, " again what it had acknowledged up to ", acknowledged,
             " and does not have: its disk went back in time");
  }
  log_line(LogLevel::kDebug, id_, " decreased progress of ", m.from, " to [", progress.to_string(), "]");
  if (progress.state == ProgressState::kReplicate) progress.become_probe();
  send_append(m.from);
}

void Raft::handle_append_response(const Message& m, Progress& progress) {
  progress.recent_active = true;
  if (m.reject) {
    handle_append_rejection(m, progress);
    return;
  }
  if (m.index > log_.last_index()) {
    log_line(LogLevel::kWarn, id_, " ignored MsgAppResp from ", m.from, " for index ", m.index, " beyond the end of the log");
    return;
  }
  // An old acknowledgement still tells a probing leader that the follower is there.
  const bool news = progress.maybe_update(m.index);
  if (!news && !(progress.match == m.index && progress.state == ProgressState::kProbe)) return;

  if (progress.state == ProgressState::kProbe) {
    progress.become_replicate();
  } else if (progress.state == ProgressState::kSnapshot) {
    // At whatever index a snapshot was installed: if our log goes on from there, we can.
    if (progress.match + 1 >= log_.first_index()) {
      log_line(LogLevel::kDebug, id_, " recovered from needing snapshot, resumed sending replication messages to ", m.from,
               " [", progress.to_string(), "]");
      progress.become_probe();
      progress.become_replicate();
    }
  } else {
    progress.inflights.free_to(m.index);
  }

  if (maybe_commit()) {
    release_pending_reads();
    broadcast_append();
  } else if (m.from != id_ && progress.can_bump_commit(log_.committed())) {
    send_append(m.from);
  }
  if (m.from == id_) return;
  // Room in the window: everything that fits goes now.
  while (maybe_send_append(m.from, false)) {
  }
  if (m.from == lead_transferee_ && progress.match == log_.last_index()) {
    log_line(LogLevel::kInfo, id_, " sent MsgTimeoutNow to ", m.from, " after received MsgAppResp");
    send_timeout_now(m.from);
  }
}

void Raft::handle_heartbeat_response(const Message& m, Progress& progress) {
  progress.recent_active = true;
  progress.append_paused = false;
  // Also for a full window, whose messages may all be lost, and for a probed follower that has everything: its answer ends
  // the probing. While a snapshot is under way this sends nothing.
  if (progress.match < log_.last_index() || progress.state == ProgressState::kProbe) send_append(m.from);
  if (read_only_.option() != ReadOnlyOption::kSafe || m.context.empty()) return;
  read_only_.acknowledge(m.from, m.context);
  for (ReadRequest& request : read_only_.take_confirmed(group_.config().voters)) answer_read(std::move(request));
}

void Raft::report_unreachable(NodeId id) {
  Progress* progress = role_ == Role::kLeader ? group_.find(id) : nullptr;
  if (progress == nullptr) {
    if (role_ == Role::kLeader) log_line(LogLevel::kDebug, id_, " no progress available for ", id);
    return;
  }
  // What was sent ahead is probably lost.
  if (progress->state == ProgressState::kReplicate) progress->become_probe();
  log_line(LogLevel::kDebug, id_, " failed to send message to ", id, " because it is unreachable [", progress->to_string(),
           "]");
}

void Raft::report_snapshot(NodeId id, bool failed) {
  Progress* progress = role_ == Role::kLeader ? group_.find(id) : nullptr;
  if (progress == nullptr) {
    if (role_ == Role::kLeader) log_line(LogLevel::kDebug, id_, " no progress available for ", id);
    return;
  }
  if (progress->state != ProgressState::kSnapshot) return;
  if (failed) progress->pending_snapshot = Index{};
  progress->become_probe();
  log_line(LogLevel::kDebug, id_, failed ? " snapshot failed" : " snapshot succeeded",
           ", resumed sending replication messages to ", id, " [", progress->to_string(), "]");
  // The answer to the snapshot, or a heartbeat, tells when to go on.
  progress->append_paused = true;
}

// --- leader transfer --------------------------------------------------------------------------------------------------------

void Raft::transfer_leader(NodeId to) {
  Message m;
  m.type = MessageType::kTransferLeader;
  m.from = to;
  (void)step(std::move(m));
}

void Raft::send_timeout_now(NodeId to) {
  Message m;
  m.type = MessageType::kTimeoutNow;
  m.to = to;
  send(std::move(m));
}

void Raft::handle_transfer_leader(NodeId to, Progress& progress) {
  if (progress.is_learner) {
    log_line(LogLevel::kDebug, id_, " is learner. Ignored transferring leadership");
    return;
  }
  if (lead_transferee_ != kNoNode) {
    if (lead_transferee_ == to) {
      log_line(LogLevel::kInfo, id_, " [term ", term_, "] transfer leadership to ", to,
               " is in progress, ignores request to same node ", to);
      return;
    }
    log_line(LogLevel::kInfo, id_, " [term ", term_, "] abort previous transferring leadership to ", lead_transferee_);
    lead_transferee_ = kNoNode;
  }
  if (to == id_) {
    log_line(LogLevel::kDebug, id_, " is already leader. Ignored transferring leadership to self");
    return;
  }
  log_line(LogLevel::kInfo, id_, " [term ", term_, "] starts to transfer leadership to ", to);
  election_elapsed_ = 0;  // It has one election timeout to finish.
  lead_transferee_ = to;
  if (progress.match == log_.last_index()) {
    send_timeout_now(to);
    log_line(LogLevel::kInfo, id_, " sends MsgTimeoutNow to ", to, " immediately as ", to, " already has up-to-date log");
  } else {
    send_append(to);
  }
}

// --- reads ------------------------------------------------------------------------------------------------------------------

void Raft::lead_read_index(Message&& m) {
  if (m.entries.empty()) return;  // Nothing to tell the answer by.
  ReadRequest request;
  request.from = m.from == id_ ? kNoNode : m.from;
  request.entries = std::move(m.entries);
  if (group_.single_voter()) {
    request.index = log_.committed();
    answer_read(std::move(request));
    return;
  }
  // Before its first commit a leader does not know what its predecessors committed (Raft 8).
  if (!committed_in_current_term()) {
    if (pending_reads_.size() < kReadsWaitingMax) pending_reads_.push_back(std::move(request));
    return;
  }
  start_read(std::move(request));
}

void Raft::start_read(ReadRequest request) {
  request.index = log_.committed();
  if (read_only_.option() == ReadOnlyOption::kLeaseBased) {
    answer_read(std::move(request));
    return;
  }
  if (!read_only_.add(std::move(request))) return;
  read_only_.acknowledge(id_, read_only_.heartbeat_context());
  broadcast_heartbeat();
}

void Raft::answer_read(ReadRequest request) {
  if (request.from == kNoNode) {
    read_states.push_back({request.index, std::string(request.entries.front().payload())});
    return;
  }
  Message m;
  m.type = MessageType::kReadIndexResp;
  m.to = request.from;
  m.index = request.index;
  m.entries = std::move(request.entries);
  send(std::move(m));
}

void Raft::release_pending_reads() {
  if (pending_reads_.empty() || !committed_in_current_term()) return;
  std::vector<ReadRequest> requests = std::move(pending_reads_);
  pending_reads_.clear();
  for (ReadRequest& request : requests) start_read(std::move(request));
}

}  // namespace raft
