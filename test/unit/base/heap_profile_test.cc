#include "base/heap_profile.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

namespace {

struct Sums {
  long long live = 0, live_bytes = 0, all = 0, all_bytes = 0;
};

Sums sums(const std::string& text) {
  Sums out;
  REQUIRE(std::sscanf(text.c_str(), "heap profile: %lld: %lld [%lld: %lld] @ heap_v2/524288", &out.live, &out.live_bytes,
                      &out.all, &out.all_bytes) == 4);
  return out;
}

constexpr int kPieces = 400;
constexpr size_t kPieceBytes = 1 << 20;  // of so big ones nearly all are sampled

std::vector<std::unique_ptr<char[]>> many() {
  std::vector<std::unique_ptr<char[]>> out;
  for (int i = 0; i < kPieces; ++i) out.emplace_back(new char[kPieceBytes]);
  return out;
}

}  // namespace

TEST_CASE("heap profile: what is in use, and what ever was, within what a sample can tell") {
  CHECK(base::heap_profile::text().empty());
  base::heap_profile::start();
  base::heap_profile::start();
  const Sums before = sums(base::heap_profile::text());
  {
    const auto held = many();
    const std::string text = base::heap_profile::text();
    const Sums now = sums(text);
    CHECK(now.live - before.live > kPieces / 2);
    CHECK(now.live_bytes - before.live_bytes > static_cast<long long>(kPieceBytes) * kPieces / 2);
    CHECK(text.find(" @ 0x") != std::string::npos);
  }
  const Sums after = sums(base::heap_profile::text());
  CHECK(after.live - before.live < kPieces / 10);
  CHECK(after.all - before.all > kPieces / 2);
}

TEST_CASE("heap profile: threads give and take each other's memory") {
  base::heap_profile::start();
  const Sums before = sums(base::heap_profile::text());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int k = 0; k < 5; ++k) {
        auto held = many();
        std::thread([&held] { held.clear(); }).join();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Sums after = sums(base::heap_profile::text());
  CHECK(after.live - before.live < kPieces / 10);
  CHECK(after.all > before.all);
}

#endif
