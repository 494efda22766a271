// HashKV and the hashes of compactions: numbers taken from real etcd (wire-and-disk 6.7).
#include <limits>

#include "fixture.h"

using namespace mvcc_test;

namespace {

// The lease id inside the vector's rows: field 6 of "l2", a varint.
int64_t vector_lease() {
  wire::KeyValue pair;
  static const char row[] = "\x0a\x02\x6c\x32\x10\x06\x18\x06\x20\x01\x2a\x01\x78\x30\x89\xa2\xed\xeb\xad\xc0\xa8\xa7\x4a";
  REQUIRE(wire::parse(std::string_view(row, sizeof(row) - 1), pair));
  return pair.lease;
}

void fill_to_10(Fixture& f, FakeLeases& leases) {
  const int64_t lease = vector_lease();
  leases.keys[lease];
  f.put("a", "1");
  f.put("b", "2");
  f.put("a", "3");
  f.erase("b");
  f.put("l2", "x", lease);
  f.put("l1", "y", lease);
  f.put("c", "z");
  {
    mvcc::Store::WriteTxn write(*f.store);
    write.put("t1", "v1", base::kNoLease);
    write.put("t2", "v2", base::kNoLease);
    write.delete_range("a", {});
    write.commit();
  }
  mvcc::Store::WriteTxn revoke(*f.store);
  for (const std::string& key : std::set<std::string>(leases.keys[lease])) revoke.delete_range(key, {});
  revoke.commit();
  leases.keys.erase(lease);
}

}  // namespace

TEST_CASE("hash: the rows and the numbers of real etcd") {
  FakeLeases leases;
  Fixture f(&leases);
  fill_to_10(f, leases);
  CHECK(f.rows() ==
        std::vector<std::string>{"2/0 0a01611002180220012a0131", "3/0 0a01621003180320012a0132", "4/0 0a01611002180420022a0133",
                                 "5/0t 0a0162", "6/0 0a026c321006180620012a01783089a2edebadc0a8a74a",
                                 "7/0 0a026c311007180720012a01793089a2edebadc0a8a74a", "8/0 0a01631008180820012a017a",
                                 "9/0 0a0274311009180920012a027631", "9/1 0a0274321009180920012a027632", "9/2t 0a0161",
                                 "10/0t 0a026c31", "10/1t 0a026c32"});
  CHECK(*f.hash(10) == mvcc::KeyHash{1266629553, -1, 10});
  CHECK(*f.hash(0) == mvcc::KeyHash{1266629553, -1, 10});
  // At a negative revision etcd hashes the name of the bucket alone.
  for (const int64_t revision : {-1, -2, -5}) CHECK(*f.hash(revision) == mvcc::KeyHash{1084519789, -1, revision});
  CHECK(*f.hash(INT64_MIN) == mvcc::KeyHash{1084519789, -1, INT64_MIN});
  f.put("d", "1");
  f.put("d", "2");
  f.erase("d");
  f.put("e", "5");
  f.put("a", "again");
  CHECK(f.hash(15)->hash == 3819399652);
  struct Row {
    int64_t compact;
    uint32_t hash;
    size_t rows_left;
  };
  for (const Row& row : {Row{5, 530399131, 15}, Row{9, 2271227779, 13}, Row{13, 2472252840, 6}}) {
    CAPTURE(row.compact);
    const bool physical_first = row.compact != 9;
    REQUIRE(f.store->compact(row.compact).ok());
    // The same before and after the rows are gone.
    CHECK(*f.hash(15) == mvcc::KeyHash{row.hash, row.compact, 15});
    f.run_compactions();
    CHECK(*f.hash(15) == mvcc::KeyHash{row.hash, row.compact, 15});
    CHECK(f.rows().size() == row.rows_left);
    if (physical_first) f.reopen();
    CHECK(*f.hash(15) == mvcc::KeyHash{row.hash, row.compact, 15});
  }
  CHECK(f.hash(12).status() == mvcc::errors::compacted());
  CHECK(f.hash(16).status() == mvcc::errors::future_revision());
}

TEST_CASE("hash: below revision 0, which may be asked for, there is nothing") {
  FakeLeases leases;
  Fixture f(&leases);
  fill_to_10(f, leases);
  constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();
  for (const int64_t revision : {int64_t{-1}, int64_t{-2}, kLowest + 1, kLowest}) {
    CAPTURE(revision);
    CHECK(*f.hash(revision) == mvcc::KeyHash{1084519789, -1, revision});  // of the bucket's name alone
  }
  CHECK(f.hash(std::numeric_limits<int64_t>::max()).status() == mvcc::errors::future_revision());
}

TEST_CASE("hash: a compaction leaves the hash that HashKV had there, with the compact revision before it") {
  FakeLeases leases;
  Fixture f(&leases);
  fill_to_10(f, leases);
  const mvcc::KeyHash at_6 = *f.hash(6);
  f.compact(6);
  REQUIRE(f.store->hashes().find(6) != nullptr);
  CHECK(*f.store->hashes().find(6) == at_6);
  const mvcc::KeyHash at_9 = *f.hash(9);
  CHECK(at_9.compact_revision == 6);
  f.compact(9);
  CHECK(*f.store->hashes().find(9) == at_9);
  CHECK(f.store->hashes().find(8) == nullptr);
}

TEST_CASE("hash: a compaction that another one overtook is not remembered, nor the one that overtook it") {
  Fixture f;
  for (int i = 0; i < 20; ++i) f.put("k" + std::to_string(i % 3), "v");
  REQUIRE(f.store->compact(5).ok());
  REQUIRE(f.store->compact(9).ok());
  f.run_compactions();
  CHECK(f.store->finished_compact_revision() == 9);
  CHECK(f.store->hashes().find(9) == nullptr);
  f.compact(12);
  REQUIRE(f.store->hashes().find(12) != nullptr);
  CHECK(f.store->hashes().find(12)->compact_revision == 9);
}

TEST_CASE("hash: over more keys than a step takes, the same before and after the rows are gone") {
  Fixture f;
  constexpr size_t kKeys = 2 * mvcc::CompactionTask::kIndexStep + 100;
  static_assert(kKeys > 2 * mvcc::HashTask::kIndexStep);
  for (int version = 0; version < 2; ++version) {
    for (size_t i = 0; i < kKeys; ++i) f.put("key" + std::to_string(100000 + i), std::to_string(version));
  }
  const mvcc::KeyHash before = *f.hash(f.store->current_revision());
  f.compact(f.store->current_revision());
  CHECK(f.rows().size() == kKeys);
  CHECK(f.store->index().versions() == kKeys);
  REQUIRE(f.store->hashes().find(before.revision) != nullptr);
  CHECK(*f.store->hashes().find(before.revision) == before);
  // A compaction that is only noted yet: its rows are there, and are not counted.
  for (size_t i = 0; i < kKeys; ++i) f.put("key" + std::to_string(100000 + i), "2");
  REQUIRE(f.store->compact(f.store->current_revision()).ok());
  const mvcc::KeyHash noted = *f.hash(f.store->current_revision());
  f.run_compactions();
  CHECK(*f.hash(f.store->current_revision()) == noted);
}

TEST_CASE("hash: only the ten newest compactions are remembered, none of an interrupted one") {
  Fixture f;
  for (int i = 0; i < 14; ++i) {
    f.put("k", std::to_string(i));
    f.compact(f.store->current_revision());
  }
  REQUIRE(f.store->hashes().all().size() == mvcc::HashCache::kHashesMax);
  CHECK(f.store->hashes().all().front().revision == 6);
  CHECK(f.store->hashes().all().back().revision == 15);
  f.put("k", "x");
  f.put("k", "y");
  REQUIRE(f.store->compact(16).ok());
  f.reopen();  // The task never ran.
  CHECK(f.store->compact_revision() == 16);
  CHECK(f.store->finished_compact_revision() == 15);
  f.run_compactions();
  CHECK(f.store->finished_compact_revision() == 16);
  CHECK(f.store->hashes().all().empty());
  f.compact(17);
  CHECK(f.store->hashes().all().size() == 1);
}
