// What followers and candidates do: vote counting, taking entries and snapshots. Class and owner: raft.h.
#include <algorithm>
#include <utility>

#include "base/verify.h"
#include "raft/describe.h"
#include "raft/raft.h"

namespace raft {

using base::Code;
using base::Status;

namespace {

Status dropped() { return {Code::kUnavailable, std::string(kProposalDropped)}; }

// A leader's entries follow one another from behind `m.index` on, in terms that never fall and never pass its own.
bool well_formed(const Message& m) {
  Index index = m.index;
  Term term = m.log_term;
  for (const Entry& entry : m.entries) {
    if (entry.index != ++index || entry.term < term) return false;
    term = entry.term;
  }
  return term <= m.term;
}

}  // namespace

Status Raft::step_candidate(Message&& m) {
  // Answers to the pre-vote may still come in when the vote is under way, and do not count for it.
  const MessageType expected = role_ == Role::kPreCandidate ? MessageType::kPreVoteResp : MessageType::kVoteResp;
  switch (m.type) {
    case MessageType::kProp:
      log_line(LogLevel::kInfo, id_, " no leader at term ", term_, "; dropping proposal");
      return dropped();
    case MessageType::kApp:
      become_follower(m.term, m.from);
      handle_append(std::move(m));
      break;
    case MessageType::kHeartbeat:
      become_follower(m.term, m.from);
      handle_heartbeat(std::move(m));
      break;
    case MessageType::kSnap:
      become_follower(m.term, m.from);
      handle_snapshot(m);
      break;
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp: {
      if (m.type != expected) break;
      const Tally tally = poll(m.from, m.type, !m.reject);
      log_line(LogLevel::kInfo, id_, " has received ", tally.granted, " ", name_of(m.type), " votes and ", tally.rejected,
               " vote rejections");
      if (tally.result == VoteResult::kWon) {
        if (role_ == Role::kPreCandidate) {
          start_campaign(Campaign::kElection);
        } else {
          become_leader();
          broadcast_append();
        }
      } else if (tally.result == VoteResult::kLost) {
        become_follower(term_, kNoNode);
      }
      break;
    }
    case MessageType::kTimeoutNow:
      log_line(LogLevel::kDebug, id_, " [term ", term_, " state ", name_of(role_), "] ignored MsgTimeoutNow from ", m.from);
      break;
    default:
      break;
  }
  return {};
}

Status Raft::forward_proposal(Message&& m) {
  if (leader_ == kNoNode) {
    log_line(LogLevel::kInfo, id_, " no leader at term ", term_, "; dropping proposal");
    return dropped();
  }
  if (disable_proposal_forwarding_) {
    log_line(LogLevel::kInfo, id_, " not forwarding to leader ", leader_, " at term ", term_, "; dropping proposal");
    return dropped();
  }
  m.to = leader_;
  m.term = Term{};
  send(std::move(m));
  return {};
}

Status Raft::step_follower(Message&& m) {
  switch (m.type) {
    case MessageType::kProp:
      return forward_proposal(std::move(m));
    case MessageType::kApp:
      election_elapsed_ = 0;
      leader_ = m.from;
      handle_append(std::move(m));
      break;
    case MessageType::kHeartbeat:
      election_elapsed_ = 0;
      leader_ = m.from;
      handle_heartbeat(std::move(m));
      break;
    case MessageType::kSnap:
      election_elapsed_ = 0;
      leader_ = m.from;
      handle_snapshot(m);
      break;
    case MessageType::kTransferLeader:
      if (leader_ == kNoNode) {
        log_line(LogLevel::kInfo, id_, " no leader at term ", term_, "; dropping leader transfer msg");
        break;
      }
      m.to = leader_;
      m.term = Term{};
      send(std::move(m));
      break;
    case MessageType::kForgetLeader:
      // With reads under a lease a second leader could be elected while the first one still answers.
      if (read_only_.option() == ReadOnlyOption::kLeaseBased) {
        log_line(LogLevel::kError, "ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
      } else if (leader_ != kNoNode) {
        log_line(LogLevel::kInfo, id_, " forgetting leader ", leader_, " at term ", term_);
        leader_ = kNoNode;
      }
      break;
    case MessageType::kTimeoutNow:
      log_line(LogLevel::kInfo, id_, " [term ", term_, "] received MsgTimeoutNow from ", m.from,
               " and starts an election to get leadership.");
      // No pre-vote: the leader itself has asked for it.
      hup(Campaign::kTransfer);
      break;
    case MessageType::kReadIndex:
      if (leader_ == kNoNode) {
        log_line(LogLevel::kInfo, id_, " no leader at term ", term_, "; dropping index reading msg");
        break;
      }
      m.to = leader_;
      m.term = Term{};
      send(std::move(m));
      break;
    case MessageType::kReadIndexResp:
      if (m.entries.size() != 1) {
        log_line(LogLevel::kError, id_, " invalid format of MsgReadIndexResp from ", m.from,
                 ", entries count: ", m.entries.size());
        break;
      }
      read_states.push_back({m.index, std::string(m.entries.front().payload())});
      break;
    default:
      break;
  }
  return {};
}

void Raft::handle_append(Message&& m) {
  if (!well_formed(m)) {
    log_line(LogLevel::kWarn, id_, " ignored malformed MsgApp [logterm: ", m.log_term, ", index: ", m.index, "] from ", m.from);
    return;
  }
  Message answer;
  answer.type = MessageType::kAppResp;
  answer.to = m.from;
  if (m.index < log_.committed()) {
    answer.index = log_.committed();
    send(std::move(answer));
    return;
  }
  const EntryId prev{m.log_term, m.index};
  if (const std::optional<Index> last = log_.maybe_append(prev, std::move(m.entries), m.commit)) {
    answer.index = *last;
    agreed_ = std::max(agreed_, *last);
    send(std::move(answer));
    return;
  }
  log_line(LogLevel::kDebug, id_, " [logterm: ", log_.term_or_zero(prev.index), ", index: ", prev.index,
           "] rejected MsgApp [logterm: ", prev.term, ", index: ", prev.index, "] from ", m.from);
  // Where the logs may agree at the latest: nothing of ours with a higher term than the leader has at `prev` can be in its log
  // before it. The leader makes the same step on its side (handle_append_rejection).
  const EntryId hint = log_.find_conflict_by_term(std::min(prev.index, log_.last_index()), prev.term);
  answer.index = prev.index;
  answer.reject = true;
  answer.reject_hint = hint.index;
  answer.log_term = hint.term;
  send(std::move(answer));
}

// A leader tells of no more than we have acknowledged to it. One whose disk went back in time since (nobody can prevent that,
// and a leader does not see it) has other entries there, of earlier terms; to commit those would be silent damage. Entries of
// this term come from this leader alone, and so does everything before them; else what it has sent since the start counts.
void Raft::handle_heartbeat(Message&& m) {
  const Index agreed = log_.last_entry_id().term == term_ ? log_.last_index() : agreed_;
  const bool beyond = m.commit > std::max(agreed, log_.committed()) && m.commit <= log_.last_index();
  if (beyond && !std::exchange(told_of_other_log_, true)) {
    log_line(LogLevel::kWarn, id_, " [commit: ", log_.committed(), ", agreed: ", agreed, "] does not commit up to ", m.commit,
             " as ", m.from, " says at term ", term_, ": its own entries there were not compared with the leader's");
  }
  log_.commit_to(beyond ? std::max(agreed, log_.committed()) : m.commit);
  Message answer;
  answer.type = MessageType::kHeartbeatResp;
  answer.to = m.from;
  answer.context = std::move(m.context);
  send(std::move(answer));
}

void Raft::handle_snapshot(const Message& m) {
  const SnapshotPtr snapshot = m.snapshot != nullptr ? m.snapshot : std::make_shared<const Snapshot>();
  const bool restored = restore(snapshot);
  if (restored) agreed_ = log_.last_index();
  log_line(LogLevel::kInfo, id_, " [commit: ", log_.committed(),
           restored ? "] restored snapshot [index: " : "] ignored snapshot [index: ", snapshot->index,
           ", term: ", snapshot->term, "]");
  Message answer;
  answer.type = MessageType::kAppResp;
  answer.to = m.from;
  answer.index = restored ? log_.last_index() : log_.committed();
  send(std::move(answer));
}

// False: not needed, or not for us.
bool Raft::restore(const SnapshotPtr& snapshot) {
  if (snapshot->index <= log_.committed()) return false;
  VERIFY(role_ == Role::kFollower);
  const ConfState& state = snapshot->conf_state;
  // Who is in learners_next is also an outgoing voter.
  bool member = false;
  for (const std::vector<NodeId>* ids : {&state.voters, &state.learners, &state.voters_outgoing}) {
    member = member || std::find(ids->begin(), ids->end(), id_) != ids->end();
  }
  if (!member) {
    log_line(LogLevel::kWarn, id_, " attempted to restore snapshot but it is not in the ConfState ", describe(state),
             "; should never happen");
    return false;
  }
  const auto place = [&](const char* did) {
    const EntryId last = log_.last_entry_id();
    log_line(LogLevel::kInfo, id_, " [commit: ", log_.committed(), ", lastindex: ", last.index, ", lastterm: ", last.term, "] ",
             did, " [index: ", snapshot->index, ", term: ", snapshot->term, "]");
  };
  if (log_.matches({snapshot->term, snapshot->index})) {
    // Our log has it all; only the news that it is committed was missing.
    place("fast-forwarded commit to snapshot");
    log_.commit_to(snapshot->index);
    return false;
  }
  base::Result<Members> members = group_.restored(state, snapshot->index);
  if (!members.ok() || !equivalent(state, members->config.conf_state())) {
    log_line(LogLevel::kError, id_, " ignored a snapshot whose ConfState contradicts itself: ", describe(state));
    return false;
  }
  log_.restore(snapshot);
  (void)switch_to(std::move(*members));
  place("restored snapshot");
  return true;
}

}  // namespace raft
