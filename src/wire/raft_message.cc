#include "wire/raft_message.h"

#include "wire/reader.h"

namespace wire {
namespace {

using base::Index;
using base::NodeId;
using base::Term;

constexpr int kDepth = 8;  // Message > Snapshot > SnapshotMetadata > ConfState

size_t varint_size(uint64_t value) { return static_cast<size_t>((63 - __builtin_clzll(value | 1)) / 7) + 1; }
void put_varint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

// Field numbers are all below 16: a tag is one byte.
size_t number_size(uint64_t value) { return value == 0 ? 0 : 1 + varint_size(value); }
size_t framed_size(size_t size) { return 1 + varint_size(size) + size; }
size_t bytes_size(std::string_view bytes) { return bytes.empty() ? 0 : framed_size(bytes.size()); }
void put_number(std::string& out, uint32_t field, uint64_t value) {
  if (value == 0) return;
  out += static_cast<char>(varint_tag(field));
  put_varint(out, value);
}
void put_head(std::string& out, uint32_t field, size_t size) {
  out += static_cast<char>(bytes_tag(field));
  put_varint(out, size);
}
void put_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  if (bytes.empty()) return;
  put_head(out, field, bytes.size());
  out += bytes;
}

// Repeated, unpacked, zeros too: proto2.
size_t ids_size(const std::vector<NodeId>& ids) {
  size_t size = 0;
  for (const NodeId id : ids) size += 1 + varint_size(id.value());
  return size;
}
void put_ids(std::string& out, uint32_t field, const std::vector<NodeId>& ids) {
  for (const NodeId id : ids) {
    out += static_cast<char>(varint_tag(field));
    put_varint(out, id.value());
  }
}

size_t size_of(const RaftConfState& state) {
  return ids_size(state.voters) + ids_size(state.learners) + ids_size(state.voters_outgoing) + ids_size(state.learners_next) +
         2;
}
size_t metadata_size(const RaftSnapshot& snapshot) {
  return framed_size(size_of(snapshot.conf_state)) + number_size(snapshot.index.value()) + number_size(snapshot.term.value());
}
size_t size_of(const RaftSnapshot& snapshot) { return bytes_size(snapshot.data) + framed_size(metadata_size(snapshot)); }

void append(const RaftSnapshot& snapshot, std::string& out) {
  put_bytes(out, 1, snapshot.data);
  put_head(out, 2, metadata_size(snapshot));
  put_head(out, 1, size_of(snapshot.conf_state));
  put_ids(out, 1, snapshot.conf_state.voters);
  put_ids(out, 2, snapshot.conf_state.learners);
  put_ids(out, 3, snapshot.conf_state.voters_outgoing);
  put_ids(out, 4, snapshot.conf_state.learners_next);
  out += static_cast<char>(varint_tag(5));  // Written even when false, as etcd does.
  out += snapshot.conf_state.auto_leave ? '\1' : '\0';
  put_number(out, 2, snapshot.index.value());
  put_number(out, 3, snapshot.term.value());
}

bool read_entry(Reader& in, RaftEntry& entry) {
  uint32_t tag = 0;
  while (in.next(&tag)) {
    switch (tag) {
      case varint_tag(1):
        entry.type = static_cast<uint32_t>(in.take_varint());
        break;
      case varint_tag(2):
        entry.term = Term(in.take_varint());
        break;
      case varint_tag(3):
        entry.index = Index(in.take_varint());
        break;
      case bytes_tag(4): {
        const std::string_view bytes = in.take_bytes();
        entry.data = bytes.empty() ? nullptr : std::make_shared<const std::string>(bytes);
        break;
      }
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

// proto2 readers take a repeated number packed too.
void read_ids(Reader& in, bool packed, std::vector<NodeId>& ids) {
  if (!packed) return ids.push_back(NodeId(in.take_varint()));
  Reader inner(in.take_bytes(), 0);
  while (inner.more() && inner.ok()) ids.push_back(NodeId(inner.take_varint()));
  if (!inner.ok()) in.fail();
}

bool read_conf_state(Reader& in, RaftConfState& state) {
  uint32_t tag = 0;
  while (in.next(&tag)) {
    const bool packed = (tag & 7) == static_cast<uint32_t>(WireType::kBytes);
    switch (tag) {
      case varint_tag(1):
      case bytes_tag(1):
        read_ids(in, packed, state.voters);
        break;
      case varint_tag(2):
      case bytes_tag(2):
        read_ids(in, packed, state.learners);
        break;
      case varint_tag(3):
      case bytes_tag(3):
        read_ids(in, packed, state.voters_outgoing);
        break;
      case varint_tag(4):
      case bytes_tag(4):
        read_ids(in, packed, state.learners_next);
        break;
      case varint_tag(5):
        state.auto_leave = in.take_bool();
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_metadata(Reader& in, RaftSnapshot& snapshot) {
  uint32_t tag = 0;
  while (in.next(&tag)) {
    switch (tag) {
      case bytes_tag(1):
        in.take_message([&](Reader& inner) { return read_conf_state(inner, snapshot.conf_state); });
        break;
      case varint_tag(2):
        snapshot.index = Index(in.take_varint());
        break;
      case varint_tag(3):
        snapshot.term = Term(in.take_varint());
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_snapshot(Reader& in, RaftSnapshot& snapshot) {
  uint32_t tag = 0;
  while (in.next(&tag)) {
    switch (tag) {
      case bytes_tag(1):
        snapshot.data = in.take_bytes();
        break;
      case bytes_tag(2):
        in.take_message([&](Reader& inner) { return read_metadata(inner, snapshot); });
        break;
      default:
        in.skip(tag);
    }
  }
  return in.ok();
}

bool read_message(Reader& in, RaftMessage& m) {
  RaftSnapshot snapshot;
  uint32_t tag = 0;
  while (in.next(&tag)) {
    switch (tag) {
      case varint_tag(1):
        m.type = static_cast<RaftMessageType>(static_cast<uint32_t>(in.take_varint()));
        break;
      case varint_tag(2):
        m.to = NodeId(in.take_varint());
        break;
      case varint_tag(3):
        m.from = NodeId(in.take_varint());
        break;
      case varint_tag(4):
        m.term = Term(in.take_varint());
        break;
      case varint_tag(5):
        m.log_term = Term(in.take_varint());
        break;
      case varint_tag(6):
        m.index = Index(in.take_varint());
        break;
      case bytes_tag(7): {
        RaftEntry entry;
        in.take_message([&](Reader& inner) { return read_entry(inner, entry); });
        m.entries.push_back(std::move(entry));
        break;
      }
      case varint_tag(8):
        m.commit = Index(in.take_varint());
        break;
      case bytes_tag(9):
        in.take_message([&](Reader& inner) { return read_snapshot(inner, snapshot); });
        break;
      case varint_tag(10):
        m.reject = in.take_bool();
        break;
      case varint_tag(11):
        m.reject_hint = Index(in.take_varint());
        break;
      case bytes_tag(12):
        m.context = in.take_bytes();
        break;
      case varint_tag(13):
        m.vote = NodeId(in.take_varint());
        break;
      default:
        in.skip(tag);
    }
  }
  if (in.ok() && snapshot.index != Index(0)) m.snapshot = std::make_shared<const RaftSnapshot>(std::move(snapshot));
  return in.ok();
}

}  // namespace

size_t encoded_size(const RaftEntry& entry) {
  return number_size(entry.type) + number_size(entry.term.value()) + number_size(entry.index.value()) +
         bytes_size(entry.payload());
}

void append_entry(const RaftEntry& entry, std::string& out) {
  put_number(out, 1, entry.type);
  put_number(out, 2, entry.term.value());
  put_number(out, 3, entry.index.value());
  put_bytes(out, 4, entry.payload());
}

size_t encoded_size(const RaftMessage& m) {
  size_t size = number_size(static_cast<uint32_t>(m.type)) + number_size(m.to.value()) + number_size(m.from.value()) +
                number_size(m.term.value()) + number_size(m.log_term.value()) + number_size(m.index.value()) +
                number_size(m.commit.value()) + (m.reject ? 2 : 0) + number_size(m.reject_hint.value()) +
                bytes_size(m.context) + number_size(m.vote.value());
  for (const RaftEntry& entry : m.entries) size += framed_size(encoded_size(entry));
  if (m.snapshot != nullptr) size += framed_size(size_of(*m.snapshot));
  return size;
}

void append_message(const RaftMessage& m, std::string& out) {
  out.reserve(out.size() + encoded_size(m));
  put_number(out, 1, static_cast<uint32_t>(m.type));
  put_number(out, 2, m.to.value());
  put_number(out, 3, m.from.value());
  put_number(out, 4, m.term.value());
  put_number(out, 5, m.log_term.value());
  put_number(out, 6, m.index.value());
  for (const RaftEntry& entry : m.entries) {
    put_head(out, 7, encoded_size(entry));
    append_entry(entry, out);
  }
  put_number(out, 8, m.commit.value());
  if (m.snapshot != nullptr) {
    put_head(out, 9, size_of(*m.snapshot));
    append(*m.snapshot, out);
  }
  put_number(out, 10, m.reject ? 1 : 0);
  put_number(out, 11, m.reject_hint.value());
  put_bytes(out, 12, m.context);
  put_number(out, 13, m.vote.value());
}

std::optional<RaftEntry> decode_raft_entry(std::string_view bytes) {
  Reader in(bytes, kDepth);
  RaftEntry entry;
  if (!read_entry(in, entry)) return std::nullopt;
  return entry;
}

std::optional<RaftMessage> decode_raft_message(std::string_view bytes) {
  Reader in(bytes, kDepth);
  RaftMessage message;
  if (!read_message(in, message)) return std::nullopt;
  return message;
}

size_t held_bytes(const RaftMessage& m) {
  size_t bytes = sizeof(RaftMessage) + m.context.size();
  for (const RaftEntry& entry : m.entries) bytes += held_bytes(entry);
  if (m.snapshot != nullptr) bytes += sizeof(RaftSnapshot) + m.snapshot->data.size();
  return bytes;
}

}  // namespace wire
