#include "server/data_dir.h"

#include "base/bytes.h"
#include "base/log.h"
#include "etcdserver.pb.h"
#include "io/tree.h"
#include "server/force_new_cluster.h"
#include "server/snapshot_installer.h"
#include "server/snapshot_receiver.h"
#include "server/wal_segments.h"
#include "storage/bolt/buckets.h"
#include "storage/bolt/reader.h"

namespace server {
namespace {

using base::Code;
using base::NodeId;
using base::Result;
using base::Status;

// Engine sizes of a member: small enough for 20 MB idle, large enough that LevelDB writes each byte few times.
constexpr size_t kWriteBufferBytes = 8u << 20;
constexpr size_t kBlockCacheBytes = 16u << 20;

Status explain(const Status& status, std::string_view doing) {
  return Status(status.code(), std::string(doing) + ": " + std::string(status.text()));
}

Status make_member_dirs(const Config& config, io::Disk& disk) {
  Status made = io::make_dirs(disk, config.data_dir);
  if (!made.ok()) return explain(made, "cannot access data directory");
  Result<io::FileInfo> info = disk.stat(config.data_dir);
  if (info.ok() && (info->mode & 077) != 0) {
    base::log::warn("check file permission",
                    {{"error", "directory \"" + config.data_dir +
                                   "\" exists, but the permission is wider than \"-rwx------\": others may read it"}});
  }
  for (const std::string& dir : {config.member_dir(), config.snap_dir()}) {
    made = io::make_dirs(disk, dir);
    if (!made.ok()) return explain(made, "cannot access member directory");
  }
  const std::string probe = config.snap_dir() + "/.touch";
  made = io::write_file_durably(disk, probe, "");
  if (made.ok()) made = disk.unlink(probe);
  if (!made.ok()) return explain(made, "cannot write to member directory");
  return {};
}

void warn_of_strangers(const Config& config, io::Disk& disk) {
  Result<std::vector<std::string>> names = disk.list(config.data_dir);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (name != "member")
      base::log::warn("found invalid file under data directory", {{"filename", name}, {"data-dir", config.data_dir}});
  }
}

std::string metadata_of(NodeId self, uint64_t cluster) {
  etcdserverpb::Metadata metadata;
  metadata.set_nodeid(self.value());
  metadata.set_clusterid(cluster);
  return metadata.SerializeAsString();
}

uint64_t g_wal_segment_bytes = storage::kWalSegmentBytes;

Result<DataDir> create(const Config& config, io::Disk& disk, Bootstrap who) {
  DataDir out;
  out.self = who.self;
  out.cluster_id = who.cluster_id;
  out.bootstrap_members = std::move(who.founders);
  out.existing_members = std::move(who.existing);
  storage::WalOptions options;
  options.segment_bytes = g_wal_segment_bytes;
  options.no_sync = config.unsafe_no_fsync;
  Result<std::unique_ptr<storage::Wal>> wal =
      storage::Wal::create(disk, config.effective_wal_dir(), metadata_of(out.self, out.cluster_id), options);
  if (!wal.ok()) return explain(wal.status(), "cannot write to WAL directory");
  out.wal = std::move(*wal);
  return out;
}

Result<DataDir> reopen(const Config& config, io::Disk& disk, const AskPeer& ask) {
  Result<std::vector<storage::WalSnapshot>> snapshots = storage::Wal::valid_snapshots(disk, config.effective_wal_dir());
  if (!snapshots.ok()) return snapshots.status();
  DataDir out;
  if (!snapshots->empty()) out.snapshot = snapshots->back();
  storage::WalOptions options;
  options.segment_bytes = g_wal_segment_bytes;
  options.no_sync = config.unsafe_no_fsync;
  auto opened = storage::Wal::open(disk, config.effective_wal_dir(), out.snapshot.index, out.snapshot.term, options);
  if (!opened.ok()) return opened.status();
  out.wal = std::move(opened->first);
  out.log = std::move(opened->second);
  etcdserverpb::Metadata metadata;
  if (!metadata.ParseFromString(out.log.metadata) || metadata.nodeid() == 0) {
    return Status(Code::kDataLoss, "wal: the metadata record in " + config.effective_wal_dir() +
                                       " does not name a member; restore this member from a snapshot or remove its data "
                                       "directory and let it join anew");
  }
  out.self = NodeId(metadata.nodeid());
  out.cluster_id = metadata.clusterid();
  if (out.log.entries.empty() && out.log.state.empty() && out.snapshot.index == base::Index(0)) {
    // The first start ended before its first entries were durable: nothing was ever promised, so the bootstrap is done again.
    Result<Bootstrap> who = bootstrap(config, ask);
    if (!who.ok()) return who.status();
    if (who->self != out.self || who->cluster_id != out.cluster_id) {
      return Status(Code::kInvalidArgument,
                    "the empty log in " + config.effective_wal_dir() + " belongs to member " + base::hex(out.self.value()) +
                        " of cluster " + base::hex(out.cluster_id) +
                        ", the flags name another; remove the data directory if this member is to start anew");
    }
    out.bootstrap_members = std::move(who->founders);
    out.existing_members = std::move(who->existing);
  }
  return out;
}

// A data directory that Go etcd wrote has its rows in member/snap/db: they go into a new store, which gets its name when it is
// whole. The database is left as it is: with the log of now, etcd can go on from it for as long as the log reaches back to it.
Status take_over_database(const Config& config, io::Disk& disk, const std::string& store) {
  const std::string database = config.snap_dir() + "/" + std::string(kDatabaseName);
  Result<bool> there = io::exists(disk, database);
  if (!there.ok()) return there.status();
  Result<bool> has_store = io::exists(disk, store + "/CURRENT");
  if (!has_store.ok()) return has_store.status();
  if (!*there || *has_store) return {};
  base::log::info("taking over the database of an etcd written in Go", {{"path", database}});
  Result<std::unique_ptr<io::File>> file = disk.open(database, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  Result<std::unique_ptr<storage::bolt::Reader>> rows = storage::bolt::Reader::open(std::move(*file));
  if (!rows.ok()) return explain(rows.status(), "cannot take over " + database);
  const std::string unfinished = store + ".importing";
  Status done = io::remove_tree(disk, unfinished);
  if (done.ok()) done = io::remove_tree(disk, store);
  if (!done.ok()) return done;
  uint64_t count = 0;
  {
    Result<std::unique_ptr<storage::LevelDbEngine>> engine = storage::LevelDbEngine::open(disk, unfinished);
    if (!engine.ok()) return engine.status();
    Result<storage::bolt::Imported> imported = storage::bolt::import_rows(**rows, **engine);
    if (!imported.ok()) return explain(imported.status(), "cannot take over " + database);
    count = imported->rows;
  }
  done = disk.rename(unfinished, store);
  if (done.ok()) done = disk.sync_dir(config.member_dir());
  if (done.ok()) base::log::info("took over the database", {{"path", database}, {"rows", count}});
  return done;
}

// A new member has neither. A log is made before the store, so a store alone has lost its log: deleted, or on a disk that is
// not mounted. To found or join anew on top of it would end in data that nobody has agreed on.
Status refuse_store_without_log(const Config& config, io::Disk& disk) {
  const std::string store = config.member_dir() + "/store";
  Result<bool> has_store = io::exists(disk, store + "/CURRENT");
  if (!has_store.ok() || !*has_store) return has_store.status();
  return Status(Code::kDataLoss,
                "no log in " + config.effective_wal_dir() + " though " + store +
                    " holds data: it was deleted, or its disk is not mounted; bring it back, restore the member "
                    "from a snapshot, or remove its data directory and let it join anew");
}

}  // namespace

void set_wal_segment_bytes_for_test(uint64_t bytes) { g_wal_segment_bytes = bytes; }

Result<bool> has_log(const Config& config, io::Disk& disk) {
  Result<bool> is_there = io::exists(disk, config.effective_wal_dir());
  if (!is_there.ok() || !*is_there) return is_there;
  return storage::Wal::exists(disk, config.effective_wal_dir());
}

Result<DataDir> open_data_dir(const Config& config, io::Disk& disk, const AskPeer& ask) {
  Result<bool> initialized = has_log(config, disk);
  if (!initialized.ok()) return initialized.status();
  if (!*initialized) {
    Status refused = refuse_store_without_log(config, disk);
    if (!refused.ok()) return refused;
  }
  Status made = make_member_dirs(config, disk);
  if (!made.ok()) return made;
  warn_of_strangers(config, disk);
  Result<DataDir> out = Status(Code::kInternal, "not opened");
  if (*initialized) {
    out = reopen(config, disk, ask);
  } else {
    Result<Bootstrap> who = bootstrap(config, ask);
    if (!who.ok()) return who.status();
    out = create(config, disk, std::move(*who));
  }
  if (!out.ok()) return out;

  storage::LevelDbOptions options;
  options.write_buffer_bytes = kWriteBufferBytes;
  options.block_cache_bytes = kBlockCacheBytes;
  const std::string store = config.member_dir() + "/store";
  if (*initialized) {
    Status taken = take_over_database(config, disk, store);
    if (!taken.ok()) return taken;
  }
  Result<std::unique_ptr<storage::LevelDbEngine>> engine = storage::LevelDbEngine::open(disk, store, options);
  if (!engine.ok()) return engine.status();
  out->engine = std::move(*engine);
  Status installed = finish_installation(*out->engine, disk, config.snap_dir(), out->snapshot.index);
  if (!installed.ok()) return installed;
  remove_received_databases(disk, config.snap_dir());
  const bool founds = !out->bootstrap_members.empty() || !out->existing_members.empty() || !*initialized;
  if (founds) {
    base::log::info("starting local member",
                    {{"local-member-id", base::hex(out->self.value())}, {"cluster-id", base::hex(out->cluster_id)}});
  } else if (config.force_new_cluster) {
    Status forced = force_new_cluster(&*out);
    if (!forced.ok()) return forced;
  } else {
    base::log::info("restarting local member", {{"cluster-id", base::hex(out->cluster_id)},
                                                {"local-member-id", base::hex(out->self.value())},
                                                {"commit-index", out->log.state.commit.value()}});
  }
  return out;
}

}  // namespace server
