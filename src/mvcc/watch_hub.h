// Watches: who wants to know of which keys, and what each still has to hear. Pure: no sockets, no clock, no threads; the owner
// (core loop) passes on what the sinks get, and runs the catch-ups (watch_catch_up.h). Semantics: etcd mvcc/watchable_store.go,
// feature map 3.7.
//
// A watcher is synced (gets events as they are committed), or behind: because it began at an old revision, or because its
// stream was full. Who is behind keeps nothing but a revision: events are read back from the store when there is room. A body
// of events is encoded once and shared by all watchers it goes to.
//
// Promises to each watcher: its events are ordered by revision and place, each comes once, all of a revision come in one
// response, none is left out; or it is told that a compaction took them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "mvcc/range_map.h"
#include "mvcc/store.h"
#include "mvcc/watcher.h"

namespace mvcc {

class WatchCatchUp;

// Encoded events (wire/watch.h), one after the other.
using WatchBody = std::shared_ptr<const std::string>;

struct WatchEvents {
  int64_t watch_id;
  int64_t revision;  // for the response's header
  const WatchBody& body;
  size_t count;
  bool fragment;  // the watcher takes a big response in pieces
};

// Where the watchers of a stream send to. Called from inside the hub: must not call back into it.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // No more now. Who says so tells the hub by drained() when that has changed.
  virtual bool full() const = 0;
  virtual void events(const WatchEvents& events) = 0;
  // No event up to `revision` is outstanding. `watch_id` -1: for all watchers of the stream.
  virtual void progress(int64_t watch_id, int64_t revision) = 0;
  // The watcher has ended: what it had to hear is gone.
  virtual void compacted(int64_t watch_id, int64_t compact_revision) = 0;
};

struct WatchRequest {
  RangeKey range;              // REQUIRES: begin is not empty
  int64_t start_revision = 0;  // 0: what happens from now on. REQUIRES: >= 0
  int64_t watch_id = 0;        // 0: the hub chooses
  bool prev_kv = false;
  bool no_put = false;
  bool no_delete = false;
  bool fragment = false;
  bool progress_notify = false;
};

// Every bound of this part. Tests use small ones.
struct WatchLimits {
  size_t stream_watchers_max = 1u << 18;
  size_t bytes_max = 512u << 20;    // of all watchers and their keys
  size_t close_step = 4096;         // watchers of closed streams freed at a time
  size_t live_prev_loads_max = 64;  // previous pairs read from the engine while a commit is delivered
  // --- of one catch-up
  size_t watchers_max = 8192;
  int64_t near_revisions = 16384;    // watchers so near to each other are caught up together
  size_t chunk_rows = 8192;          // rows looked at in one read()
  size_t chunk_bytes = 1u << 20;     // of events collected in it; the revision under way is finished
  size_t response_revisions = 1000;  // of one watcher in it, as etcd's watchBatchMaxRevs
  size_t chunks_max = 64;            // then the others get their turn
  size_t prev_step = 1024;           // previous versions looked up in one step()
  size_t tail_events_max = 16384;    // committed since the view was taken
  size_t tail_bytes_max = 8u << 20;
  size_t tail_step = 1024;  // events of the tail handed out in one step()
};

class WatchHub final : public Observer {
 public:
  static constexpr int64_t kAllWatchers = -1;

  // `store` outlives this. `seed`: for the shape of trees.
  WatchHub(Store& store, uint64_t seed, const WatchLimits& limits = {});
  ~WatchHub() override;
  WatchHub(const WatchHub&) = delete;
  WatchHub& operator=(const WatchHub&) = delete;

  // `wake` is called when has_work() turns true; it may only make a note of it.
  void set_wake(std::function<void()> wake) { wake_ = std::move(wake); }

  // --- from the store ---
  void on_commit(int64_t main, std::span<const Event> events) override;
  void on_compact(int64_t) override {}  // looked at when a watcher that is behind gets its turn

  // The store began anew from a snapshot: what was committed after `revision_before` came to nobody and is caught up with.
  void on_restart(int64_t revision_before);

  // --- from the clients ---
  // `sink` lives until close().
  WatchStream* open(WatchSink& sink);
  // Frees the stream and its watchers, by and by.
  void close(WatchStream* stream);
  // The id. Nothing is sent from within. Errors, texts as etcd's cancel reasons: an empty range, a duplicate id; too many.
  base::Result<int64_t> watch(WatchStream* stream, const WatchRequest& request);
  // False: no such watcher.
  bool cancel(WatchStream* stream, int64_t id);
  // Answers progress(-1) if all watchers of the stream are synced and there is one; else not at all.
  void request_progress(WatchStream* stream);
  // A progress interval of the stream has passed: whoever asked for it, is synced and got no event in it hears progress().
  void tick_progress(WatchStream* stream);
  bool wants_ticks(const WatchStream* stream) const;
  // The sink takes more.
  void drained(WatchStream* stream);

  // --- work in the background ---
  bool has_work() const { return !closing_.empty() || (catch_up_ == nullptr && !ready_.empty()); }
  // A bounded part of it. A catch-up, if there is one, is run as task.h says and destroyed when step() says so; null: there is
  // none now, or one is under way.
  std::unique_ptr<WatchCatchUp> work();

  struct Statistics {
    size_t streams = 0;
    size_t watchers = 0;
    size_t slow_watchers = 0;  // behind
    uint64_t responses = 0;    // with events
    uint64_t events = 0;       // in them
    size_t bytes = 0;          // of watchers and keys
  };
  const Statistics& statistics() const { return statistics_; }

 private:
  friend class WatchCatchUp;
  struct Commit;

  void wake() {
    if (wake_) wake_();
  }
  void deliver(WatchedRange& range, Commit& commit, std::span<const uint32_t> selected);
  void send(Watcher& watcher, int64_t revision, const WatchBody& body, size_t count);
  // Moves the watcher to where it belongs, from any state but kCompacted.
  void leave(Watcher& watcher);
  void make_synced(Watcher& watcher);
  void make_ready(Watcher& watcher, int64_t next_revision);
  void make_blocked(Watcher& watcher, int64_t next_revision);
  void make_compacted(Watcher& watcher);
  void free(Watcher* watcher);
  void close_some();
  std::unique_ptr<WatchCatchUp> choose();
  static size_t watcher_bytes() { return sizeof(Watcher) + 8 + 20; }  // malloc's header; its share of the stream's set

  Store& store_;
  const WatchLimits limits_;
  WatchIndex index_;
  std::function<void()> wake_;
  Statistics statistics_;
  size_t synced_ = 0;
  std::map<int64_t, WatchLink> ready_;  // by next_revision; rings may be empty
  bool newest_first_ = false;           // which end of ready_ comes next
  std::deque<WatchStream*> closing_;
  WatchCatchUp* catch_up_ = nullptr;  // the one under way

  struct Touched {
    WatchedRange* range = nullptr;
    std::vector<uint32_t> events;
  };
  std::vector<Touched> touched_;  // scratch of on_commit; the vectors keep their room
};

}  // namespace mvcc
