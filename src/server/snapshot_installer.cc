#include "server/snapshot_installer.h"

#include <optional>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "server/snapshot_receiver.h"
#include "storage/keyspace.h"

namespace server {
namespace {

using base::Code;
using base::Index;
using base::Result;
using base::Status;
using storage::Bucket;

constexpr size_t kStepBytes = 8u << 20;   // of rows looked at in one step
constexpr size_t kWriteBytes = 8u << 20;  // of one engine write

std::string marker_key() { return storage::row_key(Bucket::kMeta, "installingSnapshot"); }

std::optional<Bucket> bucket_of(std::string_view name) {
  for (const Bucket bucket : storage::kBuckets) {
    if (storage::bucket_name(bucket) == name) return bucket;
  }
  return std::nullopt;
}

}  // namespace

SnapshotInstaller::SnapshotInstaller(storage::Engine& engine, io::Disk& disk, std::string path, Index index)
    : engine_(engine), disk_(disk), path_(std::move(path)), index_(index) {}

Status SnapshotInstaller::open() {
  FAILPOINT(applyBeforeOpenSnapshot);
  Result<std::unique_ptr<io::File>> file = disk_.open(path_, io::OpenMode::kRead);
  if (!file.ok()) return file.status();
  Result<std::unique_ptr<storage::bolt::Reader>> reader = storage::bolt::Reader::open(std::move(*file));
  if (!reader.ok()) return reader.status();
  base::log::info("applySnapshot: opened snapshot backend");
  FAILPOINT(applyAfterOpenSnapshot);
  before_ = engine_.snapshot();
  old_ = engine_.iterate(before_.get());
  old_->seek(storage::row_key(storage::kBuckets[0], ""));
  new_ = std::move(*reader);
  std::string number;
  base::append_be64(number, index_.value());
  storage::WriteBatch marker;
  marker.put(marker_key(), number);
  if (Status marked = engine_.write(marker, /*sync=*/true); !marked.ok()) return marked;
  next_new();
  return engine_.begin_bulk();
}

// Rows of buckets that no etcd of today has are left behind.
void SnapshotInstaller::next_new() {
  new_key_.clear();
  while (new_->next()) {
    const std::optional<Bucket> bucket = bucket_of(new_->bucket());
    seen_bytes_ += new_->key().size() + new_->value().size();
    if (!bucket) continue;
    new_key_ = storage::row_key(*bucket, new_->key());
    return;
  }
}

Status SnapshotInstaller::write() {
  Status done = engine_.write(batch_, /*sync=*/true);
  batch_ = storage::WriteBatch();
  return done;
}

Result<bool> SnapshotInstaller::step() {
  if (new_ == nullptr) {
    Status opened = open();
    if (!opened.ok()) return opened;
  }
  for (seen_bytes_ = 0; seen_bytes_ < kStepBytes && (more_old() || !new_key_.empty());) {
    const int order = !more_old() ? 1 : new_key_.empty() ? -1 : old_->key().compare(new_key_);
    if (order < 0 && old_->key() == marker_key()) {  // Of an installation that ended early: it goes with the last write.
      old_->next();
      continue;
    }
    if (order < 0) {
      seen_bytes_ += old_->key().size();
      batch_.erase(old_->key());
      ++rows_written_;
    } else if (order > 0 || old_->value() != new_->value()) {
      batch_.put(new_key_, new_->value());
      ++rows_written_;
    }
    if (order <= 0) old_->next();
    if (order >= 0) next_new();
    if (batch_.bytes() >= kWriteBytes) {
      if (Status done = write(); !done.ok()) return done;
    }
  }
  if (!old_->valid() && !old_->status().ok()) return old_->status();
  if (!new_->status().ok()) return new_->status();
  if (more_old() || !new_key_.empty()) return false;
  if (Status done = write(); !done.ok()) return done;
  if (Status durable = engine_.end_bulk(); !durable.ok()) return durable;
  batch_.erase(marker_key());
  if (Status done = write(); !done.ok()) return done;
  return true;
}

Status finish_installation(storage::Engine& engine, io::Disk& disk, const std::string& snap_dir, Index snapshot_index) {
  std::string value;
  Index index = snapshot_index;
  Result<bool> marked = engine.get(marker_key(), &value);
  if (!marked.ok()) return marked.status();
  if (*marked) {
    if (value.size() != 8) return Status(Code::kDataLoss, "the store's meta row installingSnapshot is damaged");
    index = Index(base::load_be64(value.data()));
  } else {
    Result<bool> known = engine.get(storage::row_key(Bucket::kMeta, "consistent_index"), &value);
    if (!known.ok()) return known.status();
    if (*known && value.size() == 8 && base::load_be64(value.data()) >= snapshot_index.value()) return {};
  }
  if (index == Index(0)) return {};
  const std::string path = received_database_path(snap_dir, index);
  Result<bool> there = io::exists(disk, path);
  if (!there.ok()) return there.status();
  if (!*there) {
    if (!*marked) return {};
    return Status(Code::kDataLoss, "the store is in the middle of taking over a snapshot and " + path +
                                       " is not there; remove this member's data directory and let it join anew");
  }
  base::log::info("Recovering from snapshot backend", {{"path", path}, {"snapshot-index", index.value()}});
  SnapshotInstaller installer(engine, disk, path, index);
  for (;;) {
    Result<bool> done = installer.step();
    if (!done.ok()) return done.status();
    if (*done) return {};
  }
}

}  // namespace server
