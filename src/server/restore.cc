#include "server/restore.h"

#include <absl/container/flat_hash_set.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "etcdserver.pb.h"
#include "io/tree.h"
#include "kv.pb.h"
#include "server/conf_state_json.h"
#include "server/config.h"
#include "server/membership.h"
#include "server/v2_store_json.h"
#include "storage/bolt/buckets.h"
#include "storage/bolt/reader.h"
#include "storage/keyspace.h"
#include "storage/leveldb_engine.h"
#include "storage/snap/snap.h"
#include "storage/wal/wal.h"

namespace server {
namespace {

using base::Code;
using base::Index;
using base::NodeId;
using base::Result;
using base::Status;
using base::Term;
using storage::Bucket;
using storage::bucket_name;

constexpr size_t kReadBytes = 1u << 20;
constexpr size_t kRevisionBytes = 17;
constexpr std::string_view kUnfinished = ".restoring";  // behind the names of what is being made

Status invalid(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

std::string quoted(const std::string& text) { return '"' + text + '"'; }

// Go's %v of a []byte.
std::string byte_list(std::string_view bytes) {
  std::string out = "[";
  for (const char c : bytes) out += (out.size() > 1 ? " " : "") + std::to_string(static_cast<unsigned char>(c));
  return out + "]";
}

// Folders that get their names when all is done, and go away otherwise.
class Unfinished {
 public:
  explicit Unfinished(io::Disk& disk) : disk_(disk) {}
  ~Unfinished() {
    if (finished_) return;
    for (auto it = made_.rbegin(); it != made_.rend(); ++it) {
      const Status removed = io::remove_tree(disk_, *it);
      if (!removed.ok()) base::log::warn("cannot remove what an unfinished restore made", {{"error", removed}});
    }
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  // Makes `dir` and its missing parents; the topmost that was missing goes away with it.
  Status make_parents(const std::string& dir) {
    std::string missing;
    for (std::string at = dir; !at.empty() && at != "/" && at != "."; at = io::parent(at)) {
      Result<bool> there = io::exists(disk_, at);
      if (!there.ok()) return there.status();
      if (*there) break;
      missing = at;
    }
    if (!missing.empty()) made_.push_back(missing);
    return io::make_dirs(disk_, dir);
  }
  // A new folder that becomes `final_name` beside it. What an interrupted restore left there goes first.
  Result<std::string> make(const std::string& final_name) {
    const std::string path = final_name + std::string(kUnfinished);
    Status status = io::remove_tree(disk_, path);
    if (status.ok()) status = make_parents(io::parent(final_name));
    if (!status.ok()) return status;
    made_.push_back(path);
    status = disk_.make_dir(path);
    if (!status.ok()) return status;
    renames_.emplace_back(path, final_name);
    return path;
  }
  Status finish() {
    for (const auto& [from, to] : renames_) {
      Status renamed = disk_.rename(from, to);
      if (renamed.ok()) made_.push_back(to);
      if (renamed.ok()) renamed = disk_.sync_dir(io::parent(to));
      if (!renamed.ok()) return renamed;
    }
    finished_ = true;
    return {};
  }

 private:
  io::Disk& disk_;
  std::vector<std::string> made_;  // outermost first
  std::vector<std::pair<std::string, std::string>> renames_;
  bool finished_ = false;
};

struct HashFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// The digest behind the database, if there is one, must be that of what is before it.
Status check_digest(io::File& file, uint64_t size, bool skip, const RestoreProgress& progress) {
  const bool has = has_digest(size);
  if (!has && !skip) return invalid("snapshot missing hash but --skip-hash-check=false");
  if (skip) return {};
  std::unique_ptr<EVP_MD_CTX, HashFree> context(EVP_MD_CTX_new());
  VERIFY(context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1);
  std::string buffer(kReadBytes, '\0');
  const uint64_t end = size - kSnapshotDigestBytes;
  for (uint64_t at = 0; at < end;) {
    Result<size_t> n = file.read_at(at, buffer.data(), static_cast<size_t>(std::min<uint64_t>(kReadBytes, end - at)));
    if (!n.ok()) return n.status();
    if (*n == 0) return invalid("unexpected EOF");
    VERIFY(EVP_DigestUpdate(context.get(), buffer.data(), *n) == 1);
    at += *n;
    if (progress) progress(at, 2 * size);
  }
  std::string expected(kSnapshotDigestBytes, '\0'), got(kSnapshotDigestBytes, '\0');
  Result<size_t> n = file.read_at(end, expected.data(), expected.size());
  if (!n.ok()) return n.status();
  VERIFY(EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(got.data()), nullptr) == 1);
  if (expected == got) return {};
  return Status(Code::kDataLoss, "expected sha256 " + byte_list(expected) + ", got " + byte_list(got));
}

// The rows of a snapshot without those that say who was in its cluster.
class RestoredRows final : public storage::bolt::Rows {
 public:
  RestoredRows(storage::bolt::Reader& rows, uint64_t file_bytes, const RestoreProgress& progress)
      : rows_(rows), file_bytes_(file_bytes), progress_(progress) {}
  bool next() override {
    while (rows_.next()) {
      bytes_ += rows_.key().size() + rows_.value().size();
      if (progress_) progress_(file_bytes_ + std::min(bytes_, file_bytes_), 2 * file_bytes_);
      if (rows_.bucket() == bucket_name(Bucket::kMembers) || rows_.bucket() == bucket_name(Bucket::kMembersRemoved)) continue;
      if (rows_.bucket() == bucket_name(Bucket::kKey)) {
        if (rows_.key().size() < kRevisionBytes) {
          status_ = Status(Code::kDataLoss, "cannot parse revision key of " + std::to_string(rows_.key().size()) + " bytes");
          return false;
        }
        latest_revision_ = static_cast<int64_t>(base::load_be64(rows_.key().data()));
      }
      return true;
    }
    status_ = rows_.status();
    // Pages hold more than rows: what is left to count is nothing to wait for.
    if (progress_ && status_.ok()) progress_(2 * file_bytes_, 2 * file_bytes_);
    return false;
  }
  std::string_view bucket() const override { return rows_.bucket(); }
  std::string_view key() const override { return rows_.key(); }
  std::string_view value() const override { return rows_.value(); }
  const Status& status() const override { return status_; }
  int64_t latest_revision() const { return latest_revision_; }

 private:
  storage::bolt::Reader& rows_;
  const uint64_t file_bytes_;
  const RestoreProgress& progress_;
  uint64_t bytes_ = 0;
  int64_t latest_revision_ = 0;
  Status status_;
};

std::string revision_key(int64_t main) {
  std::string key;
  base::append_be64(key, static_cast<uint64_t>(main));
  key += '_';
  base::append_be64(key, 0);
  return key;
}

std::string be64(uint64_t number) {
  std::string out;
  base::append_be64(out, number);
  return out;
}

// Who will be in the cluster, ascending by id, and which of them this directory is for.
struct NewCluster {
  std::vector<Member> members;
  NodeId self;
  uint64_t id = 0;
  storage::ConfState conf_state;
};

Result<NewCluster> plan_cluster(const RestoreOptions& options) {
  Config config = Config::defaults();
  config.name = options.name;
  config.initial_cluster = options.initial_cluster;
  config.initial_cluster_token = options.initial_cluster_token;
  Result<Urls> urls = parse_urls(options.peer_urls);
  if (!urls.ok()) return urls.status();
  config.advertise_peer_urls = std::move(*urls);
  Result<UrlsMap> parsed = parse_urls_map(options.initial_cluster);
  if (!parsed.ok()) return parsed.status();
  Result<UrlsMap> by_name = initial_members(config);
  if (!by_name.ok()) return by_name.status();
  Result<std::vector<Member>> members = founding_members(*by_name, options.initial_cluster_token);
  if (!members.ok()) return members.status();
  NewCluster cluster;
  cluster.members = std::move(*members);
  for (const Member& member : cluster.members) {
    cluster.conf_state.voters.push_back(member.id);
    if (member.name == options.name) cluster.self = member.id;
  }
  cluster.id = cluster_id(cluster.conf_state.voters);
  return cluster;
}

// The store: all rows but the old membership, the new one, and the log position they stand at.
Status write_store(io::Disk& disk, const std::string& dir, RestoredRows& rows, const RestoreOptions& options,
                   const NewCluster& cluster, std::string* v2_json) {
  Result<std::unique_ptr<storage::LevelDbEngine>> engine = storage::LevelDbEngine::open(disk, dir);
  if (!engine.ok()) return engine.status();
  Result<storage::bolt::Imported> imported = storage::bolt::import_rows(rows, **engine);
  if (!imported.ok()) return imported.status();
  if (imported->skipped > 0) {
    base::log::warn("left out rows of buckets that no etcd of today has", {{"rows", imported->skipped}});
  }
  storage::Backend backend(**engine);
  if (options.mark_compacted && options.bump_revision > 0) {
    const int64_t latest = rows.latest_revision();
    const int64_t bumped = latest + static_cast<int64_t>(options.bump_revision);
    base::log::info("bumping latest revision",
                    {{"latest-revision", latest}, {"bump-amount", options.bump_revision}, {"new-latest-revision", bumped}});
    storage::put_row(backend, Bucket::kKey, revision_key(bumped), "");
    base::log::info("marking revision compacted", {{"revision", bumped}});
    storage::put_row(backend, Bucket::kMeta, "scheduledCompactRev", revision_key(bumped));
  }
  Membership membership(backend, cluster.self, cluster.id, 0);
  for (const Member& member : cluster.members) {
    membership.apply({0, raft::ConfChangeType::kAddNode, member.id, member_json(member)});
  }
  storage::put_row(backend, Bucket::kMeta, "consistent_index", be64(cluster.members.size()));
  storage::put_row(backend, Bucket::kMeta, "term", be64(1));
  raft::ConfState conf_state;
  conf_state.voters = cluster.conf_state.voters;
  storage::put_row(backend, Bucket::kMeta, "confState", conf_state_json(conf_state));
  Status status = membership.recover();
  if (status.ok()) status = backend.commit_now(cluster.members.size());
  *v2_json = v2_store_json(membership);
  return status;
}

// The log of a cluster whose founders are its first entries, all committed, with a snapshot behind them.
Status write_log(io::Disk& disk, const std::string& wal_dir, const std::string& snap_dir, const NewCluster& cluster,
                 std::string v2_json) {
  etcdserverpb::Metadata metadata;
  metadata.set_nodeid(cluster.self.value());
  metadata.set_clusterid(cluster.id);
  Result<std::unique_ptr<storage::Wal>> wal = storage::Wal::create(disk, wal_dir, metadata.SerializeAsString());
  if (!wal.ok()) return wal.status();
  std::vector<storage::WalEntry> entries;
  for (const Member& member : cluster.members) {
    raft::ConfChange change{0, raft::ConfChangeType::kAddNode, member.id, member_json(member)};
    entries.push_back({Term(1), Index(entries.size() + 1), storage::kEntryConfChange,
                       std::make_shared<const std::string>(raft::encode(change))});
  }
  const Index last(entries.size());
  storage::WalBatch batch;
  (*wal)->encode(entries, {Term(1), cluster.members[0].id, last}, &batch);
  Status status = (*wal)->write(batch);
  storage::SnapFile snap{last, Term(1), cluster.conf_state, std::move(v2_json)};
  if (status.ok()) status = storage::SnapDir(disk, snap_dir).save(snap);
  if (!status.ok()) return status;
  const storage::WalSnapshot record{last, Term(1), cluster.conf_state};
  (*wal)->encode({}, {}, &batch, &record);
  return (*wal)->write(batch);
}

// What an interrupted restore left does not count.
Result<bool> is_empty_or_missing(io::Disk& disk, const std::string& dir) {
  Result<bool> there = io::exists(disk, dir);
  if (!there.ok() || !*there) return there.ok() ? Result<bool>(true) : there;
  Result<std::vector<std::string>> names = disk.list(dir);
  if (!names.ok()) return false;
  return std::all_of(names->begin(), names->end(),
                     [](const std::string& name) { return name == "member" + std::string(kUnfinished); });
}

Status check_target(io::Disk& disk, const RestoreOptions& options, bool* wal_apart) {
  Result<bool> empty = is_empty_or_missing(disk, options.data_dir);
  if (!empty.ok() || !*empty) return invalid("data-dir " + quoted(options.data_dir) + " not empty or could not be read");
  Result<bool> wal_there = io::exists(disk, options.wal_dir);
  if (!wal_there.ok() || *wal_there) return invalid("wal-dir " + quoted(options.wal_dir) + " exists");
  *wal_apart = options.wal_dir != options.data_dir + "/member/wal";
  return {};
}

}  // namespace

Status restore_snapshot(io::Disk& disk, const RestoreOptions& options, const RestoreProgress& progress) {
  Result<NewCluster> cluster = plan_cluster(options);
  if (!cluster.ok()) return cluster.status();
  bool wal_apart = false;
  if (Status target = check_target(disk, options, &wal_apart); !target.ok()) return target;
  const auto tell = [&](const char* what) {
    base::log::info(what, {{"path", options.snapshot_path},
                           {"wal-dir", options.wal_dir},
                           {"data-dir", options.data_dir},
                           {"snap-dir", options.data_dir + "/member/snap"},
                           {"initial-memory-map-size", options.initial_memory_map_bytes}});
  };
  tell("restoring snapshot");
  Result<std::unique_ptr<io::File>> file = disk.open(options.snapshot_path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  Result<uint64_t> size = (*file)->size();
  if (!size.ok()) return size.status();
  if (Status digest = check_digest(**file, *size, options.skip_hash_check, progress); !digest.ok()) return digest;
  Result<std::unique_ptr<storage::bolt::Reader>> reader = storage::bolt::Reader::open(std::move(*file));
  if (!reader.ok()) return reader.status();

  Unfinished unfinished(disk);
  Result<std::string> member_dir = unfinished.make(options.data_dir + "/member");
  if (!member_dir.ok()) return member_dir.status();
  Result<std::string> wal_dir = *member_dir + "/wal";
  if (wal_apart) wal_dir = unfinished.make(options.wal_dir);
  if (!wal_dir.ok()) return wal_dir.status();
  std::string v2_json;
  Status status = io::make_dirs(disk, *member_dir + "/snap");
  if (status.ok()) status = io::make_dirs(disk, *member_dir + "/store");
  RestoredRows rows(**reader, *size, progress);
  if (status.ok()) status = write_store(disk, *member_dir + "/store", rows, options, *cluster, &v2_json);
  if (status.ok()) status = write_log(disk, *wal_dir, *member_dir + "/snap", *cluster, std::move(v2_json));
  if (status.ok()) status = unfinished.finish();
  if (status.ok()) tell("restored snapshot");
  return status;
}

Result<SnapshotFileStatus> snapshot_file_status(io::Disk& disk, const std::string& path) {
  if (Result<io::FileInfo> info = disk.stat(path); !info.ok()) return info.status();
  Result<std::unique_ptr<io::File>> file = disk.open(path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  const auto damaged = [](const Status& status) {
    return Status(Code::kDataLoss, "snapshot file integrity check failed. 1 errors found.\n" + std::string(status.text()));
  };
  Result<std::unique_ptr<storage::bolt::Reader>> reader = storage::bolt::Reader::open(std::move(*file));
  if (!reader.ok()) return damaged(reader.status());
  storage::bolt::Reader& rows = **reader;
  SnapshotFileStatus out;
  out.size_bytes = rows.size_bytes();
  storage::bolt::DatabaseHash hash(rows.buckets());
  absl::flat_hash_set<std::pair<uint64_t, uint64_t>> live;  // two hashes of each key: two keys never share both
  while (rows.next()) {
    hash.add(rows.bucket(), rows.key(), rows.value());
    if (rows.bucket() == bucket_name(Bucket::kMeta) && rows.key() == "storageVersion") out.version = rows.value();
    if (rows.bucket() != bucket_name(Bucket::kKey)) continue;
    if (rows.key().size() < kRevisionBytes) {
      return Status(Code::kDataLoss, "cannot parse revision key of " + std::to_string(rows.key().size()) + " bytes");
    }
    out.revision = static_cast<int64_t>(base::load_be64(rows.key().data()));
    mvccpb::KeyValue pair;
    if (!pair.ParseFromArray(rows.value().data(), static_cast<int>(rows.value().size()))) {
      return Status(Code::kDataLoss, "cannot unmarshal value at revision " + std::to_string(out.revision));
    }
    const std::pair<uint64_t, uint64_t> name(absl::HashOf(1, pair.key()), absl::HashOf(2, pair.key()));
    if (rows.key().size() == kRevisionBytes)
      live.insert(name);
    else
      live.erase(name);
  }
  if (!rows.status().ok()) return damaged(rows.status());
  out.keys = live.size();
  out.hash = hash.finish();
  return out;
}

}  // namespace server
