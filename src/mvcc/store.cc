#include "mvcc/store.h"

#include <algorithm>
#include <utility>

#include "base/failpoint.h"
#include "base/verify.h"
#include "mvcc/compaction_task.h"
#include "mvcc/range_reader.h"
#include "mvcc/request.h"
#include "storage/backend.h"
#include "storage/keyspace.h"
#include "wire/codec.h"

namespace mvcc {
namespace {

using base::Code;
using base::LeaseId;
using base::Result;
using base::Status;
using storage::Bucket;

Options with_defaults(Options options) {
  if (options.compaction_batch_rows == 0) options.compaction_batch_rows = Options().compaction_batch_rows;
  return options;
}

}  // namespace

Store::Store(storage::Backend& backend, const Options& options)
    : backend_(backend), options_(with_defaults(options)), hot_(options.hot_bytes_max) {}

Store::~Store() { VERIFY(readers_.empty()); }

// --- start
// --------------------------------------------------------------------------------------------------------------------

Status Store::recover() {
  VERIFY(!recovered_);
  Result<std::unique_ptr<StoreImage>> image = StoreImage::read(*backend_.view());
  if (!image.ok()) return image.status();
  adopt(**image);
  return {};
}

std::unique_ptr<StoreImage> Store::restart(std::unique_ptr<StoreImage> image) {
  VERIFY(recovered_ && !in_write_ && !compaction_running_);
  for (RangeReader* reader : readers_) reader->dead_ = true;
  hot_.clear();
  scheduled_.reset();
  adopt(*image);
  return image;
}

void Store::adopt(StoreImage& image) {
  recovered_ = true;
  index_.swap(image.index);
  finished_ = compacted_ = image.finished_compact;
  scheduled_revision_ = image.scheduled_compact;
  // Rows up to a compaction may all be gone: its revision is still the least the current one can be.
  current_ = newest_ = std::max({image.newest, finished_, scheduled_revision_});
  if (scheduled_revision_ > finished_) {
    // Interrupted: once more, over what is left; the rows for its hash are not all there.
    scheduled_ = Scheduled{scheduled_revision_, finished_, false};
    compacted_ = scheduled_revision_;
  }
  if (leases_ == nullptr) return;
  for (const auto& [key, lease] : image.leased) leases_->attach(LeaseId(lease), key);
}

// --- reading
// ------------------------------------------------------------------------------------------------------------------

PairBytes Store::load_pair(Revision revision) const {
  auto pair = std::make_shared<std::string>();
  const Result<bool> found = backend_.get(RowKey(revision, false).view(), pair.get());
  if (!found.ok()) base::fatal("cannot read the store: " + found.status().to_string());
  if (!*found) return nullptr;
  return pair;
}

PairBytes Store::load(const KeyRecord& record, const Version& version) const {
  const bool newest = version.revision() == record.newest.revision();
  if (newest && record.hot != 0) {
    ++statistics_.hot_hits;
    return hot_.get(record);
  }
  ++statistics_.hot_misses;
  PairBytes pair = load_pair(version.revision());
  if (pair == nullptr || pair->size() != version.size) {
    base::fatal("the store lacks the row of revision " + std::to_string(version.main) + "/" + std::to_string(version.sub) +
                " that its index knows");
  }
  // Keeping a value for later is no change that anybody can see.
  if (newest) hot_.set(const_cast<KeyRecord&>(record), pair);
  return pair;
}

// --- compaction
// ---------------------------------------------------------------------------------------------------------------

Status Store::compact(int64_t revision) {
  if (revision <= compacted_) return errors::compacted();
  if (revision > current_) return errors::future_revision();
  const bool previous_completed = scheduled_revision_ == finished_;
  scheduled_ = Scheduled{revision, compacted_, previous_completed};
  compacted_ = scheduled_revision_ = revision;
  storage::put_row(backend_, Bucket::kMeta, kScheduledCompactRow, RowKey({revision, 0}, false).in_bucket());
  FAILPOINT(compactBeforeCommitScheduledCompact);
  if (observer_ != nullptr) observer_->on_compact(revision);
  return {};
}

std::unique_ptr<CompactionTask> Store::next_compaction() {
  if (compaction_running_ || !scheduled_) return nullptr;
  const Scheduled next = *scheduled_;
  scheduled_.reset();
  return std::unique_ptr<CompactionTask>(new CompactionTask(*this, next.revision, next.previous, next.previous_completed));
}

// Before a record loses what a reader at an older revision may still come to.
void Store::save_dropped(const KeyRecord& record, int64_t at) {
  for (RangeReader* reader : readers_) {
    if (reader->at_ < at) reader->save(record);
  }
}

// --- writing
// ------------------------------------------------------------------------------------------------------------------

Store::WriteTxn::WriteTxn(Store& store) : store_(store), main_(store.current_ + 1) {
  VERIFY(store.recovered_ && !store.in_write_);
  store.in_write_ = true;
}

Store::WriteTxn::~WriteTxn() { VERIFY(committed_); }

Revision Store::WriteTxn::next_revision() {
  store_.newest_ = main_;
  return {main_, sub_++};
}

void Store::WriteTxn::put(std::string_view key, std::string_view value, LeaseId lease) {
  VERIFY(!committed_);
  KeyIndex& index = store_.index_;
  KeyRecord& record = index.find_or_make(key);
  const bool existed = record.live();
  const Version before = record.newest;
  PairBytes prev_pair = existed && record.hot != 0 ? store_.hot_.get(record) : nullptr;
  LeaseId old_lease;
  if (existed && before.has_lease) {
    if (prev_pair == nullptr) prev_pair = store_.load(record, before);
    wire::KeyValue old;
    VERIFY(wire::parse(*prev_pair, old));
    old_lease = LeaseId(old.lease);
  }

  const Revision revision = next_revision();
  const wire::KeyValue pair{key,          existed ? record.created : main_, main_, existed ? record.key_version + 1 : 1, value,
                            lease.value()};
  auto bytes = std::make_shared<std::string>();
  wire::append(pair, *bytes);
  store_.backend_.put(RowKey(revision, false).view(), *bytes);
  index.put(record, make_version(revision, bytes->size(), false, lease != base::kNoLease));
  store_.hot_.set(record, bytes);
  ++store_.statistics_.puts;
  store_.statistics_.put_bytes += key.size() + value.size();

  if (old_lease != lease && store_.leases_ != nullptr) {
    if (old_lease != base::kNoLease) store_.leases_->detach(old_lease, record.key());
    if (lease != base::kNoLease) store_.leases_->attach(lease, record.key());
  }
  if (store_.observer_ == nullptr) return;
  Event event{false, record.key(), std::move(bytes), pair.create_revision, {}, {}};
  if (existed) {
    event.prev = before.revision();
    event.prev_pair = std::move(prev_pair);
  }
  events_.push_back(std::move(event));
}

int64_t Store::WriteTxn::delete_range(std::string_view key, std::string_view range_end) {
  VERIFY(!committed_);
  ++store_.statistics_.deletes;
  const KeyRange range = KeyRange::of(key, range_end);
  if (range.single) {
    KeyRecord* record = store_.index_.find(key);
    if (record == nullptr || !record->live()) return 0;
    erase(*record);
    return 1;
  }
  // Nothing moves in the index while records are buried: the cursor stays true.
  KeyIndex::Cursor at = store_.index_.lower_bound(key);
  if (at.valid() && !at.record().live()) at.next_live();
  int64_t deleted = 0;
  for (; at.valid() && range.contains(at.record().key()); at.next_live()) {
    erase(at.record());
    ++deleted;
  }
  return deleted;
}

void Store::WriteTxn::erase(KeyRecord& record) {
  const std::string_view key = record.key();
  const Version before = record.newest;
  PairBytes prev_pair = record.hot != 0 ? store_.hot_.get(record) : nullptr;
  if (before.has_lease) {
    if (prev_pair == nullptr) prev_pair = store_.load(record, before);
    wire::KeyValue old;
    VERIFY(wire::parse(*prev_pair, old));
    if (store_.leases_ != nullptr) store_.leases_->detach(LeaseId(old.lease), key);
  }
  const Revision revision = next_revision();
  const std::string bytes = wire::encode(wire::KeyValue{key, 0, 0, 0, {}, 0});
  store_.backend_.put(RowKey(revision, true).view(), bytes);
  store_.hot_.drop(record);
  store_.index_.bury(record, make_version(revision, bytes.size(), true, false));
  if (store_.observer_ == nullptr) return;
  auto pair = std::make_shared<const std::string>(wire::encode(wire::KeyValue{key, 0, main_, 0, {}, 0}));
  events_.push_back({true, key, std::move(pair), 0, before.revision(), std::move(prev_pair)});
}

void Store::WriteTxn::commit() {
  VERIFY(!committed_);
  committed_ = true;
  store_.in_write_ = false;
  if (!wrote()) return;
  FAILPOINT(beforeWritebackBuf);
  store_.current_ = main_;
  FAILPOINT(afterWritebackBuf);
  if (store_.observer_ != nullptr) store_.observer_->on_commit(main_, events_);
}

}  // namespace mvcc
