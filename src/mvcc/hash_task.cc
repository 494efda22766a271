#include "mvcc/hash_task.h"

#include <algorithm>

#include "base/verify.h"
#include "mvcc/request.h"
#include "mvcc/store.h"
#include "storage/backend.h"

namespace mvcc {

HashTask::HashTask(const Store& store, int64_t revision) : store_(store) { result_.revision = revision; }
HashTask::~HashTask() = default;

bool HashTask::finish(base::Status status) {
  status_ = std::move(status);
  phase_ = Phase::kDone;
  hasher_.reset();
  rows_.reset();
  view_.reset();
  dropped_ = {};
  return true;
}

bool HashTask::step() {
  switch (phase_) {
    case Phase::kStart:
      result_.compact_revision = store_.compact_revision();
      if (result_.revision == 0) result_.revision = store_.current_revision();
      if (result_.revision > 0 && result_.revision < result_.compact_revision) return finish(errors::compacted());
      if (result_.revision > store_.current_revision()) return finish(errors::future_revision());
      view_ = store_.backend().view();
      phase_ = Phase::kIndex;
      return false;
    case Phase::kIndex: {
      KeyIndex::Cursor at = store_.index().lower_bound(position_);
      for (size_t seen = 0; at.valid() && seen < kIndexStep; ++seen, at.next()) {
        const KeyRecord& record = at.record();
        const KeyRecord::Cut cut = record.cut(result_.revision);
        // Unlike a compaction, a tombstone at the revision itself does not count as kept.
        const bool kept = cut.kept && !record.version(*cut.kept).tombstone;
        if (kept) kept_any_ = true;
        const size_t gone = cut.dropped + (cut.kept && !kept ? 1 : 0);
        for (size_t i = 0; i < gone; ++i) {
          const Version& version = record.version(i);
          if (version.main > result_.compact_revision) break;
          dropped_.push_back({version.revision(), version.tombstone != 0});
        }
      }
      if (at.valid()) {
        position_.assign(at.record().key());
      } else {
        phase_ = Phase::kRows;
      }
      return false;
    }
    case Phase::kRows:
      if (!rows_done_) return false;
      if (!rows_->status().ok()) return finish(rows_->status());
      result_.hash = hasher_->hash();
      return finish({});
    case Phase::kDone:
      break;
  }
  return true;
}

void HashTask::read() {
  VERIFY(phase_ == Phase::kRows);
  if (rows_ == nullptr) {
    std::sort(dropped_.begin(), dropped_.end());
    hasher_ = std::make_unique<KeyHasher>(result_.compact_revision, result_.revision, dropped_, kept_any_);
    rows_ = view_->iterate();
    rows_->seek(RowKey({0, 0}, false).view());
  }
  // etcd takes a negative revision, at which there is nothing.
  const RowKey end({std::max<int64_t>(result_.revision + 1, 0), 0}, false);
  size_t rows = 0, bytes = 0;
  for (; rows_->valid() && rows_->key() < end.view(); rows_->next()) {
    if (rows++ == kReadRows || bytes >= kReadBytesMax) return;
    bytes += rows_->key().size() + rows_->value().size();
    const std::optional<ParsedRowKey> parsed = parse_row_key(rows_->key());
    if (parsed) hasher_->add(*parsed, rows_->key(), rows_->value());
  }
  rows_done_ = true;
}

}  // namespace mvcc
