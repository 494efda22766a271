// Makes the store's engine hold what a received database holds, in bounded steps for the helper thread. Both are walked in key
// order and only what differs is written: a member that lags has most rows already. The engine is not of one moment meanwhile:
// a marker row is written first and erased last, and who finds it at a start goes through the database again, which is kept
// until then. Readers of before keep their views. Wire-and-disk 4.10.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/ids.h"
#include "base/status.h"
#include "io/disk.h"
#include "storage/bolt/reader.h"
#include "storage/engine.h"

namespace server {

class SnapshotInstaller {
 public:
  // `path`: a bbolt database, see received_database_path().
  SnapshotInstaller(storage::Engine& engine, io::Disk& disk, std::string path, base::Index index);

  // One step; true: the engine holds the database, durably. Errors: what reading and writing say; the database must be kept.
  base::Result<bool> step();

  uint64_t rows_written() const { return rows_written_; }

 private:
  base::Status open();
  base::Status write();
  bool more_old() const { return old_->valid(); }
  void next_new();

  storage::Engine& engine_;
  io::Disk& disk_;
  const std::string path_;
  const base::Index index_;
  std::unique_ptr<storage::bolt::Reader> new_;
  std::shared_ptr<const storage::EngineSnapshot> before_;
  std::unique_ptr<storage::EngineIterator> old_;
  storage::WriteBatch batch_;
  std::string new_key_;  // with the bucket's byte; empty: no more
  uint64_t rows_written_ = 0;
  size_t seen_bytes_ = 0;
};

// At a start: if the engine is in the middle of an installation, or ends before the snapshot that the log begins with, and the
// database is there, brings it to the end. Otherwise nothing happens. Blocking.
base::Status finish_installation(storage::Engine& engine, io::Disk& disk, const std::string& snap_dir,
                                 base::Index snapshot_index);

}  // namespace server
