#include "mvcc/compaction_task.h"

#include <algorithm>

#include "base/failpoint.h"
#include "base/verify.h"
#include "mvcc/range_reader.h"
#include "mvcc/store.h"
#include "storage/backend.h"
#include "storage/keyspace.h"

namespace mvcc {

CompactionTask::CompactionTask(Store& store, int64_t revision, int64_t previous, bool previous_completed)
    : store_(store),
      revision_(revision),
      previous_(previous),
      previous_completed_(previous_completed),
      view_(store.backend().view()) {
  store_.compaction_running_ = true;
  FAILPOINT(compactAfterCommitScheduledCompact);
}

CompactionTask::~CompactionTask() {
  if (phase_ != Phase::kDone) store_.compaction_running_ = false;
}

bool CompactionTask::step() {
  switch (phase_) {
    case Phase::kIndex:
      return step_index();
    case Phase::kRows:
      return step_rows();
    case Phase::kDone:
      break;
  }
  return true;
}

bool CompactionTask::step_index() {
  KeyIndex& index = store_.index_;
  KeyIndex::Cursor at = index.lower_bound(position_);
  for (size_t seen = 0; at.valid() && seen < kIndexStep; ++seen) {
    KeyRecord& record = at.record();
    const KeyRecord::Cut cut = record.cut(revision_);
    if (cut.kept) kept_any_ = true;
    if (cut.dropped == 0) {
      at.next();
      continue;
    }
    store_.save_dropped(record, revision_);
    for (size_t i = 0; i < cut.dropped; ++i) {
      const Version& version = record.version(i);
      dropped_.push_back({version.revision(), version.tombstone != 0});
    }
    if (cut.dropped < record.versions()) {
      index.drop_oldest(record, cut.dropped);
      at.next();
      continue;
    }
    store_.hot_.drop(record);
    position_.assign(record.key());
    index.erase(record);
    at = index.lower_bound(position_);
  }
  if (at.valid()) {
    position_.assign(at.record().key());
    return false;
  }
  phase_ = Phase::kRows;
  return false;
}

void CompactionTask::read() {
  VERIFY(phase_ == Phase::kRows);
  const RowKey end({revision_ + 1, 0}, false);
  if (rows_ == nullptr) {
    std::sort(dropped_.begin(), dropped_.end());
    hasher_ = std::make_unique<KeyHasher>(previous_, revision_, dropped_, kept_any_);
    rows_ = view_->iterate();
    rows_->seek(RowKey({0, 0}, false).view());
  }
  batch_.clear();
  size_t rows = 0, bytes = 0;
  while (rows_->valid() && rows_->key() < end.view()) {
    const std::optional<ParsedRowKey> parsed = parse_row_key(rows_->key());
    if (parsed && hasher_->add(*parsed, rows_->key(), rows_->value())) batch_.push_back({parsed->revision, parsed->tombstone});
    ++rows;
    bytes += rows_->key().size() + rows_->value().size();
    rows_->next();
    // A full batch is never the last, as in etcd: a pause follows it.
    if (rows == store_.options().compaction_batch_rows || bytes >= kReadBytesMax) return;
  }
  read_status_ = rows_->status();
  rows_done_ = true;
}

bool CompactionTask::step_rows() {
  if (!read_status_.ok()) {
    status_ = read_status_;
    phase_ = Phase::kDone;
    return true;
  }
  FAILPOINT(compactAfterAcquiredBatchTxLock);
  for (const Dropped& row : batch_) store_.backend().erase(RowKey(row.revision, row.tombstone).view());
  erased_ += batch_.size();
  store_.statistics_.compacted_versions += batch_.size();
  batch_.clear();
  if (!rows_done_) {
    FAILPOINT(compactBeforeCommitBatch);
    return false;
  }
  finish();
  return true;
}

void CompactionTask::finish() {
  phase_ = Phase::kDone;
  hash_ = hasher_->hash();
  FAILPOINT(compactBeforeSetFinishedCompact);
  storage::put_row(store_.backend(), storage::Bucket::kMeta, "finishedCompactRev", RowKey({revision_, 0}, false).in_bucket());
  FAILPOINT(compactAfterSetFinishedCompact);
  store_.finished_ = revision_;
  store_.compaction_running_ = false;
  if (previous_completed_) store_.hashes_.add({hash_, previous_, revision_});
  hasher_.reset();
  rows_.reset();
  view_.reset();
  dropped_ = {};
}

}  // namespace mvcc
