#include "lease/lessor.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

#include "base/rng.h"
#include "storage/backend.h"
#include "storage/keyspace.h"
#include "storage/memory_engine.h"

namespace {

using base::Code;
using base::Duration;
using base::Instant;
using base::LeaseId;
using namespace std::chrono_literals;

const Instant kStart{Duration(1'000'000'000'000)};

struct Fixture {
  storage::MemoryEngine engine;
  storage::Backend backend{engine};
  lease::Lessor lessor;
  explicit Fixture(lease::Options options = lease::Options()) : lessor(backend, options) {}
};

lease::Options with_checkpoints() {
  lease::Options options;
  options.checkpoints = true;
  return options;
}

}  // namespace

TEST_CASE("lease: what a grant is refused for, and the TTL it gives") {
  Fixture f;
  struct Row {
    const char* rule;
    int64_t id, ttl;
    Code code;
    int64_t granted;
  };
  for (const Row& row :
       {Row{"id 0 is no id", 0, 10, Code::kNotFound, 0}, Row{"a plain one", 1, 10, Code::kOk, 10},
        Row{"in use", 1, 10, Code::kFailedPrecondition, 0}, Row{"raised to the minimum", 2, 1, Code::kOk, 2},
        Row{"zero and below are raised too", 3, -5, Code::kOk, 2}, Row{"too large", 4, 9'000'000'001, Code::kOutOfRange, 0},
        Row{"the largest", 5, 9'000'000'000, Code::kOk, 9'000'000'000}}) {
    CAPTURE(row.rule);
    const auto granted = f.lessor.grant(LeaseId(row.id), row.ttl, kStart);
    CHECK(granted.status().code() == row.code);
    if (granted.ok()) CHECK(*granted == row.granted);
  }
}

TEST_CASE("lease: only a primary lets leases end, never early, and asks again until the revoke is seen") {
  Fixture f;
  CHECK(f.lessor.grant(LeaseId(7), 10, kStart).ok());
  CHECK(f.lessor.expired(kStart + 1000s, 10).empty());
  f.lessor.promote(kStart, 1s);
  CHECK(f.lessor.next_deadline() == kStart + 11s);
  CHECK(f.lessor.expired(kStart + 11s - 1ns, 10).empty());
  CHECK(f.lessor.expired(kStart + 11s, 10) == std::vector{LeaseId(7)});
  CHECK(f.lessor.expired(kStart + 12s, 10).empty());
  CHECK(f.lessor.expired(kStart + 14s, 10) == std::vector{LeaseId(7)});
  CHECK(f.lessor.renew(LeaseId(7), kStart + 14s).status().code() == Code::kAborted);
  f.lessor.erase(LeaseId(7));
  CHECK(f.lessor.expired(kStart + 100s, 10).empty());
  CHECK(f.lessor.renew(LeaseId(7), kStart).status().code() == Code::kNotFound);
}

TEST_CASE("lease: a renewal starts the whole TTL again; a demoted lessor refuses it") {
  Fixture f;
  f.lessor.promote(kStart, 0s);
  CHECK(f.lessor.grant(LeaseId(1), 10, kStart).ok());
  for (int i = 1; i <= 200; ++i) CHECK(*f.lessor.renew(LeaseId(1), kStart + i * 5s) == 10);
  CHECK(f.lessor.expired(kStart + 1009s, 10).empty());
  CHECK(f.lessor.find(LeaseId(1), kStart + 1003s)->remaining == 7s);
  f.lessor.demote();
  CHECK(f.lessor.renew(LeaseId(1), kStart + 1003s).status().code() == Code::kFailedPrecondition);
  CHECK(f.lessor.expired(kStart + 100000s, 10).empty());
}

TEST_CASE("lease: keys hang on it in byte order, come and go") {
  Fixture f;
  CHECK(f.lessor.grant(LeaseId(1), 10, kStart).ok());
  for (const char* key : {"b", "a", "c"}) f.lessor.attach(LeaseId(1), key);
  f.lessor.detach(LeaseId(1), "b");
  f.lessor.attach(LeaseId(99), "x");
  CHECK(*f.lessor.keys(LeaseId(1)) == std::vector<std::string>{"a", "c"});
  CHECK(f.lessor.keys(LeaseId(99)).status().text() == "etcdserver: requested lease not found");
}

TEST_CASE("lease: rows survive, with the remaining time of a persisted checkpoint") {
  storage::MemoryEngine engine;
  storage::Backend backend(engine);
  lease::Options options = with_checkpoints();
  options.persist_checkpoints = true;
  {
    lease::Lessor lessor(backend, options);
    CHECK(lessor.grant(LeaseId(1), 3600, kStart).ok());
    CHECK(lessor.grant(LeaseId(2), 60, kStart).ok());
    CHECK(lessor.grant(LeaseId(3), 60, kStart).ok());
    lessor.erase(LeaseId(3));
    lessor.checkpoint(LeaseId(1), 1000, kStart);
  }
  lease::Lessor lessor(backend, options);
  CHECK(lessor.recover().ok());
  CHECK(lessor.size() == 2);
  lessor.promote(kStart, 0s);
  CHECK(lessor.find(LeaseId(1), kStart)->remaining == 1000s);
  CHECK(lessor.find(LeaseId(1), kStart)->granted_ttl_s == 3600);
  CHECK(lessor.find(LeaseId(2), kStart)->remaining == 60s);
  CHECK(lessor.renewal_needs_checkpoint(LeaseId(1)));
}

TEST_CASE("lease: an image read elsewhere takes the place of all that was known") {
  Fixture f;
  CHECK(f.lessor.grant(LeaseId(1), 60, kStart).ok());
  CHECK(f.lessor.grant(LeaseId(2), 60, kStart).ok());
  f.lessor.attach(LeaseId(1), "before");
  auto image = lease::LessorImage::read(*f.backend.view(), 100);
  REQUIRE(image.ok());
  (*image)->attach(LeaseId(1), "b");
  (*image)->attach(LeaseId(1), "a");
  (*image)->attach(LeaseId(99), "on a lease long gone");
  f.lessor.erase(LeaseId(2));
  CHECK(f.lessor.grant(LeaseId(3), 60, kStart).ok());
  f.lessor.promote(kStart, 0s);

  auto before = f.lessor.restart(std::move(*image));
  CHECK_FALSE(f.lessor.is_primary());
  CHECK(f.lessor.next_deadline() == Instant::max());
  CHECK(f.lessor.size() == 2);
  CHECK_FALSE(f.lessor.exists(LeaseId(3)));
  CHECK(*f.lessor.keys(LeaseId(1)) == std::vector<std::string>{"a", "b"});
  CHECK(f.lessor.find(LeaseId(2), kStart)->granted_ttl_s == 100);  // raised to the minimum

  f.lessor.restart(std::move(before));
  CHECK(*f.lessor.keys(LeaseId(1)) == std::vector<std::string>{"before"});
  CHECK(f.lessor.exists(LeaseId(3)));

  storage::put_row(f.backend, storage::Bucket::kLease, "short", "");
  CHECK(lease::LessorImage::read(*f.backend.view(), 2).status().code() == Code::kDataLoss);
}

TEST_CASE("lease: long leases are checkpointed once an interval, short ones never") {
  Fixture f(with_checkpoints());
  f.lessor.promote(kStart, 0s);
  CHECK(f.lessor.grant(LeaseId(1), 3600, kStart).ok());
  CHECK(f.lessor.grant(LeaseId(2), 60, kStart).ok());
  CHECK(f.lessor.due_checkpoints(kStart + 299s, 10).empty());
  const auto due = f.lessor.due_checkpoints(kStart + 300s, 10);
  REQUIRE(due.size() == 1);
  CHECK(due[0].id == LeaseId(1));
  CHECK(due[0].remaining_ttl_s == 3300);
  CHECK(f.lessor.due_checkpoints(kStart + 301s, 10).empty());
}

TEST_CASE("lease: an applied checkpoint starts the next interval; what is left is rounded up; who is over is not told of") {
  Fixture f(with_checkpoints());
  f.lessor.promote(kStart, 0s);
  CHECK(f.lessor.grant(LeaseId(1), 3600, kStart).ok());
  CHECK(f.lessor.grant(LeaseId(2), 400, kStart).ok());
  const auto due = f.lessor.due_checkpoints(kStart + 300500ms, 10);
  REQUIRE(due.size() == 2);
  for (const lease::Checkpoint& one : due) {
    CHECK(one.remaining_ttl_s == (one.id == LeaseId(1) ? 3300 : 100));
    f.lessor.checkpoint(one.id, one.remaining_ttl_s, kStart + 301s);
  }
  CHECK(f.lessor.next_checkpoint() == kStart + 601s);  // 100 s are less than an interval.
  const auto again = f.lessor.due_checkpoints(kStart + 601s, 10);
  REQUIRE(again.size() == 1);
  CHECK(again[0].remaining_ttl_s == 2999);

  // 0 would mean the whole TTL again.
  Fixture late(with_checkpoints());
  late.lessor.promote(kStart, 0s);
  CHECK(late.lessor.grant(LeaseId(1), 400, kStart).ok());
  CHECK(late.lessor.due_checkpoints(kStart + 400s, 10).empty());
}

TEST_CASE("lease: nobody but the primary knows when leases end") {
  Fixture f;
  f.lessor.promote(kStart, 0s);
  CHECK(f.lessor.grant(LeaseId(1), 60, kStart).ok());
  CHECK(f.lessor.grant(LeaseId(2), 10, kStart).ok());
  CHECK(f.lessor.list(kStart)[0].id == LeaseId(2));
  f.lessor.demote();
  CHECK(f.lessor.find(LeaseId(2), kStart)->remaining == Duration::max());
  CHECK(f.lessor.list(kStart)[0].id == LeaseId(1));  // as many as each other: by id
}

TEST_CASE("lease: however many renewals there are around it, a lease that is over is asked for again") {
  Fixture f;
  f.lessor.promote(kStart, 0s);
  CHECK(f.lessor.grant(LeaseId(1), 10, kStart).ok());
  CHECK(f.lessor.grant(LeaseId(2), 1000, kStart).ok());
  CHECK(f.lessor.expired(kStart + 10s, 10) == std::vector{LeaseId(1)});
  for (int i = 0; i < 1000; ++i) CHECK(f.lessor.renew(LeaseId(2), kStart + 11s).ok());
  CHECK(f.lessor.expired(kStart + 14s, 10) == std::vector{LeaseId(1)});
}

TEST_CASE("lease: a pile-up of ends after a promotion is spread over time, nobody earlier than asked") {
  Fixture f;
  constexpr int kLeases = 5000;
  for (int i = 1; i <= kLeases; ++i) CHECK(f.lessor.grant(LeaseId(i), 10, kStart).ok());
  f.lessor.promote(kStart, 0s);
  CHECK(f.lessor.expired(kStart + 10s - 1ns, kLeases).empty());
  const size_t at_once = f.lessor.expired(kStart + 10s, kLeases).size();
  CHECK(at_once <= lease::kRevokesPerSecond);
  CHECK(at_once > 0);
}

TEST_CASE("lease: each pile-up is spread, also one long after another; who is between them waits for nobody") {
  Fixture f;
  constexpr int kLeases = 3000;
  for (int i = 1; i <= kLeases; ++i) {
    CHECK(f.lessor.grant(LeaseId(i), 10, kStart).ok());
    CHECK(f.lessor.grant(LeaseId(kLeases + i), 30, kStart).ok());
  }
  CHECK(f.lessor.grant(LeaseId(2 * kLeases + 1), 20, kStart).ok());
  f.lessor.promote(kStart, 0s);
  std::set<LeaseId> over;
  size_t most = 0;
  for (Instant now = kStart; now <= kStart + 40s; now += 500ms) {
    const size_t before = over.size();
    for (const LeaseId id : f.lessor.expired(now, 3 * kLeases)) over.insert(id);
    most = std::max(most, over.size() - before);
    CHECK(over.contains(LeaseId(2 * kLeases + 1)) == (now >= kStart + 20s));
  }
  CHECK(over.size() == 2 * kLeases + 1);
  CHECK(most <= lease::kRevokesPerSecond);
}

TEST_CASE("lease: a renewal gives the whole TTL again, also after a checkpoint, until the very end") {
  Fixture f(with_checkpoints());
  f.lessor.promote(kStart, 0s);
  REQUIRE(f.lessor.grant(LeaseId(1), 1000, kStart).ok());
  REQUIRE(f.lessor.grant(LeaseId(2), 1000, kStart).ok());
  f.lessor.checkpoint(LeaseId(1), 400, kStart + 600s);
  REQUIRE(f.lessor.renew(LeaseId(1), kStart + 700s).ok());
  CHECK(f.lessor.find(LeaseId(1), kStart + 700s)->remaining == 1000s);
  f.lessor.promote(kStart + 800s, 0s);
  CHECK(f.lessor.find(LeaseId(1), kStart + 800s)->remaining == 1000s);
  CHECK_FALSE(f.lessor.renew(LeaseId(2), kStart + 1800s).ok());
  CHECK(f.lessor.renew(LeaseId(1), kStart + 1800s - 1ns).ok());
}

TEST_CASE("lease: which renewals go through the log, for a checkpoint to be taken back") {
  for (const bool checkpoints : {false, true}) {
    CAPTURE(checkpoints);
    lease::Options options;
    options.checkpoints = checkpoints;
    Fixture f(options);
    REQUIRE(f.lessor.grant(LeaseId(1), 1000, kStart).ok());
    REQUIRE(f.lessor.grant(LeaseId(2), 1000, kStart).ok());
    f.lessor.checkpoint(LeaseId(1), 400, kStart);
    f.lessor.checkpoint(LeaseId(3), 400, kStart);
    CHECK(f.lessor.renewal_needs_checkpoint(LeaseId(1)) == checkpoints);
    CHECK_FALSE(f.lessor.renewal_needs_checkpoint(LeaseId(2)));
    CHECK_FALSE(f.lessor.renewal_needs_checkpoint(LeaseId(3)));
    f.lessor.checkpoint(LeaseId(1), 0, kStart);
    CHECK_FALSE(f.lessor.renewal_needs_checkpoint(LeaseId(1)));
  }
}

TEST_CASE("lease: a checkpoint is kept over a restart only if it is to be") {
  for (const bool persist : {false, true}) {
    lease::Options options = with_checkpoints();
    options.persist_checkpoints = persist;
    Fixture f(options);
    REQUIRE(f.lessor.grant(LeaseId(1), 1000, kStart).ok());
    f.lessor.checkpoint(LeaseId(1), 400, kStart);
    lease::Lessor again(f.backend, options);
    REQUIRE(again.recover().ok());
    again.promote(kStart, 0s);
    CHECK(again.find(LeaseId(1), kStart)->remaining == (persist ? 400s : 1000s));
  }
}

TEST_CASE("lease: who is checkpointed, and when") {
  struct Row {
    const char* rule;
    bool checkpoints;
    int64_t ttl;
    bool due;
  };
  for (const Row& row : {Row{"longer than an interval", true, 301, true}, Row{"an interval", true, 300, false},
                         Row{"not asked for", false, 1000, false}}) {
    CAPTURE(row.rule);
    lease::Options options;
    options.checkpoints = row.checkpoints;
    Fixture f(options);
    f.lessor.promote(kStart, 0s);
    REQUIRE(f.lessor.grant(LeaseId(1), row.ttl, kStart).ok());
    CHECK((f.lessor.due_checkpoints(kStart + 300s, 10).size() == 1) == row.due);
    CHECK(f.lessor.due_checkpoints(kStart + 300s, 10).empty());
  }
  // Renewed, it has the interval before it again; revoked, it has none.
  Fixture f(with_checkpoints());
  f.lessor.promote(kStart, 0s);
  REQUIRE(f.lessor.grant(LeaseId(1), 1000, kStart).ok());
  REQUIRE(f.lessor.grant(LeaseId(2), 1000, kStart).ok());
  REQUIRE(f.lessor.renew(LeaseId(1), kStart + 200s).ok());
  f.lessor.erase(LeaseId(2));
  CHECK(f.lessor.due_checkpoints(kStart + 499s, 10).empty());
  CHECK(f.lessor.due_checkpoints(kStart + 500s, 10).size() == 1);
}

TEST_CASE("lease: random life against a plain model") {
  Fixture f;
  f.lessor.promote(kStart, 0s);
  base::Rng rng(20);
  std::map<int64_t, Instant> model;  // id -> end
  Instant now = kStart;
  for (int step = 0; step < 20000; ++step) {
    now += Duration(static_cast<int64_t>(rng.below(400'000'000)));
    const auto id = static_cast<int64_t>(1 + rng.below(50));
    switch (rng.below(3)) {
      case 0: {
        const auto ttl = static_cast<int64_t>(2 + rng.below(20));
        CHECK(f.lessor.grant(LeaseId(id), ttl, now).ok() == !model.contains(id));
        if (!model.contains(id)) model[id] = now + std::chrono::seconds(ttl);
        break;
      }
      case 1: {
        const auto ttl = f.lessor.renew(LeaseId(id), now);
        CHECK(ttl.ok() == (model.contains(id) && model[id] > now));
        if (ttl.ok()) model[id] = now + std::chrono::seconds(*ttl);
        break;
      }
      default:
        for (LeaseId over : f.lessor.expired(now, 1 + rng.below(5))) {
          REQUIRE(model.contains(over.value()));
          CHECK(model[over.value()] <= now);
          model.erase(over.value());
          f.lessor.erase(over);
        }
    }
  }
  CHECK(f.lessor.size() == model.size());
}
