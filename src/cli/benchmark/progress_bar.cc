#include "cli/benchmark/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <ostream>

#include "cli/text.h"

namespace cli::benchmark {
namespace {

constexpr size_t kWidthUnknown = 100;
constexpr size_t kCellsMin = 3;

size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kWidthUnknown;
}

}  // namespace

std::string progress_line(uint64_t done, uint64_t total, base::Duration elapsed, size_t width) {
  const double share = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
  const double seconds = std::chrono::duration<double>(elapsed).count();
  const std::string left = std::to_string(done) + " / " + std::to_string(total) + " ";
  const std::string speed = seconds > 0 ? formatted("%.0f p/s", static_cast<double>(done) / seconds) : "? p/s";
  const std::string right = formatted(" %.2f%% ", share * 100) + speed;
  const size_t used = left.size() + right.size() + 2;
  const size_t cells = width > used + kCellsMin ? width - used : kCellsMin;
  const size_t full = std::min(cells, static_cast<size_t>(share * static_cast<double>(cells)));
  std::string bar(full, '-');
  if (full < cells) bar += ">" + std::string(cells - full - 1, '_');
  return left + "[" + bar + "]" + right;
}

ProgressBar::ProgressBar(std::ostream& out, uint64_t total)
    : out_(out), total_(total), is_terminal_(::isatty(STDERR_FILENO) == 1), width_(terminal_width()) {}

void ProgressBar::draw(uint64_t done, base::Duration elapsed) {
  if (is_terminal_) out_ << "\r\x1b[K" << progress_line(done, total_, elapsed, width_) << std::flush;
}

void ProgressBar::finish(uint64_t done, base::Duration elapsed) {
  if (is_terminal_) out_ << "\r\x1b[K";
  out_ << progress_line(done, total_, elapsed, width_) << "\n" << std::flush;
}

}  // namespace cli::benchmark
