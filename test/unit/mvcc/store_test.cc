// Events, recovery from rows (ours and etcd's), compactions in steps, hot values.
#include "fixture.h"
#include "mvcc/range_reader.h"
#include "mvcc/range_stream.h"

using namespace mvcc_test;

namespace {

mvccpb::KeyValue pair_of(const mvcc::PairBytes& bytes) {
  mvccpb::KeyValue pair;
  REQUIRE(bytes != nullptr);
  REQUIRE(pair.ParseFromString(*bytes));
  return pair;
}

// Writes down what it hears: "4: put a=2 (was 3/0) del b (was 2/1)".
class Listener final : public mvcc::Observer {
 public:
  void on_commit(int64_t main, std::span<const mvcc::Event> events) override {
    std::string line = std::to_string(main) + ":";
    for (const mvcc::Event& event : events) {
      const mvccpb::KeyValue pair = pair_of(event.pair);
      CHECK(pair.key() == event.key);
      CHECK(pair.mod_revision() == main);
      CHECK(pair.create_revision() == event.create_revision);
      line += (event.is_delete ? " del " : " put ") + pair.key() + (event.is_delete ? "" : "=" + pair.value());
      if (event.prev.main != 0) {
        line += " (was " + std::to_string(event.prev.main) + "/" + std::to_string(event.prev.sub) + ")";
        const mvcc::PairBytes prev = event.prev_pair != nullptr ? event.prev_pair : store->load_pair(event.prev);
        CHECK(pair_of(prev).mod_revision() == event.prev.main);
      }
    }
    lines.push_back(line);
  }
  void on_compact(int64_t revision) override { lines.push_back("compact " + std::to_string(revision)); }

  const mvcc::Store* store = nullptr;
  std::vector<std::string> lines;
};

void put_raw_row(storage::Backend& backend, mvcc::Revision revision, bool tombstone, std::string_view value) {
  backend.put(mvcc::RowKey(revision, tombstone).view(), value);
}

}  // namespace

TEST_CASE("store: each transaction is told once, with what it replaced") {
  for (size_t hot_bytes : {size_t{0}, size_t{1} << 20}) {
    CAPTURE(hot_bytes);
    Listener listener;
    mvcc::Options options;
    options.hot_bytes_max = hot_bytes;
    Fixture f(nullptr, &listener, options);
    listener.store = f.store.get();
    f.put("a", "1");
    {
      mvcc::Store::WriteTxn write(*f.store);
      write.put("b", "x", base::kNoLease);
      write.put("a", "2", base::kNoLease);
      CHECK(write.revision() == 3);
      write.commit();
    }
    CHECK(f.erase("a", "z") == 2);
    CHECK(f.erase("a", "z") == 0);
    REQUIRE(f.store->compact(3).ok());
    f.put("a", "3");
    CHECK(listener.lines == std::vector<std::string>{"2: put a=1", "3: put b=x put a=2 (was 2/0)",
                                                     "4: del a (was 3/1) del b (was 3/0)", "compact 3", "5: put a=3"});
  }
}

TEST_CASE("store: an empty one, and revisions that only writes move") {
  Fixture f;
  CHECK(f.store->current_revision() == 1);
  CHECK(f.store->compact_revision() == -1);
  CHECK(f.store->finished_compact_revision() == -1);
  CHECK(f.erase("a") == 0);
  CHECK(f.store->current_revision() == 1);
  CHECK(f.put("a", "1") == 2);
  f.reopen();
  CHECK(f.store->current_revision() == 2);
  CHECK(f.store->keys() == 1);
}

TEST_CASE("store: reads rows as etcd writes them") {
  Fixture f;
  auto& backend = *f.backend;
  // A key whose beginning was compacted; a tombstone left alone; the row that restore --bump-revision leaves; two forms at
  // once.
  put_raw_row(backend, {7, 0}, false, wire::encode(wire::KeyValue{"a", 3, 7, 4, "v", 0}));
  put_raw_row(backend, {8, 0}, true, wire::encode(wire::KeyValue{"b", 0, 0, 0, {}, 0}));
  put_raw_row(backend, {9, 0}, false, wire::encode(wire::KeyValue{"b", 9, 9, 1, "w", 0}));
  put_raw_row(backend, {9, 1}, true, wire::encode(wire::KeyValue{"a", 0, 0, 0, {}, 0}));
  put_raw_row(backend, {1'000'000'009, 0}, false, "");
  storage::put_row(backend, storage::Bucket::kMeta, "finishedCompactRev", mvcc::RowKey({8, 0}, false).in_bucket());
  storage::put_row(backend, storage::Bucket::kMeta, "scheduledCompactRev", mvcc::RowKey({8, 0}, false).in_bucket());
  f.reopen();
  CHECK(f.store->current_revision() == 1'000'000'009);
  CHECK(f.store->compact_revision() == 8);
  CHECK(!f.store->compaction_waiting());
  etcdserverpb::RangeRequest request;
  request.set_key(std::string(1, '\0'));
  request.set_range_end(std::string(1, '\0'));
  request.set_revision(8);
  CHECK(
      f.range(request)->ShortDebugString() ==
      "header { revision: 1000000009 } kvs { key: \"a\" create_revision: 3 mod_revision: 7 version: 4 value: \"v\" } count: 1");
  request.set_revision(0);
  CHECK(
      f.range(request)->ShortDebugString() ==
      "header { revision: 1000000009 } kvs { key: \"b\" create_revision: 9 mod_revision: 9 version: 1 value: \"w\" } count: 1");
  CHECK(f.put("a", "again") == 1'000'000'010);
}

TEST_CASE("store: the current revision is never below a compaction's, though all rows are gone") {
  Fixture f;
  f.put("a", "1");
  f.erase("a");
  f.put("b", "1");
  f.erase("b");
  f.erase("nothing");
  f.compact(5);
  CHECK(f.rows().size() == 1);  // the tombstone of 5
  storage::erase_row(*f.backend, storage::Bucket::kKey, mvcc::RowKey({5, 0}, true).in_bucket());
  f.reopen();
  CHECK(f.store->current_revision() == 5);
}

TEST_CASE("store: damaged rows stop the start and are named") {
  struct Row {
    const char* rule;
    std::string key;
    std::string value;
  };
  for (const Row& row :
       {Row{"a key that is no revision", "f12345678-12345678", ""}, Row{"a short key", std::string("f\0\0\0\0\0\0\0\2", 9), ""},
        Row{"a value that is no pair", std::string(mvcc::RowKey({2, 0}, false).view()), "\xff"}}) {
    CAPTURE(row.rule);
    storage::MemoryEngine engine;
    storage::Backend backend(engine);
    backend.put(row.key, row.value);
    mvcc::Store store(backend);
    const Status status = store.recover();
    CHECK(status.code() == Code::kDataLoss);
    CHECK(status.text().find(base::hex_bytes(row.key)) != std::string_view::npos);
  }
}

TEST_CASE("store: leases come back from the newest rows") {
  FakeLeases leases;
  leases.keys[1];
  leases.keys[2];
  Fixture f(&leases);
  f.put("a", "x", 1);
  f.put("a", "x", 2);
  f.put("b", "x", 1);
  f.put("b", "x");
  f.put("c", "x", 1);
  f.erase("c");
  f.put("d", "x", 1);
  const auto before = leases.keys;
  for (auto& [id, keys] : leases.keys) keys.clear();
  f.reopen();
  CHECK(leases.keys == before);
  CHECK(leases.keys[1] == std::set<std::string>{"d"});
  CHECK(leases.keys[2] == std::set<std::string>{"a"});
}

TEST_CASE("store: a compaction in steps, with writes and a newer compaction in between") {
  Fixture f;
  for (int i = 0; i < 3 * static_cast<int>(mvcc::CompactionTask::kIndexStep); ++i) f.put("key" + std::to_string(i), "v");
  const int64_t first = f.store->current_revision();
  for (int i = 0; i < 500; ++i) f.put("key" + std::to_string(i), "w");
  REQUIRE(f.store->compact(first + 100).ok());
  auto task = f.store->next_compaction();
  REQUIRE(task != nullptr);
  CHECK(f.store->next_compaction() == nullptr);
  int steps = 0;
  REQUIRE(!task->step());
  REQUIRE(f.store->compact(first + 300).ok());
  REQUIRE(f.store->compact(first + 400).ok());
  CHECK(f.store->next_compaction() == nullptr);
  for (;;) {
    if (task->wants_read()) task->read();
    ++steps;
    f.put("other", std::to_string(steps));
    if (task->step()) break;
  }
  CHECK(steps > 5);
  CHECK(task->erased() == 100);
  CHECK(f.store->finished_compact_revision() == first + 100);
  task = f.store->next_compaction();
  REQUIRE(task != nullptr);
  CHECK(task->revision() == first + 400);
  Fixture::run(*task);
  CHECK(task->erased() == 300);
  CHECK(f.store->next_compaction() == nullptr);
  CHECK(f.store->statistics().compacted_versions == 400);
  f.store->index().verify_for_test();
}

TEST_CASE("store: hot values stay below their bound and are never stale") {
  mvcc::Options options;
  options.hot_bytes_max = 8192;
  Fixture f(nullptr, nullptr, options);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 200; ++i)
      f.put("key" + std::to_string(i), std::string(static_cast<size_t>(10 + i % 50), 'a' + static_cast<char>(round)));
    CHECK(f.store->hot_bytes() <= options.hot_bytes_max);
    CHECK(f.store->hot_bytes() > options.hot_bytes_max / 2);
  }
  const auto get = [&](const std::string& key) {
    const mvcc::KeyRecord* record = f.store->index().find(key);
    return pair_of(f.store->load(*record, record->newest)).value();
  };
  for (int i = 0; i < 200; ++i) CHECK(get("key" + std::to_string(i)) == std::string(static_cast<size_t>(10 + i % 50), 'c'));
  // What is asked for again and again stays.
  const uint64_t misses = f.store->statistics().hot_misses;
  for (int i = 0; i < 100; ++i) {
    get("key7");
    f.put("other" + std::to_string(i), "v");
  }
  CHECK(f.store->statistics().hot_misses <= misses + 1);
  // Too big to keep.
  f.put("big", std::string(options.hot_bytes_max / mvcc::HotValues::kPairShareMin, 'x'));
  CHECK(get("big").size() == options.hot_bytes_max / mvcc::HotValues::kPairShareMin);
  CHECK(f.store->hot_bytes() <= options.hot_bytes_max);
}

TEST_CASE("store: a big answer comes from a pinned reader in bounded pieces") {
  Fixture f;
  for (int i = 0; i < 3000; ++i) f.put("key" + std::to_string(i), std::string(100, 'v'));
  etcdserverpb::RangeRequest request;
  request.set_key("key");
  request.set_range_end("kez");
  const etcdserverpb::RangeResponse expected = *f.range(request);
  auto answer = mvcc::open_range(*f.store, request.SerializeAsString());
  REQUIRE(answer.ok());
  REQUIRE(answer->reader != nullptr);
  REQUIRE(*answer->reader->measure());  // From the counts of the index: nothing is walked.
  f.erase("key", "kez");
  f.compact(f.store->current_revision());
  std::string fields;
  size_t pieces = 0;
  for (;; ++pieces) {
    const size_t before = fields.size();
    const Result<bool> more = answer->reader->read(&fields, 4096);
    REQUIRE(more.ok());
    CHECK(fields.size() - before <= 4096 + 200);
    if (!*more) break;
  }
  CHECK(pieces > 50);
  CHECK(fields.size() == answer->reader->size());
  answer->reply.fields = fields;
  CHECK(parse_reply<etcdserverpb::RangeResponse>(answer->reply).ShortDebugString() == expected.ShortDebugString());
  // An old revision is measured in slices.
  for (int i = 0; i < 9000; ++i) f.put("key" + std::to_string(i), std::string(50, 'w'));
  request.set_revision(f.store->current_revision());
  f.put("key0", "");
  auto old = mvcc::open_range(*f.store, request.SerializeAsString());
  REQUIRE(old->reader != nullptr);
  CHECK(!*old->reader->measure());
  while (!*old->reader->measure()) {
  }
  CHECK(old->reader->count() == 9000);
}

TEST_CASE("store: a stream of ranges ends when its revision is compacted") {
  Fixture f;
  for (int i = 0; i < 100; ++i) f.put("key" + std::to_string(i), "v");
  etcdserverpb::RangeRequest request;
  request.set_key("key");
  request.set_range_end("kez");
  const std::string bytes = request.SerializeAsString();
  wire::RangeRequest parsed;
  REQUIRE(wire::parse(bytes, parsed));
  mvcc::RangeStream stream(*f.store, parsed, 1 << 20);
  std::string message;
  REQUIRE(*stream.next({}, &message));
  etcdserverpb::RangeStreamResponse chunk;
  REQUIRE(chunk.ParseFromString(message));
  CHECK(chunk.range_response().kvs_size() == 10);
  message.clear();
  REQUIRE(*stream.next({}, &message));
  REQUIRE(chunk.ParseFromString(message));
  CHECK(chunk.range_response().kvs_size() == 20);
  f.put("other", "v");
  REQUIRE(f.store->compact(f.store->current_revision()).ok());
  CHECK(stream.next({}, &message).status() == mvcc::errors::compacted());
}

TEST_CASE("store: a stream of ranges ends at its limit, however its chunks grew, and counts what is left") {
  Fixture f;
  for (int i = 0; i < 100; ++i) f.put("key" + std::to_string(i), "v");
  for (const int limit : {1, 10, 11, 29, 30, 31, 99, 100, 101, 0}) {
    CAPTURE(limit);
    etcdserverpb::RangeRequest request;
    request.set_key("key");
    request.set_range_end("kez");
    request.set_limit(limit);
    const std::string bytes = request.SerializeAsString();
    wire::RangeRequest parsed;
    REQUIRE(wire::parse(bytes, parsed));
    mvcc::RangeStream stream(*f.store, parsed, 1 << 20);
    int pairs = 0;
    etcdserverpb::RangeStreamResponse chunk;
    for (bool more = true; more;) {
      std::string message;
      more = *stream.next({}, &message);
      REQUIRE(chunk.ParseFromString(message));
      pairs += chunk.range_response().kvs_size();
    }
    CHECK(pairs == (limit == 0 ? 100 : std::min(limit, 100)));
    CHECK(chunk.range_response().more() == (limit > 0 && limit < 100));
    CHECK(chunk.range_response().count() == 100);
  }
}

TEST_CASE("store: an image in its place ends slow readers and forgets the compaction that was to come") {
  Fixture f;
  for (int i = 0; i < 3000; ++i) f.put("key" + std::to_string(i), std::string(100, 'v'));
  auto image = mvcc::StoreImage::read(*f.backend->view());
  REQUIRE(image.ok());
  etcdserverpb::RangeRequest request;
  request.set_key("key");
  request.set_range_end("kez");
  auto answer = mvcc::open_range(*f.store, request.SerializeAsString());
  REQUIRE(answer.ok());
  REQUIRE(answer->reader != nullptr);
  REQUIRE(*answer->reader->measure());
  std::string fields;
  REQUIRE(*answer->reader->read(&fields, 4096));
  f.put("key1", "w");
  REQUIRE(f.store->compact(f.store->current_revision()).ok());
  const auto before = f.store->restart(std::move(*image));
  CHECK(answer->reader->read(&fields, 4096).status().code() == Code::kUnavailable);
  CHECK(f.store->next_compaction() == nullptr);
  CHECK(f.store->compact_revision() == -1);
  CHECK(f.store->current_revision() == 3001);
}
