// The B+ tree against a sorted map: order, counts, sizes, cursors, and its own invariants.
#include "mvcc/key_index.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

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
