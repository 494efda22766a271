#include "raft/log.h"

#include <doctest/doctest.h>

#include "raft/memory_log.h"
#include "unit/raft/support.h"

using namespace raft;
using raft::test::entry;
using raft::test::Lines;

namespace {

// Terms of the entries from index 1 on.
std::vector<Entry> entries_of(const std::vector<uint64_t>& terms, uint64_t first = 1) {
  std::vector<Entry> entries;
  for (const uint64_t term : terms) entries.push_back(entry(term, first++));
  return entries;
}

std::vector<uint64_t> terms_in(const Log& log) {
  std::vector<Entry> entries;
  REQUIRE(log.entries_from(log.first_index(), kNoLimit, entries));
  std::vector<uint64_t> terms;
  for (const Entry& one : entries) terms.push_back(one.term.value());
  return terms;
}

// Some entries stored, the rest unstable.
struct Case {
  Case(const std::vector<uint64_t>& stored, const std::vector<uint64_t>& unstable, uint64_t applying_max = kNoLimit)
      : storage(make(stored)), log(storage, lines, applying_max) {
    log.append(entries_of(unstable, stored.size() + 1));
  }
  static MemoryLog make(const std::vector<uint64_t>& stored) {
    MemoryLog storage;
    storage.append(entries_of(stored));
    return storage;
  }

  Lines lines;
  MemoryLog storage;
  Log log;
};

}  // namespace

TEST_CASE("log: where two logs may agree") {
  struct Row {
    const char* rule;
    std::vector<uint64_t> ours;
    uint64_t index, term;
    uint64_t found_index, found_term;
  };
  for (const Row& row :
       {Row{"term of the entry itself", {2, 2, 5, 5}, 4, 5, 4, 5},
        Row{"before all of the higher term", {2, 2, 5, 5}, 4, 4, 2, 2}, Row{"from the middle", {2, 2, 5, 5}, 3, 4, 2, 2},
        Row{"every term is higher", {2, 2, 5, 5}, 4, 1, 0, 0}, Row{"beyond the end: not known", {2, 2}, 9, 5, 9, 0},
        Row{"index 0", {2, 2}, 0, 5, 0, 0}}) {
    CAPTURE(row.rule);
    const Case c(row.ours, {});
    CHECK(c.log.find_conflict_by_term(Index(row.index), Term(row.term)) ==
          EntryId{Term(row.found_term), Index(row.found_index)});
  }
  Case c({1, 1, 3, 3, 3}, {});
  REQUIRE(c.storage.compact(Index(3)).ok());
  CHECK(c.log.find_conflict_by_term(Index(5), Term(2)) == EntryId{Term(0), Index(2)});  // Compacted: it could be.
}

TEST_CASE("log: the first entry that is new or different") {
  struct Row {
    const char* rule;
    uint64_t first;
    std::vector<uint64_t> theirs;
    uint64_t conflict;
  };
  for (const Row& row : {Row{"nothing", 1, {}, 0}, Row{"all ours", 1, {1, 2, 3}, 0}, Row{"our end", 3, {3}, 0},
                         Row{"one more", 1, {1, 2, 3, 4}, 4}, Row{"only new ones", 4, {4, 4}, 4},
                         Row{"another first", 1, {4, 4}, 1}, Row{"another in the middle", 2, {1, 4, 4}, 2}}) {
    CAPTURE(row.rule);
    Case c({1}, {2, 3});
    CHECK(c.log.find_conflict(entries_of(row.theirs, row.first)) == Index(row.conflict));
  }
}

TEST_CASE("log: taking a leader's entries") {
  struct Row {
    const char* rule;
    uint64_t prev_index, prev_term;
    std::vector<uint64_t> theirs;
    uint64_t commit;
    uint64_t last;  // 0: refused
    uint64_t committed;
    std::vector<uint64_t> ours;
  };
  // Ours: terms 1 2 3, committed 1.
  for (const Row& row :
       {Row{"prev of another term", 3, 2, {4}, 3, 0, 1, {1, 2, 3}}, Row{"prev behind our end", 4, 3, {4}, 3, 0, 1, {1, 2, 3}},
        Row{"a heartbeat's worth", 3, 3, {}, 3, 3, 3, {1, 2, 3}},
        Row{"commit beyond what was sent", 2, 2, {}, 9, 2, 2, {1, 2, 3}},
        Row{"commit never goes back", 3, 3, {}, 0, 3, 1, {1, 2, 3}}, Row{"one more", 3, 3, {4}, 3, 4, 3, {1, 2, 3, 4}},
        Row{"old news keeps the tail", 1, 1, {2}, 2, 2, 2, {1, 2, 3}},
        Row{"all known and one more", 1, 1, {2, 3, 3}, 4, 4, 4, {1, 2, 3, 3}},
        Row{"a conflict cuts the tail", 1, 1, {4}, 2, 2, 2, {1, 4}},
        Row{"a conflict in the middle", 1, 1, {2, 4, 4}, 9, 4, 4, {1, 2, 4, 4}}}) {
    for (const bool stored : {false, true}) {
      CAPTURE(row.rule);
      CAPTURE(stored);
      Case c(stored ? std::vector<uint64_t>{1, 2, 3} : std::vector<uint64_t>{},
             stored ? std::vector<uint64_t>{} : std::vector<uint64_t>{1, 2, 3});
      c.log.commit_to(Index(1));
      const std::optional<Index> last = c.log.maybe_append({Term(row.prev_term), Index(row.prev_index)},
                                                           entries_of(row.theirs, row.prev_index + 1), Index(row.commit));
      CHECK(last == (row.last == 0 ? std::nullopt : std::optional<Index>(row.last)));
      CHECK(c.log.committed() == Index(row.committed));
      CHECK(terms_in(c.log) == row.ours);
    }
  }
}

TEST_CASE("log: whose log is newer") {
  const Case c({1, 2}, {3});
  struct Row {
    const char* rule;
    uint64_t term, index;
    bool newer;
  };
  for (const Row& row :
       {Row{"higher term, shorter", 4, 1, true}, Row{"lower term, longer", 2, 9, false},
        Row{"equal term, shorter", 3, 2, false}, Row{"equal", 3, 3, true}, Row{"equal term, longer", 3, 4, true}}) {
    CAPTURE(row.rule);
    CHECK(c.log.up_to_date({Term(row.term), Index(row.index)}) == row.newer);
  }
}

TEST_CASE("log: terms inside, at and outside of the bounds") {
  Case c({1, 1, 2, 2, 3}, {3, 4});
  REQUIRE(c.storage.compact(Index(2)).ok());
  CHECK(c.log.first_index() == Index(3));
  CHECK(c.log.last_index() == Index(7));
  CHECK(c.log.term(Index(1)) == std::nullopt);
  CHECK(c.log.term(Index(2)) == Term(1));  // The last compacted one is still known.
  CHECK(c.log.term(Index(3)) == Term(2));
  CHECK(c.log.term(Index(6)) == Term(3));
  CHECK(c.log.term(Index(7)) == Term(4));
  CHECK(c.log.term(Index(8)) == std::nullopt);
  CHECK(c.log.term(Index(UINT64_MAX)) == std::nullopt);
  CHECK(c.log.last_entry_id() == EntryId{Term(4), Index(7)});
}

TEST_CASE("log: slices go over the seam between stored and unstable, within the limit") {
  const Case c({1, 1, 1}, {1, 1, 1});
  const uint64_t one = encoded_size(entry(1, 1));
  struct Row {
    const char* rule;
    uint64_t lo, hi, bytes_max;
    std::vector<uint64_t> found;
  };
  for (const Row& row :
       {Row{"empty", 2, 2, kNoLimit, {}}, Row{"stored", 1, 3, kNoLimit, {1, 2}}, Row{"unstable", 4, 7, kNoLimit, {4, 5, 6}},
        Row{"both", 2, 6, kNoLimit, {2, 3, 4, 5}}, Row{"at least one", 2, 6, 0, {2}},
        Row{"limit in the stored part", 1, 7, 2 * one, {1, 2}}, Row{"limit at the seam", 1, 7, 3 * one, {1, 2, 3}},
        Row{"limit just over the seam", 1, 7, 4 * one - 1, {1, 2, 3}},
        Row{"limit one behind the seam", 1, 7, 4 * one, {1, 2, 3, 4}},
        Row{"limit in the unstable part", 1, 7, 5 * one, {1, 2, 3, 4, 5}}}) {
    CAPTURE(row.rule);
    std::vector<Entry> out;
    REQUIRE(c.log.slice(Index(row.lo), Index(row.hi), row.bytes_max, out));
    std::vector<uint64_t> found;
    for (const Entry& one_entry : out) found.push_back(one_entry.index.value());
    CHECK(found == row.found);
  }
}

TEST_CASE("log: slices do not reach behind a compaction") {
  Case c({1, 1, 1}, {1});
  REQUIRE(c.storage.compact(Index(2)).ok());
  std::vector<Entry> out;
  CHECK_FALSE(c.log.slice(Index(2), Index(4), kNoLimit, out));
  CHECK(out.empty());
  CHECK(c.log.slice(Index(3), Index(5), kNoLimit, out));
  CHECK(out.size() == 2);
}

TEST_CASE("log: only entries of the own term are committed by counting") {
  Case c({1, 2}, {});
  CHECK_FALSE(c.log.maybe_commit({Term(3), Index(2)}));
  CHECK_FALSE(c.log.maybe_commit({Term(2), Index(3)}));
  CHECK_FALSE(c.log.maybe_commit({Term(0), Index(2)}));
  CHECK(c.log.maybe_commit({Term(2), Index(2)}));
  CHECK(c.log.committed() == Index(2));
  CHECK_FALSE(c.log.maybe_commit({Term(2), Index(2)}));
}

TEST_CASE("log: what is handed out to be saved, and when it is safe") {
  Case c({1}, {1, 1});
  CHECK(c.log.next_unstable_entries().size() == 2);
  c.log.accept_unstable();
  CHECK(c.log.next_unstable_entries().empty());
  c.log.append({entry(1, 4)});
  CHECK(c.log.next_unstable_entries().size() == 1);
  CHECK(c.log.has_unstable_entries());
  // Entries 2 and 3 are saved.
  c.storage.append(entries_of({1, 1}, 2));
  c.log.stable_to({Term(1), Index(3)});
  CHECK(c.log.unstable().offset() == Index(4));
  CHECK(c.log.next_unstable_entries().size() == 1);
  CHECK(terms_in(c.log) == std::vector<uint64_t>{1, 1, 1, 1});
  // Old, unknown or replaced entries make nothing stable.
  c.log.stable_to({Term(1), Index(3)});
  c.log.stable_to({Term(2), Index(4)});
  c.log.stable_to({Term(1), Index(9)});
  CHECK(c.log.unstable().offset() == Index(4));
  CHECK(c.lines.count("ignoring") == 3);
}

TEST_CASE("log: a new leader's entries replace those that are being saved") {
  Case c({}, {1, 1, 1});
  c.log.accept_unstable();
  c.log.append({entry(2, 2)});
  CHECK(c.log.next_unstable_entries().size() == 1);
  CHECK(c.log.unstable().offset_in_progress() == Index(2));
  CHECK(terms_in(c.log) == std::vector<uint64_t>{1, 2});
  c.log.append({entry(3, 1)});
  CHECK(c.log.unstable().offset() == Index(1));
  CHECK(c.log.next_unstable_entries().size() == 1);
  CHECK(terms_in(c.log) == std::vector<uint64_t>{3});
}

TEST_CASE("log: what may be applied") {
  Case c({1, 1}, {1, 1});
  CHECK_FALSE(c.log.has_next_committed(true));
  c.log.commit_to(Index(3));
  CHECK(c.log.next_committed(true).size() == 3);
  CHECK(c.log.next_committed(false).size() == 2);  // 3 is not in our own storage yet.
  c.log.accept_applying(Index(2), 10, false);
  CHECK_FALSE(c.log.has_next_committed(false));
  CHECK(c.log.next_committed(true).front().index == Index(3));
  c.log.applied_to(Index(2), 10);
  CHECK(c.log.applied() == Index(2));
  CHECK(c.log.applying_bytes() == 0);
}

TEST_CASE("log: applying pauses at its limit") {
  const uint64_t one = encoded_size(entry(1, 1));
  Case c({1, 1, 1, 1}, {}, 2 * one);
  c.log.commit_to(Index(4));
  std::vector<Entry> batch = c.log.next_committed(false);
  REQUIRE(batch.size() == 2);
  c.log.accept_applying(Index(2), 2 * one, false);
  CHECK(c.log.applying_paused());
  CHECK(c.log.next_committed(false).empty());
  c.log.applied_to(Index(1), one);
  CHECK_FALSE(c.log.applying_paused());
  batch = c.log.next_committed(false);
  REQUIRE(batch.size() == 1);
  CHECK(batch.front().index == Index(3));
  // Paused as well when the limit is not reached but the next entry would cross it.
  c.log.accept_applying(Index(3), one - 1, false);
  CHECK(c.log.applying_paused());
}

TEST_CASE("log: a snapshot takes the place of everything, and is applied first") {
  Case c({1, 1}, {1});
  c.log.commit_to(Index(1));
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->index = Index(9);
  snapshot->term = Term(4);
  c.log.restore(snapshot);
  CHECK(c.log.first_index() == Index(10));
  CHECK(c.log.last_index() == Index(9));
  CHECK(c.log.term(Index(9)) == Term(4));
  CHECK(c.log.term(Index(8)) == std::nullopt);
  CHECK(c.log.committed() == Index(9));
  CHECK_FALSE(c.log.has_next_committed(true));
  CHECK(c.log.next_unstable_snapshot() == snapshot);
  c.log.accept_unstable();
  CHECK(c.log.next_unstable_snapshot() == nullptr);
  CHECK(c.log.has_snapshot());
  c.log.append({entry(4, 10)});
  CHECK(c.log.last_index() == Index(10));
  REQUIRE(c.storage.apply_snapshot(snapshot).ok());
  c.log.stable_snapshot_to(Index(8));
  CHECK(c.log.has_snapshot());
  c.log.stable_snapshot_to(Index(9));
  CHECK_FALSE(c.log.has_snapshot());
  CHECK(c.log.first_index() == Index(10));
  CHECK(c.log.term(Index(10)) == Term(4));
}

// --- the stable part --------------------------------------------------------------------------------------------------------

TEST_CASE("memory log: appending replaces what overlaps and skips what is compacted") {
  struct Row {
    const char* rule;
    uint64_t first;
    std::vector<uint64_t> terms;
    std::vector<uint64_t> after;  // from index 3 on
  };
  // Compacted up to 2; entries 3, 4, 5 of term 3, 4, 5.
  for (const Row& row :
       {Row{"nothing", 3, {}, {3, 4, 5}}, Row{"all compacted", 1, {1, 1}, {3, 4, 5}}, Row{"the same", 3, {3, 4, 5}, {3, 4, 5}},
        Row{"overlap", 4, {6, 6}, {3, 6, 6}}, Row{"shorter", 4, {6}, {3, 6}}, Row{"from before", 1, {1, 1, 5}, {5}},
        Row{"behind", 6, {6}, {3, 4, 5, 6}}}) {
    CAPTURE(row.rule);
    MemoryLog storage;
    storage.append(entries_of({1, 2, 3, 4, 5}));
    REQUIRE(storage.compact(Index(2)).ok());
    storage.append(entries_of(row.terms, row.first));
    std::vector<Entry> out;
    REQUIRE(storage.entries(Index(3), storage.last_index() + 1, kNoLimit, out));
    std::vector<uint64_t> terms;
    for (const Entry& one : out) terms.push_back(one.term.value());
    CHECK(terms == row.after);
    CHECK(storage.size_bytes() == encoded_size(std::span<const Entry>(out)));
  }
}

TEST_CASE("memory log: compaction and snapshots") {
  MemoryLog storage;
  storage.append(entries_of({1, 1, 2}));
  const ConfState voters{{NodeId(1)}, {}, {}, {}, false};
  REQUIRE(storage.create_snapshot(Index(2), &voters, "state").ok());
  CHECK(storage.snapshot()->data == "state");
  CHECK(storage.snapshot()->term == Term(1));
  CHECK(storage.conf_state() == voters);
  CHECK_FALSE(storage.create_snapshot(Index(2), nullptr, "again").ok());
  CHECK(storage.first_index() == Index(1));  // A snapshot drops nothing.
  REQUIRE(storage.compact(Index(3)).ok());
  CHECK(storage.compact(Index(3)).text() == "requested index is unavailable due to compaction");
  CHECK(storage.first_index() == Index(4));
  CHECK(storage.last_index() == Index(3));
  CHECK(storage.term(Index(3)) == Term(2));
  CHECK(storage.term(Index(2)) == std::nullopt);
  CHECK(storage.term(Index(4)) == std::nullopt);
  CHECK(storage.size_bytes() == 0);
  storage.append(entries_of({2}, 4));
  std::vector<Entry> out;
  CHECK_FALSE(storage.entries(Index(3), Index(5), kNoLimit, out));
  CHECK(storage.entries(Index(4), Index(5), kNoLimit, out));
  CHECK(out.size() == 1);
  auto newer = std::make_shared<Snapshot>();
  newer->index = Index(2);
  CHECK(storage.apply_snapshot(newer).text() == "requested index is older than the existing snapshot");
  newer = std::make_shared<Snapshot>();
  newer->index = Index(7);
  newer->term = Term(3);
  REQUIRE(storage.apply_snapshot(newer).ok());
  CHECK(storage.first_index() == Index(8));
  CHECK(storage.term(Index(7)) == Term(3));
  CHECK(storage.size_bytes() == 0);
}
