// The store of a member that does not run, for tools: ours (member/store), or the database of an etcd written in Go
// (member/snap/db), which is rewritten to a file of its own that then takes its name. While it is open no server can open it.
// Blocking; flat memory.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "io/disk.h"
#include "mvcc/hash_cache.h"
#include "storage/bolt/reader.h"
#include "storage/leveldb_engine.h"

namespace server {

class StoppedMember {
 public:
  // `wait`: called between two tries while another process has the store open; false: give up. `disk` outlives this.
  // Errors: `stat D/member/snap/db: no such file or directory` when D holds no store of either kind; `timeout`; kDataLoss.
  static base::Result<std::unique_ptr<StoppedMember>> open(io::Disk& disk, const std::string& data_dir,
                                                           const std::function<bool()>& wait);

  // Whether it is the database of an etcd written in Go.
  bool is_database() const { return engine_ == nullptr; }
  // Our store. REQUIRES: not is_database().
  storage::Engine& engine() { return *engine_; }
  // A row of bucket `meta`.
  base::Result<std::optional<std::string>> meta(std::string_view key) const;
  // Empty: removes the row.
  base::Status set_storage_version(const std::string& version);
  // Rewrites everything, so that what was erased takes no space.
  base::Status defragment();

 private:
  StoppedMember(io::Disk& disk, std::string data_dir) : disk_(disk), data_dir_(std::move(data_dir)) {}
  base::Status try_open();
  uint64_t store_bytes() const;
  base::Status rewrite_store();
  std::string database_path() const { return data_dir_ + "/member/snap/db"; }
  using Change = std::function<std::unique_ptr<storage::bolt::Rows>(std::unique_ptr<storage::bolt::Reader>)>;
  base::Status rewrite_database(const Change& change);

  io::Disk& disk_;
  const std::string data_dir_;
  std::unique_ptr<storage::LevelDbEngine> engine_;
  std::unique_ptr<io::File> log_lock_;  // the newest segment of the log, which a server of either kind locks
};

// HashKV of a file (a snapshot or a database) or of a stopped member's data directory; `revision` 0: the newest. Memory: the
// index of its keys. Errors: `stat PATH: no such file or directory`; etcd's for a future or compacted revision; kDataLoss.
base::Result<mvcc::KeyHash> hash_of_file(io::Disk& disk, const std::string& path, int64_t revision,
                                         const std::function<bool()>& wait);

}  // namespace server
