// Counters for the hot path and their page in Prometheus' text format 0.0.4, printed as Go's promhttp prints it.
// A value has one writing thread and is then a plain load and store; any thread may read it. Registry and families (creating
// children, expose()) belong to one thread, the core loop. A metric registers itself when it is made, so that a struct of them
// is the table of what exists; it must not outlive its registry. prometheus-cpp is not used: its histograms take a lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/verify.h"

namespace base::metrics {

inline constexpr size_t kChildrenMax = 4096;  // label sets of one family; more are counted in the last one made

class Counter {
 public:
  void add(uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  // For totals somebody else counts. REQUIRES: never smaller than before.
  void set_total(uint64_t total) { value_.store(total, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double delta) { set(value() + delta); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

using Buckets = std::shared_ptr<const std::vector<double>>;  // upper bounds, ascending, without +Inf
// start, start*factor, ...: `count` bounds.
Buckets exponential(double start, double factor, int count);

class Histogram {
 public:
  explicit Histogram(Buckets bounds);
  void observe(double value) { observe_many(value, 1); }
  void observe_many(double value, uint64_t times);
  void observe_ns(int64_t ns) { observe(static_cast<double>(ns) / 1e9); }
  uint64_t count() const;
  double sum() const { return sum_.load(std::memory_order_relaxed); }
  // Observations in bucket `i` alone; i == bounds().size() is +Inf.
  uint64_t bucket(size_t i) const { return counts_[i].load(std::memory_order_relaxed); }
  const std::vector<double>& bounds() const { return *bounds_; }

 private:
  Buckets bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> counts_;
  std::atomic<double> sum_{0};
};

class Registry;

// What stands under one # HELP.
class Metric {
 public:
  Metric(Registry& registry, std::string name, std::string help);
  virtual ~Metric();
  Metric(const Metric&) = delete;
  Metric& operator=(const Metric&) = delete;

  const std::string& name() const { return name_; }
  const std::string& help() const { return help_; }
  virtual std::string_view type() const = 0;
  // The sample lines; nothing: the metric is left out of the page.
  virtual void print(std::string& out) const = 0;

 private:
  Registry& registry_;
  const std::string name_, help_;
};

class Registry {
 public:
  // Runs before each expose(), to bring gauges up to date. Order of addition.
  void before_expose(std::function<void()> refresh) { refresh_.push_back(std::move(refresh)); }
  // The whole page, metrics sorted by name.
  std::string expose();
  std::vector<std::string> names() const;

 private:
  friend class Metric;
  std::map<std::string, Metric*, std::less<>> metrics_;
  std::vector<std::function<void()>> refresh_;
};

std::string_view type_name(const Counter&);
std::string_view type_name(const Gauge&);
std::string_view type_name(const Histogram&);
// `labels` is `a="x",b="y"` or empty.
void print_sample(std::string& out, std::string_view name, std::string_view labels, const Counter& counter);
void print_sample(std::string& out, std::string_view name, std::string_view labels, const Gauge& gauge);
void print_sample(std::string& out, std::string_view name, std::string_view labels, const Histogram& histogram);
// `value` as Go prints a float: 0.001, 1e+06, +Inf.
std::string number_text(double value);
// `name="value",...` sorted by name, values escaped.
std::string labels_text(const std::vector<std::string>& names, const std::vector<std::string>& values);

// One value under its own name: Single<Counter> requests{registry, "name", "help"}; a histogram takes its buckets last.
template <class Value>
class Single final : public Metric, public Value {
 public:
  template <class... Args>
  Single(Registry& registry, std::string name, std::string help, Args... args)
      : Metric(registry, std::move(name), std::move(help)), Value(std::move(args)...) {}
  std::string_view type() const override { return type_name(*this); }
  void print(std::string& out) const override { print_sample(out, name(), {}, *this); }
};

// One value for each set of label values.
template <class Value>
class Family final : public Metric {
 public:
  using Labels = std::vector<std::string>;
  Family(Registry& registry, std::string name, std::string help, Labels names)
      : Metric(registry, std::move(name), std::move(help)), names_(std::move(names)) {}
  Family(Registry& registry, std::string name, std::string help, Labels names, Buckets buckets)
      : Metric(registry, std::move(name), std::move(help)), names_(std::move(names)), buckets_(std::move(buckets)) {}

  // The value for these labels, made when new (0). Order as the names were given. The reference stays good until remove():
  // keep it where the hot path needs it. REQUIRES: as many values as names.
  Value& with(const Labels& values) {
    VERIFY(values.size() == names_.size());
    const std::string labels = labels_text(names_, values);
    auto found = children_.find(labels);
    if (found == children_.end()) {
      if (children_.size() >= kChildrenMax) return *children_.rbegin()->second;
      found = children_.emplace(labels, make()).first;
    }
    return *found->second;
  }
  void remove(const Labels& values) { children_.erase(labels_text(names_, values)); }
  void clear() { children_.clear(); }
  size_t size() const { return children_.size(); }

  std::string_view type() const override { return type_name_of(); }
  void print(std::string& out) const override {
    for (const auto& [labels, value] : children_) print_sample(out, name(), labels, *value);
  }

 private:
  std::unique_ptr<Value> make() const {
    if constexpr (requires { Value(Buckets()); }) {
      return std::make_unique<Value>(buckets_);
    } else {
      return std::make_unique<Value>();
    }
  }
  static std::string_view type_name_of() {
    if constexpr (std::is_same_v<Value, Counter>) return "counter";
    else if constexpr (std::is_same_v<Value, Gauge>) return "gauge";
    else return "histogram";
  }

  const Labels names_;
  const Buckets buckets_;
  std::map<std::string, std::unique_ptr<Value>> children_;
};

}  // namespace base::metrics
