// What Raft says and remembers, as plain structs. Numbers of the enums and meaning of the fields are etcd's raftpb
// (spec wire-and-disk 4.1, 4.3); 0 and "absent" are the same. Converting to protobuf is the job of those who write to disk and
// network; here live only the sizes that limits are measured in, and the two small messages that travel inside entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/status.h"

namespace raft {

using base::Index;
using base::kNoNode;
using base::NodeId;
using base::Term;

inline constexpr uint64_t kNoLimit = UINT64_MAX;
// Not members: the threads behind the messages kStorageAppend and kStorageApply.
inline constexpr NodeId kLocalAppendThread{UINT64_MAX};
inline constexpr NodeId kLocalApplyThread{UINT64_MAX - 1};
constexpr bool is_local_target(NodeId id) { return id == kLocalAppendThread || id == kLocalApplyThread; }

enum class EntryType : int { kNormal = 0, kConfChange = 1, kConfChangeV2 = 2 };

// Shared by the log, messages and whoever applies: never copied, never changed. Null: no data.
using Data = std::shared_ptr<const std::string>;

struct Entry {
  EntryType type = EntryType::kNormal;
  Term term;
  Index index;
  Data data;

  std::string_view payload() const { return data == nullptr ? std::string_view{} : std::string_view(*data); }
};
bool operator==(const Entry& a, const Entry& b);
inline Entry make_entry(std::string data) {
  return {EntryType::kNormal, {}, {}, std::make_shared<const std::string>(std::move(data))};
}

// Bytes of the entry as a protobuf message (etcd 3.7's: fields that were never set take no room).
size_t encoded_size(const Entry& entry);
uint64_t encoded_size(std::span<const Entry> entries);
uint64_t payload_size(std::span<const Entry> entries);
// How many entries from the front fit into `bytes_max` encoded bytes; at least one if there is one.
size_t count_within(std::span<const Entry> entries, uint64_t bytes_max);

// What must survive a crash besides the log.
struct HardState {
  Term term;
  NodeId vote;
  Index commit;

  bool empty() const { return *this == HardState{}; }
  friend bool operator==(const HardState&, const HardState&) = default;
};

enum class Role : int { kFollower = 0, kCandidate = 1, kLeader = 2, kPreCandidate = 3 };

// What is interesting to know but need not survive.
struct SoftState {
  NodeId leader;
  Role role = Role::kFollower;
  friend bool operator==(const SoftState&, const SoftState&) = default;
};

struct ConfState {
  std::vector<NodeId> voters;
  std::vector<NodeId> learners;
  std::vector<NodeId> voters_outgoing;
  std::vector<NodeId> learners_next;
  bool auto_leave = false;
  friend bool operator==(const ConfState&, const ConfState&) = default;
};
// Equal but for the order of ids.
bool equivalent(const ConfState& a, const ConfState& b);

struct Snapshot {
  std::string data;
  ConfState conf_state;
  Index index;
  Term term;

  bool empty() const { return index == Index{}; }
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;  // null or empty(): none

enum class ConfChangeType : int { kAddNode = 0, kRemoveNode = 1, kUpdateNode = 2, kAddLearnerNode = 3 };
enum class ConfChangeTransition : int { kAuto = 0, kJointImplicit = 1, kJointExplicit = 2 };

// One change of one member (entries of type kConfChange).
struct ConfChange {
  uint64_t id = 0;
  ConfChangeType type = ConfChangeType::kAddNode;
  NodeId node_id;
  std::string context;
  friend bool operator==(const ConfChange&, const ConfChange&) = default;
};

struct ConfChangeSingle {
  ConfChangeType type = ConfChangeType::kAddNode;
  NodeId node_id;
  friend bool operator==(const ConfChangeSingle&, const ConfChangeSingle&) = default;
};

// Any number of changes at once, through a joint configuration where needed (entries of type kConfChangeV2).
struct ConfChangeV2 {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeSingle> changes;
  std::string context;

  // No change at all: leave the joint configuration.
  bool leaves_joint() const { return transition == ConfChangeTransition::kAuto && changes.empty(); }
  // Needs a joint configuration: asked for, or more than one change.
  bool enters_joint() const { return transition != ConfChangeTransition::kAuto || changes.size() > 1; }
  // REQUIRES: enters_joint(). Whether Raft leaves the joint configuration on its own.
  bool auto_leave() const { return transition != ConfChangeTransition::kJointExplicit; }
  friend bool operator==(const ConfChangeV2&, const ConfChangeV2&) = default;
};
ConfChangeV2 as_v2(const ConfChange& change);

// As protobuf. Decoding skips unknown fields; error: kInvalidArgument for bytes that are no such message.
std::string encode(const ConfChange& change);
std::string encode(const ConfChangeV2& change);
base::Result<ConfChange> decode_conf_change(std::string_view bytes);
base::Result<ConfChangeV2> decode_conf_change_v2(std::string_view bytes);
// Of an entry of either conf change type, as version 2.
base::Result<ConfChangeV2> decode_conf_change(const Entry& entry);

enum class MessageType : int {
  kHup = 0,
  kBeat = 1,
  kProp = 2,
  kApp = 3,
  kAppResp = 4,
  kVote = 5,
  kVoteResp = 6,
  kSnap = 7,
  kHeartbeat = 8,
  kHeartbeatResp = 9,
  kUnreachable = 10,
  kSnapStatus = 11,
  kCheckQuorum = 12,
  kTransferLeader = 13,
  kTimeoutNow = 14,
  kReadIndex = 15,
  kReadIndexResp = 16,
  kPreVote = 17,
  kPreVoteResp = 18,
  kStorageAppend = 19,
  kStorageAppendResp = 20,
  kStorageApply = 21,
  kStorageApplyResp = 22,
  kForgetLeader = 23,
};
inline constexpr int kMessageTypes = 24;
// Never crosses the network; one that did is refused.
bool is_local(MessageType type);
bool is_response(MessageType type);

struct Message {
  MessageType type = MessageType::kHup;
  bool reject = false;
  NodeId to;
  NodeId from;
  Term term;      // 0: outside the term rules
  Term log_term;  // of `index`
  Index index;
  Index commit;
  Index reject_hint;
  NodeId vote;
  std::vector<Entry> entries;
  SnapshotPtr snapshot;
  std::string context;
  std::vector<Message> responses;  // of kStorageAppend and kStorageApply: to deliver when the work is done
};

// A read that may be answered once everything up to `index` is applied. `context` as given to read_index().
struct ReadState {
  Index index;
  std::string context;
};

// "MsgApp", "StateLeader", "EntryNormal", "ConfChangeAddNode", "ConfChangeTransitionAuto".
std::string_view name_of(MessageType type);
std::string_view name_of(Role role);
std::string_view name_of(EntryType type);
std::string_view name_of(ConfChangeType type);
std::string_view name_of(ConfChangeTransition transition);

}  // namespace raft
