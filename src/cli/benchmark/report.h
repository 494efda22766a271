// What a load run tells about itself: summary, histogram, percentiles, errors, and per second if wanted. The layout is that of
// etcd's benchmark. Pure: told the times. Source of behaviour: etcd pkg/report.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace cli::benchmark {

struct ReportOptions {
  bool precise = false;  // all digits
  bool sample = false;   // a line a second
};

class Report {
 public:
  // `expected`: how many results to make room for.
  Report(ReportOptions options, size_t expected);

  // One answer. `began`: nanoseconds since 1970, for the line of its second. Cost: an append.
  void add(int64_t began_unix_ns, base::Duration took) {
    took_ns_.push_back(took.count());
    if (options_.sample) add_to_second(began_unix_ns / 1'000'000'000, took);
  }
  void add_error(std::string text) { ++errors_[std::move(text)]; }

  // What went wrong, and how often.
  const std::map<std::string, uint64_t>& errors() const { return errors_; }
  // Numbers of a run that took `total`; all 0 when nothing was added.
  struct Numbers {
    double slowest = 0, stddev = 0, per_second = 0;
  };
  Numbers numbers(base::Duration total);

  // The report; the whole run took `total`. Sorts what was added.
  std::string text(base::Duration total);
  // As {"version":"v1",...} for perfdash, under the name `operation`.
  std::string perfdash(std::string_view operation);

 private:
  struct Second {
    base::Duration min{0}, max{0}, sum{0};
    int64_t count = 0;
  };
  void add_to_second(int64_t second, base::Duration took);
  void sort();
  std::string number(double value) const;
  std::string seconds(double value) const { return number(value) + " secs"; }
  std::string summary(double total) const;
  std::string histogram() const;
  std::string percentiles() const;
  std::string time_series() const;
  double at(size_t index) const { return static_cast<double>(took_ns_[index]) / 1e9; }

  ReportOptions options_;
  std::vector<int64_t> took_ns_;
  bool sorted_ = false;
  std::map<std::string, uint64_t> errors_;
  std::map<int64_t, Second> seconds_;
};

}  // namespace cli::benchmark
