#include "mvcc/range_reader.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/verify.h"
#include "mvcc/sort_as_go.h"
#include "mvcc/store.h"
#include "storage/backend.h"

namespace mvcc {
namespace {

// Clients ask again.
base::Status store_replaced() {
  return base::Status(base::Code::kUnavailable, "etcdserver: the member took over a snapshot during the read");
}


using base::Result;
using base::Status;
using wire::SortOrder;
using wire::SortTarget;

constexpr std::string_view kOpenEnd("\0", 1);
constexpr size_t kSortPrefixBytes = 16;
constexpr int64_t kNearRevisions = 8;  // rows this close are stepped to, others looked up

size_t tail_size(bool more, int64_t count) {
  return wire::range_response_size({}, 0, more, count) - wire::range_response_size({}, 0, false, 0);
}

}  // namespace

KeyRange KeyRange::of(std::string_view key, std::string_view range_end) {
  return {key, range_end, range_end.empty(), range_end == kOpenEnd};
}

bool KeyRange::contains(std::string_view key) const {
  if (single) return key == begin;
  return key >= begin && (open_end || key < end);
}

// A pair of a sorted answer.
struct RangeReader::Item {
  Version version;
  const KeyRecord* record;  // null when pinned: it may go
  uint32_t bytes;           // as it will be answered
  // What to sort by: the number in `first`; of a value its first 16 bytes.
  uint64_t first;
  uint64_t second;
};

RangeReader::RangeReader(const Store& store, const wire::RangeRequest& request, int64_t revision, Count count)
    : store_(store),
      at_(revision),
      count_what_(count),
      key_(request.key),
      range_end_(request.range_end),
      range_(KeyRange::of(key_, range_end_)),
      request_(request) {
  request_.key = key_;
  request_.range_end = range_end_;
  filtered_ = request.min_mod_revision != 0 || request.max_mod_revision != 0 || request.min_create_revision != 0 ||
              request.max_create_revision != 0;
  if (request.limit > 0) limit_ = static_cast<uint64_t>(request.limit);
  const bool by_key = request.sort_target < SortTarget::kVersion || request.sort_target > SortTarget::kValue;
  const bool ordered = request.sort_order >= SortOrder::kNone && request.sort_order <= SortOrder::kDescend;
  if (by_key) {
    if (request.sort_order == SortOrder::kDescend) mode_ = Mode::kDescending;
  } else if (ordered) {
    mode_ = Mode::kSorted;
    // etcd cuts in key order, one pair late, before it sorts by a target without an order.
    if (request.sort_order == SortOrder::kNone && !filtered_ && limit_ < UINT64_MAX) collect_max_ = limit_ + 1;
  }
  strip_value_ = request.keys_only && request.sort_target == SortTarget::kValue;
  keys_only_ = request.keys_only && !strip_value_;
}

RangeReader::~RangeReader() {
  if (view_ != nullptr) std::erase(store_.readers_, this);
}

void RangeReader::pin() {
  VERIFY(view_ == nullptr);
  view_ = store_.backend().view();
  store_.readers_.push_back(this);
  for (Item& item : items_) item.record = nullptr;
}

// Whether what exists now is what exists at our revision.
bool RangeReader::at_present() const { return at_ >= store_.newest_; }

bool RangeReader::passes_filters(const Pair& pair) const {
  const int64_t mod = pair.at.version.main, created = pair.at.create_revision;
  return (request_.max_mod_revision == 0 || mod <= request_.max_mod_revision) &&
         (request_.min_mod_revision == 0 || mod >= request_.min_mod_revision) &&
         (request_.max_create_revision == 0 || created <= request_.max_create_revision) &&
         (request_.min_create_revision == 0 || created >= request_.min_create_revision);
}

// --- walking the index
// --------------------------------------------------------------------------------------------------------

// Hands the pairs behind `place` to `visit` until it returns false or `records_max` records were seen. True: the range is
// through.
template <class Visit>
bool RangeReader::walk(Place* place, size_t records_max, const Visit& visit) const {
  if (range_.single) {
    if (place->started) return true;
    place->started = true;
    const KeyRecord* record = store_.index().find(range_.begin);
    if (record != nullptr) {
      if (const std::optional<Located> at = record->find(at_)) {
        visit(Pair{record->key(), record, *at});
        return true;
      }
    }
    if (const auto saved = saved_.find(range_.begin); saved != saved_.end()) {
      visit(Pair{saved->first, nullptr, {saved->second.version, saved->second.created, saved->second.key_version}});
    }
    return true;
  }
  if (!range_.open_end && range_.end <= range_.begin) return true;
  return mode_ == Mode::kDescending ? walk_descending(place, records_max, visit) : walk_ascending(place, records_max, visit);
}

template <class Visit>
bool RangeReader::walk_ascending(Place* place, size_t records_max, const Visit& visit) const {
  KeyIndex::Cursor cursor = store_.index().lower_bound(place->started ? std::string_view(place->key) : range_.begin);
  if (place->started && cursor.valid() && cursor.record().key() == place->key) cursor.next();
  auto saved = place->started ? saved_.upper_bound(place->key) : saved_.lower_bound(range_.begin);
  const bool present = at_present();
  if (present && cursor.valid() && !cursor.record().live()) cursor.next_live();
  for (size_t seen = 0; seen < records_max; ++seen) {
    const bool have_record = cursor.valid() && range_.contains(cursor.record().key());
    const bool have_saved = saved != saved_.end() && range_.contains(saved->first);
    if (!have_record && !have_saved) return true;
    const int order = !have_saved ? -1 : !have_record ? 1 : cursor.record().key().compare(saved->first);
    std::optional<Located> at;
    Pair pair{};
    if (order <= 0) {
      const KeyRecord& record = cursor.record();
      at = record.find(at_);
      pair = {record.key(), &record, {}};
      if (present) {
        cursor.next_live();
      } else {
        cursor.next();
      }
    }
    if (order >= 0) {
      if (!at) {
        at = Located{saved->second.version, saved->second.created, saved->second.key_version};
        pair = {saved->first, nullptr, {}};
      }
      ++saved;
    }
    place->started = true;
    place->key.assign(pair.key);
    if (!at) continue;
    pair.at = *at;
    if (!visit(pair)) return false;
  }
  return false;
}

template <class Visit>
bool RangeReader::walk_descending(Place* place, size_t records_max, const Visit& visit) const {
  const bool from_end = !place->started && range_.open_end;
  const std::string_view limit = place->started ? std::string_view(place->key) : range_.end;
  KeyIndex::Cursor cursor = from_end ? store_.index().last() : store_.index().last_below(limit);
  auto saved = from_end ? saved_.end() : saved_.lower_bound(limit);  // one behind the next
  for (size_t seen = 0; seen < records_max; ++seen) {
    const bool have_record = cursor.valid() && cursor.record().key() >= range_.begin;
    const bool have_saved = saved != saved_.begin() && std::prev(saved)->first >= range_.begin;
    if (!have_record && !have_saved) return true;
    const int order = !have_saved ? -1 : !have_record ? 1 : -cursor.record().key().compare(std::prev(saved)->first);
    std::optional<Located> at;
    Pair pair{};
    if (order <= 0) {
      const KeyRecord& record = cursor.record();
      at = record.find(at_);
      pair = {record.key(), &record, {}};
      cursor.previous();
    }
    if (order >= 0) {
      --saved;
      if (!at) {
        at = Located{saved->second.version, saved->second.created, saved->second.key_version};
        pair = {saved->first, nullptr, {}};
      }
    }
    place->started = true;
    place->key.assign(pair.key);
    if (!at) continue;
    pair.at = *at;
    if (!visit(pair)) return false;
  }
  return false;
}

// A compaction is about to drop versions of the record; a later one may drop more.
void RangeReader::save(const KeyRecord& record) {
  if (done_ || (measured_ && mode_ == Mode::kSorted) || !range_.contains(record.key())) return;
  if (measured_ && place_.started) {
    if (mode_ == Mode::kAscending ? record.key() <= place_.key : record.key() >= place_.key) return;
  }
  const std::optional<Located> at = record.find(at_);
  if (at) saved_.try_emplace(std::string(record.key()), Saved{at->version, at->create_revision, at->key_version});
}

// --- the size
// -----------------------------------------------------------------------------------------------------------------

// Bytes of the pair as it will be answered. Not for strip_value_, where that takes reading it.
size_t RangeReader::pair_bytes(const Pair& pair) const {
  if (!keys_only_) return pair.at.version.size;
  return wire::encoded_size(
      wire::KeyValue{pair.key, pair.at.create_revision, pair.at.version.main, pair.at.key_version, {}, 0});
}

// What the index's counts can tell; true if that is everything.
bool RangeReader::measure_by_counts() {
  if (!at_present() || range_.single) return false;
  const KeyIndex& index = store_.index();
  const bool empty = !range_.open_end && range_.end <= range_.begin;
  const uint64_t low_live = index.live_before(range_.begin);
  const uint64_t high_live = empty ? low_live : range_.open_end ? index.live() : index.live_before(range_.end);
  const uint64_t live = high_live - low_live;
  counted_ = true;
  count_ = static_cast<int64_t>(live);
  if (request_.count_only || live == 0) return true;
  if (filtered_ || keys_only_ || mode_ == Mode::kSorted) return false;
  const KeyIndex::Totals low = index.before(range_.begin);
  const KeyIndex::Totals high = range_.open_end ? index.totals() : index.before(range_.end);
  pairs_ = std::min(limit_, live);
  more_ = live > limit_;
  if (more_ && mode_ == Mode::kAscending) {
    field_bytes_ = index.first(low.live + limit_).bytes - low.bytes;
  } else if (more_) {
    field_bytes_ = high.bytes - index.first(high.live - limit_).bytes;
  } else {
    field_bytes_ = high.bytes - low.bytes;
  }
  return true;
}

void RangeReader::finish_measure() {
  rows_.reset();
  measured_ = true;
  size_ = field_bytes_ + tail_size(more_, count_);
  place_ = {};
  if (mode_ == Mode::kSorted) saved_.clear();
}

Result<bool> RangeReader::measure() {
  if (dead_) return store_replaced();
  if (measured_) return true;
  if (!place_.started && !counted_ && measure_by_counts()) {
    finish_measure();
    return true;
  }
  Status status;
  const bool count_on = !counted_ && count_what_ == Count::kRange;
  const auto visit = [&](const Pair& pair) {
    if (count_on) ++count_;
    if (request_.count_only || !passes_filters(pair)) return true;
    if (mode_ == Mode::kSorted) {
      if (items_.size() < collect_max_) status = collect(pair);
      return status.ok() && (count_on || items_.size() < collect_max_);
    }
    if (pairs_ < limit_) {
      ++pairs_;
      field_bytes_ += wire::kv_field_size(pair_bytes(pair));
      return true;
    }
    more_ = true;
    return count_on;
  };
  const bool reads = mode_ == Mode::kSorted && request_.sort_target == SortTarget::kValue;
  const bool through = walk(&place_, reads ? kReadStep : kMeasureStep, visit);
  if (!status.ok()) return status;
  const bool enough = !count_on && (more_ || items_.size() >= collect_max_);
  if (!through && !enough) return false;
  if (mode_ == Mode::kSorted) {
    status = sort_items();
    if (!status.ok()) return status;
  }
  finish_measure();
  return true;
}

Status RangeReader::collect(const Pair& pair) {
  Item item{pair.at.version, view_ == nullptr ? pair.record : nullptr, 0, 0, 0};
  switch (request_.sort_target) {
    case SortTarget::kVersion:
      item.first = static_cast<uint64_t>(pair.at.key_version);
      break;
    case SortTarget::kCreate:
      item.first = static_cast<uint64_t>(pair.at.create_revision);
      break;
    case SortTarget::kMod:
      item.first = static_cast<uint64_t>(pair.at.version.main);
      break;
    default: {
      Result<PairBytes> bytes = fetch(pair.record, pair.at.version);
      if (!bytes.ok()) return bytes.status();
      wire::KeyValue kv;
      VERIFY(wire::parse(**bytes, kv));
      char prefix[kSortPrefixBytes] = {};
      std::copy_n(kv.value.data(), std::min(kv.value.size(), kSortPrefixBytes), prefix);
      item.first = base::load_be64(prefix);
      item.second = base::load_be64(prefix + 8);
      kv.value = {};
      item.bytes = static_cast<uint32_t>(strip_value_ ? wire::encoded_size(kv) : (*bytes)->size());
      items_.push_back(item);
      return {};
    }
  }
  item.bytes = static_cast<uint32_t>(pair_bytes(pair));
  items_.push_back(item);
  return {};
}

Status RangeReader::sort_items() {
  Status status;
  const auto full_value = [&](const Item& item) {
    Result<PairBytes> bytes = fetch(item.record, item.version);
    wire::KeyValue kv;
    if (!bytes.ok()) {
      status = bytes.status();
      return std::string();
    }
    VERIFY(wire::parse(**bytes, kv));
    return std::string(kv.value);
  };
  const bool by_value = request_.sort_target == SortTarget::kValue;
  const auto less = [&](const Item& a, const Item& b) {
    if (a.first != b.first) return a.first < b.first;
    if (!by_value) return false;
    if (a.second != b.second) return a.second < b.second;
    return full_value(a) < full_value(b);
  };
  if (request_.sort_order == SortOrder::kDescend) {
    sort_as_go(items_, [&](const Item& a, const Item& b) { return less(b, a); });
  } else {
    sort_as_go(items_, less);
  }
  const size_t wanted = std::min<uint64_t>(limit_, items_.size());
  more_ = items_.size() > wanted;
  items_.resize(wanted);
  pairs_ = items_.size();
  for (const Item& item : items_) field_bytes_ += wire::kv_field_size(item.bytes);
  return status;
}

// --- the bytes
// ----------------------------------------------------------------------------------------------------------------

Result<PairBytes> RangeReader::fetch(const KeyRecord* record, const Version& version) const {
  if (record != nullptr && (view_ == nullptr || (record->hot != 0 && record->newest.revision() == version.revision()))) {
    return store_.load(*record, version);
  }
  Result<PairBytes> bytes =
      view_ == nullptr ? PairBytes(store_.load_pair(version.revision())) : fetch_pinned(version.revision());
  if (bytes.ok() && (*bytes == nullptr || (*bytes)->size() != version.size)) {
    return Status(base::Code::kDataLoss,
                  "the store lacks the row of revision " + std::to_string(version.main) + " that its index knows");
  }
  return bytes;
}

// Null: not there.
Result<PairBytes> RangeReader::fetch_pinned(Revision revision) const {
  const RowKey key(revision, false);
  auto bytes = std::make_shared<std::string>();
  const Revision last = std::exchange(last_row_, revision);
  if (revision > last && revision.main - last.main <= kNearRevisions) {
    if (rows_ == nullptr) {
      rows_ = view_->iterate();
      rows_->seek(key.view());
    }
    for (int64_t steps = 0; rows_->valid() && rows_->key() < key.view(); ++steps) {
      if (steps < kNearRevisions) {
        rows_->next();
      } else {
        rows_->seek(key.view());
      }
    }
    if (!rows_->status().ok()) return rows_->status();
    if (rows_->valid() && rows_->key() == key.view()) {
      bytes->assign(rows_->value());
      return PairBytes(std::move(bytes));
    }
    // Behind it already, when the order went back and forth.
  }
  const Result<bool> found = view_->get(key.view(), bytes.get());
  if (!found.ok()) return found.status();
  return *found ? PairBytes(std::move(bytes)) : PairBytes();
}

Result<PairBytes> RangeReader::encode(const Pair& pair) const {
  if (!keys_only_) return fetch(pair.record, pair.at.version);
  const wire::KeyValue kv{pair.key, pair.at.create_revision, pair.at.version.main, pair.at.key_version, {}, 0};
  return PairBytes(std::make_shared<const std::string>(wire::encode(kv)));
}

Result<PairBytes> RangeReader::encode(const Item& item) const {
  Result<PairBytes> bytes = fetch(item.record, item.version);
  if (!bytes.ok() || !request_.keys_only) return bytes;
  wire::KeyValue kv;
  VERIFY(wire::parse(**bytes, kv));
  kv.value = {};
  if (keys_only_) kv.lease = 0;
  return PairBytes(std::make_shared<const std::string>(wire::encode(kv)));
}

template <class Sink>
Result<bool> RangeReader::produce(size_t records_max, const Sink& sink) {
  VERIFY(measured_);
  Status status;
  const auto hand_on = [&](const Result<PairBytes>& bytes, size_t expected) {
    if (!bytes.ok()) {
      status = bytes.status();
      return false;
    }
    VERIFY((*bytes)->size() == expected);
    ++produced_;
    return sink(**bytes, *bytes) && produced_ < pairs_;
  };
  if (mode_ == Mode::kSorted) {
    while (produced_ < pairs_) {
      const Item& item = items_[produced_];
      if (!hand_on(encode(item), item.bytes)) break;
    }
  } else if (produced_ < pairs_) {
    const bool through = walk(&place_, records_max, [&](const Pair& pair) {
      return !passes_filters(pair) || hand_on(encode(pair), pair_bytes(pair));
    });
    if (status.ok() && through) VERIFY(produced_ == pairs_);
  }
  if (!status.ok()) return status;
  return produced_ == pairs_;
}

Result<bool> RangeReader::read(std::string* out, size_t bytes_max) {
  VERIFY(!done_);
  if (dead_) return store_replaced();
  const size_t begin = out->size();
  const Result<bool> through = produce(kReadStep, [&](std::string_view bytes, const PairBytes&) {
    wire::append_kv_prefix(bytes.size(), *out);
    out->append(bytes);
    return out->size() - begin <= bytes_max;
  });
  rows_.reset();  // It would keep files of the engine while a slow client thinks.
  last_row_ = {};
  if (!through.ok() || !*through) return through.ok() ? Result<bool>(true) : through;
  wire::append_range_tail(more_, count_, *out);
  done_ = true;
  saved_.clear();
  return false;
}

Status RangeReader::read_all(std::vector<PairBytes>* pairs) {
  VERIFY(!done_ && produced_ == 0);
  const Result<bool> through = produce(SIZE_MAX, [&](std::string_view, const PairBytes& bytes) {
    pairs->push_back(bytes);
    return true;
  });
  done_ = true;
  if (!through.ok()) return through.status();
  VERIFY(*through);
  return {};
}

}  // namespace mvcc
