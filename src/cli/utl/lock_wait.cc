#include "cli/utl/lock_wait.h"

#include <asio.hpp>
#include <memory>
#include <optional>

namespace cli::utl {

constexpr base::Duration kPause = std::chrono::milliseconds(50);

std::function<bool()> wait_for_lock(base::Duration limit) {
  return [limit, deadline = std::optional<std::chrono::steady_clock::time_point>()]() mutable {
    const auto now = std::chrono::steady_clock::now();
    if (!deadline.has_value()) deadline = now + limit;
    if (limit.count() > 0 && now >= *deadline) return false;
    asio::io_context loop;
    asio::steady_timer(loop, kPause).wait();
    return true;
  };
}

}  // namespace cli::utl
