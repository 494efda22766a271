// A received database takes the place of the store: whatever the moment at which the power fails, the next start ends with
// exactly the rows of the database, or with those of before.
#include "server/snapshot_installer.h"

#include <doctest/doctest.h>

#include <map>

#include "base/bytes.h"
#include "base/rng.h"
#include "io/mem_disk.h"
#include "server/snapshot_receiver.h"
#include "storage/bolt/buckets.h"
#include "storage/bolt/writer.h"
#include "storage/keyspace.h"
#include "storage/leveldb_engine.h"
#include "storage/memory_engine.h"

namespace {

using base::Index;
using base::Status;
using storage::Bucket;
using storage::LevelDbEngine;
using Rows = std::map<std::string, std::string>;

const Index kSnapshotIndex{500};
constexpr uint64_t kRows = 2500, kRowsOfSteps = 8000;  // the latter take more than one step
constexpr const char* kSnapDir = "/d/snap";
constexpr const char* kStoreDir = "/d/store";

std::string number(uint64_t value) {
  std::string out;
  base::append_be64(out, value);
  return out;
}

// Rows about as a store has them: revisions with values, and the index in `meta`, which comes last.
Rows make_rows(base::Rng& rng, uint64_t first, uint64_t count, uint64_t consistent_index) {
  Rows rows;
  for (uint64_t i = 0; i < count; ++i) {
    rows[storage::row_key(Bucket::kKey, number(first + i) + "_" + number(0))] =
        std::string(1500, static_cast<char>('a' + rng.below(26)));
  }
  rows[storage::row_key(Bucket::kMembers, "810ca067da1a30d8")] = "{}";
  rows[storage::row_key(Bucket::kMeta, "consistent_index")] = number(consistent_index);
  rows[storage::row_key(Bucket::kMeta, "term")] = number(consistent_index / 100);
  return rows;
}

Status fill(storage::Engine& engine, const Rows& rows) {
  storage::WriteBatch batch;
  for (const auto& [key, value] : rows) batch.put(key, value);
  return engine.write(batch, /*sync=*/true);
}

Rows read_all(const storage::Engine& engine) {
  Rows out;
  const auto row = engine.iterate();
  for (row->seek(storage::row_key(storage::kBuckets[0], "")); row->valid(); row->next()) {
    out[std::string(row->key())] = std::string(row->value());
  }
  REQUIRE(row->status().ok());
  return out;
}

std::string database_of(const Rows& rows) {
  storage::MemoryEngine engine;
  REQUIRE(fill(engine, rows).ok());
  const storage::View view({}, engine, engine.snapshot());
  storage::bolt::Writer writer(storage::bolt::bucket_names(), [&view] { return storage::bolt::rows_of(view); });
  while (!writer.measure(1u << 20).value()) continue;
  std::string bytes;
  while (writer.read(&bytes, 1u << 20).value()) continue;
  return bytes;
}

std::unique_ptr<LevelDbEngine> open_engine(io::MemDisk& disk) {
  auto engine = LevelDbEngine::open(disk, kStoreDir);
  REQUIRE_MESSAGE(engine.ok(), engine.status().to_string());
  return std::move(*engine);
}

// The whole installation; an error where the power failed.
Status install(storage::Engine& engine, io::MemDisk& disk) {
  server::SnapshotInstaller installer(engine, disk, server::received_database_path(kSnapDir, kSnapshotIndex), kSnapshotIndex);
  for (;;) {
    const base::Result<bool> done = installer.step();
    if (!done.ok()) return done.status();
    if (*done) return {};
  }
}

struct Scene {
  io::MemDisk disk;
  Rows before, after;
};

void set_up(Scene& scene, uint64_t seed, uint64_t rows = kRows) {
  base::Rng rng(seed);
  scene.before = make_rows(rng, 10, rows, 300);
  scene.after = make_rows(rng, 900, rows, kSnapshotIndex.value());
  for (const char* dir : {"/d", kSnapDir, kStoreDir}) REQUIRE(io::make_dirs(scene.disk, dir).ok());
  const std::string path = server::received_database_path(kSnapDir, kSnapshotIndex);
  REQUIRE(io::write_file_durably(scene.disk, path, database_of(scene.after)).ok());
  REQUIRE(fill(*open_engine(scene.disk), scene.before).ok());
}

}  // namespace

TEST_CASE("snapshot installer: the store holds the database's rows, and only those") {
  Scene scene;
  set_up(scene, 1);
  const auto engine = open_engine(scene.disk);
  REQUIRE(install(*engine, scene.disk).ok());
  CHECK(read_all(*engine) == scene.after);
  // Nothing is left to be finished; what was received may go.
  REQUIRE(server::finish_installation(*engine, scene.disk, kSnapDir, kSnapshotIndex).ok());
  CHECK(read_all(*engine) == scene.after);
  REQUIRE(io::write_file_durably(scene.disk, io::join(kSnapDir, "db.tmp3"), "x").ok());
  REQUIRE(io::write_file_durably(scene.disk, io::join(kSnapDir, "0000000000000001-0000000000000002.snap"), "x").ok());
  server::remove_received_databases(scene.disk, kSnapDir);
  CHECK(scene.disk.list(kSnapDir).value() == std::vector<std::string>{"0000000000000001-0000000000000002.snap"});
}

TEST_CASE("snapshot installer: the power fails at each change of the disk, also while the start brings it to its end") {
  uint64_t cuts = 0;
  for (uint64_t n = 0;; ++n) {
    CAPTURE(n);
    Scene scene;
    set_up(scene, n);
    base::Rng rng(n + 77);
    {
      const auto engine = open_engine(scene.disk);
      scene.disk.lose_power_after(n);
      if (install(*engine, scene.disk).ok() && !scene.disk.lost_power()) break;  // It was longer than all of it.
    }
    scene.disk.power_cut(rng);
    ++cuts;
    // The start, which is cut short itself in two of three.
    if (n % 3 != 0) {
      const auto engine = open_engine(scene.disk);
      scene.disk.lose_power_after(rng.below(12));
      (void)server::finish_installation(*engine, scene.disk, kSnapDir, kSnapshotIndex);
    }
    if (n % 3 != 0) scene.disk.power_cut(rng);
    const auto engine = open_engine(scene.disk);
    const Status finished = server::finish_installation(*engine, scene.disk, kSnapDir, kSnapshotIndex);
    REQUIRE_MESSAGE(finished.ok(), finished.to_string());
    REQUIRE(read_all(*engine) == scene.after);
  }
  CHECK(cuts > 3);
}

TEST_CASE("snapshot installer: without its database a store in the middle of it is refused") {
  Scene scene;
  set_up(scene, 5, kRowsOfSteps);
  const auto engine = open_engine(scene.disk);
  {
    server::SnapshotInstaller installer(*engine, scene.disk, server::received_database_path(kSnapDir, kSnapshotIndex),
                                        kSnapshotIndex);
    REQUIRE(installer.step().ok());
  }
  server::remove_received_databases(scene.disk, kSnapDir);
  const Status refused = server::finish_installation(*engine, scene.disk, kSnapDir, kSnapshotIndex);
  CHECK(refused.code() == base::Code::kDataLoss);
}
