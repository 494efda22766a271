#include "mvcc/range_map.h"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>

using mvcc::RangeKey;
using Map = mvcc::RangeMap<int>;

TEST_CASE("range map: the same entries as a list that is searched, over random insertions and removals") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    base::Rng rng(seed);
    Map map(seed);
    std::map<std::pair<std::string, std::string>, Map::Entry*> model;
    const auto random_key = [&] {
      std::string key(1, static_cast<char>('a' + rng.below(4)));
      for (uint64_t n = rng.below(3); n > 0; --n) key += static_cast<char>('a' + rng.below(4));
      return key;
    };
    for (int i = 0; i < 2000; ++i) {
      if (rng.below(5) < 3) {
        std::string begin = random_key(), end;
        if (rng.one_in(2)) end = rng.one_in(6) ? std::string("\0", 1) : random_key();
        if (!end.empty() && end[0] != '\0' && end <= begin) continue;
        Map::Entry& entry = map.find_or_make({begin, end});
        const auto [known, fresh] = model.try_emplace({begin, end}, &entry);
        CHECK(known->second == &entry);
        CHECK((entry.range() == RangeKey{begin, end}));
      } else if (!model.empty()) {
        auto at = model.begin();
        std::advance(at, static_cast<long>(rng.below(model.size())));
        map.erase(*at->second);
        model.erase(at);
      }
      CHECK(map.size() == model.size());
      if (i % 50 == 0) map.verify_for_test();
      const std::string key = random_key();
      std::set<Map::Entry*> hits, expected;
      map.visit(key, [&](Map::Entry& entry) { CHECK(hits.insert(&entry).second); });
      for (const auto& [range, entry] : model) {
        if (RangeKey{range.first, range.second}.contains(key)) expected.insert(entry);
      }
      CHECK(hits == expected);
    }
  }
}
