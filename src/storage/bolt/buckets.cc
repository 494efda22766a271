#include "storage/bolt/buckets.h"

#include <algorithm>
#include <optional>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/verify.h"
#include "storage/keyspace.h"

namespace storage::bolt {

using base::Result;
using base::Status;

namespace {

class ViewRows final : public Rows {
 public:
  explicit ViewRows(const View& view) : rows_(view.iterate()) {}

  bool next() override {
    if (!status_.ok()) return false;
    if (begun_) {
      rows_->next();
    } else {
      rows_->seek(std::string_view("\0", 1));
      begun_ = true;
    }
    if (!rows_->valid()) {
      status_ = rows_->status();
      return false;
    }
    const auto bucket = static_cast<Bucket>(rows_->key().front());
    if (bucket != bucket_ || name_.empty()) {
      bucket_ = bucket;
      name_ = bucket_name(bucket);
    }
    if (!name_.empty()) return true;
    status_ = Status(base::Code::kDataLoss, "the store holds a row that is in no bucket: " + base::hex_bytes(rows_->key()));
    return false;
  }
  std::string_view bucket() const override { return name_; }
  std::string_view key() const override { return rows_->key().substr(1); }
  std::string_view value() const override { return rows_->value(); }
  const Status& status() const override { return status_; }

 private:
  const std::unique_ptr<EngineIterator> rows_;
  Bucket bucket_ = Bucket::kAlarm;
  std::string_view name_;
  bool begun_ = false;
  Status status_;
};

std::optional<Bucket> bucket_of(std::string_view name) {
  const auto* found = std::find_if(std::begin(kBuckets), std::end(kBuckets), [&](Bucket b) { return bucket_name(b) == name; });
  if (found == std::end(kBuckets)) return std::nullopt;
  return *found;
}

}  // namespace

std::vector<std::string> bucket_names() {
  std::vector<std::string> names;
  for (const Bucket bucket : kBuckets) names.emplace_back(bucket_name(bucket));
  return names;
}

std::unique_ptr<Rows> rows_of(const View& view) { return std::make_unique<ViewRows>(view); }

void DatabaseHash::enter(std::string_view bucket) {
  while (entered_ < buckets_.size() && buckets_[entered_] <= bucket) {
    crc_ = base::crc32c_extend(crc_, buckets_[entered_]);
    ++entered_;
  }
}

void DatabaseHash::add(std::string_view bucket, std::string_view key, std::string_view value) {
  if (entered_ == 0 || buckets_[entered_ - 1] != bucket) enter(bucket);
  DVERIFY(entered_ > 0 && buckets_[entered_ - 1] == bucket);
  crc_ = base::crc32c_extend(base::crc32c_extend(crc_, key), value);
}

uint32_t DatabaseHash::finish() {
  if (!buckets_.empty()) enter(buckets_.back());
  return crc_;
}

bool left_out_of_hash(std::string_view bucket, std::string_view key) {
  return bucket == bucket_name(Bucket::kMeta) && (key == "consistent_index" || key == "term" || key == "storageVersion");
}

Result<Imported> import_rows(Rows& rows, Engine& engine) {
  Imported imported;
  if (Status begun = engine.begin_bulk(); !begun.ok()) return begun;
  WriteBatch batch;
  const auto write = [&] {
    Status done = engine.write(batch, true);
    batch = WriteBatch();
    return done;
  };
  while (rows.next()) {
    const std::optional<Bucket> bucket = bucket_of(rows.bucket());
    if (!bucket.has_value()) {
      ++imported.skipped;
      continue;
    }
    batch.put(row_key(*bucket, rows.key()), rows.value());
    ++imported.rows;
    if (batch.bytes() < kImportBytes) continue;
    if (Status done = write(); !done.ok()) return done;
  }
  if (!rows.status().ok()) return rows.status();
  if (!batch.empty()) {
    if (Status done = write(); !done.ok()) return done;
  }
  if (Status done = engine.end_bulk(); !done.ok()) return done;
  return imported;
}

}  // namespace storage::bolt
