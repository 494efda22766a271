// Brings watchers that are behind up to the present: reads the rows from their revision on in a pinned view, on another thread,
// a chunk at a time, and hands out what is for them; then what was committed meanwhile, of which it keeps a bounded tail; then
// the watchers are synced. Watchers that want the same share one body. Memory: a chunk and the tail. Source of behaviour: etcd
// mvcc/watchable_store.go, syncWatchers.
//
// Only read() may run on another thread (task.h).
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "mvcc/range_map.h"
#include "mvcc/store.h"
#include "mvcc/task.h"
#include "mvcc/watcher.h"

namespace storage {
class EngineIterator;
class View;
}  // namespace storage

namespace mvcc {

class WatchHub;
struct WatchLimits;

class WatchCatchUp final : public Task {
 public:
  ~WatchCatchUp() override;
  bool wants_read() const override { return phase_ == Phase::kRows || phase_ == Phase::kPrevRows; }
  void read() override;
  bool step() override;
  const base::Status& status() const override { return status_; }

 private:
  friend class WatchHub;

  // Watchers that get the same bytes.
  struct Interest {
    uint8_t variant;
    int64_t next_revision;  // the first they have not got
    WatchLink watchers;     // the core loop's
    bool idle = false;      // nobody is left
    // Collected and not handed out:
    std::string body;
    size_t count = 0;
    size_t revisions = 0;
    int64_t last_main = 0;
  };
  // An event somebody wants with the pair before it.
  struct PrevEvent {
    int64_t main;
    bool is_delete;
    bool is_create;
    std::string key;
    std::string pair;
    Revision prev;          // main 0: none
    std::string prev_pair;  // empty: none
    std::vector<uint32_t> interests;
  };
  struct TailEvent {
    bool is_delete;
    bool is_create;
    std::string_view key;  // inside pair
    PairBytes pair;
    Revision prev;
    PairBytes prev_pair;
    int64_t main;
  };
  enum class Phase { kRows, kPrevLookup, kPrevRows, kDeliver, kTail, kDone };

  explicit WatchCatchUp(WatchHub& hub);
  void add(Watcher& watcher);
  bool empty() const { return interests_.empty(); }
  void start();
  void record(int64_t main, std::span<const Event> events);
  // What follows the view is in the store, and nobody recorded it.
  void lose_tail();

  void take_view();
  void read_rows();
  void read_prev_rows();
  void match_row(const Revision& revision, bool tombstone, std::string_view row);
  bool wants(Interest& interest, int64_t main, bool is_delete);
  void lookup_prevs();
  void deliver(int64_t next_revision);
  void after_chunk();
  void step_tail();
  void hand_back();
  void finish();

  WatchHub& hub_;
  const WatchLimits& limits_;
  base::Status status_;
  Phase phase_ = Phase::kRows;
  std::deque<Interest> interests_;
  RangeMap<std::vector<uint32_t>> matcher_;
  // While watchers are added: range, variant and revision to interest.
  using Same = std::tuple<const void*, uint8_t, int64_t>;
  absl::flat_hash_map<Same, uint32_t> same_;

  std::shared_ptr<const storage::View> view_;
  std::unique_ptr<storage::EngineIterator> rows_;
  int64_t begin_ = 0;  // where the walk over the view begins
  int64_t end_ = 0;    // first revision the view does not hold
  bool rows_done_ = false;
  base::Status read_status_;
  int64_t chunk_end_ = 0;  // what the chunk collected is complete below it
  size_t chunk_bytes_ = 0;
  bool chunk_full_ = false;
  size_t chunks_ = 0;
  std::vector<PrevEvent> prev_events_;
  size_t prev_at_ = 0;
  std::string tombstone_pair_;

  std::deque<TailEvent> tail_;
  size_t tail_bytes_ = 0;
  bool tail_lost_ = false;
};

}  // namespace mvcc
