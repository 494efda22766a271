// The store of a member that does not run, of either kind: what is read, changed, rewritten, and who is kept out meanwhile.
#include "server/stopped_member.h"

#include <doctest/doctest.h>

#include "base/log.h"
#include "stopped_data.h"
#include "storage/wal/wal.h"

namespace {

using base::Code;
using base::Result;
using base::Status;
using server::StoppedMember;
using namespace server::stopped_data;

struct QuietLog {
  QuietLog() : before(base::log::level()) { base::log::set_level(base::log::Level::kError); }
  ~QuietLog() { base::log::set_level(before); }
  const base::log::Level before;
};

bool do_not_wait() { return false; }

std::unique_ptr<StoppedMember> open(io::Disk& disk) {
  Result<std::unique_ptr<StoppedMember>> member = StoppedMember::open(disk, kDataDir, do_not_wait);
  REQUIRE_MESSAGE(member.ok(), member.status().to_string());
  return std::move(*member);
}

std::string version_of(io::Disk& disk) {
  const Result<std::optional<std::string>> row = open(disk)->meta("storageVersion");
  REQUIRE(row.ok());
  return row->value_or("none");
}

uint32_t hash_of(io::Disk& disk, int64_t revision = 0) {
  const Result<mvcc::KeyHash> hash = server::hash_of_file(disk, kDataDir, revision, do_not_wait);
  REQUIRE_MESSAGE(hash.ok(), hash.status().to_string());
  return hash->hash;
}

}  // namespace

TEST_CASE("stopped member: nothing there, or nothing that is a store") {
  io::MemDisk disk;
  CHECK(StoppedMember::open(disk, kDataDir, do_not_wait).status().text() ==
        "stat /data/member/snap/db: no such file or directory");
  write_file(disk, "/data/member/snap/db", "");
  CHECK(open(disk)->meta("term").status().code() == Code::kDataLoss);
}

TEST_CASE("stopped member: both kinds hold, change and keep the same") {
  const QuietLog quiet;
  io::MemDisk ours, database;
  make_ours(ours);
  make_database(database);
  CHECK_FALSE(open(ours)->is_database());
  CHECK(open(database)->is_database());
  const uint32_t hash = hash_of(ours);
  CHECK(hash_of(database) == hash);
  CHECK(hash_of(ours, 10) == hash_of(database, 10));
  CHECK(hash_of(ours, 10) != hash);
  for (io::MemDisk* disk : {&ours, &database}) {
    CHECK(version_of(*disk) == "3.7.0");
    CHECK(*open(*disk)->meta("no such row") == std::nullopt);
    REQUIRE(open(*disk)->set_storage_version("3.6.0").ok());
    CHECK(version_of(*disk) == "3.6.0");
    REQUIRE(open(*disk)->set_storage_version("").ok());
    CHECK(version_of(*disk) == "none");
    REQUIRE(open(*disk)->set_storage_version("3.7.0").ok());
    CHECK(version_of(*disk) == "3.7.0");
    REQUIRE(open(*disk)->defragment().ok());
    CHECK(version_of(*disk) == "3.7.0");
    CHECK(hash_of(*disk) == hash);
  }
  CHECK(io::read_file(database, "/data/member/snap/db", 1 << 24).value() == database_of(content()));
}

TEST_CASE("stopped member: hashes of revisions that there are not") {
  const QuietLog quiet;
  io::MemDisk disk;
  make_ours(disk);
  const auto refusal = [&](int64_t revision) {
    return std::string(server::hash_of_file(disk, kDataDir, revision, do_not_wait).status().text());
  };
  CHECK(refusal(2 + kKeys) == "mvcc: required revision is a future revision");
  CHECK(server::hash_of_file(disk, "/nowhere", 0, do_not_wait).status().text() == "stat /nowhere: no such file or directory");
}

TEST_CASE("stopped member: a server that runs is waited for, and kept out while it is open") {
  const QuietLog quiet;
  io::MemDisk disk;
  SUBCASE("ours") {
    make_ours(disk);
    std::unique_ptr<StoppedMember> first = open(disk);
    CHECK(StoppedMember::open(disk, kDataDir, do_not_wait).status().text() == "timeout");
    int tries = 0;
    const auto wait = [&] {
      if (++tries == 3) first.reset();
      return true;
    };
    CHECK(StoppedMember::open(disk, kDataDir, wait).ok());
    CHECK(tries == 3);
  }
  SUBCASE("an etcd written in Go locks the newest segment of its log") {
    make_database(disk);
    auto log = storage::Wal::create(disk, kLogDir, "meta");
    REQUIRE(log.ok());
    CHECK(StoppedMember::open(disk, kDataDir, do_not_wait).status().text() == "timeout");
    log->reset();
    const std::unique_ptr<StoppedMember> member = open(disk);
    CHECK_FALSE(storage::Wal::open(disk, kLogDir, base::Index(0), base::Term(0)).ok());
  }
}

TEST_CASE("stopped member: a database that cannot be rewritten stays as it was") {
  const QuietLog quiet;
  io::MemDisk disk;
  make_database(disk);
  const auto before = files_of(disk, "/data");
  uint64_t used = 0;
  for (const auto& [path, bytes] : before) used += bytes.size();
  const std::unique_ptr<StoppedMember> member = open(disk);
  disk.set_capacity(used + 4096);
  CHECK(member->defragment().code() == Code::kResourceExhausted);
  CHECK(member->set_storage_version("3.6.0").code() == Code::kResourceExhausted);
  CHECK(files_of(disk, "/data") == before);
  disk.set_capacity(io::MemDisk::kDefaultCapacityBytes);
  CHECK(member->set_storage_version("3.6.0").ok());
}
