#include "mvcc/watch_catch_up.h"

#include <algorithm>

#include "base/log.h"
#include "base/verify.h"
#include "mvcc/watch_hub.h"
#include "storage/backend.h"
#include "storage/engine.h"
#include "wire/watch.h"

namespace mvcc {

namespace {
// Of the map that lives as long as a catch-up; who could guess it would gain nothing worth having.
constexpr uint64_t kMatcherSeed = 0x7761746368;
}  // namespace

WatchCatchUp::WatchCatchUp(WatchHub& hub) : hub_(hub), limits_(hub.limits_), matcher_(kMatcherSeed) {}

WatchCatchUp::~WatchCatchUp() {
  if (hub_.catch_up_ == this) hand_back();
}

// --- the core loop: begin ---------------------------------------------------------------------------------------------------

void WatchCatchUp::add(Watcher& watcher) {
  const uint8_t variant = watcher.flags & Watcher::kVariant;
  const auto [known, fresh] = same_.try_emplace(Same(watcher.entry, variant, watcher.next_revision), 0);
  if (fresh) {
    known->second = static_cast<uint32_t>(interests_.size());
    Interest& interest = interests_.emplace_back();
    interest.variant = variant;
    interest.next_revision = watcher.next_revision;
    matcher_.find_or_make(watcher.entry->range()).value.push_back(known->second);
    begin_ = interests_.size() == 1 ? watcher.next_revision : std::min(begin_, watcher.next_revision);
  }
  watcher.unlink();
  watcher.state = Watcher::State::kCatchUp;
  interests_[known->second].watchers.push_back(watcher);
}

void WatchCatchUp::start() {
  same_ = {};
  VERIFY(hub_.catch_up_ == nullptr);
  hub_.catch_up_ = this;
  take_view();
}

// Everything below end_ is in the view, everything from it on comes to record().
void WatchCatchUp::take_view() {
  view_ = hub_.store_.backend().view();
  rows_.reset();
  rows_done_ = false;
  end_ = hub_.store_.current_revision() + 1;
  tail_.clear();
  tail_bytes_ = 0;
  tail_lost_ = false;
  phase_ = Phase::kRows;
}

void WatchCatchUp::record(int64_t main, std::span<const Event> events) {
  if (tail_lost_) return;
  for (const Event& event : events) {
    wire::KeyValue pair;
    VERIFY(wire::parse(*event.pair, pair));
    tail_bytes_ += event.pair->size();
    const bool is_create = !event.is_delete && event.create_revision == main;
    tail_.push_back({event.is_delete, is_create, pair.key, event.pair, event.prev, event.prev_pair, main});
  }
  if (tail_.size() > limits_.tail_events_max || tail_bytes_ > limits_.tail_bytes_max) lose_tail();
}

void WatchCatchUp::lose_tail() {
  tail_lost_ = true;
  tail_.clear();
  tail_bytes_ = 0;
}

// --- the other thread -------------------------------------------------------------------------------------------------------

void WatchCatchUp::read() {
  if (phase_ == Phase::kRows) {
    read_rows();
  } else {
    read_prev_rows();
  }
}

void WatchCatchUp::read_rows() {
  if (rows_ == nullptr) {
    rows_ = view_->iterate();
    rows_->seek(RowKey({begin_, 0}, false).view());
  }
  const RowKey end({end_, 0}, false);
  int64_t main = -1;
  chunk_bytes_ = 0;
  chunk_full_ = false;
  for (size_t rows = 0; rows_->valid() && rows_->key() < end.view(); rows_->next(), ++rows) {
    const std::optional<ParsedRowKey> parsed = parse_row_key(rows_->key());
    if (!parsed) continue;
    if (parsed->revision.main != main) {
      main = parsed->revision.main;
      chunk_end_ = main;
      if (rows >= limits_.chunk_rows || chunk_bytes_ >= limits_.chunk_bytes || chunk_full_) return;
    }
    match_row(parsed->revision, parsed->tombstone, rows_->value());
  }
  read_status_ = rows_->status();
  rows_done_ = true;
  chunk_end_ = end_;
}

bool WatchCatchUp::wants(Interest& interest, int64_t main, bool is_delete) {
  if (interest.idle || main < interest.next_revision) return false;
  if ((interest.variant & (is_delete ? Watcher::kNoDelete : Watcher::kNoPut)) != 0) return false;
  if (main != interest.last_main || interest.count == 0) {
    interest.last_main = main;
    if (++interest.revisions >= limits_.response_revisions) chunk_full_ = true;
  }
  ++interest.count;
  return true;
}

void WatchCatchUp::match_row(const Revision& revision, bool tombstone, std::string_view row) {
  wire::KeyValue pair;
  if (!wire::parse(row, pair)) {
    read_status_ = base::Status(base::Code::kDataLoss, "the row of revision " + std::to_string(revision.main) + " is damaged");
    return;
  }
  PrevEvent* with_prev = nullptr;
  std::string_view bytes = row;
  matcher_.visit(pair.key, [&](RangeMap<std::vector<uint32_t>>::Entry& entry) {
    for (const uint32_t i : entry.value) {
      Interest& interest = interests_[i];
      if (!wants(interest, revision.main, tombstone)) continue;
      if (tombstone && bytes.data() == row.data()) {
        // The row has the key alone; a watcher gets the revision too.
        tombstone_pair_ = wire::encode(wire::KeyValue{pair.key, 0, revision.main, 0, {}, 0});
        bytes = tombstone_pair_;
      }
      if ((interest.variant & Watcher::kPrevKv) == 0) {
        const size_t before = interest.body.size();
        wire::append_watch_event(tombstone, bytes, nullptr, interest.body);
        chunk_bytes_ += interest.body.size() - before;
        continue;
      }
      if (with_prev == nullptr) {
        const bool is_create = !tombstone && pair.create_revision == revision.main;
        prev_events_.push_back({revision.main, tombstone, is_create, std::string(pair.key), std::string(bytes), {}, {}, {}});
        with_prev = &prev_events_.back();
      }
      with_prev->interests.push_back(i);
      chunk_bytes_ += 2 * bytes.size();
    }
  });
}

void WatchCatchUp::read_prev_rows() {
  for (PrevEvent& event : prev_events_) {
    if (event.prev.main != 0) {
      const base::Result<bool> found = view_->get(RowKey(event.prev, false).view(), &event.prev_pair);
      if (!found.ok()) {
        read_status_ = found.status();
        return;
      }
    }
    const std::string_view prev = event.prev_pair;
    for (const uint32_t i : event.interests) {
      wire::append_watch_event(event.is_delete, event.pair, prev.empty() ? nullptr : &prev, interests_[i].body);
    }
  }
  prev_events_.clear();
}

// --- the core loop: what was read
// ---------------------------------------------------------------------------------------------

bool WatchCatchUp::step() {
  if (!read_status_.ok()) {
    status_ = read_status_;
    hand_back();
    return true;
  }
  switch (phase_) {
    case Phase::kRows:
      prev_at_ = 0;
      phase_ = prev_events_.empty() ? Phase::kDeliver : Phase::kPrevLookup;
      if (phase_ == Phase::kDeliver) after_chunk();
      break;
    case Phase::kPrevLookup:
      lookup_prevs();
      break;
    case Phase::kPrevRows:
    case Phase::kDeliver:
      after_chunk();
      break;
    case Phase::kTail:
      step_tail();
      break;
    case Phase::kDone:
      break;
  }
  return phase_ == Phase::kDone;
}

// What the key had before, if that can still be read: as a range at the revision before would find it.
void WatchCatchUp::lookup_prevs() {
  const Store& store = hub_.store_;
  for (size_t left = limits_.prev_step; left > 0 && prev_at_ < prev_events_.size(); --left, ++prev_at_) {
    PrevEvent& event = prev_events_[prev_at_];
    if (event.is_create || event.main - 1 < store.compact_revision()) continue;
    const KeyRecord* record = store.index().find(event.key);
    if (record == nullptr) continue;
    const std::optional<Located> before = record->find(event.main - 1);
    if (before && !before->version.tombstone) event.prev = before->version.revision();
  }
  if (prev_at_ == prev_events_.size()) phase_ = Phase::kPrevRows;
}

// Hands out what was collected. Who has no room keeps its revision and waits for its stream.
void WatchCatchUp::deliver(int64_t next_revision) {
  const int64_t current = hub_.store_.current_revision();
  for (Interest& interest : interests_) {
    if (interest.count > 0 && !interest.idle) {
      const auto body = std::make_shared<const std::string>(std::move(interest.body));
      for (WatchLink* at = interest.watchers.next; at != &interest.watchers;) {
        auto& watcher = static_cast<Watcher&>(*at);
        at = at->next;
        if (watcher.stream->sink == nullptr) continue;
        if (watcher.stream->sink->full()) {
          hub_.make_blocked(watcher, interest.next_revision);
        } else {
          hub_.send(watcher, current, body, interest.count);
        }
      }
    }
    interest.body = {};
    interest.count = interest.revisions = 0;
    interest.next_revision = std::max(interest.next_revision, next_revision);
    interest.idle = interest.watchers.alone();
  }
}

void WatchCatchUp::after_chunk() {
  deliver(chunk_end_);
  ++chunks_;
  const bool idle = std::all_of(interests_.begin(), interests_.end(), [](const Interest& one) { return one.idle; });
  if (idle || (chunks_ >= limits_.chunks_max && !rows_done_)) return hand_back();
  phase_ = rows_done_ ? Phase::kTail : Phase::kRows;
  if (rows_done_) step_tail();
}

void WatchCatchUp::step_tail() {
  if (tail_lost_) {
    // Too much was committed meanwhile: another walk, over that.
    if (chunks_ >= limits_.chunks_max || end_ < hub_.store_.compact_revision()) return hand_back();
    begin_ = end_;
    return take_view();
  }
  rows_.reset();
  view_.reset();
  size_t events = 0, loads = 0;
  int64_t main = 0;
  chunk_full_ = false;
  while (!tail_.empty()) {
    TailEvent& event = tail_.front();
    const bool enough = events >= limits_.tail_step || loads >= limits_.live_prev_loads_max || chunk_full_;
    if (events > 0 && event.main != main && enough) break;
    main = event.main;
    ++events;
    bool looked = event.is_create || event.prev.main == 0;
    matcher_.visit(event.key, [&](RangeMap<std::vector<uint32_t>>::Entry& entry) {
      for (const uint32_t i : entry.value) {
        Interest& interest = interests_[i];
        if (!wants(interest, event.main, event.is_delete)) continue;
        if ((interest.variant & Watcher::kPrevKv) == 0 || event.is_create) {
          wire::append_watch_event(event.is_delete, *event.pair, nullptr, interest.body);
          continue;
        }
        if (!looked && event.prev_pair == nullptr) {
          looked = true;
          ++loads;
          event.prev_pair = hub_.store_.load_pair(event.prev);  // Null if a compaction took it.
        }
        const std::string_view prev = event.prev_pair == nullptr ? std::string_view() : std::string_view(*event.prev_pair);
        wire::append_watch_event(event.is_delete, *event.pair, prev.empty() ? nullptr : &prev, interest.body);
      }
    });
    tail_bytes_ -= event.pair->size();
    tail_.pop_front();
  }
  end_ = tail_.empty() ? hub_.store_.current_revision() + 1 : tail_.front().main;
  deliver(end_);
  if (tail_.empty()) finish();
}

// --- the core loop: the end
// ---------------------------------------------------------------------------------------------------

// Everybody has everything.
void WatchCatchUp::finish() {
  phase_ = Phase::kDone;
  hub_.catch_up_ = nullptr;
  for (Interest& interest : interests_) {
    while (!interest.watchers.alone()) hub_.make_synced(static_cast<Watcher&>(*interest.watchers.next));
  }
  if (hub_.has_work()) hub_.wake();
}

// The rest is for another catch-up.
void WatchCatchUp::hand_back() {
  phase_ = Phase::kDone;
  hub_.catch_up_ = nullptr;
  for (Interest& interest : interests_) {
    while (!interest.watchers.alone()) {
      hub_.make_ready(static_cast<Watcher&>(*interest.watchers.next), interest.next_revision);
    }
  }
}

}  // namespace mvcc
