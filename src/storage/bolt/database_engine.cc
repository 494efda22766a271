#include "storage/bolt/database_engine.h"

#include <optional>

#include "storage/bolt/reader.h"
#include "storage/keyspace.h"

namespace storage::bolt {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr size_t kMetaRowsMax = 1024;  // etcd has six

std::optional<Bucket> bucket_of(std::string_view name) {
  for (const Bucket bucket : kBuckets) {
    if (bucket_name(bucket) == name) return bucket;
  }
  return std::nullopt;
}

Status read_only() { return Status(Code::kFailedPrecondition, "the database is only read"); }

class Nothing final : public EngineSnapshot {};

}  // namespace

class DatabaseEngine::Iterator final : public EngineIterator {
 public:
  Iterator(io::Disk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}

  void seek(std::string_view key) override {
    if (reader_ == nullptr || !valid_ || key < key_) begin();
    while (valid_ && key_ < key) next();
  }
  void seek_to_last_before(std::string_view limit) override {
    std::string last;
    bool any = false;
    for (begin(); valid_ && key_ < limit; next()) {
      last = key_;
      any = true;
    }
    if (any) {
      seek(last);
    } else {
      valid_ = false;
    }
  }
  bool valid() const override { return valid_; }
  void next() override {
    for (valid_ = false; reader_->next();) {
      const std::optional<Bucket> bucket = bucket_of(reader_->bucket());
      if (!bucket.has_value()) continue;
      key_ = row_key(*bucket, reader_->key());
      value_ = reader_->value();
      valid_ = true;
      return;
    }
    status_ = reader_->status();
  }
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return value_; }
  Status status() const override { return status_; }

 private:
  void begin() {
    valid_ = false;
    Result<std::unique_ptr<io::File>> file = disk_.open(path_, io::OpenMode::kRead);
    status_ = file.status();
    if (!file.ok()) return;
    Result<std::unique_ptr<Reader>> reader = Reader::open(std::move(*file));
    status_ = reader.status();
    if (!reader.ok()) return;
    reader_ = std::move(*reader);
    next();
  }

  io::Disk& disk_;
  const std::string path_;
  std::unique_ptr<Reader> reader_;
  bool valid_ = false;
  std::string key_, value_;
  Status status_;
};

Result<std::unique_ptr<DatabaseEngine>> DatabaseEngine::open(io::Disk& disk, const std::string& path) {
  std::unique_ptr<DatabaseEngine> engine(new DatabaseEngine(disk, path));
  Result<std::unique_ptr<io::File>> file = disk.open(path, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  Result<std::unique_ptr<Reader>> reader = Reader::open(std::move(*file));
  if (!reader.ok()) return reader.status();
  engine->size_bytes_ = (*reader)->size_bytes();
  while ((*reader)->next()) {
    if ((*reader)->bucket() != bucket_name(Bucket::kMeta)) continue;
    if (engine->meta_.size() == kMetaRowsMax) return Status(Code::kDataLoss, path + ": too many rows in bucket meta");
    engine->meta_.emplace(row_key(Bucket::kMeta, (*reader)->key()), (*reader)->value());
  }
  if (!(*reader)->status().ok()) return (*reader)->status();
  return engine;
}

Result<bool> DatabaseEngine::get(std::string_view key, std::string* value, const EngineSnapshot* /*snapshot*/) const {
  if (!key.empty() && key[0] == static_cast<char>(Bucket::kMeta)) {
    const auto found = meta_.find(key);
    if (found == meta_.end()) return false;
    *value = found->second;
    return true;
  }
  Iterator row(disk_, path_);
  row.seek(key);
  if (!row.status().ok()) return row.status();
  if (!row.valid() || row.key() != key) return false;
  *value = row.value();
  return true;
}

std::unique_ptr<EngineIterator> DatabaseEngine::iterate(const EngineSnapshot* /*snapshot*/) const {
  return std::make_unique<Iterator>(disk_, path_);
}

std::shared_ptr<const EngineSnapshot> DatabaseEngine::snapshot() const { return std::make_shared<const Nothing>(); }
Status DatabaseEngine::write(const Changes&, bool) { return read_only(); }
Status DatabaseEngine::compact(std::string_view, std::string_view) { return read_only(); }

}  // namespace storage::bolt
