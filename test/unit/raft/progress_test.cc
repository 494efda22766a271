#include "raft/progress.h"

#include <doctest/doctest.h>

using namespace raft;

namespace {

Progress at(ProgressState state, uint64_t match, uint64_t next) {
  Progress progress(Index(match), Index(next), Inflights(3, kNoLimit), false);
  progress.state = state;
  progress.recent_active = true;
  return progress;
}

}  // namespace

TEST_CASE("inflights: full by count, in order, around the end of the ring") {
  Inflights window(4, kNoLimit);
  for (uint64_t round = 0; round < 10; ++round) {
    CAPTURE(round);
    const uint64_t start = round * 100;
    for (uint64_t i = 1; i <= 4; ++i) {
      CHECK_FALSE(window.full());
      window.add(Index(start + i * 10), i);
    }
    CHECK(window.full());
    CHECK(window.count() == 4);
    CHECK(window.bytes() == 10);
    window.free_to(Index(start + 9));  // Before all of them.
    CHECK(window.count() == 4);
    window.free_to(Index(start + 25));  // Between the second and the third.
    CHECK(window.count() == 2);
    CHECK(window.bytes() == 7);
    window.add(Index(start + 50), 1);  // Wraps.
    window.free_to(Index(start + 40));
    CHECK(window.count() == 1);
    CHECK(window.bytes() == 1);
    window.free_to(Index(start + 99));
    CHECK(window.count() == 0);
    CHECK(window.bytes() == 0);
  }
}

TEST_CASE("inflights: full by bytes; the message that crosses the line still goes") {
  Inflights window(100, 1000);
  window.add(Index(1), 999);
  CHECK_FALSE(window.full());
  window.add(Index(2), 5000);
  CHECK(window.full());
  window.free_to(Index(1));
  CHECK(window.full());
  window.free_to(Index(2));
  CHECK_FALSE(window.full());
  window.add(Index(3), 1);
  window.clear();
  CHECK(window.count() == 0);
  CHECK(window.bytes() == 0);
}

TEST_CASE("inflights: a ring that wraps before it is full grown keeps its order") {
  Inflights window(100, kNoLimit);
  uint64_t next = 1, oldest = 1;
  for (int step = 0; step < 1000; ++step) {
    if (step % 3 != 2 && !window.full()) {
      window.add(Index(next++), 1);
    } else {
      window.free_to(Index(oldest++));
    }
    REQUIRE(window.count() == next - oldest);
  }
}

TEST_CASE("progress: what pauses appends in each state") {
  Progress probe = at(ProgressState::kProbe, 1, 2);
  CHECK_FALSE(probe.paused());
  probe.sent_entries(0, 0);
  CHECK_FALSE(probe.paused());
  probe.sent_entries(5, 50);
  CHECK(probe.paused());
  CHECK(probe.next == Index(2));  // A probe promises nothing.

  Progress replicate = at(ProgressState::kReplicate, 1, 2);
  replicate.sent_entries(5, 50);
  CHECK(replicate.next == Index(7));
  CHECK_FALSE(replicate.paused());
  replicate.sent_entries(1, 1);
  replicate.sent_entries(1, 1);
  CHECK(replicate.paused());
  CHECK(replicate.to_string() == "StateReplicate match=1 next=9 paused inflight=3[full]");

  Progress snapshot = at(ProgressState::kProbe, 1, 2);
  snapshot.become_snapshot(Index(10));
  CHECK(snapshot.paused());
  CHECK(snapshot.to_string() == "StateSnapshot match=1 next=11 paused pendingSnap=10");
}

TEST_CASE("progress: where probing goes on") {
  Progress after_replicate = at(ProgressState::kReplicate, 4, 20);
  after_replicate.become_probe();
  CHECK(after_replicate.next == Index(5));

  Progress after_snapshot = at(ProgressState::kProbe, 1, 5);
  after_snapshot.become_snapshot(Index(10));
  after_snapshot.become_probe();
  CHECK(after_snapshot.next == Index(11));

  Progress after_failure = at(ProgressState::kProbe, 1, 5);
  after_failure.become_snapshot(Index(10));
  after_failure.pending_snapshot = Index{};
  after_failure.become_probe();
  CHECK(after_failure.next == Index(2));
}

TEST_CASE("progress: acknowledgements only move forward") {
  Progress progress = at(ProgressState::kReplicate, 3, 5);
  progress.append_paused = true;
  CHECK_FALSE(progress.maybe_update(Index(2)));
  CHECK_FALSE(progress.maybe_update(Index(3)));
  CHECK(progress.append_paused);
  CHECK(progress.maybe_update(Index(4)));
  CHECK_FALSE(progress.append_paused);
  CHECK(progress.next == Index(5));
  CHECK(progress.maybe_update(Index(9)));
  CHECK(progress.match == Index(9));
  CHECK(progress.next == Index(10));
}

TEST_CASE("progress: which rejections are news") {
  struct Row {
    const char* rule;
    ProgressState state;
    uint64_t match, next, rejected, hint;
    bool news;
    uint64_t next_after, lost = 0;  // of what was acknowledged
  };
  constexpr ProgressState kProbe = ProgressState::kProbe, kReplicate = ProgressState::kReplicate;
  for (const Row& row :
       {Row{"replicate: accepted since", kReplicate, 5, 10, 5, 5, false, 10},
        Row{"replicate: long accepted", kReplicate, 5, 10, 4, 4, false, 10},
        Row{"replicate: back to what is certain", kReplicate, 5, 10, 9, 9, true, 6},
        Row{"probe: of another probe", kProbe, 0, 10, 5, 5, false, 10},
        Row{"probe: one step back", kProbe, 0, 10, 9, 9, true, 9}, Row{"probe: to the hint", kProbe, 0, 10, 9, 2, true, 3},
        Row{"probe: hint 0", kProbe, 0, 10, 9, 0, true, 1}, Row{"probe: never behind match", kProbe, 4, 10, 9, 1, true, 5},
        Row{"probe: at the first entry", kProbe, 0, 1, 0, 0, true, 1},
        Row{"probe: what was acknowledged is gone", kProbe, 9, 10, 9, 4, true, 5, 5},
        Row{"probe: and less each time", kProbe, 9, 10, 9, 9, true, 9, 1}}) {
    CAPTURE(row.rule);
    Progress progress = at(row.state, row.match, row.next);
    CHECK(progress.maybe_decrease(Index(row.rejected), Index(row.hint)) == row.news);
    CHECK(progress.match == Index(row.match - row.lost));
    CHECK(progress.next == Index(row.next_after));
  }
}

TEST_CASE("progress: the commit index is told once") {
  Progress progress = at(ProgressState::kReplicate, 5, 10);
  CHECK(progress.can_bump_commit(Index(5)));
  progress.sent_commit(Index(5));
  CHECK_FALSE(progress.can_bump_commit(Index(5)));
  CHECK(progress.can_bump_commit(Index(6)));
  progress.sent_commit(Index(20));
  CHECK_FALSE(progress.can_bump_commit(Index(30)));  // More cannot be committed there before more is sent.
  CHECK(progress.maybe_decrease(Index(9), Index(9)));
  CHECK_FALSE(progress.can_bump_commit(Index(30)));
  progress.become_probe();
  CHECK(progress.maybe_update(Index(12)));
  CHECK(progress.can_bump_commit(Index(30)));
}

TEST_CASE("progress: what was sent ahead and is sent again tells the commit again") {
  Progress probed = at(ProgressState::kReplicate, 5, 10);
  probed.sent_commit(Index(9));
  probed.become_probe();
  CHECK(probed.maybe_update(Index(7)));
  CHECK(probed.can_bump_commit(Index(7)));

  for (const ProgressState state : {ProgressState::kReplicate, ProgressState::kProbe}) {
    Progress refused = at(state, 5, 10);
    refused.sent_commit(Index(9));
    CHECK(refused.maybe_decrease(Index(9), Index(6)));
    CHECK(refused.maybe_update(Index(8)));
    CHECK(refused.can_bump_commit(Index(8)));
  }
}

TEST_CASE("progress: replication begins behind what is certain, with nothing in flight and nothing held back") {
  Progress progress = at(ProgressState::kProbe, 5, 10);
  progress.append_paused = true;
  progress.become_replicate();
  CHECK(progress.next == Index(6));
  CHECK_FALSE(progress.paused());
}
