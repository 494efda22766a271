#include "base/metrics.h"

#include <doctest/doctest.h>

#include <limits>

#include "base/process_metrics.h"

using namespace base::metrics;  // NOLINT: the whole test is about it

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}  // namespace

TEST_CASE("metrics: numbers as Go prints them") {
  struct Row {
    double value;
    const char* text;
  };
  for (const Row& row : {Row{0, "0"}, Row{1, "1"}, Row{-1, "-1"}, Row{0.001, "0.001"}, Row{8.192, "8.192"}, Row{24576, "24576"},
                         Row{999999, "999999"}, Row{1e6, "1e+06"}, Row{5075536, "5.075536e+06"},
                         Row{1.048576e6, "1.048576e+06"},
                         Row{2147483648.0, "2.147483648e+09"}, Row{0.0001, "0.0001"}, Row{0.00001, "1e-05"},
                         Row{5.8688e-05, "5.8688e-05"}, Row{1.79536668928e9, "1.79536668928e+09"},
                         Row{1.8446744073709552e19, "1.8446744073709552e+19"}, Row{kInfinity, "+Inf"}, Row{-kInfinity, "-Inf"},
                         Row{0.1 + 0.2, "0.30000000000000004"}, Row{1e300, "1e+300"}}) {
    CHECK(number_text(row.value) == row.text);
  }
  CHECK(number_text(std::numeric_limits<double>::quiet_NaN()) == "NaN");
}

TEST_CASE("metrics: the page is sorted and complete") {
  Registry registry;
  Single<Gauge> gauge(registry, "b_gauge", "Help with \\ and\nnewline.");
  Single<Counter> counter(registry, "a_total", "A.");
  Single<Histogram> histogram(registry, "c_seconds", "C.", exponential(0.001, 2, 3));
  Family<Counter> none(registry, "d_total", "Not printed without children.", {"x"});
  Family<Counter> family(registry, "e_total", "E.", {"z", "a"});
  gauge.set(-2.5);
  counter.add();
  counter.add(41);
  histogram.observe(0.001);  // a bound belongs to its bucket
  histogram.observe(0.0015);
  histogram.observe(7);
  family.with({"2", "x\"y\\z\n"}).add(3);
  family.with({"1", "b"}).add();
  CHECK(registry.expose() == R"(# HELP a_total A.
# TYPE a_total counter
a_total 42
# HELP b_gauge Help with \\ and\nnewline.
# TYPE b_gauge gauge
b_gauge -2.5
# HELP c_seconds C.
# TYPE c_seconds histogram
c_seconds_bucket{le="0.001"} 1
c_seconds_bucket{le="0.002"} 2
c_seconds_bucket{le="0.004"} 2
c_seconds_bucket{le="+Inf"} 3
c_seconds_sum 7.0025
c_seconds_count 3
# HELP e_total E.
# TYPE e_total counter
e_total{a="b",z="1"} 1
e_total{a="x\"y\\z\n",z="2"} 3
)");
}

TEST_CASE("metrics: families keep their children, and not too many") {
  Registry registry;
  Family<Histogram> histograms(registry, "h", "H.", {"op"}, exponential(1, 10, 2));
  Histogram& put = histograms.with({"put"});
  put.observe_ns(5000000000);
  CHECK(&histograms.with({"put"}) == &put);
  CHECK(put.count() == 1);
  CHECK(put.sum() == 5);
  CHECK(registry.expose().find("h_bucket{op=\"put\",le=\"10\"} 1\n") != std::string::npos);
  histograms.remove({"put"});
  CHECK(registry.expose().empty());
  Family<Counter> many(registry, "m", "M.", {"n"});
  for (size_t i = 0; i < kChildrenMax + 100; ++i) many.with({std::to_string(i)}).add();
  CHECK(many.size() == kChildrenMax);
}

TEST_CASE("metrics: refreshed before each page, gone with their owner") {
  Registry registry;
  int calls = 0;
  registry.before_expose([&] { ++calls; });
  {
    const Single<Counter> counter(registry, "x", "X.");
    CHECK(registry.names() == std::vector<std::string>{"x"});
  }
  CHECK(registry.expose().empty());
  CHECK(calls == 1);
}

TEST_CASE("metrics: the process's own figures") {
  const ProcessFigures now = read_process_figures();
  CHECK(now.resident_bytes > 100000);
  CHECK(now.virtual_bytes > now.resident_bytes);
  CHECK(now.open_fds >= 3);
  CHECK(now.max_fds > now.open_fds);
  CHECK(now.threads >= 1);
  CHECK(now.start_time_seconds > 1.6e9);
  CHECK(now.heap_used_bytes > 0);
  Registry registry;
  const ProcessMetrics process(registry);
  const std::string page = registry.expose();
  CHECK(page.find("\n# TYPE process_cpu_seconds_total counter\n") != std::string::npos);
  CHECK(page.find("\nprocess_resident_memory_bytes ") != std::string::npos);
  CHECK(page.find("\ngo_threads ") != std::string::npos);
}
