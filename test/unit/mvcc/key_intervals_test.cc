#include "mvcc/key_intervals.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"

using mvcc::KeyIntervals;

TEST_CASE("key intervals: the same keys as a list of all that was added; neighbours and overlaps become one") {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    base::Rng rng(seed);
    std::deque<std::string> texts, ends;
    const auto random_key = [&]() -> const std::string& {
      std::string key;
      for (uint64_t n = rng.below(3) + 1; n > 0; --n) key += static_cast<char>('a' + rng.below(4));
      return texts.emplace_back(key);
    };
    std::vector<std::pair<std::string, std::string>> model;
    KeyIntervals intervals(&ends);
    const auto add = [&](KeyIntervals& to) {
      const std::string& begin = random_key();
      if (rng.one_in(3)) {
        to.add_key(begin);
        return model.emplace_back(begin, begin + '\0');
      }
      const std::string& end = rng.one_in(20) ? texts.emplace_back() : random_key();
      to.add(begin, end);
      return model.emplace_back(begin, end);
    };
    for (int step = 0; step < 12; ++step) {
      if (rng.one_in(6)) {
        KeyIntervals others(&ends);
        for (uint64_t n = rng.below(15); n > 0; --n) add(others);
        intervals.add_all(std::move(others));
      } else {
        add(intervals);
      }
      for (int look = 0; look < 30; ++look) {
        std::string key = random_key();
        if (rng.one_in(4)) key += '\0';
        const bool held = std::any_of(model.begin(), model.end(), [&](const auto& range) {
          return range.first <= key && (range.second.empty() || key < range.second);
        });
        CAPTURE(key);
        CHECK(intervals.contains(key) == held);
      }
      std::optional<std::string> last_end;
      CHECK_FALSE(intervals.any_of([&](std::string_view begin, std::string_view end) {
        const bool bad = (!end.empty() && end <= begin) || (last_end && (last_end->empty() || begin <= *last_end));
        last_end = std::string(end);
        return bad;
      }));
    }
  }
}
