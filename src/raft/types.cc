#include "raft/types.h"

#include <algorithm>
#include <array>
#include <optional>

namespace raft {

namespace {

using base::Code;
using base::Status;

// --- protobuf, as much as two small messages need ---------------------------------------------------------------------------

constexpr unsigned kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

size_t varint_size(uint64_t value) { return static_cast<size_t>((64 - __builtin_clzll(value | 1) + 6) / 7); }

void append_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void append_number(std::string& out, unsigned field, uint64_t value) {
  append_varint(out, field << 3 | kVarint);
  append_varint(out, value);
}

void append_bytes(std::string& out, unsigned field, std::string_view bytes) {
  append_varint(out, field << 3 | kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

struct Field {
  unsigned number = 0;
  unsigned wire_type = 0;
  uint64_t value = 0;      // of a number
  std::string_view bytes;  // of kBytes
};

// Fields one after the other; stops for good at bytes that are no field.
class FieldReader {
 public:
  explicit FieldReader(std::string_view in) : in_(in) {}

  bool next(Field& field) {
    if (in_.empty() || broken_) return false;
    broken_ = !read(field);
    return !broken_;
  }
  bool broken() const { return broken_; }

 private:
  bool read(Field& field) {
    uint64_t tag = 0;
    if (!read_varint(tag) || tag >> 3 == 0 || tag >> 32 != 0) return false;
    field.number = static_cast<unsigned>(tag >> 3);
    field.wire_type = tag & 7;
    switch (field.wire_type) {
      case kVarint:
        return read_varint(field.value);
      case kFixed64:
        return skip(8);
      case kFixed32:
        return skip(4);
      case kBytes: {
        uint64_t size = 0;
        if (!read_varint(size) || size > in_.size()) return false;
        field.bytes = in_.substr(0, size);
        return skip(size);
      }
      default:
        return false;
    }
  }
  bool read_varint(uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      if (in_.empty()) return false;
      const auto byte = static_cast<uint8_t>(in_.front());
      in_.remove_prefix(1);
      if (shift == 63 && byte > 1) return false;
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool skip(size_t size) {
    if (size > in_.size()) return false;
    in_.remove_prefix(size);
    return true;
  }

  std::string_view in_;
  bool broken_ = false;
};

bool known(const Field& field, unsigned number, unsigned wire_type) {
  return field.number == number && field.wire_type == wire_type;
}

Status not_a_conf_change() { return {Code::kInvalidArgument, "raft: malformed conf change"}; }

// Changes in one ConfChangeV2: more than any group has members.
constexpr size_t kChangesMax = 1024;

constexpr std::array<std::string_view, kMessageTypes> kMessageNames = {"MsgHup",
                                                                       "MsgBeat",
                                                                       "MsgProp",
                                                                       "MsgApp",
                                                                       "MsgAppResp",
                                                                       "MsgVote",
                                                                       "MsgVoteResp",
                                                                       "MsgSnap",
                                                                       "MsgHeartbeat",
                                                                       "MsgHeartbeatResp",
                                                                       "MsgUnreachable",
                                                                       "MsgSnapStatus",
                                                                       "MsgCheckQuorum",
                                                                       "MsgTransferLeader",
                                                                       "MsgTimeoutNow",
                                                                       "MsgReadIndex",
                                                                       "MsgReadIndexResp",
                                                                       "MsgPreVote",
                                                                       "MsgPreVoteResp",
                                                                       "MsgStorageAppend",
                                                                       "MsgStorageAppendResp",
                                                                       "MsgStorageApply",
                                                                       "MsgStorageApplyResp",
                                                                       "MsgForgetLeader"};

template <size_t N, class Enum>
std::string_view name_in(const std::array<std::string_view, N>& names, Enum value) {
  const auto i = static_cast<size_t>(value);
  return i < N ? names[i] : std::string_view("unknown");
}

std::vector<NodeId> sorted(std::vector<NodeId> ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace

bool operator==(const Entry& a, const Entry& b) {
  return a.type == b.type && a.term == b.term && a.index == b.index && a.payload() == b.payload();
}

size_t encoded_size(const Entry& entry) {
  size_t size = 2 + varint_size(entry.term.value()) + varint_size(entry.index.value());
  if (entry.type != EntryType::kNormal) size += 2;
  if (entry.data != nullptr) size += 1 + varint_size(entry.data->size()) + entry.data->size();
  return size;
}

uint64_t encoded_size(std::span<const Entry> entries) {
  uint64_t size = 0;
  for (const Entry& entry : entries) size += encoded_size(entry);
  return size;
}

uint64_t payload_size(std::span<const Entry> entries) {
  uint64_t size = 0;
  for (const Entry& entry : entries) size += entry.payload().size();
  return size;
}

size_t count_within(std::span<const Entry> entries, uint64_t bytes_max) {
  uint64_t size = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    size += encoded_size(entries[i]);
    if (size > bytes_max && i > 0) return i;
  }
  return entries.size();
}

bool equivalent(const ConfState& a, const ConfState& b) {
  return a.auto_leave == b.auto_leave && sorted(a.voters) == sorted(b.voters) && sorted(a.learners) == sorted(b.learners) &&
         sorted(a.voters_outgoing) == sorted(b.voters_outgoing) && sorted(a.learners_next) == sorted(b.learners_next);
}

ConfChangeV2 as_v2(const ConfChange& change) {
  return {ConfChangeTransition::kAuto, {{change.type, change.node_id}}, change.context};
}

std::string encode(const ConfChange& change) {
  std::string out;
  append_number(out, 1, change.id);
  append_number(out, 2, static_cast<uint64_t>(change.type));
  append_number(out, 3, change.node_id.value());
  if (!change.context.empty()) append_bytes(out, 4, change.context);
  return out;
}

std::string encode(const ConfChangeV2& change) {
  std::string out, single;
  append_number(out, 1, static_cast<uint64_t>(change.transition));
  for (const ConfChangeSingle& one : change.changes) {
    single.clear();
    append_number(single, 1, static_cast<uint64_t>(one.type));
    append_number(single, 2, one.node_id.value());
    append_bytes(out, 2, single);
  }
  if (!change.context.empty()) append_bytes(out, 3, change.context);
  return out;
}

base::Result<ConfChange> decode_conf_change(std::string_view bytes) {
  ConfChange change;
  FieldReader reader(bytes);
  for (Field field; reader.next(field);) {
    if (known(field, 1, kVarint)) change.id = field.value;
    if (known(field, 2, kVarint)) change.type = static_cast<ConfChangeType>(field.value);
    if (known(field, 3, kVarint)) change.node_id = NodeId(field.value);
    if (known(field, 4, kBytes)) change.context = field.bytes;
  }
  if (reader.broken()) return not_a_conf_change();
  return change;
}

base::Result<ConfChangeV2> decode_conf_change_v2(std::string_view bytes) {
  ConfChangeV2 change;
  FieldReader reader(bytes);
  for (Field field; reader.next(field);) {
    if (known(field, 1, kVarint)) change.transition = static_cast<ConfChangeTransition>(field.value);
    if (known(field, 3, kBytes)) change.context = field.bytes;
    if (!known(field, 2, kBytes)) continue;
    if (change.changes.size() == kChangesMax) return not_a_conf_change();
    ConfChangeSingle single;
    FieldReader inner(field.bytes);
    for (Field part; inner.next(part);) {
      if (known(part, 1, kVarint)) single.type = static_cast<ConfChangeType>(part.value);
      if (known(part, 2, kVarint)) single.node_id = NodeId(part.value);
    }
    if (inner.broken()) return not_a_conf_change();
    change.changes.push_back(single);
  }
  if (reader.broken()) return not_a_conf_change();
  return change;
}

base::Result<ConfChangeV2> decode_conf_change(const Entry& entry) {
  if (entry.type == EntryType::kConfChangeV2) return decode_conf_change_v2(entry.payload());
  if (entry.type != EntryType::kConfChange) return not_a_conf_change();
  base::Result<ConfChange> change = decode_conf_change(entry.payload());
  if (!change.ok()) return change.status();
  return as_v2(*change);
}

bool is_local(MessageType type) {
  switch (type) {
    case MessageType::kHup:
    case MessageType::kBeat:
    case MessageType::kUnreachable:
    case MessageType::kSnapStatus:
    case MessageType::kCheckQuorum:
    case MessageType::kStorageAppend:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApply:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

bool is_response(MessageType type) {
  switch (type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kUnreachable:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVoteResp:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

std::string_view name_of(MessageType type) { return name_in(kMessageNames, type); }

std::string_view name_of(Role role) {
  static constexpr std::array<std::string_view, 4> kNames = {"StateFollower", "StateCandidate", "StateLeader",
                                                             "StatePreCandidate"};
  return name_in(kNames, role);
}

std::string_view name_of(EntryType type) {
  static constexpr std::array<std::string_view, 3> kNames = {"EntryNormal", "EntryConfChange", "EntryConfChangeV2"};
  return name_in(kNames, type);
}

std::string_view name_of(ConfChangeType type) {
  static constexpr std::array<std::string_view, 4> kNames = {"ConfChangeAddNode", "ConfChangeRemoveNode",
                                                             "ConfChangeUpdateNode", "ConfChangeAddLearnerNode"};
  return name_in(kNames, type);
}

std::string_view name_of(ConfChangeTransition transition) {
  static constexpr std::array<std::string_view, 3> kNames = {"ConfChangeTransitionAuto", "ConfChangeTransitionJointImplicit",
                                                             "ConfChangeTransitionJointExplicit"};
  return name_in(kNames, transition);
}

}  // namespace raft
