// The bbolt writer and reader against each other, against a model, and against a file of real etcd; damage is noticed.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/rng.h"
#include "io/mem_disk.h"
#include "io/real_disk.h"
#include "storage/bolt/buckets.h"
#include "storage/bolt/format.h"
#include "storage/bolt/reader.h"
#include "storage/bolt/writer.h"
#include "storage/keyspace.h"
#include "storage/memory_engine.h"

using base::Code;
using base::Result;
using base::Status;
using storage::bolt::Reader;
using storage::bolt::Rows;
using storage::bolt::Writer;

namespace {

using Bucket = std::map<std::string, std::string>;
using Database = std::map<std::string, Bucket>;

class ModelRows final : public Rows {
 public:
  explicit ModelRows(const Database& database) : bucket_(database.begin()), end_(database.end()) {
    if (bucket_ != end_) row_ = bucket_->second.begin();
  }
  bool next() override {
    if (begun_ && bucket_ != end_) ++row_;
    begun_ = true;
    while (bucket_ != end_ && row_ == bucket_->second.end()) {
      if (++bucket_ != end_) row_ = bucket_->second.begin();
    }
    return bucket_ != end_;
  }
  std::string_view bucket() const override { return bucket_->first; }
  std::string_view key() const override { return row_->first; }
  std::string_view value() const override { return row_->second; }
  const Status& status() const override { return status_; }

 private:
  Database::const_iterator bucket_, end_;
  Bucket::const_iterator row_;
  bool begun_ = false;
  Status status_;
};

std::vector<std::string> names_of(const Database& database) {
  std::vector<std::string> names;
  for (const auto& [name, rows] : database) names.push_back(name);
  return names;
}

struct Written {
  std::string bytes;
  size_t held_max = 0;  // bytes that one read() gave
};

Result<Written> write(const Database& database, size_t step = 10'000) {
  Writer writer(names_of(database), [&] { return std::make_unique<ModelRows>(database); });
  for (;;) {
    const Result<bool> done = writer.measure(step);
    if (!done.ok()) return done.status();
    if (*done) break;
  }
  Written out;
  for (bool more = true; more;) {
    const size_t before = out.bytes.size();
    const Result<bool> got = writer.read(&out.bytes, step);
    if (!got.ok()) return got.status();
    more = *got;
    CHECK(out.bytes.size() % storage::bolt::kWritePageBytes == 0);
    out.held_max = std::max(out.held_max, out.bytes.size() - before);
  }
  CHECK(out.bytes.size() == writer.size());
  return out;
}

Result<std::unique_ptr<Reader>> open(const std::string& bytes) {
  static io::MemDisk disk;
  auto file = disk.open("db", io::OpenMode::kTruncate);
  REQUIRE(file.ok());
  REQUIRE((*file)->write_at(0, bytes).ok());
  return Reader::open(std::move(*file));
}

Result<Database> read(const std::string& bytes) {
  auto reader = open(bytes);
  if (!reader.ok()) return reader.status();
  Database database;
  for (const std::string& name : (*reader)->buckets()) database[name];
  while ((*reader)->next()) {
    database[std::string((*reader)->bucket())][std::string((*reader)->key())] = (*reader)->value();
  }
  if (!(*reader)->status().ok()) return (*reader)->status();
  return database;
}

// What bbolt needs beyond what a reader needs: pages one behind the other, each branch with two children at least.
void check_pages(const std::string& bytes) {
  const size_t page_bytes = storage::bolt::kWritePageBytes;
  for (size_t id = 2; id * page_bytes < bytes.size();) {
    const char* page = bytes.data() + id * page_bytes;
    CAPTURE(id);
    REQUIRE(base::load_le64(page) == id);
    const auto flags = static_cast<uint8_t>(page[8]);
    const auto count = static_cast<uint8_t>(page[10]) + 256 * static_cast<uint8_t>(page[11]);
    REQUIRE((flags == storage::bolt::kLeafPage || flags == storage::bolt::kBranchPage));
    REQUIRE(count >= (flags == storage::bolt::kBranchPage ? 2 : 1));
    id += 1 + base::load_le32(page + 12);
  }
}

std::string revision(uint64_t main) {
  std::string key;
  base::append_be64(key, main);
  key += '_';
  base::append_be64(key, 0);
  return key;
}

Database empty_database() {
  Database database;
  for (const std::string& name : storage::bolt::bucket_names()) database[name];
  return database;
}

}  // namespace

TEST_CASE("bolt: what is written is read back, at every size at which the tree's shape changes") {
  struct Row {
    const char* rule;
    size_t rows, value_bytes, key_bytes;
  };
  for (const Row& row :
       {Row{"no row: inline", 0, 0, 17}, Row{"one empty value", 1, 0, 17},
        Row{"the largest inline leaf", 1, 1024 - 16 - 16 - 17, 17},
        Row{"the smallest leaf page", 1, 1024 - 16 - 16 - 17 + 1, 17}, Row{"a full page", 1, 4096 - 16 - 16 - 17, 17},
        Row{"the smallest overflow", 1, 4096 - 16 - 16 - 17 + 1, 17}, Row{"a row of many pages", 1, 1'500'000, 17},
        Row{"two leaves", 3, 2000, 17}, Row{"two rows on three pages", 2, 5000, 17}, Row{"and one alone", 3, 5000, 17},
        Row{"overflow rows only", 50, 5000, 17}, Row{"many small rows", 20'000, 10, 17},
        Row{"long keys: branches of few children", 300, 3, 2000}, Row{"keys as long as pages: oversize branches", 40, 3, 5000},
        Row{"the longest keys", 9, 3, storage::bolt::kKeyBytesMax}}) {
    CAPTURE(row.rule);
    Database database = empty_database();
    for (size_t i = 0; i < row.rows; ++i) {
      std::string key = revision(i + 2);
      key.resize(row.key_bytes, 'x');
      database["key"][key] = std::string(row.value_bytes, static_cast<char>('a' + i % 26));
    }
    const Result<Written> written = write(database);
    REQUIRE(written.ok());
    check_pages(written->bytes);
    const Result<Database> again = read(written->bytes);
    REQUIRE(again.ok());
    CHECK(*again == database);
  }
}

TEST_CASE("bolt: any number of leaves gives branches of two children at least") {
  // About 240 children fit a branch: the numbers around its multiples are where the last branch would be left with one.
  for (size_t leaves = 1; leaves <= 520; ++leaves) {
    CAPTURE(leaves);
    Database database = empty_database();
    for (size_t i = 0; i < leaves * 2; ++i) database["lease"][revision(i)] = std::string(1900, 'v');
    const Result<Written> written = write(database);
    REQUIRE(written.ok());
    check_pages(written->bytes);
    const Result<Database> again = read(written->bytes);
    REQUIRE(again.ok());
    CHECK(*again == database);
  }
}

TEST_CASE("bolt: random databases, and memory does not grow with them") {
  base::Rng rng(7);
  for (int round = 0; round < 30; ++round) {
    CAPTURE(round);
    Database database = empty_database();
    size_t largest = 0;
    for (auto& [name, rows] : database) {
      const uint64_t count = rng.below(3) == 0 ? 0 : rng.below(rng.below(4) == 0 ? 3000 : 20);
      for (uint64_t i = 0; i < count; ++i) {
        std::string key(1 + rng.below(rng.below(20) == 0 ? 3000 : 30), '\0');
        for (char& c : key) c = static_cast<char>(rng.below(256));
        std::string value(rng.below(rng.below(50) == 0 ? 40'000 : 300), static_cast<char>(rng.below(256)));
        largest = std::max(largest, value.size());
        rows[key] = std::move(value);
      }
    }
    const Result<Written> written = write(database, 20'000);
    REQUIRE(written.ok());
    check_pages(written->bytes);
    // Two more rows and the branches that they close, but not the database.
    CHECK(written->held_max <= 20'000 + 2 * largest + 64 * 1024);
    const Result<Database> again = read(written->bytes);
    REQUIRE(again.ok());
    CHECK(*again == database);
  }
}

TEST_CASE("bolt: rows that bbolt cannot hold are refused, and so is a second pass that differs") {
  Database database = empty_database();
  database["key"][std::string(storage::bolt::kKeyBytesMax + 1, 'k')] = "";
  CHECK(write(database).status().code() == Code::kInternal);

  Database known = empty_database(), more = known;
  more["zz"]["key"] = "value";
  Writer unknown(names_of(known), [&] { return std::make_unique<ModelRows>(more); });
  CHECK(unknown.measure(1'000'000).status().code() == Code::kInternal);

  Writer changing(names_of(known), [&] { return std::make_unique<ModelRows>(known); });
  REQUIRE(changing.measure(1'000'000).ok());
  known["key"]["new"] = std::string(10'000, 'n');
  std::string out;
  CHECK(changing.read(&out, 1'000'000).status().code() == Code::kInternal);
}

TEST_CASE("bolt: a cut-off file is noticed wherever it is cut, and the damage is named") {
  Database database = empty_database();
  for (size_t i = 0; i < 400; ++i) database["key"][revision(i)] = std::string(100, 'v');
  const std::string bytes = write(database)->bytes;
  for (size_t size = 0; size < bytes.size(); size += 1000) {
    CAPTURE(size);
    const Result<Database> got = read(bytes.substr(0, size));
    CHECK(got.status().code() == Code::kDataLoss);
  }
  // A trailer, as snapshots have one, is none of its business.
  CHECK(read(bytes + std::string(32, 'h')).ok());
  // The fields of the first leaf's page header and first elements, one byte after the other.
  size_t noticed = 0;
  for (size_t at = 2 * 4096; at < 2 * 4096 + 64; ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    const Result<Database> got = read(damaged);
    if (got.ok()) continue;
    ++noticed;
    CHECK(got.status().code() == Code::kDataLoss);
    CHECK(got.status().text().find("page ") != std::string_view::npos);
  }
  CHECK(noticed > 40);
}

TEST_CASE("bolt: one damaged meta does no harm, two do") {
  Database database = empty_database();
  database["meta"]["term"] = "12345678";
  const std::string bytes = write(database)->bytes;
  std::string damaged = bytes;
  damaged[20] = static_cast<char>(damaged[20] ^ 1);
  const Result<Database> one = read(damaged);
  REQUIRE(one.ok());
  CHECK(*one == database);
  damaged[4096 + 20] = static_cast<char>(damaged[4096 + 20] ^ 1);
  CHECK(read(damaged).status().code() == Code::kDataLoss);
}

TEST_CASE("bolt: pages that point in a circle, and pages used twice, end the walk") {
  Database database = empty_database();
  for (size_t i = 0; i < 400; ++i) database["key"][revision(i)] = std::string(100, 'v');
  const std::string bytes = write(database)->bytes;
  // Every branch's children in turn point at the branch itself, at page 2, and beyond the end.
  size_t branches = 0;
  for (size_t id = 2; id * 4096 < bytes.size(); ++id) {
    if (bytes[id * 4096 + 8] != storage::bolt::kBranchPage) continue;
    ++branches;
    for (const uint64_t target : {static_cast<uint64_t>(id), uint64_t{2}, uint64_t{0}, uint64_t{1} << 60}) {
      std::string damaged = bytes;
      base::store_le64(damaged.data() + id * 4096 + 16 + 16 + 8, target);  // the second child
      CHECK(read(damaged).status().code() == Code::kDataLoss);
    }
  }
  CHECK(branches > 0);
}

TEST_CASE("bolt: a store's rows go out through a view and come back through an engine") {
  storage::MemoryEngine engine;
  storage::Backend backend(engine);
  base::Rng rng(3);
  for (const storage::Bucket bucket : storage::kBuckets) {
    if (bucket == storage::Bucket::kAlarm) continue;  // stays empty
    for (uint64_t i = 0; i < 200; ++i) {
      storage::put_row(backend, bucket, revision(i), std::string(rng.below(5000), static_cast<char>('a' + i % 26)));
      if (i == 100) REQUIRE(backend.commit_now().ok());
    }
  }
  const std::shared_ptr<const storage::View> view = backend.view();
  Writer writer(storage::bolt::bucket_names(), [&] { return storage::bolt::rows_of(*view); });
  REQUIRE(*writer.measure(1u << 30));
  std::string bytes;
  REQUIRE(!*writer.read(&bytes, 1u << 30));

  auto reader = open(bytes);
  REQUIRE(reader.ok());
  CHECK((*reader)->buckets() == storage::bolt::bucket_names());
  CHECK((*reader)->size_bytes() == bytes.size());
  storage::MemoryEngine copy;
  const auto imported = storage::bolt::import_rows(**reader, copy);
  REQUIRE(imported.ok());
  CHECK(imported->rows == 9 * 200);
  CHECK(imported->skipped == 0);
  const auto left = view->iterate(), right = copy.iterate();
  left->seek("a");
  right->seek("a");
  for (; left->valid() && right->valid(); left->next(), right->next()) {
    REQUIRE(left->key() == right->key());
    REQUIRE(left->value() == right->value());
  }
  CHECK(!left->valid());
  CHECK(!right->valid());
}

TEST_CASE("bolt: a row that is in no bucket stops the walk") {
  storage::MemoryEngine engine;
  storage::Backend backend(engine);
  backend.put("z", "");
  const std::shared_ptr<const storage::View> view = backend.view();
  const std::unique_ptr<Rows> rows = storage::bolt::rows_of(*view);
  CHECK(!rows->next());
  CHECK(rows->status().code() == Code::kDataLoss);
  CHECK(!rows->next());
}

TEST_CASE("bolt: the hash covers names of empty buckets, and the order of what is added") {
  using storage::bolt::DatabaseHash;
  DatabaseHash none({"a", "b"});
  CHECK(none.finish() == 0xe2a22936);  // CRC-32C of "ab"
  DatabaseHash rows({"a", "b", "c"});
  rows.add("b", "1", "2");
  rows.add("b", "3", "4");
  DatabaseHash same({"ab1234c"});
  CHECK(rows.finish() == same.finish());
  CHECK(storage::bolt::left_out_of_hash("meta", "term"));
  CHECK(!storage::bolt::left_out_of_hash("meta", "confState"));
  CHECK(!storage::bolt::left_out_of_hash("key", "term"));
}

// Made by real etcd 3.7.1 and its etcdctl: puts, a deletion, a compaction, a lease, a user and a role, in 57,344 bytes and the
// digest. `etcdutl snapshot status` says of it: hash 1873228512, revision 74, 43 keys, 57344 bytes, version 3.7.0.
TEST_CASE("bolt: a snapshot of real etcd is read, hashed as etcdutl does, imported, and written again") {
  io::RealDisk disk;
  const auto path = std::filesystem::path(__FILE__).parent_path() / "testdata" / "etcd-3.7.1.snapshot";
  auto file = disk.open(path.string(), io::OpenMode::kRead);
  REQUIRE(file.ok());
  auto reader = Reader::open(std::move(*file));
  REQUIRE(reader.ok());
  CHECK((*reader)->buckets() == storage::bolt::bucket_names());
  CHECK((*reader)->size_bytes() == 57344);
  storage::bolt::DatabaseHash hash((*reader)->buckets());
  Database database = empty_database();
  while ((*reader)->next()) {
    hash.add((*reader)->bucket(), (*reader)->key(), (*reader)->value());
    database[std::string((*reader)->bucket())][std::string((*reader)->key())] = (*reader)->value();
  }
  REQUIRE((*reader)->status().ok());
  CHECK(hash.finish() == 1873228512u);
  CHECK(base::load_be64(database["key"].rbegin()->first.data()) == 74);
  CHECK(database["meta"]["storageVersion"] == "3.7.0");
  CHECK(database["cluster"]["clusterVersion"] == "3.7.0");
  CHECK(database["lease"].size() == 1);
  CHECK(database["authUsers"].contains("root"));
  CHECK(database["alarm"].empty());

  const Result<Written> written = write(database);
  REQUIRE(written.ok());
  const Result<Database> again = read(written->bytes);
  REQUIRE(again.ok());
  CHECK(*again == database);

  storage::MemoryEngine engine;
  ModelRows rows(database);
  REQUIRE(storage::bolt::import_rows(rows, engine).ok());
  storage::Backend backend(engine);
  const auto version = storage::read_row(backend, storage::Bucket::kMeta, "storageVersion");
  REQUIRE(version.ok());
  CHECK(version->value_or("") == "3.7.0");
}
