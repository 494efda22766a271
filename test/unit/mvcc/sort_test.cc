// The order of equals, held to what Go's sort.Sort makes of the same items: the numbers come from a Go program.
#include "mvcc/sort_as_go.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/rng.h"

namespace {

struct Item {
  uint32_t key;
  uint32_t place;
};

// Shapes that take every path: few different keys, saws, runs up and down, nearly sorted, noise.
uint32_t key(int kind, uint32_t i, uint32_t n) {
  switch (kind) {
    case 0:
      return (i * 2654435761u >> 7) % 5;
    case 1:
      return i % 7;
    case 2:
      return (n - i) / 3;
    case 3:
      return i < n / 2 ? i / 2 : (n - i) / 2;
    case 4:
      return i % 37 == 0 ? n - i : i;
    case 5:
      return ((i ^ i >> 3) * 40503u >> 8) % 64;
    default:
      return (i * i % 1009) & i;
  }
}

}  // namespace

TEST_CASE("sort as Go: equals come out in Go's order") {
  struct Row {
    int kind;
    uint32_t n;
    bool reverse;
    uint32_t hash;  // FNV-1 of the places
  };
  for (const Row& row : {Row{0, 12, false, 0x6106631f}, Row{0, 12, true, 0xa0d3f6cd},    Row{0, 13, false, 0xa3d7f8b1},
                         Row{0, 13, true, 0xd215058b},  Row{0, 49, false, 0xd4541fc7},   Row{0, 49, true, 0xaae8c203},
                         Row{0, 50, false, 0xf1ed6000}, Row{0, 50, true, 0xd14ba004},    Row{0, 300, false, 0xb0ff0303},
                         Row{0, 300, true, 0x6d0a21fb}, Row{0, 5000, false, 0x638054af}, Row{0, 5000, true, 0x5ba95dfd},
                         Row{1, 12, false, 0xdf0a5897}, Row{1, 12, true, 0xb53010bd},    Row{1, 13, false, 0xb17a2e4b},
                         Row{1, 13, true, 0xa8b2dfef},  Row{1, 49, false, 0xf0bb5ad1},   Row{1, 49, true, 0x9984974f},
                         Row{1, 50, false, 0xbd4a5f3a}, Row{1, 50, true, 0xcb94483a},    Row{1, 300, false, 0x4c804f2f},
                         Row{1, 300, true, 0x2d8c8d6b}, Row{1, 5000, false, 0xf28695e3}, Row{1, 5000, true, 0x2277203d},
                         Row{2, 12, false, 0x7c5775cf}, Row{2, 12, true, 0x4a509959},    Row{2, 13, false, 0x99825a79},
                         Row{2, 13, true, 0x51e160cf},  Row{2, 49, false, 0xca95255f},   Row{2, 49, true, 0x1f6c285f},
                         Row{2, 50, false, 0xc26f5f84}, Row{2, 50, true, 0xe543a52a},    Row{2, 300, false, 0xa40876f3},
                         Row{2, 300, true, 0xbee701f9}, Row{2, 5000, false, 0xdf0e9035}, Row{2, 5000, true, 0x8c7ca59d},
                         Row{3, 12, false, 0xebd748a3}, Row{3, 12, true, 0xd905877b},    Row{3, 13, false, 0x29db9c8d},
                         Row{3, 13, true, 0xd1c5d357},  Row{3, 49, false, 0xdbc7a87d},   Row{3, 49, true, 0x7f8658d7},
                         Row{3, 50, false, 0x09aa47d0}, Row{3, 50, true, 0xa8954b1e},    Row{3, 300, false, 0xaa0e1143},
                         Row{3, 300, true, 0x3791fef3}, Row{3, 5000, false, 0x1ed9cecf}, Row{3, 5000, true, 0xe995c455},
                         Row{4, 12, false, 0x591d80e1}, Row{4, 12, true, 0x34c2b941},    Row{4, 13, false, 0x9267f88f},
                         Row{4, 13, true, 0x57dd018f},  Row{4, 49, false, 0x1734435f},   Row{4, 49, true, 0x296edaef},
                         Row{4, 50, false, 0xe0ba87d4}, Row{4, 50, true, 0xba67ea02},    Row{4, 300, false, 0x863053b5},
                         Row{4, 300, true, 0xdf8b5c71}, Row{4, 5000, false, 0x0cad85d1}, Row{4, 5000, true, 0xbae68181},
                         Row{5, 12, false, 0x921b7ab3}, Row{5, 12, true, 0x523d3633},    Row{5, 13, false, 0xdbb2a941},
                         Row{5, 13, true, 0x717a0f35},  Row{5, 49, false, 0x53d94907},   Row{5, 49, true, 0xa987be8f},
                         Row{5, 50, false, 0x99373a56}, Row{5, 50, true, 0x47262962},    Row{5, 300, false, 0xb611ffdb},
                         Row{5, 300, true, 0x6fb459a5}, Row{5, 5000, false, 0x34535777}, Row{5, 5000, true, 0xbd3f5be7},
                         Row{6, 12, false, 0x8530c209}, Row{6, 12, true, 0xb8bcff79},    Row{6, 13, false, 0xc2caedcf},
                         Row{6, 13, true, 0x7b10071f},  Row{6, 49, false, 0xade06ea3},   Row{6, 49, true, 0x846d0af9},
                         Row{6, 50, false, 0x75d0dcc0}, Row{6, 50, true, 0xb1ae2718},    Row{6, 300, false, 0x85e46059},
                         Row{6, 300, true, 0xc5253a3f}, Row{6, 5000, false, 0x01754f73}, Row{6, 5000, true, 0xcfa9dd69}}) {
    CAPTURE(row.kind);
    CAPTURE(row.n);
    CAPTURE(row.reverse);
    std::vector<Item> items;
    for (uint32_t i = 0; i < row.n; ++i) items.push_back({key(row.kind, i, row.n), i});
    if (row.reverse) {
      mvcc::sort_as_go(items, [](const Item& a, const Item& b) { return b.key < a.key; });
    } else {
      mvcc::sort_as_go(items, [](const Item& a, const Item& b) { return a.key < b.key; });
    }
    uint32_t hash = 2166136261;
    for (const Item& item : items) hash = (hash ^ item.place) * 16777619;
    CHECK(hash == row.hash);
  }
}

TEST_CASE("sort as Go: sorts, and survives comparisons that contradict each other") {
  base::Rng rng(5);
  for (int round = 0; round < 300; ++round) {
    std::vector<uint64_t> items(rng.below(400));
    for (uint64_t& item : items) item = rng.below(1 + rng.below(1000));
    std::vector<uint64_t> expected = items;
    std::sort(expected.begin(), expected.end());
    std::vector<uint64_t> sorted = items;
    mvcc::sort_as_go(sorted, [](uint64_t a, uint64_t b) { return a < b; });
    CHECK(sorted == expected);
    mvcc::sort_as_go(items, [&rng](uint64_t, uint64_t) { return rng.one_in(2); });
    std::sort(items.begin(), items.end());
    CHECK(items == expected);
  }
}
