#include "mvcc/watch_hub.h"

#include <algorithm>
#include <array>

#include "base/verify.h"
#include "mvcc/watch_catch_up.h"
#include "wire/watch.h"

namespace mvcc {

using base::Code;
using base::Result;
using base::Status;

namespace {
constexpr size_t kTouchedKeptMax = 64;  // ranges of a commit whose scratch is kept for the next
constexpr size_t kTouchedEventsKeptMax = 64;
}  // namespace

// The transaction being delivered and the bodies made of it so far.
struct WatchHub::Commit {
  Commit(const WatchHub& hub, int64_t m, std::span<const Event> e)
      : store(hub.store_), loads_left(hub.limits_.live_prev_loads_max), main(m), events(e) {}

  struct Body {
    WatchBody bytes;  // null: nothing is left after the filters
    size_t count = 0;
    bool made = false;
  };
  using Bodies = std::array<Body, Watcher::kVariant + 1>;

  static bool passes(const Event& event, uint8_t variant) {
    return (variant & (event.is_delete ? Watcher::kNoDelete : Watcher::kNoPut)) == 0;
  }
  bool is_create(const Event& event) const { return !event.is_delete && event.create_revision == main; }

  // False: it would have to be read from the engine, and enough was.
  bool load_prev(uint32_t i, PairBytes* pair) {
    const Event& event = events[i];
    if (event.prev.main == 0 || is_create(event)) return true;
    *pair = event.prev_pair;
    if (*pair != nullptr) return true;
    if (loaded.empty()) loaded.resize(events.size());
    if (loaded[i] == nullptr) {
      if (loads_left == 0) return false;
      --loads_left;
      loaded[i] = store.load_pair(event.prev);
    }
    *pair = loaded[i];
    return true;
  }

  // False: see load_prev.
  bool make(std::span<const uint32_t> selected, uint8_t variant, Body* body) {
    auto bytes = std::make_shared<std::string>();
    for (const uint32_t i : selected) {
      const Event& event = events[i];
      if (!passes(event, variant)) continue;
      PairBytes prev;
      if ((variant & Watcher::kPrevKv) != 0 && !load_prev(i, &prev)) return false;
      const std::string_view prev_view = prev == nullptr ? std::string_view() : std::string_view(*prev);
      wire::append_watch_event(event.is_delete, *event.pair, prev == nullptr ? nullptr : &prev_view, *bytes);
      ++body->count;
    }
    if (body->count > 0) body->bytes = std::move(bytes);
    body->made = true;
    return true;
  }

  const Store& store;
  size_t loads_left;
  const int64_t main;
  const std::span<const Event> events;
  Bodies whole;  // of all events
  std::vector<PairBytes> loaded;
};

WatchHub::WatchHub(Store& store, uint64_t seed, const WatchLimits& limits) : store_(store), limits_(limits), index_(seed) {}

WatchHub::~WatchHub() {
  VERIFY(catch_up_ == nullptr);
  while (!closing_.empty()) close_some();
  VERIFY(statistics_.streams == 0);
}

// --- what was committed ---------------------------------------------------------------------------------------------------

void WatchHub::on_commit(int64_t main, std::span<const Event> events) {
  if (catch_up_ != nullptr) catch_up_->record(main, events);
  if (synced_ == 0) return;
  Commit commit(*this, main, events);
  constexpr uint32_t kFirst[] = {0};
  if (events.size() == 1) {
    index_.visit(events[0].key, [&](WatchIndex::Entry& entry) { deliver(entry.value, commit, kFirst); });
    return;
  }
  size_t touched = 0;
  for (uint32_t i = 0; i < events.size(); ++i) {
    index_.visit(events[i].key, [&](WatchIndex::Entry& entry) {
      WatchedRange& range = entry.value;
      if (range.synced.alone()) return;
      if (range.touched == 0) {
        if (touched == touched_.size()) touched_.emplace_back();
        touched_[touched].range = &range;
        range.touched = static_cast<uint32_t>(++touched);
      }
      touched_[range.touched - 1].events.push_back(i);
    });
  }
  for (size_t i = 0; i < touched; ++i) {
    Touched& one = touched_[i];
    one.range->touched = 0;
    deliver(*one.range, commit, one.events);
    if (one.events.capacity() > kTouchedEventsKeptMax) std::vector<uint32_t>().swap(one.events);
    one.events.clear();
  }
  if (touched_.size() > kTouchedKeptMax) touched_.resize(kTouchedKeptMax);
}

void WatchHub::on_restart(int64_t revision_before) {
  if (catch_up_ != nullptr) catch_up_->lose_tail();
  const int64_t current = store_.current_revision();
  index_.for_each([&](WatchIndex::Entry& entry) {
    for (WatchLink* at = entry.value.synced.next; at != &entry.value.synced;) {
      auto& watcher = static_cast<Watcher&>(*at);
      at = at->next;
      const int64_t next = std::max(watcher.next_revision, revision_before + 1);
      if (next <= current) make_ready(watcher, next);  // Else it waits for the future.
    }
  });
}

void WatchHub::deliver(WatchedRange& range, Commit& commit, std::span<const uint32_t> selected) {
  Commit::Bodies own;
  Commit::Bodies& bodies = selected.size() == commit.events.size() ? commit.whole : own;
  for (WatchLink* at = range.synced.next; at != &range.synced;) {
    auto& watcher = static_cast<Watcher&>(*at);
    at = at->next;
    if (commit.main < watcher.next_revision || watcher.stream->sink == nullptr) continue;
    const uint8_t variant = watcher.flags & Watcher::kVariant;
    Commit::Body& body = bodies[variant];
    if (!body.made) {
      Commit::Body made;
      if (!commit.make(selected, variant, &made)) {
        make_ready(watcher, commit.main);
        continue;
      }
      body = std::move(made);
    }
    if (body.bytes == nullptr) continue;
    if (watcher.stream->sink->full()) {
      make_blocked(watcher, commit.main);
    } else {
      send(watcher, commit.main, body.bytes, body.count);
    }
  }
}

void WatchHub::send(Watcher& watcher, int64_t revision, const WatchBody& body, size_t count) {
  watcher.flags &= static_cast<uint8_t>(~Watcher::kProgressDue);
  ++statistics_.responses;
  statistics_.events += count;
  watcher.stream->sink->events({watcher.id, revision, body, count, (watcher.flags & Watcher::kFragment) != 0});
}

// --- where a watcher is -----------------------------------------------------------------------------------------------------

void WatchHub::leave(Watcher& watcher) {
  watcher.unlink();
  if (watcher.state == Watcher::State::kSynced) {
    --synced_;
  } else if (watcher.state == Watcher::State::kCompacted) {
    --watcher.stream->compacted;
  } else {
    --watcher.stream->unsynced;
    --statistics_.slow_watchers;
  }
}

void WatchHub::make_synced(Watcher& watcher) {
  leave(watcher);
  watcher.state = Watcher::State::kSynced;
  watcher.next_revision = store_.current_revision() + 1;
  watcher.entry->value.synced.push_back(watcher);
  ++synced_;
}

void WatchHub::make_ready(Watcher& watcher, int64_t next_revision) {
  leave(watcher);
  watcher.state = Watcher::State::kReady;
  watcher.flags &= static_cast<uint8_t>(~Watcher::kFuture);
  watcher.next_revision = next_revision;
  ready_[next_revision].push_back(watcher);
  ++watcher.stream->unsynced;
  ++statistics_.slow_watchers;
  wake();
}

void WatchHub::make_blocked(Watcher& watcher, int64_t next_revision) {
  leave(watcher);
  watcher.state = Watcher::State::kBlocked;
  watcher.flags &= static_cast<uint8_t>(~Watcher::kFuture);
  watcher.next_revision = next_revision;
  watcher.stream->blocked.push_back(watcher);
  ++watcher.stream->unsynced;
  ++statistics_.slow_watchers;
}

void WatchHub::make_compacted(Watcher& watcher) {
  leave(watcher);
  watcher.state = Watcher::State::kCompacted;
  ++watcher.stream->compacted;
}

void WatchHub::drained(WatchStream* stream) {
  for (size_t left = limits_.stream_watchers_max; left > 0 && !stream->blocked.alone(); --left) {
    auto& watcher = static_cast<Watcher&>(*stream->blocked.next);
    make_ready(watcher, watcher.next_revision);
  }
}

// --- clients ----------------------------------------------------------------------------------------------------------------

WatchStream* WatchHub::open(WatchSink& sink) {
  ++statistics_.streams;
  return new WatchStream(sink);
}

void WatchHub::close(WatchStream* stream) {
  VERIFY(stream->sink != nullptr);
  stream->sink = nullptr;
  stream->closing.assign(stream->watchers.begin(), stream->watchers.end());
  stream->watchers.clear();
  closing_.push_back(stream);
  if (stream->closing.size() <= limits_.close_step / 4) {
    close_some();
  } else {
    wake();
  }
}

void WatchHub::close_some() {
  for (size_t left = limits_.close_step; left > 0 && !closing_.empty(); --left) {
    WatchStream* stream = closing_.front();
    if (stream->closing.empty()) {
      closing_.pop_front();
      delete stream;
      --statistics_.streams;
    } else {
      Watcher* watcher = stream->closing.back();
      stream->closing.pop_back();
      free(watcher);
    }
  }
}

Result<int64_t> WatchHub::watch(WatchStream* stream, const WatchRequest& request) {
  VERIFY(!request.range.begin.empty() && request.start_revision >= 0);
  const RangeKey& range = request.range;
  if (!range.single() && !range.open_end() && range.begin >= range.range_end) {
    return Status(Code::kInvalidArgument, "mvcc: watcher range is empty");
  }
  int64_t id = request.watch_id;
  if (id == 0) {
    while (stream->watchers.contains(stream->next_id)) ++stream->next_id;
    id = stream->next_id++;
  } else if (stream->watchers.contains(id)) {
    return Status(Code::kInvalidArgument, "mvcc: duplicate watch ID provided on the WatchStream");
  }
  if (stream->watchers.size() >= limits_.stream_watchers_max) {
    return Status(Code::kResourceExhausted, "etcdserver: too many watchers on the watch stream");
  }
  const size_t bytes = watcher_bytes() + WatchIndex::cost_bytes(range);
  if (statistics_.bytes + bytes > limits_.bytes_max) {
    return Status(Code::kResourceExhausted, "etcdserver: too many watchers on this member");
  }
  auto* watcher = new Watcher;
  watcher->stream = stream;
  watcher->entry = &index_.find_or_make(range);
  statistics_.bytes += watcher_bytes();
  if (watcher->entry->value.users++ == 0) statistics_.bytes += WatchIndex::cost_bytes(range);
  watcher->id = id;
  const auto flag = [&](bool wanted, uint8_t bits) {
    if (wanted) watcher->flags |= bits;
  };
  flag(request.prev_kv, Watcher::kPrevKv);
  flag(request.no_put, Watcher::kNoPut);
  flag(request.no_delete, Watcher::kNoDelete);
  flag(request.fragment, Watcher::kFragment);
  flag(request.progress_notify, Watcher::kProgress | Watcher::kProgressDue);
  stream->watchers.insert(watcher);
  ++statistics_.watchers;

  // Born synced; who begins in the past moves on from there.
  watcher->entry->value.synced.push_back(*watcher);
  ++synced_;
  const int64_t next = store_.current_revision() + 1;
  watcher->next_revision = std::max(next, request.start_revision);
  if (request.start_revision >= next) {
    watcher->flags |= Watcher::kFuture;
    stream->future.insert(request.start_revision);
  } else if (request.start_revision > 0) {
    make_ready(*watcher, request.start_revision);
  }
  return id;
}

void WatchHub::free(Watcher* watcher) {
  leave(*watcher);
  WatchIndex::Entry& entry = *watcher->entry;
  statistics_.bytes -= watcher_bytes();
  if (--entry.value.users == 0) {
    statistics_.bytes -= WatchIndex::cost_bytes(entry.range());
    index_.erase(entry);
  }
  delete watcher;
  --statistics_.watchers;
}

bool WatchHub::cancel(WatchStream* stream, int64_t id) {
  const auto found = stream->watchers.find(id);
  if (found == stream->watchers.end()) return false;
  Watcher* watcher = *found;
  stream->watchers.erase(found);
  if ((watcher->flags & Watcher::kFuture) != 0) {
    if (const auto at = stream->future.find(watcher->next_revision); at != stream->future.end()) stream->future.erase(at);
  }
  free(watcher);
  return true;
}

void WatchHub::request_progress(WatchStream* stream) {
  const int64_t current = store_.current_revision();
  stream->future.erase(stream->future.begin(), stream->future.upper_bound(current));
  if (stream->watchers.empty() || stream->unsynced > 0 || stream->compacted > 0 || !stream->future.empty()) return;
  stream->sink->progress(kAllWatchers, current);
}

bool WatchHub::wants_ticks(const WatchStream* stream) const {
  return std::any_of(stream->watchers.begin(), stream->watchers.end(),
                     [](const Watcher* watcher) { return (watcher->flags & Watcher::kProgress) != 0; });
}

void WatchHub::tick_progress(WatchStream* stream) {
  const int64_t current = store_.current_revision();
  std::vector<int64_t> due;
  for (Watcher* watcher : stream->watchers) {
    if ((watcher->flags & Watcher::kProgress) == 0) continue;
    const bool future = (watcher->flags & Watcher::kFuture) != 0 && watcher->next_revision > current;
    const bool told = watcher->state == Watcher::State::kSynced && !future;
    if (told && (watcher->flags & Watcher::kProgressDue) != 0) due.push_back(watcher->id);
    watcher->flags |= Watcher::kProgressDue;
  }
  std::sort(due.begin(), due.end());
  for (const int64_t id : due) {
    if (stream->sink->full()) break;
    stream->sink->progress(id, current);
  }
}

// --- the background ---------------------------------------------------------------------------------------------------------

std::unique_ptr<WatchCatchUp> WatchHub::work() {
  close_some();
  if (catch_up_ != nullptr || ready_.empty()) return nullptr;
  return choose();
}

// The watchers that are furthest behind and those that are nearest to the present take turns, so that neither a long history
// nor a crowd of late comers makes the others wait for long.
std::unique_ptr<WatchCatchUp> WatchHub::choose() {
  newest_first_ = !newest_first_;
  auto at = newest_first_ ? ready_.lower_bound(ready_.rbegin()->first - limits_.near_revisions) : ready_.begin();
  const int64_t compacted = store_.compact_revision(), current = store_.current_revision();
  const int64_t last = at->first + limits_.near_revisions;
  auto catch_up = std::unique_ptr<WatchCatchUp>(new WatchCatchUp(*this));
  size_t left = limits_.watchers_max;
  while (left > 0 && at != ready_.end() && at->first <= last) {
    if (at->second.alone()) {
      at = ready_.erase(at);
      continue;
    }
    --left;
    auto& watcher = static_cast<Watcher&>(*at->second.next);
    VERIFY(watcher.next_revision <= current);
    if (watcher.stream->sink == nullptr) {
      make_blocked(watcher, watcher.next_revision);  // Until it is freed.
    } else if (watcher.stream->sink->full()) {
      make_blocked(watcher, watcher.next_revision);
    } else if (watcher.next_revision < compacted) {
      make_compacted(watcher);
      watcher.stream->sink->compacted(watcher.id, compacted);
    } else {
      catch_up->add(watcher);
    }
  }
  if (catch_up->empty()) return nullptr;
  catch_up->start();
  return catch_up;
}

}  // namespace mvcc
