// Versioned keys on one ordered engine. Owner: the core loop; only what a task or a reader says may run elsewhere does. Asks no
// clock, starts no thread, opens no socket. Semantics: etcd server/storage/mvcc; wire-and-disk 5.4, 6.2, 6.3, 6.6.
//
// Rows live in a storage::Backend next to everything else (storage/keyspace.h): bucket `key` as in revision.h, and in bucket
// `meta` scheduledCompactRev and finishedCompactRev. Whoever applies an entry puts consistent_index into the same Backend
// before or after, and commits only between entries: so an entry's effects and its index are in one batch.
//
// Invariants: the index holds exactly the versions whose rows are in the backend, but for those a running compaction has
// decided about and not erased yet; revisions only grow; same entries, same rows, revisions, hashes and errors on every member.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "mvcc/hash_cache.h"
#include "mvcc/hot_values.h"
#include "mvcc/key_index.h"
#include "mvcc/revision.h"
#include "mvcc/store_image.h"

namespace storage {
class Backend;
}

namespace mvcc {

class CompactionTask;
class RangeReader;

// Bytes of an encoded KeyValue, shared by everybody who needs them.
using PairBytes = std::shared_ptr<const std::string>;

struct Options {
  size_t hot_bytes_max = 32u << 20;     // newest values kept in memory; 0: none
  size_t compaction_batch_rows = 1000;  // --compaction-batch-limit; 0: this default
};

// What the store needs of the lessor. Called from the core loop, in log order.
class LeaseHooks {
 public:
  virtual ~LeaseHooks() = default;
  virtual bool exists(base::LeaseId id) const = 0;
  virtual void attach(base::LeaseId id, std::string_view key) = 0;
  virtual void detach(base::LeaseId id, std::string_view key) = 0;
};

struct Event {
  bool is_delete = false;
  std::string_view key;         // valid during the call; also inside `pair`
  PairBytes pair;               // KeyValue as a watcher gets it: of a delete, key and mod_revision
  int64_t create_revision = 0;  // of the pair put; 0 for a delete
  // What the event replaced; main 0: nothing. Readable with Store::load_pair while the revision before is not compacted.
  Revision prev;
  PairBytes prev_pair;  // may be null although there is one: not at hand
};

// Told what happened, in order, once each transaction is complete.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_commit(int64_t main, std::span<const Event> events) = 0;
  virtual void on_compact(int64_t revision) = 0;
};

// Counters since the start, for metrics.
struct Statistics {
  uint64_t ranges = 0;   // reads of pairs, those of compares and of prev_kv included
  uint64_t puts = 0;
  uint64_t deletes = 0;  // of ranges, whatever they found
  uint64_t txns = 0;     // what did more than one of these at a time
  uint64_t put_bytes = 0;           // keys and values
  uint64_t compacted_versions = 0;  // rows erased by compactions
  uint64_t hot_hits = 0;
  uint64_t hot_misses = 0;
};

// Counts one transaction, from its making to its end, if it did more than one operation.
class CountedTxn {
 public:
  explicit CountedTxn(Statistics& statistics) : statistics_(statistics), before_(operations()) {}
  ~CountedTxn() {
    if (operations() - before_ > 1) ++statistics_.txns;
  }
  CountedTxn(const CountedTxn&) = delete;
  CountedTxn& operator=(const CountedTxn&) = delete;

 private:
  uint64_t operations() const { return statistics_.ranges + statistics_.puts + statistics_.deletes; }
  Statistics& statistics_;
  const uint64_t before_;
};

class Store {
 public:
  // `backend` and what else is given outlive this.
  explicit Store(storage::Backend& backend, const Options& options = {});
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Before recover(). Null: no leases exist; nobody listens.
  void set_leases(LeaseHooks* leases) { leases_ = leases; }
  void set_observer(Observer* observer) { observer_ = observer; }

  // Reads all rows back into memory. REQUIRES: called once, before anything else. kDataLoss: a row that cannot be understood.
  base::Status recover();
  // The backend's rows have been replaced by those of a received snapshot, which `image` was read from. Readers that are pinned
  // hear kUnavailable at their next step; watchers are the observer's. Gives back what is to be freed, which takes a while: on
  // another thread. REQUIRES: no compaction under way. O(keys with leases).
  std::unique_ptr<StoreImage> restart(std::unique_ptr<StoreImage> image);

  // --- revisions ----------------------------------------------------------------------------------------------------------
  int64_t current_revision() const { return current_; }
  int64_t compact_revision() const { return compacted_; }          // reads below fail; -1: never compacted
  int64_t finished_compact_revision() const { return finished_; }  // rows below are gone; -1: none finished
  size_t keys() const { return index_.live(); }                    // keys that exist now
  size_t versions() const { return index_.versions(); }            // rows in memory's view, tombstones included
  uint64_t row_bytes() const { return index_.row_bytes(); }        // bytes of their values
  const Statistics& statistics() const { return statistics_; }
  size_t hot_bytes() const { return hot_.bytes(); }

  // --- compaction ---------------------------------------------------------------------------------------------------------
  // Logical: reads below `revision` fail from now on, the scheduledCompactRev row is put. Errors: compacted, future.
  base::Status compact(int64_t revision);
  bool compaction_waiting() const { return scheduled_.has_value(); }
  // The physical part, to be run by whoever owns time (task.h); null: nothing to do, or one is under way. At most one waits:
  // what is scheduled while one runs is merged, the last revision wins.
  std::unique_ptr<CompactionTask> next_compaction();
  HashCache& hashes() { return hashes_; }
  const HashCache& hashes() const { return hashes_; }

  // --- below: for the request level of this module (request.h, range_reader.h) and the lessor's deletes ---------------------
  // The stored pair of a version. fatal() if the row is missing: memory and disk disagree. Null: no such version (compacted).
  PairBytes load_pair(Revision revision) const;
  PairBytes load(const KeyRecord& record, const Version& version) const;

  const KeyIndex& index() const { return index_; }
  Statistics& counters() const { return statistics_; }
  storage::Backend& backend() const { return backend_; }
  const Options& options() const { return options_; }
  bool lease_exists(base::LeaseId id) const { return leases_ != nullptr && leases_->exists(id); }

  class WriteTxn;

 private:
  friend class CompactionTask;
  friend class RangeReader;

  void adopt(StoreImage& image);
  void save_dropped(const KeyRecord& record, int64_t at);

  storage::Backend& backend_;
  const Options options_;
  LeaseHooks* leases_ = nullptr;
  Observer* observer_ = nullptr;
  KeyIndex index_;
  mutable HotValues hot_;
  HashCache hashes_;
  mutable Statistics statistics_;

  int64_t current_ = 1;
  int64_t compacted_ = -1;
  int64_t finished_ = -1;
  bool recovered_ = false;
  bool in_write_ = false;

  struct Scheduled {
    int64_t revision;
    int64_t previous;         // compact revision before
    bool previous_completed;  // its rows were gone when this one was scheduled
  };
  std::optional<Scheduled> scheduled_;
  int64_t scheduled_revision_ = -1;  // as in the row
  bool compaction_running_ = false;
  int64_t newest_ = 1;  // main of the newest version in the index: current_, or that of the open transaction
  mutable std::vector<RangeReader*> readers_;  // those that walk the index at a fixed revision
};

// One write transaction: main = current + 1, a sub per row. The writes are visible at once to who reads through the store; the
// revision moves at commit(), if a row was written. REQUIRES: one at a time, commit() before the end.
class Store::WriteTxn {
 public:
  explicit WriteTxn(Store& store);
  ~WriteTxn();
  WriteTxn(const WriteTxn&) = delete;
  WriteTxn& operator=(const WriteTxn&) = delete;

  // REQUIRES: `lease` is 0 or exists.
  void put(std::string_view key, std::string_view value, base::LeaseId lease);
  // Deletes the keys in the range (request.h: KeyRange), in byte order; how many.
  int64_t delete_range(std::string_view key, std::string_view range_end);
  // What a read in this transaction sees: main once a row was written, else the revision before.
  int64_t revision() const { return sub_ == 0 ? main_ - 1 : main_; }
  bool wrote() const { return sub_ != 0; }
  void commit();

 private:
  void erase(KeyRecord& record);
  Revision next_revision();

  Store& store_;
  const CountedTxn counted_{store_.statistics_};
  const int64_t main_;
  int64_t sub_ = 0;
  bool committed_ = false;
  std::vector<Event> events_;
};

}  // namespace mvcc
