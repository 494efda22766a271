// The B+ tree against a sorted map: order, counts, sizes, cursors, and its own invariants.
#include "mvcc/key_index.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "wire/codec.h"

using mvcc::KeyIndex;
using mvcc::KeyRecord;
using mvcc::Version;

namespace {

Version version(int64_t main, uint32_t size, bool tombstone = false) {
  Version v;
  v.main = main;
  v.size = size;
  v.tombstone = tombstone;
  return v;
}

struct Model {
  struct State {
    bool live;
    uint32_t size;
  };
  std::map<std::string, State> keys;

  KeyIndex::Totals before(const std::string& key) const {
    KeyIndex::Totals sum;
    for (auto at = keys.begin(); at != keys.end() && at->first < key; ++at) {
      if (!at->second.live) continue;
      ++sum.live;
      sum.bytes += wire::kv_field_size(at->second.size);
    }
    return sum;
  }
  KeyIndex::Totals first(uint64_t rank) const {
    KeyIndex::Totals sum;
    for (const auto& [key, state] : keys) {
      if (!state.live || sum.live == rank) continue;
      ++sum.live;
      sum.bytes += wire::kv_field_size(state.size);
    }
    return sum;
  }
};

std::string random_key(base::Rng& rng, uint64_t kinds) {
  switch (kinds % 4) {
    case 0:
      return std::to_string(rng.below(4000));
    case 1:
      return "/registry/pods/default/" + std::to_string(rng.below(4000));
    case 2: {  // long shared prefixes of different lengths
      std::string key(rng.below(40), 'p');
      return key + std::to_string(rng.below(300));
    }
    default: {  // zeros at the end, prefixes of each other, the empty key
      std::string key;
      for (uint64_t n = rng.below(12); n > 0; --n) key += "\0\1\xff"[rng.below(3)];
      return key;
    }
  }
}

void check_cursors(const KeyIndex& index, const Model& model, const std::string& key) {
  auto expected = model.keys.lower_bound(key);
  KeyIndex::Cursor at = index.lower_bound(key);
  for (int i = 0; i < 20 && expected != model.keys.end(); ++i, ++expected, at.next()) {
    REQUIRE(at.valid());
    REQUIRE(at.record().key() == expected->first);
  }
  if (expected == model.keys.end()) CHECK(!at.valid());
  expected = model.keys.lower_bound(key);
  at = index.last_below(key);
  for (int i = 0; i < 20 && expected != model.keys.begin(); ++i, at.previous()) {
    --expected;
    REQUIRE(at.valid());
    REQUIRE(at.record().key() == expected->first);
  }
  if (expected == model.keys.begin()) CHECK(!at.valid());
  at = index.lower_bound(key);
  if (!at.valid()) return;
  expected = model.keys.lower_bound(key);
  at.next_live();
  for (++expected; expected != model.keys.end() && !expected->second.live; ++expected) {
  }
  CHECK(at.valid() == (expected != model.keys.end()));
  if (at.valid()) CHECK(at.record().key() == expected->first);
}

}  // namespace

TEST_CASE("key index: agrees with a sorted map over random changes") {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    CAPTURE(seed);
    base::Rng rng(seed);
    KeyIndex index;
    Model model;
    int64_t main = 1;
    for (int step = 0; step < 12'000; ++step) {
      const std::string key = random_key(rng, seed);
      // Grows, then shrinks to nothing.
      const bool growing = step < 6000;
      const auto found = model.keys.find(key);
      REQUIRE((index.find(key) != nullptr) == (found != model.keys.end()));
      if (growing ? rng.below(10) < 7 : rng.below(10) < 1) {
        const uint32_t size = static_cast<uint32_t>(rng.below(300));
        index.put(index.find_or_make(key), version(++main, size));
        model.keys[key] = {true, size};
      } else if (found != model.keys.end() && found->second.live) {
        index.bury(*index.find(key), version(++main, 3, true));
        found->second.live = false;
      } else if (!model.keys.empty()) {
        auto victim = model.keys.lower_bound(key);
        if (victim == model.keys.end()) victim = model.keys.begin();
        index.erase(*index.find(victim->first));
        model.keys.erase(victim);
      }
      if (step % 500 == 0) index.verify_for_test();
      if (step % 50 == 0) {
        const std::string probe = random_key(rng, seed);
        CHECK(index.before(probe) == model.before(probe));
        CHECK(index.live_before(probe) == model.before(probe).live);
        const uint64_t rank = rng.below(index.live() + 2);
        CHECK(index.first(rank) == model.first(rank));
        check_cursors(index, model, probe);
      }
    }
    index.verify_for_test();
    CHECK(index.size() == model.keys.size());
    while (!model.keys.empty()) {
      const auto victim = rng.one_in(2) ? model.keys.begin() : std::prev(model.keys.end());
      index.erase(*index.find(victim->first));
      model.keys.erase(victim);
      if (model.keys.size() % 100 == 0) index.verify_for_test();
    }
    CHECK(index.size() == 0);
    CHECK(index.live() == 0);
    CHECK(!index.begin().valid());
    CHECK(!index.last().valid());
  }
}

TEST_CASE("key index: next_live jumps over many deleted keys") {
  KeyIndex index;
  int64_t main = 1;
  for (int i = 0; i < 5000; ++i) {
    const std::string key = std::to_string(10'000 + i);
    KeyRecord& record = index.find_or_make(key);
    index.put(record, version(++main, 10));
    if (i % 2500 != 0) index.bury(record, version(++main, 3, true));
  }
  KeyIndex::Cursor at = index.begin();
  CHECK(at.record().key() == "10000");
  at.next_live();
  REQUIRE(at.valid());
  CHECK(at.record().key() == "12500");
  at.next_live();
  CHECK(!at.valid());
  KeyIndex::Cursor dead = index.lower_bound("10001");
  dead.next_live();
  CHECK(dead.record().key() == "12500");
}

TEST_CASE("key index: keys in order fill their leaves") {
  KeyIndex index;
  for (int i = 0; i < 64 * 64 * 3; ++i) index.put(index.find_or_make(std::to_string(1'000'000 + i)), version(i + 2, 100));
  index.verify_for_test();
  CHECK(index.live() == 64 * 64 * 3);
  CHECK(index.before("1005000").live == 5000);
}

TEST_CASE("key index: a tree of three levels stays sound while it shrinks, whatever goes first") {
  constexpr int kKeys = 3 * KeyIndex::kFanout * KeyIndex::kFanout;
  const auto key_of = [](int i) { return std::to_string(1'000'000 + i); };
  for (const int order : {0, 1, 2, 3}) {
    CAPTURE(order);
    base::Rng rng(static_cast<uint64_t>(order));
    std::vector<int> keys(kKeys);
    for (int i = 0; i < kKeys; ++i) keys[static_cast<size_t>(i)] = i;
    const auto shuffle = [&](size_t from) {
      for (size_t i = keys.size(); i > from + 1; --i) std::swap(keys[i - 1], keys[from + rng.below(i - from)]);
    };
    shuffle(0);
    KeyIndex index;
    for (const int i : keys) index.put(index.find_or_make(key_of(i)), version(i + 2, 100));
    index.verify_for_test();
    std::sort(keys.begin(), keys.end());
    if (order == 1) std::reverse(keys.begin(), keys.end());
    if (order == 2) shuffle(0);
    if (order == 3) {  // A few are left in each leaf, then in each node above.
      const auto rest = std::stable_partition(keys.begin(), keys.end(), [](int i) { return i % 16 != 0; });
      shuffle(static_cast<size_t>(rest - keys.begin()));
    }
    for (size_t done = 0; done < keys.size(); ++done) {
      index.erase(*index.find(key_of(keys[done])));
      if (done % 1000 != 999) continue;
      index.verify_for_test();
      std::vector<int> left(keys.begin() + static_cast<ptrdiff_t>(done) + 1, keys.end());
      std::sort(left.begin(), left.end());
      CHECK(index.size() == left.size());
      KeyIndex::Cursor at = index.begin();
      bool same = true;
      for (const int i : left) {
        same = same && at.valid() && at.record().key() == key_of(i) && index.find(key_of(i)) == &at.record();
        if (at.valid()) at.next();
      }
      CHECK(same);
      CHECK_FALSE(at.valid());
    }
    CHECK(index.size() == 0);
  }
}

TEST_CASE("key index: after clear() and swap() nothing of what was there is left") {
  KeyIndex index, other;
  const auto fill = [](KeyIndex& to, int count, const char* prefix) {
    for (int i = 0; i < count; ++i) to.put(to.find_or_make(prefix + std::to_string(i)), version(i + 2, 7));
  };
  for (const int count : {1, 30, 5000}) {
    CAPTURE(count);
    fill(index, count, "a");
    index.clear();
    index.verify_for_test();
    CHECK(index.size() == 0);
    CHECK(index.live() == 0);
    CHECK(index.find("a0") == nullptr);
    CHECK_FALSE(index.begin().valid());
    CHECK(index.before("z") == KeyIndex::Totals());
    fill(index, 3, "b");
    fill(other, count, "c");
    index.swap(other);
    index.verify_for_test();
    other.verify_for_test();
    CHECK(index.size() == static_cast<size_t>(count));
    CHECK(other.find("b2") != nullptr);
    fill(index, 2, "d");
    fill(other, 2, "e");
    index.bury(*index.find("c0"), version(9999, 3, true));
    index.verify_for_test();
    other.verify_for_test();
    CHECK(index.live() == static_cast<uint64_t>(count) + 1);
    index.clear();
    other.clear();
  }
}
