// Many deadlines on one loop behind one Asio timer: an intrusive binary heap. Arming costs O(log n), no allocation and, when
// it is not the earliest, no system call. Owner: the loop's thread.
#pragma once

#include <asio.hpp>
#include <cstddef>
#include <vector>

#include "base/clock.h"

namespace net {

// Embed it in what has the deadline. Disarm before it dies.
class Timer {
 public:
  using Fire = void (*)(void* owner);
  Timer(Fire fire, void* owner) : fire_(fire), owner_(owner) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  bool armed() const { return slot_ != kIdle; }
  base::Instant when() const { return when_; }

 private:
  friend class TimerQueue;
  static constexpr size_t kIdle = static_cast<size_t>(-1);
  Fire fire_;
  void* owner_;
  base::Instant when_{};
  size_t slot_ = kIdle;
};

class TimerQueue {
 public:
  TimerQueue(asio::io_context& loop, const base::Clock& clock);
  ~TimerQueue();
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  // Sets or moves the deadline. The timer is idle again when its function runs.
  void arm(Timer& timer, base::Instant when);
  void disarm(Timer& timer);
  size_t size() const { return heap_.size(); }
  const base::Clock& clock() const { return clock_; }
  // Runs what is due; called by the Asio timer, and by tests with their own clock.
  void run_due();
  // Drops all timers and the Asio wait.
  void stop();

 private:
  void sift_up(size_t slot);
  void sift_down(size_t slot);
  void place(Timer* timer, size_t slot);
  void schedule();

  const base::Clock& clock_;
  asio::steady_timer wait_;
  base::Instant scheduled_for_ = base::Instant::max();
  std::vector<Timer*> heap_;
};

}  // namespace net
