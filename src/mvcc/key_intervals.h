// A set of keys made of half-open intervals, kept apart and in order; for the checks of transactions. Views must outlive it.
#pragma once

#include <absl/container/btree_map.h>

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

namespace mvcc {

class KeyIntervals {
 public:
  // `ends` holds the ends that no request holds; it outlives the set and may be shared.
  explicit KeyIntervals(std::deque<std::string>* ends) : made_(ends) {}

  // [begin, end); an empty `end` is no end. Nothing if end <= begin. O(log n) and what it swallows.
  void add(std::string_view begin, std::string_view end);
  void add_key(std::string_view key);
  void add_all(KeyIntervals other);
  bool contains(std::string_view key) const;
  bool empty() const { return ends_.empty(); }
  size_t size() const { return ends_.size(); }
  // Calls visit(begin, end) for each.
  template <class Visit>
  bool any_of(const Visit& visit) const {
    for (const auto& [begin, end] : ends_) {
      if (visit(begin, end)) return true;
    }
    return false;
  }

 private:
  absl::btree_map<std::string_view, std::string_view> ends_;
  std::deque<std::string>* made_;
};

}  // namespace mvcc
