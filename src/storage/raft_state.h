// What the Raft log stores, in storage's own terms (raft/ is not visible here). Plain values; the server converts, and the
// bytes of an entry are shared, not copied. Encodings are etcd's raftpb and walpb messages: fields and numbers as in
// proto/raft.proto and proto/record.proto.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"

namespace storage {

// raftpb.EntryType; other numbers of a log are kept as they are.
inline constexpr uint32_t kEntryNormal = 0;
inline constexpr uint32_t kEntryConfChange = 1;
inline constexpr uint32_t kEntryConfChangeV2 = 2;

struct WalEntry {
  base::Term term;
  base::Index index;
  uint32_t type = kEntryNormal;
  std::shared_ptr<const std::string> data;  // null: none (a new leader's first entry)
};

struct HardState {
  base::Term term;
  base::NodeId vote;
  base::Index commit;

  bool empty() const { return *this == HardState{}; }
  friend bool operator==(const HardState&, const HardState&) = default;
};

struct ConfState {
  std::vector<base::NodeId> voters;
  std::vector<base::NodeId> learners;
  std::vector<base::NodeId> voters_outgoing;
  std::vector<base::NodeId> learners_next;
  bool auto_leave = false;

  friend bool operator==(const ConfState&, const ConfState&) = default;
};

// A walpb.Snapshot record: "state up to `index` is in a snapshot".
struct WalSnapshot {
  base::Index index;
  base::Term term;
  ConfState conf_state;

  friend bool operator==(const WalSnapshot&, const WalSnapshot&) = default;
};

// Encoders append to `out`.
void encode_conf_state(const ConfState& conf_state, std::string& out);
void encode_hard_state(const HardState& state, std::string& out);
void encode_wal_snapshot(const WalSnapshot& snapshot, std::string& out);
void encode_entry(const WalEntry& entry, std::string& out);

// kDataLoss for bytes that are not such a message; unknown fields are skipped.
base::Result<ConfState> decode_conf_state(std::string_view in);
base::Result<HardState> decode_hard_state(std::string_view in);
base::Result<WalSnapshot> decode_wal_snapshot(std::string_view in);
base::Result<WalEntry> decode_entry(std::string_view in);

}  // namespace storage
