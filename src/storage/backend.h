// The pending batch over an Engine, as etcd's batched backend transaction: writes collect in memory, readers see them at once,
// and every 100 ms or 10,000 changes they go to the engine as one synced write (DESIGN 7). Owner: the core loop; only a View
// and run(Commit&) leave it. No threads, no clock inside: the commit is driven from outside:
//
//   if (backend.commit_due(now)) commit = backend.begin_commit(applied_index);      // core loop
//   Status done = backend.run(*commit);                                             // helper thread
//   backend.finish_commit(std::move(commit), done);                                 // core loop
//
// Invariant: a commit is exactly what was put since the one before. The caller puts consistent_index into the same batch as
// the effects of an entry and calls begin_commit only between entries; so after a power cut the engine holds the effects of a
// prefix of the log, and replay from its consistent_index is exact.
// Memory: pending_bytes() counts what waits and what is under way. On a slow disk it grows until must_wait(): then the caller
// stops proposing, until a commit is finished.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "storage/engine.h"

namespace storage {

struct BackendOptions {
  base::Duration commit_interval = std::chrono::milliseconds(100);  // --backend-batch-interval
  uint64_t commit_changes_max = 10'000;                             // --backend-batch-limit
  size_t commit_bytes_max = 8u << 20;                               // a commit is due when it has this many bytes
  size_t pending_bytes_max = 32u << 20;                             // must_wait() from here on
};

namespace pending {
class Batch;  // being filled; the core loop's
class Rows;   // sealed: sorted, immutable, any thread
}  // namespace pending

// The keyspace at one moment. Immutable; any thread, many at once; must not outlive the Backend's engine. Holds memory of the
// pending batch and disk space of the engine while it lives.
class View {
 public:
  // true: found, *value filled. kDataLoss from the engine.
  base::Result<bool> get(std::string_view key, std::string* value) const;
  // Over everything, in byte order. The iterator may outlive the View.
  std::unique_ptr<EngineIterator> iterate() const;

  // `snapshot` null: the engine as it is now.
  View(std::vector<std::shared_ptr<const pending::Rows>> newest_first, const Engine& engine,
       std::shared_ptr<const EngineSnapshot> snapshot);

 private:
  std::vector<std::shared_ptr<const pending::Rows>> newest_first_;
  const Engine& engine_;
  std::shared_ptr<const EngineSnapshot> snapshot_;
};

// One engine write under way.
class Commit {
 public:
  // What begin_commit was given: the applied index that is durable once this commit is finished.
  uint64_t tag() const { return tag_; }
  size_t bytes() const;

  Commit(uint64_t tag, std::shared_ptr<const pending::Rows> rows) : tag_(tag), rows_(std::move(rows)) {}

 private:
  friend class Backend;
  const uint64_t tag_;
  const std::shared_ptr<const pending::Rows> rows_;
};

class Backend {
 public:
  // `engine` outlives this.
  explicit Backend(Engine& engine, const BackendOptions& options = {});
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  // REQUIRES: key not empty. About 0.1 us for a key above all others of its first byte; else O(log pending).
  void put(std::string_view key, std::string_view value);
  void erase(std::string_view key);
  // The row as of now. true: found, *value filled. kDataLoss from the engine.
  base::Result<bool> get(std::string_view key, std::string* value) const;
  // As of now. Costs a copy of pointers to the rows put since the last view: for big reads and other threads, not for each get.
  std::shared_ptr<const View> view() const;

  // --- commits ---
  // Whether to begin one: there is something, none is under way, and interval, count or bytes are reached. The interval runs
  // from the first call that finds changes.
  bool commit_due(base::Instant now);
  // When commit_due() turns true if nothing else is put; nullopt: nothing pending or one under way. For a timer.
  std::optional<base::Instant> commit_deadline(base::Instant now);
  // Takes all that is pending; null if there is nothing. REQUIRES: none under way.
  std::shared_ptr<Commit> begin_commit(uint64_t tag = 0);
  // Any thread: one synced write. An error leaves the disk in an unknown state: the caller must stop.
  base::Status run(const Commit& commit) const;
  // REQUIRES: `commit` is the one under way. On an error the rows stay visible, and no commit can begin any more.
  void finish_commit(std::shared_ptr<Commit> commit, const base::Status& done);
  // begin, run and finish in place; for start-up, shutdown and tests. REQUIRES: none under way.
  base::Status commit_now(uint64_t tag = 0);
  bool commit_running() const { return running_ != nullptr; }

  // --- somebody else writes to the engine: a received snapshot takes the place of everything
  // Readers see the rows of this moment until thaw(). REQUIRES: no commit under way; none may begin until then.
  void freeze();
  // What was put and not committed is gone; readers see the engine as it is now.
  void thaw();

  // About what is not yet durable will take on disk; pending_bytes() is what it takes in memory.
  uint64_t pending_row_bytes() const { return row_bytes_ + running_row_bytes_; }
  // Bytes not yet durable. At or above the bound: stop proposing until a commit is finished.
  size_t pending_bytes() const;
  bool must_wait() const { return pending_bytes() >= options_.pending_bytes_max; }
  uint64_t pending_changes() const { return changes_; }

  Engine& engine() { return engine_; }
  const Engine& engine() const { return engine_; }

 private:
  // Moves the rows of batch_ to sealed_. Changes nothing a caller can see: hence const, and the two members mutable.
  void seal() const;

  Engine& engine_;
  const BackendOptions options_;
  mutable std::unique_ptr<pending::Batch> batch_;
  mutable std::vector<std::shared_ptr<const pending::Rows>> sealed_;  // oldest first, sizes fall by half at least
  std::shared_ptr<Commit> running_;
  std::shared_ptr<const EngineSnapshot> frozen_;  // null: not frozen
  uint64_t changes_ = 0;
  uint64_t row_bytes_ = 0;          // of changes_
  uint64_t running_row_bytes_ = 0;  // of running_
  std::optional<base::Instant> waiting_since_;
  bool failed_ = false;
};

}  // namespace storage
