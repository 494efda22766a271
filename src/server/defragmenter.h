// Defragmentation: the engine is rewritten range by range on the helper thread, while requests go on. A commit waits for one
// range at most (kDefragmentSliceBytes), and nobody waits for a commit. Log lines and metrics are etcd's.
// Owner: core loop. Source: etcd storage/backend defrag, v3rpc/maintenance.go.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace storage {
class Slices;
}

namespace server {

class Node;

inline constexpr uint64_t kDefragmentSliceBytes = 8u << 20;
// Between two ranges: LevelDB's thread does its own work, and commits have the helper thread.
inline constexpr base::Duration kDefragmentPause = std::chrono::milliseconds(10);
// Requests that wait for the one that runs; more are refused.
inline constexpr size_t kDefragmentsWaitingMax = 64;

class Defragmenter {
 public:
  explicit Defragmenter(Node& node);
  ~Defragmenter();
  Defragmenter(const Defragmenter&) = delete;
  Defragmenter& operator=(const Defragmenter&) = delete;

  // Starts one, or joins the one under way. First what compactions applied so far erase is made durable: then it has
  // something to give back. `done` hears the end; errors: too many requests, server stopped.
  void run(std::function<void(const base::Status&)> done);
  // --bootstrap-defrag-threshold-megabytes: starts one if it promises to free so much.
  void run_at_start();
  void stop();

 private:
  void begin();
  void next();
  void on_slice();
  void finish();
  void fail(const base::Status& why);  // nothing was lost: the engine is as it was
  void end(const base::Status& how);

  Node& node_;
  std::vector<std::function<void(const base::Status&)>> waiting_;
  std::unique_ptr<storage::Slices> slices_;  // not null: one is under way
  base::Instant began_{};
  uint64_t size_before_ = 0, in_use_before_ = 0;
  bool more_ = false;  // the helper thread's answer, and
  base::Status status_;
  bool running_ = false;
  bool stopped_ = false;
};

}  // namespace server
