#include "cli/benchmark/report.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "base/log.h"
#include "cli/text.h"

namespace cli::benchmark {
namespace {

constexpr size_t kReserveMax = 16 << 20;  // results; more find room as they come
constexpr int kBuckets = 10;              // and one for the slowest
constexpr uint64_t kBarCells = 40;
constexpr std::array<double, 8> kPercentiles = {10, 25, 50, 75, 90, 95, 99, 99.9};

// The first value at or above each percentile of sorted values; 0 where there are too few.
std::array<double, kPercentiles.size()> pick_percentiles(const std::vector<int64_t>& sorted_ns) {
  std::array<double, kPercentiles.size()> picked{};
  size_t next = 0;
  for (size_t i = 0; i < sorted_ns.size() && next < picked.size(); ++i) {
    const double reached = static_cast<double>(i) * 100.0 / static_cast<double>(sorted_ns.size());
    if (reached >= kPercentiles[next]) picked[next++] = static_cast<double>(sorted_ns[i]) / 1e9;
  }
  return picked;
}

// Milliseconds with four digits.
std::string perfdash_ms(double seconds) { return float_text(std::round(seconds * 1000 * 10000) / 10000); }

}  // namespace

Report::Report(ReportOptions options, size_t expected) : options_(options) {
  took_ns_.reserve(std::min(expected, kReserveMax));
}

void Report::add_to_second(int64_t second, base::Duration took) {
  Second& at = seconds_[second];
  at.min = at.count == 0 ? took : std::min(at.min, took);
  at.max = std::max(at.max, took);
  at.sum += took;
  ++at.count;
}

void Report::sort() {
  if (!sorted_) std::sort(took_ns_.begin(), took_ns_.end());
  sorted_ = true;
}

std::string Report::number(double value) const { return options_.precise ? float_text(value) : formatted("%4.4f", value); }

Report::Numbers Report::numbers(base::Duration total) {
  if (took_ns_.empty()) return {};
  sort();
  const double count = static_cast<double>(took_ns_.size());
  double sum = 0, squares = 0;
  for (size_t i = 0; i < took_ns_.size(); ++i) sum += at(i);
  for (size_t i = 0; i < took_ns_.size(); ++i) squares += (at(i) - sum / count) * (at(i) - sum / count);
  return {at(took_ns_.size() - 1), std::sqrt(squares / count), count / std::chrono::duration<double>(total).count()};
}

std::string Report::summary(double total) const {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < took_ns_.size(); ++i) sum += at(i);
  const double average = sum / static_cast<double>(took_ns_.size());
  for (size_t i = 0; i < took_ns_.size(); ++i) squares += (at(i) - average) * (at(i) - average);
  const double deviation = std::sqrt(squares / static_cast<double>(took_ns_.size()));
  const double slowest = at(took_ns_.size() - 1), fastest = at(0);
  return "\nSummary:\n  Total:\t" + seconds(total) + ".\n  Slowest:\t" + seconds(slowest) + ".\n  Fastest:\t" +
         seconds(fastest) + ".\n  Average:\t" + seconds(average) + ".\n  Stddev:\t" + seconds(deviation) +
         ".\n  Requests/sec:\t" + number(static_cast<double>(took_ns_.size()) / total) + "\n";
}

std::string Report::histogram() const {
  const double fastest = at(0), slowest = at(took_ns_.size() - 1);
  std::array<double, kBuckets + 1> limits{};
  std::array<uint64_t, kBuckets + 1> counts{};
  for (int i = 0; i < kBuckets; ++i) limits[static_cast<size_t>(i)] = fastest + (slowest - fastest) / kBuckets * i;
  limits[kBuckets] = slowest;
  size_t bucket = 0;
  for (size_t i = 0; i < took_ns_.size(); ++i) {
    while (bucket < kBuckets && at(i) > limits[bucket]) ++bucket;
    ++counts[bucket];
  }
  const uint64_t most = *std::max_element(counts.begin(), counts.end());
  std::string out = "\nResponse time histogram:\n";
  for (size_t i = 0; i < limits.size(); ++i) {
    out += "  " + number(limits[i]) + " [" + std::to_string(counts[i]) + "]\t|";
    for (uint64_t cell = counts[i] * kBarCells / most; cell > 0; --cell) out += "∎";
    out += "\n";
  }
  return out;
}

std::string Report::percentiles() const {
  std::string out = "\nLatency distribution:\n";
  const auto picked = pick_percentiles(took_ns_);
  for (size_t i = 0; i < picked.size(); ++i) {
    if (picked[i] > 0) out += "  " + float_text(kPercentiles[i]) + "% in " + seconds(picked[i]) + ".\n";
  }
  return out;
}

std::string Report::time_series() const {
  std::string out =
      "\nSample in one second (unix latency throughput):\n"
      "UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT\n";
  if (seconds_.empty()) return out;
  const int64_t last = seconds_.rbegin()->first;
  for (int64_t second = seconds_.begin()->first; second <= last; ++second) {
    const auto found = seconds_.find(second);
    const Second at = found == seconds_.end() ? Second{} : found->second;
    const int64_t average = at.count == 0 ? 0 : at.sum.count() / at.count;
    using base::log::duration_text;
    out += std::to_string(second) + "," + duration_text(at.min.count()) + "," + duration_text(average) + "," +
           duration_text(at.max.count()) + "," + std::to_string(at.count) + "\n";
  }
  return out;
}

std::string Report::text(base::Duration total) {
  sort();
  std::string out;
  if (!took_ns_.empty()) {
    out = summary(std::chrono::duration<double>(total).count()) + histogram() + percentiles();
    if (options_.sample) out += time_series() + "\n";
  }
  if (!errors_.empty()) out += "\nError distribution:\n";
  for (const auto& [text, count] : errors_) out += "  [" + std::to_string(count) + "]\t" + text + "\n";
  return out;
}

std::string Report::perfdash(std::string_view operation) {
  sort();
  const auto picked = pick_percentiles(took_ns_);
  std::string name(operation);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return "{\n  \"version\": \"v1\",\n  \"dataItems\": [\n    {\n      \"data\": {\n        \"Perc50\": " +
         perfdash_ms(picked[2]) + ",\n        \"Perc90\": " + perfdash_ms(picked[4]) +
         ",\n        \"Perc99\": " + perfdash_ms(picked[6]) +
         "\n      },\n      \"labels\": {\n        \"Operation\": \"" + name +
         "\"\n      },\n      \"unit\": \"ms\"\n    }\n  ]\n}";
}

}  // namespace cli::benchmark
