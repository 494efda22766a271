// Opens what a member keeps on disk, or makes it: the folders, the log, the engine; decides whether the member is new.
//   <data-dir>/member/wal        the Raft log, in etcd's format
//   <data-dir>/member/snap       .snap files
//   <data-dir>/member/store      LevelDB: all buckets (storage/keyspace.h)
//   <data-dir>/member/snap/db    only where Go etcd ran before: its database, taken over into a store that is not there yet
// Blocking; called once, before the loops run. Feature map 4.5 (R4.203, R4.219-R4.222); wire-and-disk 2.1, 9.4.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "io/disk.h"
#include "server/bootstrap.h"
#include "server/config.h"
#include "server/membership.h"
#include "storage/leveldb_engine.h"
#include "storage/wal/wal.h"

namespace server {

struct DataDir {
  base::NodeId self;
  uint64_t cluster_id = 0;
  // Members of a new cluster, by id; empty when the log has entries already.
  std::vector<Member> bootstrap_members;
  // Members of the cluster that is joined, ourselves among them: whom to talk to before the log or a snapshot tells.
  std::vector<Member> existing_members;
  std::unique_ptr<storage::Engine> engine;
  std::unique_ptr<storage::Wal> wal;
  storage::WalContents log;       // behind `snapshot`
  storage::WalSnapshot snapshot;  // index 0: none
};

inline constexpr std::string_view kDatabaseName = "db";

// Whether `config.data_dir` holds a member's log.
base::Result<bool> has_log(const Config& config, io::Disk& disk);
// Errors are what etcd prints at a failed start; damage names the file and says what to do. `ask`: how other members are asked.
base::Result<DataDir> open_data_dir(const Config& config, io::Disk& disk, const AskPeer& ask);

}  // namespace server
