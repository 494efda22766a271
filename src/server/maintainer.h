// The store's work in the background: commits' bookkeeping, physical compaction, hashes. One piece of work at a time, in
// bounded steps: rows are read on the helper thread from a view, what follows from them is decided on the core loop.
// Owner: core loop. Source: etcd mvcc compaction and hash; wire-and-disk 6.6-6.8.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/status.h"

namespace base::metrics {
class Histogram;
}

namespace server {

class DatabaseExport;
class Node;

struct HashAnswer {
  uint32_t hash = 0;
  int64_t compact_revision = 0;
  int64_t revision = 0;          // what was hashed up to
  int64_t current_revision = 0;  // of the store when it was asked
};

struct DatabaseHashAnswer {
  uint32_t hash = 0;
  int64_t current_revision = 0;
};

// HashKV and Hash requests that wait; more are refused.
inline constexpr size_t kHashesWaitingMax = 64;
// Snapshots streamed at once; more are refused. Each keeps what compactions drop meanwhile on disk.
inline constexpr size_t kExportsMax = 8;

class Maintainer {
 public:
  explicit Maintainer(Node& node);
  ~Maintainer();
  Maintainer(const Maintainer&) = delete;
  Maintainer& operator=(const Maintainer&) = delete;

  void start();  // goes on with a compaction that a restart interrupted
  void stop();
  // Begins nothing and ends between two steps; `held` is called then. What is asked for meanwhile waits.
  void hold(std::function<void()> held);
  // While held: what is under way or waits is given up, hashes are refused.
  void give_up();
  // Ends hold(); a compaction that waits begins.
  void resume();

  // A compaction was applied: its physical part is due.
  void on_compaction();
  // Runs `done` when every compaction applied so far is physically done and durable.
  void when_compacted(std::function<void(const base::Status&)> done);
  void hash_kv(int64_t revision, std::function<void(const base::Result<HashAnswer>&)> done);
  // Over everything in the store (Maintenance.Hash).
  void hash_database(std::function<void(const base::Result<DatabaseHashAnswer>&)> done);
  // The store as of now, to be read step by step on the helper thread. Errors: too many requests, server stopped.
  base::Result<std::shared_ptr<DatabaseExport>> open_export();
  // The engine has taken a commit.
  void on_commit();
  // Somebody waits for the next commit: it should not wait for its time.
  bool awaits_commit() const;

 private:
  struct Work;
  struct Waiting {
    int64_t revision;
    int commits_left;  // 0: its compaction is not finished
    std::function<void(const base::Status&)> done;
  };
  void next();
  void go_on();
  void step();
  void finish();
  void settle();
  void submit(std::unique_ptr<Work> work);

  Node& node_;
  std::deque<std::unique_ptr<Work>> queue_;
  std::unique_ptr<Work> running_;
  std::vector<Waiting> waiting_;
  std::vector<std::weak_ptr<DatabaseExport>> exports_;
  bool reading_ = false;  // the helper thread has running_'s task
  bool stopped_ = false;
  bool holding_ = false;
  uint64_t generation_ = 0;  // of the store: steps posted before it began anew are nobody's
  std::function<void()> held_;
};

}  // namespace server
