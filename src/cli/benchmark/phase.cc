#include "cli/benchmark/phase.h"

#include <algorithm>

namespace cli::benchmark {

Phase::Phase(asio::io_context& loop, const base::Clock& clock, Terminal& terminal, uint64_t total)
    : loop_(loop), clock_(clock), began_(clock.now()), total_(total), timer_(loop), bar_(terminal.err, total) {
  redraw();
}

void Phase::redraw() {
  bar_.draw(std::min(done_, total_), clock_.now() - began_);
  timer_.expires_after(kRedrawInterval);
  timer_.async_wait([this](const std::error_code& error) {
    if (!error) redraw();
  });
}

base::Status Phase::run() {
  while (!reached() && failure_.ok()) {
    if (loop_.stopped()) loop_.restart();
    loop_.run_one();
  }
  elapsed_ = clock_.now() - began_;
  timer_.cancel();
  bar_.finish(std::min(done_, total_), elapsed_);
  return failure_;
}

}  // namespace cli::benchmark
