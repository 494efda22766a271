#include "storage/leveldb_engine.h"

#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>
#include <leveldb/write_batch.h>

#include <algorithm>

#include "base/verify.h"
#include "storage/leveldb_env.h"
#include "storage/leveldb_log.h"

namespace storage {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr int kBloomBitsPerKey = 10;
constexpr size_t kMarkTailBytes = 32;  // of the mark at the end of a range that is rewritten

leveldb::Slice slice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view view(const leveldb::Slice& bytes) { return {bytes.data(), bytes.size()}; }

Status convert(const leveldb::Status& status) {
  if (status.ok()) return {};
  std::string text = "leveldb: " + status.ToString();
  if (!status.IsCorruption()) return Status(Code::kInternal, std::move(text));
  // The damaged block is what this thread read last.
  if (const std::string where = LevelDbEnv::last_read(); !where.empty()) text += " in " + where;
  text +=
      "; this member's database is damaged: restore its data directory from a backup, or remove the member from the "
      "cluster and add it again with an empty data directory";
  return Status(Code::kDataLoss, std::move(text));
}

class Snapshot final : public EngineSnapshot {
 public:
  explicit Snapshot(leveldb::DB& db) : db_(db), snapshot_(db.GetSnapshot()) {}
  ~Snapshot() override { db_.ReleaseSnapshot(snapshot_); }
  const leveldb::Snapshot* get() const { return snapshot_; }

 private:
  leveldb::DB& db_;
  const leveldb::Snapshot* const snapshot_;
};

// A key in [begin, limit) with hardly any between it and the end. REQUIRES: begin < limit.
std::string last_before(std::string_view begin, std::string_view limit) {
  std::string key(limit);
  const char end = key.back();
  key.pop_back();
  if (end != '\0') {
    key += static_cast<char>(end - 1);
    key.append(kMarkTailBytes, '\xff');
  }
  return std::max(key, std::string(begin));
}

leveldb::ReadOptions read_options(const EngineSnapshot* snapshot) {
  leveldb::ReadOptions options;
  options.verify_checksums = true;
  if (snapshot != nullptr) options.snapshot = static_cast<const Snapshot*>(snapshot)->get();
  return options;
}

class Iterator final : public EngineIterator {
 public:
  explicit Iterator(leveldb::Iterator* it) : it_(it) {}
  void seek(std::string_view key) override { it_->Seek(slice(key)); }
  void seek_to_last_before(std::string_view limit) override {
    it_->Seek(slice(limit));
    if (it_->Valid()) {
      it_->Prev();
    } else if (it_->status().ok()) {
      it_->SeekToLast();
    }
  }
  bool valid() const override { return it_->Valid(); }
  void next() override { it_->Next(); }
  std::string_view key() const override { return view(it_->key()); }
  std::string_view value() const override { return view(it_->value()); }
  Status status() const override { return convert(it_->status()); }

 private:
  const std::unique_ptr<leveldb::Iterator> it_;
};

}  // namespace

struct LevelDbEngine::Parts {
  explicit Parts(io::Disk& disk) : env(disk) {}
  // In the order in which LevelDB needs them to live.
  LevelDbEnv env;
  std::unique_ptr<leveldb::Logger> log;
  std::unique_ptr<leveldb::Cache> cache;
  std::unique_ptr<const leveldb::FilterPolicy> filter;
  std::unique_ptr<leveldb::DB> db;
};

LevelDbEngine::LevelDbEngine(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
LevelDbEngine::~LevelDbEngine() = default;

namespace {

// The files are checked under LevelDB's own lock, which is free again when this returns: LevelDB takes it itself.
Result<uint64_t> check_locked(io::Disk& disk, const std::string& dir) {
  const Result<std::unique_ptr<io::File>> lock = disk.open(io::join(dir, "LOCK"), io::OpenMode::kCreate);
  if (!lock.ok()) return lock.status();
  if (Status done = (*lock)->lock(); !done.ok()) return done;
  return check_leveldb(disk, dir);
}

}  // namespace

Result<std::unique_ptr<LevelDbEngine>> LevelDbEngine::open(io::Disk& disk, const std::string& dir,
                                                           const LevelDbOptions& given) {
  if (Status done = io::make_dirs(disk, dir); !done.ok()) return done;
  const Result<uint64_t> bytes = check_locked(disk, dir);
  if (!bytes.ok()) return bytes.status();

  auto parts = std::make_unique<Parts>(disk);
  parts->env.add_size(static_cast<int64_t>(*bytes));
  leveldb::Logger* log = nullptr;
  (void)parts->env.NewLogger({}, &log);  // Cannot fail.
  parts->log.reset(log);
  parts->cache.reset(leveldb::NewLRUCache(given.block_cache_bytes));
  parts->filter.reset(leveldb::NewBloomFilterPolicy(kBloomBitsPerKey));
  leveldb::Options options;
  options.env = &parts->env;
  options.create_if_missing = true;
  options.paranoid_checks = true;
  options.info_log = parts->log.get();
  options.block_cache = parts->cache.get();
  options.filter_policy = parts->filter.get();
  options.write_buffer_size = given.write_buffer_bytes;
  options.max_open_files = given.open_files_max;
  options.compression = given.snappy ? leveldb::kSnappyCompression : leveldb::kNoCompression;
  leveldb::DB* db = nullptr;
  const leveldb::Status opened = leveldb::DB::Open(options, dir, &db);
  if (!opened.ok()) return convert(opened);
  parts->db.reset(db);
  return std::unique_ptr<LevelDbEngine>(new LevelDbEngine(std::move(parts)));
}

Result<bool> LevelDbEngine::get(std::string_view key, std::string* value, const EngineSnapshot* snapshot) const {
  const leveldb::Status found = parts_->db->Get(read_options(snapshot), slice(key), value);
  if (found.IsNotFound()) return false;
  if (!found.ok()) return convert(found);
  return true;
}

std::unique_ptr<EngineIterator> LevelDbEngine::iterate(const EngineSnapshot* snapshot) const {
  leveldb::ReadOptions options = read_options(snapshot);
  options.fill_cache = false;  // A walk reads each block once and must not push out what point reads use.
  return std::make_unique<Iterator>(parts_->db->NewIterator(options));
}

std::shared_ptr<const EngineSnapshot> LevelDbEngine::snapshot() const { return std::make_shared<const Snapshot>(*parts_->db); }

Status LevelDbEngine::write(const Changes& changes, bool /*sync*/) {
  leveldb::WriteBatch batch;
  changes.for_each([&](std::string_view key, std::string_view value, bool is_erase) {
    if (is_erase) {
      batch.Delete(slice(key));
    } else {
      batch.Put(slice(key), slice(value));
    }
  });
  // Always synced: what tells a torn record from damage is that only the last one can be unsynced.
  leveldb::WriteOptions options;
  options.sync = true;
  return convert(parts_->db->Write(options, &batch));
}

// A log that is made while the environment leaves logs out stays empty. So a new log is begun on both sides, and what is in
// memory goes into a table each time.
Status LevelDbEngine::begin_bulk() {
  parts_->env.leave_logs_out(true);
  return empty_memory();
}

Status LevelDbEngine::end_bulk() {
  parts_->env.leave_logs_out(false);
  return empty_memory();
}

// CompactRange tells nobody what went wrong, the next write does.
Status LevelDbEngine::empty_memory() {
  const leveldb::Slice nothing;
  parts_->db->CompactRange(&nothing, &nothing);
  const Result<std::string> unused = unused_key("");
  if (!unused.ok()) return unused.status();
  WriteBatch mark;
  mark.erase(*unused);
  return write(mark, true);
}

uint64_t LevelDbEngine::size_bytes() const { return parts_->env.size_bytes(); }

uint64_t LevelDbEngine::range_bytes(std::string_view begin, std::string_view limit) const {
  const leveldb::Range range(slice(begin), slice(limit));
  uint64_t bytes = 0;
  parts_->db->GetApproximateSizes(&range, 1, &bytes);
  return bytes;
}

// LevelDB merges a range from level to level, but does not rewrite the level where it ends, and a range that lies there alone
// not at all. So what was erased there stays, unless something above it has to come down: a deletion of nothing at each end,
// in a file of its own, hence what is in memory goes to disk before it.
Status LevelDbEngine::compact(std::string_view begin, std::string_view limit) {
  const leveldb::Slice nothing;
  parts_->db->CompactRange(&nothing, &nothing);
  if (begin >= limit) return {};
  const Result<std::string> first = unused_key(std::string(begin)), last = unused_key(last_before(begin, limit));
  if (!first.ok()) return first.status();
  if (!last.ok()) return last.status();
  WriteBatch marks;
  marks.erase(*first);
  marks.erase(*last);
  if (Status done = write(marks, true); !done.ok()) return done;
  const leveldb::Slice from = slice(begin), to = slice(limit);
  parts_->db->CompactRange(&from, &to);
  return {};
}

// `key`, or one right behind it that has no row either.
Result<std::string> LevelDbEngine::unused_key(std::string key) const {
  std::string value;
  for (;; key += '\0') {
    const Result<bool> found = get(key, &value);
    if (!found.ok()) return found.status();
    if (!*found) return key;
  }
}

}  // namespace storage
