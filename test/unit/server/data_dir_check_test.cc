// A data directory is looked through: a sound one has no problems, each kind of damage is told with its file, and nothing of
// it is changed by looking.
#include "server/data_dir_check.h"

#include <doctest/doctest.h>

#include <functional>

#include "base/log.h"
#include "stopped_data.h"
#include "storage/leveldb_engine.h"
#include "storage/wal/wal.h"

namespace {

using base::Result;
using server::DataDirReport;
using storage::Bucket;
using namespace server::stopped_data;

struct QuietLog {
  QuietLog() : before(base::log::level()) { base::log::set_level(base::log::Level::kError); }
  ~QuietLog() { base::log::set_level(before); }
  const base::log::Level before;
};

bool do_not_wait() { return false; }

DataDirReport check(io::Disk& disk) {
  Result<DataDirReport> report = server::check_data_dir(disk, kDataDir, "", do_not_wait);
  REQUIRE_MESSAGE(report.ok(), report.status().to_string());
  return std::move(*report);
}

std::string all(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

// Alters rows of our store.
void alter(io::Disk& disk, const std::function<void(storage::WriteBatch&)>& change) {
  auto engine = storage::LevelDbEngine::open(disk, kStoreDir);
  REQUIRE(engine.ok());
  storage::WriteBatch batch;
  change(batch);
  REQUIRE((*engine)->write(batch, /*sync=*/true).ok());
}

std::string only_file(io::Disk& disk, const std::string& dir, const std::string& ending) {
  const Result<std::vector<std::string>> names = disk.list(dir);
  REQUIRE(names.ok());
  for (const std::string& name : *names) {
    if (name.ends_with(ending)) return io::join(dir, name);
  }
  FAIL("no file with that ending");
  return "";
}

}  // namespace

TEST_CASE("data dir check: sound directories of both kinds, unchanged by looking") {
  const QuietLog quiet;
  io::MemDisk disk;
  SUBCASE("ours") { make_ours(disk); }
  SUBCASE("of an etcd written in Go") {
    make_ours(disk);  // for its log
    REQUIRE(disk.rename("/data/member", "/data/other").ok());
    make_database(disk);
    const Result<std::vector<std::string>> names = disk.list("/data/other/wal");
    REQUIRE(names.ok());
    for (const std::string& name : *names) {
      Result<std::string> bytes = io::read_file(disk, io::join("/data/other/wal", name), size_t{1} << 30);
      REQUIRE(bytes.ok());
      write_file(disk, io::join(kLogDir, name), *bytes);
    }
    // A database that a restore wrote stands where the log does; this one is ahead of it.
    const DataDirReport report = check(disk);
    CHECK(all(report.problems).find("holds entry 100 but the log ends at") != std::string::npos);
    CHECK(all(report.facts).find("keys: 40 rows, revision 41") != std::string::npos);
    return;
  }
  const auto before = files_of(disk, kDataDir);
  const DataDirReport report = check(disk);
  CHECK(all(report.problems).empty());
  CHECK(all(report.facts).find("keys: 40 rows, revision 41, compacted") != std::string::npos);
  CHECK(all(report.facts).find("log /data/member/wal: snapshot 1,") != std::string::npos);
  CHECK(all(report.facts).find("members: 1, removed 0") != std::string::npos);
  CHECK(files_of(disk, kDataDir) == before);
}

TEST_CASE("data dir check: what cannot be looked at") {
  const QuietLog quiet;
  io::MemDisk disk;
  CHECK(server::check_data_dir(disk, kDataDir, "", do_not_wait).status().text() ==
        "stat /data/member/snap/db: no such file or directory");
  make_ours(disk);
  auto engine = storage::LevelDbEngine::open(disk, kStoreDir);
  REQUIRE(engine.ok());
  CHECK(server::check_data_dir(disk, kDataDir, "", do_not_wait).status().text() == "timeout");
}

TEST_CASE("data dir check: rows that break a promise") {
  const QuietLog quiet;
  struct Row {
    const char* rule;
    std::function<void(storage::WriteBatch&)> change;
    const char* told;
  };
  const auto pair_of = [](int64_t create, int64_t mod, int64_t version) {
    mvccpb::KeyValue pair;
    pair.set_key("one more");
    pair.set_create_revision(create);
    pair.set_mod_revision(mod);
    pair.set_version(version);
    return pair.SerializeAsString();
  };
  const auto put = [](Bucket bucket, const std::string& key, const std::string& value) {
    return [=](storage::WriteBatch& batch) { batch.put(storage::row_key(bucket, key), value); };
  };
  const std::string at50 = revision_key(50);
  for (const Row& row :
       {Row{"no bucket", [](storage::WriteBatch& batch) { batch.put("zrow", "x"); }, "a row of no bucket: 7a726f77"},
        Row{"no revision", put(Bucket::kKey, "short", "x"), "has no revision for a key"},
        Row{"no KeyValue", put(Bucket::kKey, at50, "\xff\xff"), "the row of revision 50/0 is not a KeyValue"},
        Row{"another revision", put(Bucket::kKey, at50, pair_of(49, 49, 1)), "the row of revision 50/0 says revision 49"},
        Row{"created later", put(Bucket::kKey, at50, pair_of(51, 50, 2)), "has create revision 51 and version 2"},
        Row{"ahead of the log", put(Bucket::kMeta, "consistent_index", number(1000)), "holds entry 1000 but the log ends at"},
        Row{"behind the snapshot", put(Bucket::kMeta, "consistent_index", number(0)), "ends at entry 0, before the snapshot"},
        Row{"no number", put(Bucket::kMeta, "term", "x"), "/data/member/store: "},
        Row{"a member that is none", put(Bucket::kMembers, "no id", "{}"), "/data/member/store"}}) {
    CAPTURE(row.rule);
    io::MemDisk disk;
    make_ours(disk);
    alter(disk, row.change);
    const std::string problems = all(check(disk).problems);
    CAPTURE(problems);
    CHECK(problems.find(row.told) != std::string::npos);
  }
}

TEST_CASE("data dir check: damaged files are named") {
  const QuietLog quiet;
  struct Row {
    const char* rule;
    const char* dir;
    const char* ending;
    double part;  // of the file, where a bit flips
  };
  for (const Row& row :
       {Row{"the log", kLogDir, ".wal", 0}, Row{"a table", kStoreDir, ".ldb", 0.3},
        Row{"which tables there are", kStoreDir, "CURRENT", 0.5}, Row{"a snapshot", "/data/member/snap", ".snap", 0.5}}) {
    CAPTURE(row.rule);
    io::MemDisk disk;
    make_ours(disk);
    {
      auto engine = storage::LevelDbEngine::open(disk, kStoreDir);
      REQUIRE(engine.ok());
      REQUIRE((*engine)->compact("", "").ok());  // so that there is a table
    }
    CHECK(all(check(disk).problems).empty());
    const std::string path = only_file(disk, row.dir, row.ending);
    disk.damage_for_test(path, static_cast<uint64_t>(static_cast<double>(disk.stat(path)->size_bytes) * row.part), 4);
    const auto before = files_of(disk, kDataDir);
    const std::string problems = all(check(disk).problems);
    CAPTURE(problems);
    CHECK(problems.find(row.ending == std::string("CURRENT") ? "/data/member/store" : path) != std::string::npos);
    CHECK(files_of(disk, kDataDir) == before);
  }
}

TEST_CASE("data dir check: a missing segment and an unfinished end of the log") {
  const QuietLog quiet;
  io::MemDisk disk;
  make_ours(disk);
  const std::string segment = only_file(disk, kLogDir, ".wal");
  SUBCASE("gone") {
    REQUIRE(disk.unlink(segment).ok());
    CHECK(all(check(disk).problems).find("/data/member/wal") != std::string::npos);
  }
  SUBCASE("a torn record is a fact") {
    const Result<std::string> bytes = io::read_file(disk, segment, size_t{1} << 30);
    REQUIRE(bytes.ok());
    const size_t end = (bytes->find_last_not_of('\0') + 8) / 8 * 8;
    auto file = disk.open(segment, io::OpenMode::kReadWrite);
    REQUIRE(file.ok());
    std::string head;
    base::append_le64(head, 5000);
    REQUIRE((*file)->write_at(end, head).ok());
    const DataDirReport report = check(disk);
    CHECK(all(report.problems).empty());
    CHECK(all(report.facts).find("bytes of a torn record at the end") != std::string::npos);
  }
}
