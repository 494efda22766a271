// Work that is no closed loop of clients: a count to reach, a bar on standard error, the time it took. Owner: the loop given.
#pragma once

#include <asio.hpp>
#include <cstdint>

#include "base/clock.h"
#include "base/status.h"
#include "cli/benchmark/progress_bar.h"
#include "cli/command.h"

namespace cli::benchmark {

class Phase {
 public:
  // Begins now. `total` 0 is reached at once.
  Phase(asio::io_context& loop, const base::Clock& clock, Terminal& terminal, uint64_t total);
  // Takes the timer off the loop.
  ~Phase() { timer_.cancel(); }
  Phase(const Phase&) = delete;
  Phase& operator=(const Phase&) = delete;

  // `count` more are done.
  void add(uint64_t count) { done_ += count; }
  bool reached() const { return done_ >= total_; }
  // Ends the phase: run() returns this error. The first one counts.
  void give_up(base::Status why) {
    if (failure_.ok()) failure_ = std::move(why);
  }
  const base::Status& failure() const { return failure_; }
  // Runs the loop until the count is reached or somebody gives up; then the bar shows how far it came.
  base::Status run();
  base::Duration elapsed() const { return elapsed_; }

 private:
  void redraw();

  asio::io_context& loop_;
  const base::Clock& clock_;
  const base::Instant began_;
  const uint64_t total_;
  uint64_t done_ = 0;
  base::Duration elapsed_{0};
  base::Status failure_;
  asio::steady_timer timer_;
  ProgressBar bar_;
};

}  // namespace cli::benchmark
