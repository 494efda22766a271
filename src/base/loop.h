// Where code runs and when: the seam between the pure shells and threads. The real ones stand on Asio (net/asio_loop.h); the
// simulator runs whole clusters on one virtual one. A Loop is one thread's run queue; a Worker is a thread that does one
// blocking piece of work after the other and reports back to a loop.
#pragma once

#include <cstdint>
#include <functional>

#include "base/clock.h"

namespace base {

using TimerId = uint64_t;  // never 0
inline constexpr TimerId kNoTimer = 0;

class Loop {
 public:
  virtual ~Loop() = default;
  // Runs `task` on this loop soon, after what is already queued. Any thread.
  virtual void post(std::function<void()> task) = 0;
  // Runs `task` on this loop not before `when`. From this loop's thread.
  virtual TimerId at(Instant when, std::function<void()> task) = 0;
  // No effect on a timer that has run. From this loop's thread.
  virtual void cancel(TimerId id) = 0;
  virtual const Clock& clock() const = 0;

  TimerId after(Duration delay, std::function<void()> task) { return at(clock().now() + delay, std::move(task)); }
};

class Worker {
 public:
  virtual ~Worker() = default;
  // Runs `work` on the worker's thread, in order of submission, then `done` on the loop the worker was made with.
  // From that loop's thread. The caller bounds how much it has under way.
  virtual void submit(std::function<void()> work, std::function<void()> done) = 0;
};

}  // namespace base
