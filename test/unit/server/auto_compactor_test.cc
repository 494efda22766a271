#include "server/auto_compactor.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace {

using base::Duration;
using base::Instant;
using server::CompactionMode;
using server::CompactionPlan;
using namespace std::chrono_literals;

constexpr Instant kStart{1000s};

// A member with one new revision a second whose plan is asked as the shell asks it. A compaction takes no time.
struct Run {
  CompactionPlan plan;
  Instant now = kStart;
  bool leading = true;
  bool failing = false;
  std::string compactions;  // "second of the run@revision", with spaces between

  Run(CompactionMode mode, int64_t retention) : plan(mode, retention, kStart) {}
  int64_t seconds() const { return std::chrono::duration_cast<std::chrono::seconds>(now - kStart).count(); }
  int64_t revision() const { return 1 + seconds(); }

  void until(Duration end) {
    for (;;) {
      const Instant next = now + plan.look_interval();
      if (next > kStart + end) return;
      plan.begin_wait(revision());
      now = next;
      const std::optional<int64_t> at = plan.due(now, revision(), leading);
      if (!at) continue;
      compactions += (compactions.empty() ? "" : " ") + std::to_string(seconds()) + "@" + std::to_string(*at);
      if (!failing) plan.compacted(now, *at);
    }
  }
};

}  // namespace

TEST_CASE("auto compaction: by time, when and where") {
  struct Row {
    std::string rule;
    Duration period;
    Duration look;
    Duration end;
    std::string compactions;
  };
  const std::vector<Row> rows{
      {"five seconds: at the revision of a period and a look ago", 5s, 500ms, 15s, "5@1 10@5 15@10"},
      {"just below an hour", 59min, 354s, 2h, "3540@1 7080@3187"},
      {"an hour", 1h, 6min, 2h, "3600@1 7200@3241"},
      {"more: the first after the period, then every hour", 3h, 6min, 5h, "10800@1 14400@3241 18000@6841"},
      {"a tenth that is no whole number of nanoseconds comes a look later", Duration(5000000009), Duration(500000000), 6s,
       "5@1"},
      {"too short to divide", Duration(3), 1ms, 2ms, "0@1"},
      {"below zero: as often as looks come", -5min, 1ms, 2ms, "0@1"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    Run run(CompactionMode::kPeriodic, row.period.count());
    CHECK(run.plan.look_interval() == row.look);
    run.until(row.end);
    CHECK(run.compactions == row.compactions);
  }
}

TEST_CASE("auto compaction: by time, without new revisions nothing is compacted again") {
  CompactionPlan plan(CompactionMode::kPeriodic, Duration(10s).count(), kStart);
  int compactions = 0;
  for (Instant now = kStart; now < kStart + 100s;) {
    plan.begin_wait(7);
    now += plan.look_interval();
    if (const auto at = plan.due(now, 7, true)) {
      CHECK(*at == 7);
      plan.compacted(now, *at);
      ++compactions;
    }
  }
  CHECK(compactions == 1);
}

TEST_CASE("auto compaction: by time, a failure is tried again at the next look, with the revision of then") {
  Run run(CompactionMode::kPeriodic, Duration(10s).count());
  run.failing = true;
  run.until(12s);
  CHECK(run.compactions == "10@1 11@1 12@2");
  run.failing = false;
  run.until(30s);
  CHECK(run.compactions == "10@1 11@1 12@2 13@3 23@13");
}

TEST_CASE("auto compaction: a follower remembers revisions and does not compact; made leader it goes on at once") {
  Run run(CompactionMode::kPeriodic, Duration(10s).count());
  run.leading = false;
  run.until(25s);
  CHECK(run.compactions.empty());
  run.leading = true;
  run.until(40s);
  CHECK(run.compactions == "26@16 36@26");

  Run by_revision(CompactionMode::kRevision, 100);
  by_revision.leading = false;
  by_revision.until(9min);
  CHECK(by_revision.compactions.empty());
  by_revision.leading = true;
  by_revision.until(10min);
  CHECK(by_revision.compactions == "600@501");
}

TEST_CASE("auto compaction: by revision, every five minutes, so many below the current one") {
  Run run(CompactionMode::kRevision, 400);
  CHECK(run.plan.look_interval() == 5min);
  run.until(16min);
  CHECK(run.compactions == "600@201 900@501");  // At 300 there were only 301 revisions.

  CompactionPlan plan(CompactionMode::kRevision, 10, kStart);
  CHECK_FALSE(plan.due(kStart, 10, true));
  CHECK(plan.due(kStart, 11, true) == 1);
  CHECK_MESSAGE(plan.due(kStart, 11, true) == 1, "it failed: again");
  plan.compacted(kStart, 1);
  CHECK_FALSE(plan.due(kStart, 11, true));
  CHECK(plan.due(kStart, 12, true) == 2);
}
