#include "raft/raw_node.h"

#include <algorithm>
#include <iterator>

#include "base/verify.h"
#include "raft/describe.h"

namespace raft {

using base::Code;
using base::Status;

RawNode::RawNode(const Config& config)
    : raft_(config),
      async_(config.async_storage_writes),
      last_soft_state_(raft_.soft_state()),
      last_hard_state_(raft_.hard_state()) {}

void RawNode::bootstrap(const std::vector<ConfChange>& members) {
  // What was there before counts as empty, so that the first Ready has everything.
  last_hard_state_ = {};
  raft_.bootstrap(members);
}

// --- inputs -----------------------------------------------------------------------------------------------------------------

Status RawNode::propose(Data data) {
  std::vector<Entry> entries(1);
  entries.front().data = std::move(data);
  return raft_.propose(std::move(entries));
}

Status RawNode::propose(std::vector<Data> batch) {
  std::vector<Entry> entries(batch.size());
  for (size_t i = 0; i < batch.size(); ++i) entries[i].data = std::move(batch[i]);
  return raft_.propose(std::move(entries));
}

Status RawNode::propose_conf_change(const ConfChange& change) {
  std::vector<Entry> entries(1);
  entries.front().type = EntryType::kConfChange;
  entries.front().data = std::make_shared<const std::string>(encode(change));
  return raft_.propose(std::move(entries));
}

Status RawNode::propose_conf_change(const ConfChangeV2& change) {
  std::vector<Entry> entries(1);
  entries.front().type = EntryType::kConfChangeV2;
  entries.front().data = std::make_shared<const std::string>(encode(change));
  return raft_.propose(std::move(entries));
}

Status RawNode::step(Message message) {
  if (is_local(message.type) && !is_local_target(message.from)) {
    return {Code::kInvalidArgument, std::string(kStepLocalMessage)};
  }
  if (is_response(message.type) && !is_local_target(message.from) && raft_.group().find(message.from) == nullptr) {
    return {Code::kNotFound, std::string(kStepPeerNotFound)};
  }
  const bool from_a_leader =
      message.type == MessageType::kApp || message.type == MessageType::kHeartbeat || message.type == MessageType::kSnap;
  if (from_a_leader && message.from == raft_.id()) return {Code::kInvalidArgument, "raft: message from this member itself"};
  return raft_.step(std::move(message));
}

void RawNode::read_index(std::string context) {
  Message m;
  m.type = MessageType::kReadIndex;
  m.entries.push_back(make_entry(std::move(context)));
  (void)raft_.step(std::move(m));
}

Status RawNode::forget_leader() {
  Message m;
  m.type = MessageType::kForgetLeader;
  return raft_.step(std::move(m));
}

// --- Ready ------------------------------------------------------------------------------------------------------------------

bool RawNode::has_ready() const {
  const Log& log = raft_.log();
  const HardState hard_state = raft_.hard_state();
  return !raft_.messages.empty() || !raft_.messages_after_save.empty() || !log.next_unstable_entries().empty() ||
         log.has_next_committed(apply_unstable()) || !raft_.read_states.empty() || raft_.soft_state() != last_soft_state_ ||
         (!hard_state.empty() && hard_state != last_hard_state_) || log.next_unstable_snapshot() != nullptr;
}

Ready RawNode::take_ready() {
  VERIFY(!pending_.accepted);  // advance() must come first.
  Log& log = raft_.log();
  Ready ready;
  const std::span<const Entry> unstable = log.next_unstable_entries();
  ready.entries.assign(unstable.begin(), unstable.end());
  ready.committed = log.next_committed(apply_unstable());
  ready.snapshot = log.next_unstable_snapshot();
  ready.messages = std::exchange(raft_.messages, {});
  ready.read_states = std::exchange(raft_.read_states, {});
  if (const SoftState now = raft_.soft_state(); now != last_soft_state_) {
    ready.soft_state = now;
    last_soft_state_ = now;
  }
  const HardState now = raft_.hard_state();
  ready.must_sync = !ready.entries.empty() || now.vote != last_hard_state_.vote || now.term != last_hard_state_.term;
  if (now != last_hard_state_) {
    if (!now.empty()) ready.hard_state = now;
    last_hard_state_ = now;
  }

  if (async_) {
    add_storage_messages(ready);
  } else {
    keep_steps_for_advance(ready);
  }
  raft_.messages_after_save.clear();
  log.accept_unstable();
  if (!ready.committed.empty()) {
    log.accept_applying(ready.committed.back().index, encoded_size(ready.committed), apply_unstable());
  }
  return ready;
}

// What to tell Raft when everything that is unstable now is saved.
//
// The answer names the end of the whole unstable log, even if this save brings no entries, and the term of today. An answer of
// an earlier term is dropped, because entries may have been replaced, and be replaced again by equal ones, while the first
// write of them was under way: then the storage does not hold what it seems to hold until the last write is through. As each
// new term brings a save of its own, some answer of the current term always follows and nothing stays unstable for ever.
std::optional<Message> RawNode::storage_append_response(const Ready& ready) const {
  const Log& log = raft_.log();
  if (!log.has_unstable_entries() && ready.snapshot == nullptr) return std::nullopt;
  Message m;
  m.type = MessageType::kStorageAppendResp;
  m.to = raft_.id();
  m.from = kLocalAppendThread;
  m.term = raft_.term();
  if (log.has_unstable_entries()) {
    const EntryId last = log.last_entry_id();
    m.index = last.index;
    m.log_term = last.term;
  }
  m.snapshot = ready.snapshot;
  return m;
}

void RawNode::add_storage_messages(Ready& ready) {
  const bool save =
      !ready.entries.empty() || ready.hard_state.has_value() || ready.snapshot != nullptr || !raft_.messages_after_save.empty();
  if (save) {
    Message m;
    m.type = MessageType::kStorageAppend;
    m.to = kLocalAppendThread;
    m.from = raft_.id();
    m.entries = ready.entries;
    m.snapshot = ready.snapshot;
    if (ready.hard_state.has_value()) {
      m.term = ready.hard_state->term;
      m.vote = ready.hard_state->vote;
      m.commit = ready.hard_state->commit;
    }
    // Our own acknowledgements go first: they find the entries' terms in the unstable log, before it is cut.
    m.responses = std::move(raft_.messages_after_save);
    if (std::optional<Message> response = storage_append_response(ready)) m.responses.push_back(std::move(*response));
    ready.messages.push_back(std::move(m));
  }
  if (!ready.committed.empty()) {
    Message response;  // Without term: what is committed is so in every term.
    response.type = MessageType::kStorageApplyResp;
    response.to = raft_.id();
    response.from = kLocalApplyThread;
    response.entries = ready.committed;
    Message m;
    m.type = MessageType::kStorageApply;
    m.to = kLocalApplyThread;
    m.from = raft_.id();
    m.entries = ready.committed;
    m.responses.push_back(std::move(response));
    ready.messages.push_back(std::move(m));
  }
}

void RawNode::keep_steps_for_advance(Ready& ready) {
  pending_.accepted = true;
  for (Message& m : raft_.messages_after_save) {
    (m.to == raft_.id() ? pending_.steps : ready.messages_after_save).push_back(std::move(m));
  }
  if (std::optional<Message> response = storage_append_response(ready)) pending_.steps.push_back(std::move(*response));
  if (!ready.committed.empty()) {
    pending_.applied = ready.committed.back().index;
    pending_.applied_bytes = encoded_size(ready.committed);
    pending_.applied_payload = payload_size(ready.committed);
  }
}

void RawNode::advance() {
  VERIFY(!async_ && pending_.accepted);
  Pending pending = std::exchange(pending_, {});
  for (Message& m : pending.steps) (void)raft_.step(std::move(m));
  if (pending.applied != Index{}) raft_.applied_to(pending.applied, pending.applied_bytes, pending.applied_payload);
}

// --- state ------------------------------------------------------------------------------------------------------------------

BasicStatus RawNode::basic_status() const {
  return {raft_.id(), raft_.hard_state(), raft_.soft_state(), raft_.log().applied(), raft_.lead_transferee()};
}

NodeStatus RawNode::status() const {
  NodeStatus status;
  static_cast<BasicStatus&>(status) = basic_status();
  status.config = raft_.group().config();
  if (raft_.role() == Role::kLeader) status.progress = raft_.group().progress();
  return status;
}

std::string to_json(const NodeStatus& status) {
  std::string out =
      text_of("{\"id\":\"", status.id, "\",\"term\":", status.hard_state.term, ",\"vote\":\"", status.hard_state.vote,
              "\",\"commit\":", status.hard_state.commit, ",\"lead\":\"", status.soft_state.leader, "\",\"raftState\":\"",
              name_of(status.soft_state.role), "\",\"applied\":", status.applied, ",\"progress\":{");
  bool first = true;
  for (const auto& [id, progress] : status.progress) {
    out += text_of(first ? "\"" : ",\"", id, "\":{\"match\":", progress.match, ",\"next\":", progress.next, ",\"state\":\"",
                   name_of(progress.state), "\"}");
    first = false;
  }
  return out + text_of("},\"leadtransferee\":\"", status.lead_transferee, "\"}");
}

}  // namespace raft
