#include "server/stopped_member.h"

#include <vector>

#include "base/log.h"
#include "mvcc/hash_task.h"
#include "mvcc/store.h"
#include "storage/backend.h"
#include "storage/bolt/database_engine.h"
#include "storage/bolt/writer.h"
#include "storage/keyspace.h"
#include "storage/slices.h"

namespace server {
namespace {

using base::Code;
using base::Result;
using base::Status;
using storage::Bucket;
using storage::bolt::Rows;

constexpr uint64_t kSliceBytes = 64u << 20;
constexpr size_t kPieceBytes = 1u << 20;  // of one write to a file
constexpr std::string_view kStorageVersion = "storageVersion";

// The rows of a database with another storage version, or none.
class OtherVersion final : public Rows {
 public:
  OtherVersion(std::unique_ptr<storage::bolt::Reader> rows, std::string version)
      : rows_(std::move(rows)), version_(std::move(version)) {}

  bool next() override {
    if (on_version_) {  // it stood before the row that rows_ is at
      on_version_ = false;
      return more_;
    }
    for (more_ = rows_->next(); more_ && is_version(); more_ = rows_->next()) {
    }
    on_version_ = !written_ && !version_.empty() && (!more_ || is_behind());
    written_ |= on_version_;
    return on_version_ || more_;
  }
  std::string_view bucket() const override { return on_version_ ? storage::bucket_name(Bucket::kMeta) : rows_->bucket(); }
  std::string_view key() const override { return on_version_ ? kStorageVersion : rows_->key(); }
  std::string_view value() const override { return on_version_ ? std::string_view(version_) : rows_->value(); }
  const Status& status() const override { return rows_->status(); }

 private:
  bool is_version() const { return rows_->bucket() == storage::bucket_name(Bucket::kMeta) && rows_->key() == kStorageVersion; }
  bool is_behind() const {
    const std::string_view meta = storage::bucket_name(Bucket::kMeta);
    return rows_->bucket() > meta || (rows_->bucket() == meta && rows_->key() > kStorageVersion);
  }

  const std::unique_ptr<storage::bolt::Reader> rows_;
  const std::string version_;
  bool more_ = false, on_version_ = false, written_ = false;
};

// Rows that cannot be had: says why.
class NoRows final : public Rows {
 public:
  explicit NoRows(Status status) : status_(std::move(status)) {}
  bool next() override { return false; }
  std::string_view bucket() const override { return {}; }
  std::string_view key() const override { return {}; }
  std::string_view value() const override { return {}; }
  const Status& status() const override { return status_; }

 private:
  const Status status_;
};

Result<std::unique_ptr<storage::bolt::Reader>> read_database(io::Disk& disk, const std::string& path) {
  Result<std::unique_ptr<io::File>> file = disk.open(path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  return storage::bolt::Reader::open(std::move(*file));
}

}  // namespace

Result<std::unique_ptr<StoppedMember>> StoppedMember::open(io::Disk& disk, const std::string& data_dir,
                                                           const std::function<bool()>& wait) {
  std::unique_ptr<StoppedMember> member(new StoppedMember(disk, data_dir));
  for (;;) {
    Status opened = member->try_open();
    if (opened.ok()) return member;
    if (opened.code() != Code::kFailedPrecondition) return opened;
    if (!wait()) return Status(Code::kDeadlineExceeded, "timeout");
  }
}

Status StoppedMember::try_open() {
  const std::string store = data_dir_ + "/member/store";
  Result<bool> ours = io::exists(disk_, store + "/CURRENT");
  if (!ours.ok()) return ours.status();
  if (*ours) {
    Result<std::unique_ptr<storage::LevelDbEngine>> engine = storage::LevelDbEngine::open(disk_, store);
    if (!engine.ok()) return engine.status();
    engine_ = std::move(*engine);
    return {};
  }
  if (Result<io::FileInfo> info = disk_.stat(database_path()); !info.ok()) return info.status();
  const std::string wal = data_dir_ + "/member/wal";
  Result<std::vector<std::string>> names = disk_.list(wal);
  if (names.status().code() == Code::kNotFound) return {};  // it stands elsewhere, or there is none
  if (!names.ok()) return names.status();
  std::erase_if(*names, [](const std::string& name) { return !name.ends_with(".wal"); });
  if (names->empty()) return {};
  Result<std::unique_ptr<io::File>> newest = disk_.open(io::join(wal, names->back()), io::OpenMode::kReadWrite);
  if (!newest.ok()) return newest.status();
  if (Status locked = (*newest)->lock(); !locked.ok()) return locked;
  log_lock_ = std::move(*newest);
  return {};
}

Result<std::optional<std::string>> StoppedMember::meta(std::string_view key) const {
  const std::string row = storage::row_key(Bucket::kMeta, key);
  std::string value;
  Result<bool> found = false;
  if (engine_ != nullptr) {
    found = engine_->get(row, &value);
  } else {
    Result<std::unique_ptr<storage::bolt::DatabaseEngine>> database =
        storage::bolt::DatabaseEngine::open(disk_, database_path());
    if (!database.ok()) return database.status();
    found = (*database)->get(row, &value);
  }
  if (!found.ok()) return found.status();
  return *found ? std::optional<std::string>(std::move(value)) : std::nullopt;
}

Status StoppedMember::set_storage_version(const std::string& version) {
  if (engine_ != nullptr) {
    storage::WriteBatch batch;
    const std::string row = storage::row_key(Bucket::kMeta, kStorageVersion);
    if (version.empty()) {
      batch.erase(row);
    } else {
      batch.put(row, version);
    }
    return engine_->write(batch, /*sync=*/true);
  }
  return rewrite_database([&version](std::unique_ptr<storage::bolt::Reader> rows) {
    return std::make_unique<OtherVersion>(std::move(rows), version);
  });
}

Status StoppedMember::defragment() {
  const std::string path = engine_ != nullptr ? data_dir_ + "/member/store" : database_path();
  const uint64_t before = store_bytes();
  base::log::info("defragmenting", {{"path", path}, {"current-db-size-bytes", before}});
  Status done =
      engine_ != nullptr ? rewrite_store() : rewrite_database([](std::unique_ptr<storage::bolt::Reader> rows) { return rows; });
  if (!done.ok()) return done;
  const uint64_t after = store_bytes();
  base::log::info("finished defragmenting directory",
                  {{"path", path},
                   {"current-db-size-bytes-diff", static_cast<int64_t>(after) - static_cast<int64_t>(before)},
                   {"current-db-size-bytes", after}});
  return done;
}

uint64_t StoppedMember::store_bytes() const {
  if (engine_ != nullptr) return engine_->size_bytes();
  const Result<io::FileInfo> info = disk_.stat(database_path());
  return info.ok() ? info->size_bytes : 0;
}

Status StoppedMember::rewrite_store() {
  Status done = engine_->compact("", "");
  storage::Slices slices(*engine_, kSliceBytes);
  while (done.ok()) {
    const std::optional<storage::Slices::Range> range = slices.next();
    if (!range.has_value()) return {};
    done = engine_->compact(range->begin, range->limit);
  }
  return done;
}

Status StoppedMember::rewrite_database(const Change& change) {
  Result<std::unique_ptr<storage::bolt::Reader>> reader = read_database(disk_, database_path());
  if (!reader.ok()) return reader.status();
  storage::bolt::Writer writer((*reader)->buckets(), [&]() -> std::unique_ptr<Rows> {
    Result<std::unique_ptr<storage::bolt::Reader>> rows = read_database(disk_, database_path());
    if (!rows.ok()) return std::make_unique<NoRows>(rows.status());
    return change(std::move(*rows));
  });
  for (;;) {
    Result<bool> known = writer.measure(kPieceBytes);
    if (!known.ok()) return known.status();
    if (*known) break;
  }
  const std::string path = database_path() + ".tmp.rewrite";  // a name that servers clear away
  Result<std::unique_ptr<io::File>> file = disk_.open(path, io::OpenMode::kTruncate);
  if (!file.ok()) return file.status();
  Status done;
  std::string piece;
  uint64_t at = 0;
  for (bool more = true; more && done.ok(); at += piece.size(), piece.clear()) {
    Result<bool> read = writer.read(&piece, kPieceBytes);
    done = read.status();
    more = read.ok() && *read;
    if (done.ok()) done = (*file)->write_at(at, piece);
  }
  if (done.ok()) done = (*file)->sync();
  if (done.ok()) done = disk_.rename(path, database_path());
  if (done.ok()) return disk_.sync_dir(io::parent(path));
  if (const Status removed = disk_.unlink(path); !removed.ok()) base::log::warn("cannot remove", {{"error", removed}});
  return done;
}

Result<mvcc::KeyHash> hash_of_file(io::Disk& disk, const std::string& path, int64_t revision,
                                   const std::function<bool()>& wait) {
  const Result<io::FileInfo> info = disk.stat(path);
  if (!info.ok()) return info.status();
  std::unique_ptr<StoppedMember> member;
  std::string database = path;
  if (info->is_dir) {
    Result<std::unique_ptr<StoppedMember>> opened = StoppedMember::open(disk, path, wait);
    if (!opened.ok()) return opened.status();
    member = std::move(*opened);
    database = path + "/member/snap/db";
  }
  std::unique_ptr<storage::bolt::DatabaseEngine> file;
  if (member == nullptr || member->is_database()) {
    Result<std::unique_ptr<storage::bolt::DatabaseEngine>> opened = storage::bolt::DatabaseEngine::open(disk, database);
    if (!opened.ok()) return opened.status();
    file = std::move(*opened);
  }
  storage::Backend backend(file != nullptr ? static_cast<storage::Engine&>(*file) : member->engine());
  mvcc::Store store(backend);
  if (Status recovered = store.recover(); !recovered.ok()) return recovered;
  mvcc::HashTask task(store, revision);
  do {
    if (task.wants_read()) task.read();
  } while (!task.step());
  if (task.status().ok()) return task.result();
  // As etcd's store says it, without the name of the server that stands in front on the wire.
  constexpr std::string_view kServer = "etcdserver: ";
  std::string_view text = task.status().text();
  if (text.starts_with(kServer)) text.remove_prefix(kServer.size());
  return Status(task.status().code(), std::string(text));
}

}  // namespace server
