// Slices cover what has bytes, once, in order, and none is larger than asked unless its rows cannot be told apart.
#include "storage/slices.h"

#include <doctest/doctest.h>

#include "base/bytes.h"
#include "storage/memory_engine.h"

using storage::MemoryEngine;
using storage::Slices;
using storage::WriteBatch;

namespace {

std::string row(uint64_t main) {
  std::string key = "f";
  base::append_be64(key, main);
  return key + "_";
}

std::vector<Slices::Range> all(const MemoryEngine& engine, uint64_t bytes_max) {
  Slices slices(engine, bytes_max);
  std::vector<Slices::Range> ranges;
  while (auto range = slices.next()) ranges.push_back(*range);
  return ranges;
}

}  // namespace

TEST_CASE("slices: nothing of an empty engine, one range of a small one") {
  MemoryEngine engine;
  CHECK(all(engine, 100).empty());
  WriteBatch batch;
  batch.put("a", "1");
  batch.put("j", "2");
  REQUIRE(engine.write(batch, true).ok());
  const auto ranges = all(engine, 100);
  REQUIRE(ranges.size() == 1);
  CHECK(ranges[0].begin <= "a");
  CHECK(ranges[0].limit > "j");
}

TEST_CASE("slices: a store of many revisions is cut into neighbouring pieces of the size asked for") {
  MemoryEngine engine;
  WriteBatch batch;
  uint64_t bytes = 0;
  for (uint64_t main = 2; main < 5000; ++main) {
    const std::string value(main % 300, 'v');
    batch.put(row(main), value);
  }
  batch.put("jterm", "12345678");
  REQUIRE(engine.write(batch, true).ok());
  const uint64_t total = engine.range_bytes("", "\xff");
  const uint64_t bytes_max = 20'000;
  const auto ranges = all(engine, bytes_max);
  CHECK(ranges.size() >= total / bytes_max);
  CHECK(ranges.size() <= 4 * total / bytes_max);
  for (size_t i = 0; i < ranges.size(); ++i) {
    CHECK(ranges[i].begin < ranges[i].limit);
    if (i > 0) CHECK(ranges[i - 1].limit <= ranges[i].begin);
    const uint64_t piece = engine.range_bytes(ranges[i].begin, ranges[i].limit);
    CHECK(piece > 0);
    CHECK(piece <= bytes_max);
    bytes += piece;
  }
  CHECK(bytes == total);
}

TEST_CASE("slices: rows that share their first bytes stay together") {
  MemoryEngine engine;
  WriteBatch batch;
  for (int i = 0; i < 100; ++i) batch.put("dsome-long-name-" + std::to_string(i), std::string(100, 'v'));
  REQUIRE(engine.write(batch, true).ok());
  CHECK(all(engine, 1000).size() == 1);
}

TEST_CASE("slices: names of any bytes are covered") {
  MemoryEngine engine;
  WriteBatch batch;
  batch.put(std::string("c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11), "v");
  batch.put(std::string("d\0", 2), "v");
  batch.put("j\xff\xff\xff\xff\xff\xff\xff\xff", "v");
  REQUIRE(engine.write(batch, true).ok());
  uint64_t bytes = 0;
  for (const Slices::Range& range : all(engine, 1)) bytes += engine.range_bytes(range.begin, range.limit);
  CHECK(bytes == engine.range_bytes("", "\xff"));
}
