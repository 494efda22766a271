// Messages between members (raftpb.Message), read and written by hand: they carry every put several times over. The structs are
// this module's own, because the transport below the server knows nothing of raft; the server moves the fields across.
// Reading takes what members 3.2-3.7 write (proto2: absent and zero are the same; up to 3.6 zeros and an empty snapshot are
// written out) and refuses what is no such message. Writing leaves out zeros, as 3.7 does. Wire-and-disk 4.1.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace wire {

struct RaftEntry {
  uint32_t type = 0;
  base::Term term;
  base::Index index;
  std::shared_ptr<const std::string> data;  // shared with the log; null: none

  std::string_view payload() const { return data == nullptr ? std::string_view() : std::string_view(*data); }
};

struct RaftConfState {
  std::vector<base::NodeId> voters, learners, voters_outgoing, learners_next;
  bool auto_leave = false;
};

struct RaftSnapshot {
  std::string data;  // JSON of the v2 store
  RaftConfState conf_state;
  base::Index index;
  base::Term term;
};

// Values are raftpb's; others are kept, whoever steps the message judges them.
enum class RaftMessageType : uint32_t {
  kProp = 2,
  kApp = 3,
  kAppResp = 4,
  kVote = 5,
  kVoteResp = 6,
  kSnap = 7,
  kHeartbeat = 8,
  kHeartbeatResp = 9,
  kReadIndex = 15,
  kReadIndexResp = 16,
};

struct RaftMessage {
  RaftMessageType type{};
  bool reject = false;
  base::NodeId to, from;
  base::Term term, log_term;
  base::Index index, commit, reject_hint;
  base::NodeId vote;
  std::vector<RaftEntry> entries;
  std::shared_ptr<const RaftSnapshot> snapshot;  // null: none
  std::string context;
};

size_t encoded_size(const RaftEntry& entry);
size_t encoded_size(const RaftMessage& message);
void append_entry(const RaftEntry& entry, std::string& out);
void append_message(const RaftMessage& message, std::string& out);
std::optional<RaftEntry> decode_raft_entry(std::string_view bytes);
// Field 14 (responses: local use) is skipped. A snapshot of index 0 counts as none.
std::optional<RaftMessage> decode_raft_message(std::string_view bytes);

// Bytes an entry or message keeps in memory, about: what bounds count.
inline size_t held_bytes(const RaftEntry& entry) { return sizeof(RaftEntry) + entry.payload().size(); }
size_t held_bytes(const RaftMessage& message);

}  // namespace wire
