#include "storage/raft_state.h"

#include <optional>

#include "storage/proto.h"

namespace storage {

using base::Code;
using base::Index;
using base::NodeId;
using base::Result;
using base::Status;
using base::Term;

namespace {

Status damaged(const char* message) { return Status(Code::kDataLoss, std::string("storage: not a valid ") + message); }

void append_ids(std::string& out, uint32_t field, const std::vector<NodeId>& ids) {
  for (const NodeId id : ids) proto::append_number(out, field, id.value());
}

// proto2 repeats the field; a packed list is read too.
bool take_ids(const proto::Reader& in, uint32_t field, std::vector<NodeId>& ids) {
  if (in.is_number(field)) ids.push_back(NodeId(in.number()));
  if (!in.is_bytes(field)) return true;
  std::string_view packed = in.bytes();
  while (!packed.empty()) {
    uint64_t v = 0;
    size_t i = 0;
    do {
      if (i == packed.size() || i == 10) return false;
      v |= static_cast<uint64_t>(packed[i] & 0x7f) << 7 * i;
    } while (static_cast<unsigned char>(packed[i++]) >= 0x80);
    packed.remove_prefix(i);
    ids.push_back(NodeId(v));
  }
  return true;
}

}  // namespace

void encode_conf_state(const ConfState& conf_state, std::string& out) {
  append_ids(out, 1, conf_state.voters);
  append_ids(out, 2, conf_state.learners);
  append_ids(out, 3, conf_state.voters_outgoing);
  append_ids(out, 4, conf_state.learners_next);
  proto::append_number(out, 5, conf_state.auto_leave ? 1 : 0);
}

Result<ConfState> decode_conf_state(std::string_view bytes) {
  ConfState out;
  proto::Reader in(bytes);
  while (in.next()) {
    if (!take_ids(in, 1, out.voters) || !take_ids(in, 2, out.learners) || !take_ids(in, 3, out.voters_outgoing) ||
        !take_ids(in, 4, out.learners_next)) {
      return damaged("raftpb.ConfState");
    }
    if (in.is_number(5)) out.auto_leave = in.number() != 0;
  }
  if (!in.ok()) return damaged("raftpb.ConfState");
  return out;
}

void encode_hard_state(const HardState& state, std::string& out) {
  proto::append_number(out, 1, state.term.value());
  proto::append_number(out, 2, state.vote.value());
  proto::append_number(out, 3, state.commit.value());
}

Result<HardState> decode_hard_state(std::string_view bytes) {
  HardState out;
  proto::Reader in(bytes);
  while (in.next()) {
    if (in.is_number(1)) {
      out.term = Term(in.number());
    } else if (in.is_number(2)) {
      out.vote = NodeId(in.number());
    } else if (in.is_number(3)) {
      out.commit = Index(in.number());
    } else {
      return damaged("raftpb.HardState");  // The checksum of a record leaves out its type: this is an entry, or nothing.
    }
  }
  if (!in.ok()) return damaged("raftpb.HardState");
  return out;
}

void encode_wal_snapshot(const WalSnapshot& snapshot, std::string& out) {
  proto::append_number(out, 1, snapshot.index.value());
  proto::append_number(out, 2, snapshot.term.value());
  // etcd writes the first record of a log, the empty snapshot, without one.
  if (snapshot.index == Index(0)) return;
  std::string conf_state;
  encode_conf_state(snapshot.conf_state, conf_state);
  proto::append_bytes(out, 3, conf_state);
}

Result<WalSnapshot> decode_wal_snapshot(std::string_view bytes) {
  WalSnapshot out;
  proto::Reader in(bytes);
  while (in.next()) {
    if (in.is_number(1)) out.index = Index(in.number());
    if (in.is_number(2)) out.term = Term(in.number());
    if (in.is_bytes(3)) {
      Result<ConfState> conf_state = decode_conf_state(in.bytes());
      if (!conf_state.ok()) return conf_state.status();
      out.conf_state = std::move(*conf_state);
    }
  }
  if (!in.ok()) return damaged("walpb.Snapshot");
  return out;
}

void encode_entry(const WalEntry& entry, std::string& out) {
  if (entry.type != kEntryNormal) proto::append_number(out, 1, entry.type);
  proto::append_number(out, 2, entry.term.value());
  proto::append_number(out, 3, entry.index.value());
  if (entry.data != nullptr && !entry.data->empty()) proto::append_bytes(out, 4, *entry.data);
}

Result<WalEntry> decode_entry(std::string_view bytes) {
  WalEntry out;
  std::optional<std::string_view> data;
  proto::Reader in(bytes);
  while (in.next()) {
    if (in.is_number(1)) out.type = static_cast<uint32_t>(in.number());
    if (in.is_number(2)) out.term = Term(in.number());
    if (in.is_number(3)) out.index = Index(in.number());
    if (in.is_bytes(4)) data = in.bytes();
  }
  if (!in.ok()) return damaged("raftpb.Entry");
  if (data.has_value() && !data->empty()) out.data = std::make_shared<const std::string>(*data);
  return out;
}

}  // namespace storage
