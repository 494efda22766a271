// One line that shows how far a run is: `521 / 2000 [------->____] 26.05% 2803 p/s`. Told the time; drawn on a terminal as it
// changes, elsewhere only once, at the end.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include "base/clock.h"

namespace cli::benchmark {

inline constexpr base::Duration kRedrawInterval = std::chrono::milliseconds(200);

// The line, `width` columns wide at most; `elapsed` for the speed.
std::string progress_line(uint64_t done, uint64_t total, base::Duration elapsed, size_t width);

class ProgressBar {
 public:
  // Draws on `out`, which is standard error.
  ProgressBar(std::ostream& out, uint64_t total);
  // At most as often as kRedrawInterval would have it: the caller has the timer.
  void draw(uint64_t done, base::Duration elapsed);
  void finish(uint64_t done, base::Duration elapsed);

 private:
  std::ostream& out_;
  uint64_t total_;
  bool is_terminal_;
  size_t width_;
};

}  // namespace cli::benchmark
