#include "raft/raft.h"

#include <algorithm>

#include "base/verify.h"
#include "raft/describe.h"

namespace raft {

using base::Code;
using base::Status;

namespace {

// Marks the votes asked for by a member that the leader chose as its successor: no lease stands against them.
constexpr std::string_view kCampaignTransfer = "CampaignTransfer";

Status invalid(std::string_view text) { return {Code::kInvalidArgument, std::string(text)}; }

bool is_vote_type(MessageType type) {
  return type == MessageType::kVote || type == MessageType::kVoteResp || type == MessageType::kPreVote ||
         type == MessageType::kPreVoteResp;
}

MessageType vote_response(MessageType request) {
  return request == MessageType::kVote ? MessageType::kVoteResp : MessageType::kPreVoteResp;
}

// Requests of this process and requests on their way to the leader; whatever else comes without a term is damaged.
bool may_lack_term(MessageType type) {
  return type == MessageType::kProp || type == MessageType::kReadIndex || type == MessageType::kTransferLeader ||
         type == MessageType::kForgetLeader || is_local(type);
}

uint64_t or_no_limit(uint64_t limit) { return limit == 0 ? kNoLimit : limit; }

}  // namespace

Status Config::validate() const {
  if (id == kNoNode) return invalid("cannot use none as id");
  if (is_local_target(id)) return invalid("cannot use local target as id");
  if (heartbeat_ticks <= 0) return invalid("heartbeat tick must be greater than 0");
  if (election_ticks <= heartbeat_ticks) return invalid("election tick must be greater than heartbeat tick");
  if (storage == nullptr) return invalid("storage cannot be nil");
  if (logger == nullptr) return invalid("logger cannot be nil");
  if (inflight_messages_max == 0) return invalid("max inflight messages must be greater than 0");
  if (inflight_bytes_max != 0 && inflight_bytes_max < message_bytes_max) {
    return invalid("max inflight bytes must be >= max message size");
  }
  if (read_only == ReadOnlyOption::kLeaseBased && !check_quorum) {
    return invalid("CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased");
  }
  return {};
}

Raft::Raft(const Config& config)
    : id_(config.id),
      logger_(*config.logger),
      log_(*config.storage, *config.logger,
           config.committed_bytes_max != 0 ? config.committed_bytes_max : config.message_bytes_max),
      group_(config.inflight_messages_max, or_no_limit(config.inflight_bytes_max)),
      read_only_(config.read_only),
      rng_(config.seed),
      election_timeout_(config.election_ticks),
      heartbeat_timeout_(config.heartbeat_ticks),
      check_quorum_(config.check_quorum),
      pre_vote_(config.pre_vote),
      disable_proposal_forwarding_(config.disable_proposal_forwarding),
      disable_conf_change_validation_(config.disable_conf_change_validation),
      step_down_on_removal_(config.step_down_on_removal),
      message_bytes_max_(config.message_bytes_max),
      uncommitted_bytes_max_(or_no_limit(config.uncommitted_bytes_max)) {
  VERIFY(config.validate().ok());
  const EntryId last = log_.last_entry_id();
  const ConfState stored = config.storage->conf_state();
  base::Result<Members> members = group_.restored(stored, last.index);
  if (!members.ok()) panic(logger_, members.status().text());
  if (!equivalent(stored, switch_to(std::move(*members)))) panic(logger_, "ConfStates not equivalent after restore");

  const HardState state = config.storage->hard_state();
  if (!state.empty()) load(state);
  if (config.applied > Index{}) log_.applied_to(config.applied, 0);
  become_follower(term_, kNoNode);

  std::string voters;
  for (const NodeId voter : group_.config().voters.all()) {
    if (!voters.empty()) voters += ',';
    append_part(voters, voter);
  }
  log_line(LogLevel::kInfo, "newRaft ", id_, " [peers: [", voters, "], term: ", term_, ", commit: ", log_.committed(),
           ", applied: ", log_.applied(), ", lastindex: ", last.index, ", lastterm: ", last.term, "]");
}

void Raft::load(const HardState& state) {
  if (state.commit < log_.committed() || state.commit > log_.last_index()) {
    panic(logger_,
          text_of(id_, " state.commit ", state.commit, " is out of range [", log_.committed(), ", ", log_.last_index(), "]"));
  }
  log_.set_committed(state.commit);
  term_ = state.term;
  vote_ = state.vote;
}

void Raft::bootstrap(const std::vector<ConfChange>& members) {
  VERIFY(log_.last_index() == Index{} && !members.empty());
  become_follower(Term(1), kNoNode);
  std::vector<Entry> entries;
  for (const ConfChange& change : members) {
    entries.push_back(
        {EntryType::kConfChange, Term(1), Index(entries.size() + 1), std::make_shared<const std::string>(encode(change))});
  }
  log_.set_committed(log_.append(std::move(entries)));
  // Known before the entries are applied, so that there can be an election at once; applying them again changes nothing.
  for (const ConfChange& change : members) apply_conf_change(as_v2(change));
}

// --- sending ----------------------------------------------------------------------------------------------------------------

void Raft::send(Message&& m) {
  if (m.from == kNoNode) m.from = id_;
  if (is_vote_type(m.type)) {
    VERIFY(m.term != Term{});  // Granted votes carry the candidate's term, which need not be ours.
  } else {
    VERIFY(m.term == Term{});
    // Forwarded requests stay outside of the term rules.
    if (m.type != MessageType::kProp && m.type != MessageType::kReadIndex) m.term = term_;
  }
  if (m.type == MessageType::kAppResp || m.type == MessageType::kVoteResp || m.type == MessageType::kPreVoteResp) {
    // Promises: they hold only when what they promise is on disk. (A pre-vote promises nothing, but keeps its place in line.)
    messages_after_save.push_back(std::move(m));
  } else {
    VERIFY(m.to != id_);
    messages.push_back(std::move(m));
  }
}

// --- roles ------------------------------------------------------------------------------------------------------------------

void Raft::reset(Term term) {
  if (term_ != term) {
    term_ = term;
    vote_ = kNoNode;
    agreed_ = Index{};
    told_of_other_log_ = false;
  }
  leader_ = kNoNode;
  election_elapsed_ = 0;
  heartbeat_elapsed_ = 0;
  randomized_timeout_ = election_timeout_ + static_cast<int>(rng_.below(static_cast<uint64_t>(election_timeout_)));
  lead_transferee_ = kNoNode;

  group_.reset_votes();
  const Index last = log_.last_index();
  for (auto& [id, progress] : group_.progress()) {
    progress = Progress(id == id_ ? last : Index{}, last + 1, group_.new_inflights(), progress.is_learner);
  }
  pending_conf_index_ = Index{};
  uncommitted_bytes_ = 0;
  read_only_.reset();
}

void Raft::become_follower(Term term, NodeId leader) {
  reset(term);
  leader_ = leader;
  role_ = Role::kFollower;
  log_line(LogLevel::kInfo, id_, " became follower at term ", term_);
}

void Raft::become_candidate() {
  VERIFY(role_ != Role::kLeader);
  reset(term_ + 1);
  vote_ = id_;
  role_ = Role::kCandidate;
  log_line(LogLevel::kInfo, id_, " became candidate at term ", term_);
}

void Raft::become_pre_candidate() {
  VERIFY(role_ != Role::kLeader);
  // Neither the term nor the vote changes: asking costs nobody anything.
  group_.reset_votes();
  leader_ = kNoNode;
  role_ = Role::kPreCandidate;
  log_line(LogLevel::kInfo, id_, " became pre-candidate at term ", term_);
}

void Raft::become_leader() {
  VERIFY(role_ != Role::kFollower);
  reset(term_);
  leader_ = id_;
  role_ = Role::kLeader;
  Progress* self = group_.find(id_);
  VERIFY(self != nullptr);
  self->become_replicate();
  self->recent_active = true;
  // There may be a conf change in the uncommitted tail: looking for it costs more than waiting until the tail is applied.
  pending_conf_index_ = log_.last_index();
  // Only an entry of this term can commit those before it (Raft 5.4.2).
  std::vector<Entry> entries(1);
  VERIFY(append_entries(std::move(entries)));
  log_line(LogLevel::kInfo, id_, " became leader at term ", term_);
}

// --- time -------------------------------------------------------------------------------------------------------------------

void Raft::tick() {
  ++election_elapsed_;
  if (role_ != Role::kLeader) {
    if (promotable() && election_elapsed_ >= randomized_timeout_) {
      election_elapsed_ = 0;
      campaign();
    }
    return;
  }
  ++heartbeat_elapsed_;
  if (election_elapsed_ >= election_timeout_) {
    election_elapsed_ = 0;
    if (check_quorum_) check_quorum();
    // A transfer that takes longer than an election is given up.
    if (role_ == Role::kLeader) lead_transferee_ = kNoNode;
  }
  if (role_ == Role::kLeader && heartbeat_elapsed_ >= heartbeat_timeout_) {
    heartbeat_elapsed_ = 0;
    broadcast_heartbeat();
  }
}

void Raft::check_quorum() {
  if (role_ != Role::kLeader) return;
  if (!group_.quorum_active()) {
    log_line(LogLevel::kWarn, id_, " stepped down to follower since quorum is not active");
    become_follower(term_, kNoNode);
  }
  for (auto& [id, progress] : group_.progress()) {
    if (id != id_) progress.recent_active = false;
  }
}

// --- elections --------------------------------------------------------------------------------------------------------------

bool Raft::promotable() const {
  const Progress* self = group_.find(id_);
  return self != nullptr && !self->is_learner && !log_.has_snapshot();
}

void Raft::hup(Campaign kind) {
  if (role_ == Role::kLeader) {
    log_line(LogLevel::kDebug, id_, " ignoring MsgHup because already leader");
    return;
  }
  if (!promotable()) {
    log_line(LogLevel::kWarn, id_, " is unpromotable and can not campaign");
    return;
  }
  if (has_unapplied_conf_changes()) {
    log_line(LogLevel::kWarn, id_, " cannot campaign at term ", term_,
             " since there are still pending configuration changes to apply");
    return;
  }
  log_line(LogLevel::kInfo, id_, " is starting a new election at term ", term_);
  start_campaign(kind);
}

bool Raft::has_unapplied_conf_changes() const {
  std::vector<Entry> page;
  for (Index next = log_.applied() + 1; next <= log_.committed(); next = next + page.size()) {
    page.clear();
    const bool found = log_.slice(next, log_.committed() + 1, log_.applying_bytes_max(), page);
    if (!found || page.empty()) {
      panic(logger_, text_of("error scanning unapplied entries [", next, ", ", log_.committed() + 1, ")"));
    }
    const auto changes = [](const Entry& entry) { return entry.type != EntryType::kNormal; };
    if (std::any_of(page.begin(), page.end(), changes)) return true;
  }
  return false;
}

void Raft::start_campaign(Campaign kind) {
  const bool pre = kind == Campaign::kPreElection;
  if (pre) {
    become_pre_candidate();
  } else {
    become_candidate();
  }
  const MessageType type = pre ? MessageType::kPreVote : MessageType::kVote;
  const Term term = pre ? term_ + 1 : term_;
  const EntryId last = log_.last_entry_id();
  for (const NodeId voter : group_.config().voters.all()) {
    Message m;
    m.to = voter;
    m.term = term;
    if (voter == id_) {
      // Our own vote counts when it is on disk: it comes back to us like an answer.
      m.type = vote_response(type);
    } else {
      log_line(LogLevel::kInfo, id_, " [logterm: ", last.term, ", index: ", last.index, "] sent ", name_of(type),
               " request to ", voter, " at term ", term_);
      m.type = type;
      m.index = last.index;
      m.log_term = last.term;
      if (kind == Campaign::kTransfer) m.context = kCampaignTransfer;
    }
    send(std::move(m));
  }
}

Tally Raft::poll(NodeId id, MessageType type, bool granted) {
  log_line(LogLevel::kInfo, id_, " received ", name_of(type), granted ? " from " : " rejection from ", id, " at term ", term_);
  group_.record_vote(id, granted);
  return group_.tally();
}

void Raft::step_vote_request(const Message& m) {
  // One vote a term; none against a leader that we know. A pre-vote for a later term is only an opinion.
  const bool can_vote =
      vote_ == m.from || (vote_ == kNoNode && leader_ == kNoNode) || (m.type == MessageType::kPreVote && m.term > term_);
  const EntryId last = log_.last_entry_id();
  // A learner votes as well: it may have been promoted and not know it yet, and its vote may be the one that is needed.
  const bool granted = can_vote && log_.up_to_date({m.log_term, m.index});
  log_line(LogLevel::kInfo, id_, " [logterm: ", last.term, ", index: ", last.index, ", vote: ", vote_, "] ",
           granted ? "cast " : "rejected ", name_of(m.type), granted ? " for " : " from ", m.from, " [logterm: ", m.log_term,
           ", index: ", m.index, "] at term ", term_);
  Message answer;
  answer.type = vote_response(m.type);
  answer.to = m.from;
  answer.reject = !granted;
  // A granted pre-vote answers at the term asked for, or the candidate would drop it as old. No answer goes without a term.
  answer.term = granted || term_ == Term{} ? m.term : term_;
  send(std::move(answer));
  if (granted && m.type == MessageType::kVote) {
    election_elapsed_ = 0;
    vote_ = m.from;
  }
}

// --- messages ---------------------------------------------------------------------------------------------------------------

bool Raft::pass_term_rules(const Message& m) {
  if (m.term == Term{}) {
    if (may_lack_term(m.type)) return true;
    log_line(LogLevel::kWarn, id_, " ignored a ", name_of(m.type), " message without term from ", m.from);
    return false;
  }
  if (m.term == term_) return true;
  if (m.term < term_) {
    step_older_term(m);
    return false;
  }
  if (m.type == MessageType::kVote || m.type == MessageType::kPreVote) {
    const bool forced = m.context == kCampaignTransfer;
    const bool in_lease = check_quorum_ && leader_ != kNoNode && election_elapsed_ < election_timeout_;
    if (in_lease && !forced) {
      const EntryId last = log_.last_entry_id();
      log_line(LogLevel::kInfo, id_, " [logterm: ", last.term, ", index: ", last.index, ", vote: ", vote_, "] ignored ",
               name_of(m.type), " from ", m.from, " [logterm: ", m.log_term, ", index: ", m.index, "] at term ", term_,
               ": lease is not expired (remaining ticks: ", election_timeout_ - election_elapsed_, ")");
      return false;
    }
  }
  // Pre-votes talk about a term that nobody has yet.
  if (m.type == MessageType::kPreVote || (m.type == MessageType::kPreVoteResp && !m.reject)) return true;
  log_line(LogLevel::kInfo, id_, " [term: ", term_, "] received a ", name_of(m.type), " message with higher term from ", m.from,
           " [term: ", m.term, "]");
  const bool from_leader = m.type == MessageType::kApp || m.type == MessageType::kHeartbeat || m.type == MessageType::kSnap;
  become_follower(m.term, from_leader ? m.from : kNoNode);
  return true;
}

void Raft::step_older_term(const Message& m) {
  if ((check_quorum_ || pre_vote_) && (m.type == MessageType::kHeartbeat || m.type == MessageType::kApp)) {
    // We are ahead of this leader's term and cannot follow it, and a lease may keep our votes from being heard. An answer at
    // our term makes it step down, and the group finds together again.
    Message answer;
    answer.type = MessageType::kAppResp;
    answer.to = m.from;
    send(std::move(answer));
  } else if (m.type == MessageType::kPreVote) {
    // Silence could let two members with different terms wait for each other for ever.
    const EntryId last = log_.last_entry_id();
    log_line(LogLevel::kInfo, id_, " [logterm: ", last.term, ", index: ", last.index, ", vote: ", vote_, "] rejected ",
             name_of(m.type), " from ", m.from, " [logterm: ", m.log_term, ", index: ", m.index, "] at term ", term_);
    Message answer;
    answer.type = MessageType::kPreVoteResp;
    answer.to = m.from;
    answer.term = term_;
    answer.reject = true;
    send(std::move(answer));
  } else if (m.type == MessageType::kStorageAppendResp) {
    // Another leader may have replaced these entries, and its write may still be under way behind this one. What is stable is
    // told again with each later save.
    if (m.index != Index{}) {
      log_line(LogLevel::kInfo, id_, " [term: ", term_, "] ignored entry appends from a ", name_of(m.type),
               " message with lower term [term: ", m.term, "]");
    }
    if (m.snapshot != nullptr) applied_snapshot(m.snapshot->index);  // Committed state is right in every term.
  } else {
    log_line(LogLevel::kInfo, id_, " [term: ", term_, "] ignored a ", name_of(m.type), " message with lower term from ", m.from,
             " [term: ", m.term, "]");
  }
}

Status Raft::step(Message&& m) {
  if (!pass_term_rules(m)) return {};
  switch (m.type) {
    case MessageType::kHup:
      campaign();
      return {};
    case MessageType::kVote:
    case MessageType::kPreVote:
      step_vote_request(m);
      return {};
    case MessageType::kStorageAppendResp:
      if (m.index != Index{}) log_.stable_to({m.log_term, m.index});
      if (m.snapshot != nullptr) applied_snapshot(m.snapshot->index);
      return {};
    case MessageType::kStorageApplyResp:
      if (!m.entries.empty()) applied_to(m.entries.back().index, encoded_size(m.entries), payload_size(m.entries));
      return {};
    default:
      break;
  }
  switch (role_) {
    case Role::kLeader:
      return step_leader(std::move(m));
    case Role::kFollower:
      return step_follower(std::move(m));
    default:
      return step_candidate(std::move(m));
  }
}

Status Raft::propose(std::vector<Entry> entries) {
  if (role_ == Role::kLeader) return lead_proposal(std::move(entries));
  Message m;
  m.type = MessageType::kProp;
  m.from = id_;
  m.entries = std::move(entries);
  return step(std::move(m));
}

// --- applying and membership ------------------------------------------------------------------------------------------------

void Raft::applied_to(Index index, uint64_t bytes, uint64_t payload) {
  const Index applied = std::max(index, log_.applied());
  log_.applied_to(applied, bytes);
  if (group_.config().auto_leave && applied >= pending_conf_index_ && role_ == Role::kLeader) {
    // No data: an empty change, which leaves the joint configuration, and which no limit on sizes can refuse. A leader transfer
    // can; then it is tried again with the next applied entry.
    std::vector<Entry> leave(1);
    leave.front().type = EntryType::kConfChangeV2;
    const Status proposed = propose(std::move(leave));
    if (proposed.ok()) {
      log_line(LogLevel::kInfo, "initiating automatic transition out of joint configuration ", group_.config().to_string());
    } else {
      log_line(LogLevel::kDebug, "not initiating automatic transition out of joint configuration ", group_.config().to_string(),
               ": ", proposed.text());
    }
  }
  // May be an underestimate after a change of leader, never an overestimate.
  uncommitted_bytes_ -= std::min(uncommitted_bytes_, payload);
}

void Raft::applied_snapshot(Index index) {
  log_.stable_snapshot_to(index);
  applied_to(index, 0, 0);
}

ConfState Raft::apply_conf_change(const ConfChangeV2& change) {
  base::Result<Members> members = group_.changed(change, log_.last_index());
  // It was checked when it was proposed, and is the same on every member: going on would split the group.
  if (!members.ok()) panic(logger_, members.status().text());
  return switch_to(std::move(*members));
}

ConfState Raft::switch_to(Members members) {
  group_.set(std::move(members));
  log_line(LogLevel::kInfo, id_, " switched to configuration ", group_.config().to_string());
  ConfState state = group_.config().conf_state();
  const Progress* self = group_.find(id_);
  is_learner_ = self != nullptr && self->is_learner;
  if (role_ != Role::kLeader) return state;
  if (self == nullptr || is_learner_) {
    // Removed or demoted: it may go on to lead until its change is known to the others.
    if (step_down_on_removal_) become_follower(term_, kNoNode);
    return state;
  }
  if (state.voters.empty()) return state;
  if (maybe_commit()) {
    // With other voters more is committed: everybody should know.
    broadcast_append();
  } else {
    // New members need not wait for the next proposal or heartbeat.
    for (auto& [id, progress] : group_.progress()) {
      if (id != id_) maybe_send_append(id, false);
    }
  }
  if (lead_transferee_ != kNoNode && !group_.config().voters.contains(lead_transferee_)) lead_transferee_ = kNoNode;
  return state;
}

}  // namespace raft
