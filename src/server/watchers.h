// The watches of a member: the hub, what runs its work in the background, and the streams that are open. Owner: core loop.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/rng.h"
#include "mvcc/task.h"
#include "mvcc/watch_hub.h"
#include "server/node.h"

namespace server {

struct Config;
class WatchSession;

// Bytes queued for one stream before its watchers have to wait; a response is queued whole. REQUIRES: above
// rpc::kStreamQueuedBytesMax, so that the stream says when it has drained.
inline constexpr size_t kWatchQueuedBytesMax = 1u << 20;
// Bytes queued for all watch streams; over it a stream gets only this much...
inline constexpr size_t kWatchQueuedBytesTotalMax = 256u << 20;
inline constexpr size_t kWatchQueuedBytesShort = 16u << 10;
// ... and is looked at again so often.
inline constexpr auto kWatchReliefInterval = std::chrono::milliseconds(100);

class Watchers final : public mvcc::Observer {
 public:
  Watchers(const Environment& environment, const Config& config, mvcc::Store& store);
  ~Watchers() override;
  Watchers(const Watchers&) = delete;
  Watchers& operator=(const Watchers&) = delete;

  void on_commit(int64_t main, std::span<const mvcc::Event> events) override;
  void on_compact(int64_t revision) override { hub_.on_compact(revision); }
  void on_restart(int64_t revision_before) { hub_.on_restart(revision_before); }
  // No more events; sessions that are still there are cut from the hub.
  void stop();

  mvcc::WatchHub& hub() { return hub_; }
  void refresh_metrics();

  // --- for WatchSession ---
  uint64_t add(WatchSession* session) {
    sessions_.emplace(++last_session_, session);
    return last_session_;
  }
  void remove(uint64_t session) { sessions_.erase(session); }
  bool stopped() const { return stopped_; }
  // --watch-progress-notify-interval and up to a tenth more.
  base::Duration next_progress_interval();
  size_t queue_limit() const { return short_of_room_ ? kWatchQueuedBytesShort : kWatchQueuedBytesMax; }
  void queued(size_t bytes);

 private:
  void schedule();
  void work();
  void go_on();
  void step();
  void relieve();
  size_t count_queued() const;

  Environment environment_;
  mvcc::WatchHub hub_;
  base::Rng rng_;
  const base::Duration progress_interval_;
  std::map<uint64_t, WatchSession*> sessions_;  // by the order in which they came
  uint64_t last_session_ = 0;
  std::unique_ptr<mvcc::Task> catch_up_;
  bool scheduled_ = false;
  bool stopped_ = false;
  size_t queued_bytes_ = 0;  // at most so much; counted anew when it looks like too much
  bool short_of_room_ = false;
  base::TimerId relief_timer_ = base::kNoTimer;
};

}  // namespace server
