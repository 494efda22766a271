// What watch_hub.cc and watch_catch_up.cc share: a watcher and the lists it can be in. Owner: core loop.
#pragma once

#include <absl/container/btree_set.h>
#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <vector>

#include "mvcc/range_map.h"

namespace mvcc {

class WatchSink;
struct WatchStream;

// A link of a ring; the ring's anchor is one too. Neither moves while linked.
struct WatchLink {
  WatchLink* next = this;
  WatchLink* prev = this;
  WatchLink() = default;
  WatchLink(const WatchLink&) = delete;
  WatchLink& operator=(const WatchLink&) = delete;
  bool alone() const { return next == this; }
  void unlink() {
    next->prev = prev;
    prev->next = next;
    next = prev = this;
  }
  void push_back(WatchLink& link) {
    link.next = this;
    link.prev = prev;
    prev->next = &link;
    prev = &link;
  }
};

// All watchers of the same keys.
struct WatchedRange {
  WatchLink synced;      // those that get events as they happen
  uint32_t users = 0;    // watchers, wherever they are
  uint32_t touched = 0;  // position + 1 in the hub's list of the commit under way
};
using WatchIndex = RangeMap<WatchedRange>;

struct Watcher : WatchLink {
  enum Flag : uint8_t {
    kPrevKv = 1,
    kNoPut = 2,
    kNoDelete = 4,
    kVariant = 7,  // the flags that decide which bytes it gets
    kFragment = 8,
    kProgress = 16,
    kProgressDue = 32,  // no event since the last tick
    kFuture = 64,       // began above the revision of then
  };
  // Which ring it is in.
  enum class State : uint8_t {
    kSynced,     // its range's: everything below the next commit was sent
    kReady,      // the hub's, by next_revision: to be caught up
    kBlocked,    // its stream's: the stream is full
    kCatchUp,    // one of the catch-up under way
    kCompacted,  // none: ended by a compaction, but its id is taken until the client cancels it
  };

  WatchStream* stream = nullptr;
  WatchIndex::Entry* entry = nullptr;
  int64_t id = 0;
  int64_t next_revision = 0;  // events below it are not for it, or were sent; kCatchUp: the catch-up knows better
  State state = State::kSynced;
  uint8_t flags = 0;
};

struct WatcherById {
  using is_transparent = void;
  size_t operator()(int64_t id) const { return absl::Hash<int64_t>()(id); }
  size_t operator()(const Watcher* watcher) const { return (*this)(watcher->id); }
  bool operator()(const Watcher* a, const Watcher* b) const { return a->id == b->id; }
  bool operator()(const Watcher* a, int64_t b) const { return a->id == b; }
  bool operator()(int64_t a, const Watcher* b) const { return a == b->id; }
};

struct WatchStream {
  explicit WatchStream(WatchSink& to) : sink(&to) {}
  WatchSink* sink;  // null: closed, the watchers are being taken apart
  absl::flat_hash_set<Watcher*, WatcherById, WatcherById> watchers;
  int64_t next_id = 0;
  size_t unsynced = 0;   // kReady, kBlocked, kCatchUp
  size_t compacted = 0;  // kCompacted
  WatchLink blocked;
  absl::btree_multiset<int64_t> future;  // start revisions of those that began in the future; what is past may linger
  std::vector<Watcher*> closing;         // of a closed stream
};

}  // namespace mvcc
