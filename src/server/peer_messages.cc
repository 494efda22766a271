#include "server/peer_messages.h"

#include <algorithm>

namespace server {

wire::RaftMessage to_wire(raft::Message&& from) {
  wire::RaftMessage to;
  to.type = static_cast<wire::RaftMessageType>(from.type);
  to.reject = from.reject;
  to.to = from.to;
  to.from = from.from;
  to.term = from.term;
  to.log_term = from.log_term;
  to.index = from.index;
  to.commit = from.commit;
  to.reject_hint = from.reject_hint;
  to.vote = from.vote;
  to.context = std::move(from.context);
  to.entries.reserve(from.entries.size());
  for (raft::Entry& entry : from.entries) {
    to.entries.push_back({static_cast<uint32_t>(entry.type), entry.term, entry.index, std::move(entry.data)});
  }
  if (from.snapshot != nullptr && !from.snapshot->empty()) {
    auto snapshot = std::make_shared<wire::RaftSnapshot>();
    snapshot->data = from.snapshot->data;
    snapshot->index = from.snapshot->index;
    snapshot->term = from.snapshot->term;
    const raft::ConfState& state = from.snapshot->conf_state;
    snapshot->conf_state = {state.voters, state.learners, state.voters_outgoing, state.learners_next, state.auto_leave};
    to.snapshot = std::move(snapshot);
  }
  return to;
}

// Nobody counts this far; beside the end of the numbers, one more than the last is none.
constexpr uint64_t kNumberMax = uint64_t{1} << 62;

bool sensible(const wire::RaftMessage& m) {
  const auto within = [](auto... numbers) { return ((numbers.value() <= kNumberMax) && ...); };
  if (!within(m.term, m.log_term, m.index, m.commit, m.reject_hint)) return false;
  if (m.snapshot != nullptr && !within(m.snapshot->index, m.snapshot->term)) return false;
  return std::all_of(m.entries.begin(), m.entries.end(),
                     [&](const wire::RaftEntry& entry) { return within(entry.term, entry.index); });
}

std::optional<raft::Message> from_wire(wire::RaftMessage&& from) {
  const auto type = static_cast<uint32_t>(from.type);
  if (type >= static_cast<uint32_t>(raft::kMessageTypes) || raft::is_local(static_cast<raft::MessageType>(type)) ||
      raft::is_local_target(from.from) || !sensible(from)) {
    return std::nullopt;
  }
  raft::Message to;
  to.type = static_cast<raft::MessageType>(type);
  to.reject = from.reject;
  to.to = from.to;
  to.from = from.from;
  to.term = from.term;
  to.log_term = from.log_term;
  to.index = from.index;
  to.commit = from.commit;
  to.reject_hint = from.reject_hint;
  to.vote = from.vote;
  to.context = std::move(from.context);
  to.entries.reserve(from.entries.size());
  for (wire::RaftEntry& entry : from.entries) {
    if (entry.type > static_cast<uint32_t>(raft::EntryType::kConfChangeV2)) return std::nullopt;
    to.entries.push_back({static_cast<raft::EntryType>(entry.type), entry.term, entry.index, std::move(entry.data)});
  }
  if (from.snapshot != nullptr) {
    auto snapshot = std::make_shared<raft::Snapshot>();
    snapshot->data = from.snapshot->data;
    snapshot->index = from.snapshot->index;
    snapshot->term = from.snapshot->term;
    const wire::RaftConfState& state = from.snapshot->conf_state;
    snapshot->conf_state = {state.voters, state.learners, state.voters_outgoing, state.learners_next, state.auto_leave};
    to.snapshot = std::move(snapshot);
  }
  return to;
}

}  // namespace server
