#include "base/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace base::metrics {
namespace {

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') out += "\\\\";
    else if (c == '\n') out += "\\n";
    else if (c == '"' && quotes) out += "\\\"";
    else out += c;
  }
}

void append_sample(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels, double value) {
  out += name;
  out += suffix;
  if (!labels.empty()) {
    out += '{';
    out += labels;
    out += '}';
  }
  out += ' ';
  out += number_text(value);
  out += '\n';
}

}  // namespace

Buckets exponential(double start, double factor, int count) {
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i, start *= factor) bounds.push_back(start);
  return std::make_shared<const std::vector<double>>(std::move(bounds));
}

Histogram::Histogram(Buckets bounds) : bounds_(std::move(bounds)) {
  VERIFY(bounds_ != nullptr);
  counts_ = std::make_unique<std::atomic<uint64_t>[]>(bounds_->size() + 1);
}

void Histogram::observe_many(double value, uint64_t times) {
  const size_t i = static_cast<size_t>(std::lower_bound(bounds_->begin(), bounds_->end(), value) - bounds_->begin());
  counts_[i].store(counts_[i].load(std::memory_order_relaxed) + times, std::memory_order_relaxed);
  sum_.store(sum_.load(std::memory_order_relaxed) + value * static_cast<double>(times), std::memory_order_relaxed);
}

uint64_t Histogram::count() const {
  uint64_t total = 0;
  for (size_t i = 0; i <= bounds_->size(); ++i) total += bucket(i);
  return total;
}

Metric::Metric(Registry& registry, std::string name, std::string help)
    : registry_(registry), name_(std::move(name)), help_(std::move(help)) {
  const bool is_new = registry_.metrics_.emplace(name_, this).second;
  VERIFY(is_new);
}

Metric::~Metric() { registry_.metrics_.erase(name_); }

std::string Registry::expose() {
  for (const auto& refresh : refresh_) refresh();
  std::string page;
  for (const auto& [name, metric] : metrics_) {
    const size_t before = page.size();
    page += "# HELP " + name + " ";
    append_escaped(page, metric->help(), false);
    page += "\n# TYPE " + name + " ";
    page += metric->type();
    page += '\n';
    const size_t head = page.size();
    metric->print(page);
    if (page.size() == head) page.resize(before);
  }
  return page;
}

std::vector<std::string> Registry::names() const {
  std::vector<std::string> out;
  for (const auto& [name, metric] : metrics_) out.push_back(name);
  return out;
}

std::string_view type_name(const Counter&) { return "counter"; }
std::string_view type_name(const Gauge&) { return "gauge"; }
std::string_view type_name(const Histogram&) { return "histogram"; }

void print_sample(std::string& out, std::string_view name, std::string_view labels, const Counter& counter) {
  append_sample(out, name, {}, labels, static_cast<double>(counter.value()));
}

void print_sample(std::string& out, std::string_view name, std::string_view labels, const Gauge& gauge) {
  append_sample(out, name, {}, labels, gauge.value());
}

void print_sample(std::string& out, std::string_view name, std::string_view labels, const Histogram& histogram) {
  // Counts first, from one pass: the last bucket and _count are then equal whatever the writer does meanwhile.
  uint64_t running = 0;
  const size_t bounds = histogram.bounds().size();
  for (size_t i = 0; i <= bounds; ++i) {
    running += histogram.bucket(i);
    std::string with_bound(labels);
    if (!with_bound.empty()) with_bound += ',';
    with_bound += "le=\"" + (i < bounds ? number_text(histogram.bounds()[i]) : std::string("+Inf")) + "\"";
    append_sample(out, name, "_bucket", with_bound, static_cast<double>(running));
  }
  append_sample(out, name, "_sum", labels, histogram.sum());
  append_sample(out, name, "_count", labels, static_cast<double>(running));
}

std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (value == 0) return std::signbit(value) ? "-0" : "0";
  char buffer[64];
  const auto scientific = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<size_t>(scientific.ptr - buffer));
  const size_t mark = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(mark + 1)).c_str());
  // As strconv's 'g' with the shortest digits decides (fmt's %v would allow 21 digits).
  if (exponent < -4 || exponent >= 6) return std::string(text);
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  return std::string(buffer, fixed.ptr);
}

std::string labels_text(const std::vector<std::string>& names, const std::vector<std::string>& values) {
  std::vector<size_t> order(names.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return names[a] < names[b]; });
  std::string out;
  for (const size_t i : order) {
    if (!out.empty()) out += ',';
    out += names[i] + "=\"";
    append_escaped(out, values[i], true);
    out += '"';
  }
  return out;
}

}  // namespace base::metrics
