// .snap files in etcd's format: "<term>-<index>.snap" holds snappb.snapshot{crc, raftpb.Snapshot{data, metadata}}. The data is
// the caller's (etcd: JSON of the v2 store). Disk or helper thread; blocking.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/disk.h"
#include "storage/raft_state.h"

namespace storage {

inline constexpr size_t kSnapFileBytesMax = 512u << 20;

struct SnapFile {
  base::Index index;
  base::Term term;
  ConfState conf_state;
  std::string data;
};

// The bytes of a .snap file; and back. kDataLoss: empty, damaged, or no such message.
std::string encode_snap(const SnapFile& snap);
base::Result<SnapFile> decode_snap(std::string_view bytes);

class SnapDir {
 public:
  // `dir` exists (member/snap). Removes nothing by itself.
  SnapDir(io::Disk& disk, std::string dir) : disk_(disk), dir_(std::move(dir)) {}

  // Durable when it returns. A snapshot at index 0 is not written.
  base::Status save(const SnapFile& snap);
  // The newest file that can be read; damaged ones on the way are renamed to *.broken and logged. nullopt: there is none.
  base::Result<std::optional<SnapFile>> load_newest();
  // The same among those that match a record of the log (index and term).
  base::Result<std::optional<SnapFile>> load_newest_of(std::span<const WalSnapshot> records);
  // Names of .snap files, newest (highest term, then index) first.
  base::Result<std::vector<std::string>> list();
  // Keeps the `keep_count` newest .snap files; returns how many were removed.
  base::Result<size_t> purge(size_t keep_count);
  // Removes received databases ("<index>.snap.db") below `index`, and what interrupted work left ("db.tmp*", "*.tmp").
  base::Status remove_orphans(base::Index index);

 private:
  base::Result<std::optional<SnapFile>> load_newest_where(std::span<const WalSnapshot>* records);

  io::Disk& disk_;
  const std::string dir_;
};

}  // namespace storage
