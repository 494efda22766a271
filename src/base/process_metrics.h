// What Prometheus' process and Go collectors show, for a process without Go. Honest equivalents only: threads, and anonymous
// memory as the heap; nothing about garbage collection, goroutine scheduling or Go's own structures. Owner: core loop.
#pragma once

#include <cstdint>

#include "base/metrics.h"

namespace base::metrics {

// From /proc; everything zero where /proc is missing.
struct ProcessFigures {
  double cpu_seconds = 0, start_time_seconds = 0;
  uint64_t open_fds = 0, max_fds = 0, threads = 0;
  uint64_t resident_bytes = 0, virtual_bytes = 0, virtual_bytes_max = 0;
  uint64_t network_received_bytes = 0, network_sent_bytes = 0;
  uint64_t heap_used_bytes = 0, heap_free_bytes = 0, heap_mapped_bytes = 0;
};
ProcessFigures read_process_figures();

// A figure of another type than what it is kept as: process_cpu_seconds_total is a counter with a fraction.
class Computed final : public Metric {
 public:
  Computed(Registry& registry, std::string name, std::string help, std::string_view type)
      : Metric(registry, std::move(name), std::move(help)), type_(type) {}
  void set(double value) { value_.set(value); }
  std::string_view type() const override { return type_; }
  void print(std::string& out) const override { print_sample(out, name(), {}, value_); }

 private:
  const std::string_view type_;  // a literal
  Gauge value_;
};

// Read anew at each expose() of the registry, which must not outlive this.
class ProcessMetrics {
 public:
  explicit ProcessMetrics(Registry& registry);

 private:
  void refresh();

  Computed cpu_, start_, open_fds_, max_fds_, resident_, virtual_, virtual_max_, received_, sent_;
  Computed os_fd_used_, os_fd_limit_;
  Computed threads_, alloc_, heap_alloc_, heap_inuse_, heap_idle_, heap_sys_, sys_;
};

}  // namespace base::metrics
