#include "sim/raft_watch.h"

#include <algorithm>
#include <functional>

#include "base/bytes.h"

namespace sim {

using base::Index;
using base::NodeId;
using base::Term;
using wire::RaftMessage;
using wire::RaftMessageType;

namespace {

constexpr size_t kEntriesMax = 50'000;
constexpr uint32_t kConfChange = 1, kConfChangeV2 = 2;  // raftpb.EntryType

std::string name_of(NodeId id) { return "member " + base::hex(id.value()); }
std::string number(uint64_t value) { return std::to_string(value); }

}  // namespace

void RaftWatch::forget(NodeId id) {
  std::erase_if(votes_, [id](const auto& vote) { return vote.first.first == id; });
  std::erase_if(candidacies_, [id](const auto& one) { return one.first.first == id; });
}

std::string RaftWatch::voted(NodeId voter, Term term, NodeId candidate) {
  const auto [known, fresh] = votes_.emplace(InTerm(voter, term), candidate);
  if (fresh || known->second == candidate) return {};
  return name_of(voter) + " voted for " + name_of(known->second) + " and for " + name_of(candidate) + " in term " +
         number(term.value());
}

std::string RaftWatch::leads(NodeId id, const RaftMessage& message) {
  const Term term = message.term;
  const auto [known, fresh] = leaders_.emplace(term, id);
  if (!fresh && known->second != id) {
    return name_of(known->second) + " and " + name_of(id) + " lead in term " + number(term.value());
  }
  // Raft 5.4.2, figure 8: what it found in its log is committed by what it adds, never by itself. It is the message that
  // counts: one that waited for the disk may go out when its sender follows another, who told of more. A heartbeat tells a
  // follower that is behind of less.
  if (message.type != RaftMessageType::kApp) return {};
  const auto asked = candidacies_.find({id, term});
  if (asked != candidacies_.end() && message.commit > asked->second.committed && message.commit <= asked->second.last) {
    return name_of(id) + " committed entry " + number(message.commit.value()) + " of an older term, its own begins at " +
           number(asked->second.last.value() + 1);
  }
  return {};
}

std::string RaftWatch::appends(const Sender& sender, const RaftMessage& message) {
  Term before_it = message.log_term;
  for (const wire::RaftEntry& entry : message.entries) {
    if (entry.term < before_it || entry.term > message.term) {
      return "entry " + number(entry.index.value()) + " of term " + number(entry.term.value()) + " stands behind one of term " +
             number(before_it.value());
    }
    before_it = entry.term;
    const size_t hash = std::hash<std::string_view>()(entry.payload()) * 3 + entry.type;
    const auto [known, fresh] = entries_.emplace(std::pair(entry.index, entry.term), hash);
    if (!fresh && known->second != hash) {
      return "entry " + number(entry.index.value()) + " of term " + number(entry.term.value()) + " is not the same everywhere";
    }
    if (entry.term != message.term || (entry.type != kConfChange && entry.type != kConfChangeV2)) continue;
    Index& before = last_change_[{sender.id, message.term}];
    if (entry.index <= before) continue;
    if (before > sender.applied) {
      return name_of(sender.id) + " changes the members by entry " + number(entry.index.value()) + " while entry " +
             number(before.value()) + " is not applied";
    }
    before = entry.index;
  }
  while (entries_.size() > kEntriesMax) entries_.erase(entries_.begin());
  return {};
}

std::string RaftWatch::sent(const Sender& sender, const RaftMessage& message) {
  switch (message.type) {
    case RaftMessageType::kVote:
      candidacies_[{sender.id, message.term}] = {sender.committed, message.index};
      return voted(sender.id, message.term, sender.id);
    case RaftMessageType::kVoteResp:
      return message.reject ? std::string() : voted(sender.id, message.term, message.to);
    case RaftMessageType::kApp:
    case RaftMessageType::kHeartbeat: {
      std::string wrong = leads(sender.id, message);
      return wrong.empty() ? appends(sender, message) : wrong;
    }
    default:
      return {};
  }
}

}  // namespace sim
