// A member's data directory out of a snapshot file: the database of any etcd from 3.4 on or of ours, with the log of a new
// cluster in front of it. Blocking, flat memory: rows stream from the file into the store. Nothing of the target is touched
// before the file's digest was checked, and what is made gets its name last: a restore that fails leaves the target as it was.
// Source: wire-and-disk 8.3; etcd etcdutl/snapshot.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/disk.h"

namespace server {

struct RestoreOptions {
  std::string snapshot_path;
  std::string name = "default";
  std::string data_dir;
  std::string wal_dir;
  std::vector<std::string> peer_urls;
  std::string initial_cluster;
  std::string initial_cluster_token;
  bool skip_hash_check = false;
  uint64_t initial_memory_map_bytes = 0;  // only told in the log
  uint64_t bump_revision = 0;             // both or neither
  bool mark_compacted = false;
};

// Bytes read so far of how many, twice over the file: for the digest, then for the rows.
using RestoreProgress = std::function<void(uint64_t done, uint64_t total)>;

// Errors are etcdutl's texts; damage of the file is kDataLoss and says where.
base::Status restore_snapshot(io::Disk& disk, const RestoreOptions& options, const RestoreProgress& progress = nullptr);

// A file has a digest behind its database if its size says so: databases are whole sectors.
inline constexpr size_t kSnapshotDigestBytes = 32;
inline bool has_digest(uint64_t file_bytes) { return file_bytes % io::kSectorBytes == kSnapshotDigestBytes; }

struct SnapshotFileStatus {
  uint32_t hash = 0;
  int64_t revision = 0;
  uint64_t keys = 0;        // that have a value
  uint64_t size_bytes = 0;  // of the database
  std::string version;      // storage version; empty before 3.6
};
// Reads the whole file. Memory: 16 bytes a key. Errors: `stat PATH: no such file or directory`; kDataLoss with
// `snapshot file integrity check failed. ...`.
base::Result<SnapshotFileStatus> snapshot_file_status(io::Disk& disk, const std::string& path);

}  // namespace server
