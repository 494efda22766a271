// Time comes in through a constructor: the real clock here, a virtual one in the simulator.
#pragma once

#include <chrono>
#include <cstdint>

namespace base {

using Duration = std::chrono::nanoseconds;
// Monotonic: time since an arbitrary start; never jumps back.
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
  // Nanoseconds since 1970 (UTC): for ids, logs and certificates, never for deadlines.
  virtual int64_t unix_ns() const = 0;
};

class RealClock final : public Clock {
 public:
  Instant now() const override { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }
  int64_t unix_ns() const override {
    return std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
};

}  // namespace base
