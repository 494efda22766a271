#include "mvcc/key_intervals.h"

#include <iterator>

namespace mvcc {

void KeyIntervals::add(std::string_view begin, std::string_view end) {
  if (!end.empty() && end <= begin) return;
  const auto reaches = [](std::string_view interval_end, std::string_view to) {
    return interval_end.empty() || interval_end >= to;
  };
  auto at = ends_.lower_bound(begin);
  if (at != ends_.begin() && reaches(std::prev(at)->second, begin)) {
    --at;
    begin = at->first;
  }
  while (at != ends_.end() && (end.empty() || at->first <= end)) {
    if (!end.empty() && reaches(at->second, end)) end = at->second;
    at = ends_.erase(at);
  }
  ends_.emplace(begin, end);
}

void KeyIntervals::add_key(std::string_view key) {
  std::string& end = made_->emplace_back(key);
  end += '\0';
  add(key, end);
}

void KeyIntervals::add_all(KeyIntervals other) {
  if (other.size() > size()) std::swap(ends_, other.ends_);
  for (const auto& [begin, end] : other.ends_) add(begin, end);
}

bool KeyIntervals::contains(std::string_view key) const {
  auto at = ends_.upper_bound(key);
  if (at == ends_.begin()) return false;
  --at;
  return at->second.empty() || key < at->second;
}

}  // namespace mvcc
