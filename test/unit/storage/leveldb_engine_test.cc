// LevelDB on our disk: the contract of Engine, exact prefixes after power cuts, and damage that is named.
#include "storage/leveldb_engine.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

#include "base/bytes.h"
#include "base/log.h"
#include "base/rng.h"
#include "io/mem_disk.h"
#include "storage/backend.h"
#include "storage/memory_engine.h"

using base::Code;
using base::Rng;
using base::Status;
using storage::Backend;
using storage::Engine;
using storage::LevelDbEngine;
using storage::LevelDbOptions;
using storage::WriteBatch;

namespace {

using Model = std::map<std::string, std::string>;
const std::string kDir = "/data/member/db";

struct QuietLog {
  QuietLog() : before(base::log::level()) { base::log::set_level(base::log::Level::kError); }
  ~QuietLog() { base::log::set_level(before); }
  const base::log::Level before;
};

LevelDbOptions small() {
  LevelDbOptions options;
  options.write_buffer_bytes = 64 << 10;
  options.block_cache_bytes = 64 << 10;
  return options;
}

std::unique_ptr<LevelDbEngine> open(io::Disk& disk) {
  auto engine = LevelDbEngine::open(disk, kDir, small());
  REQUIRE_MESSAGE(engine.ok(), engine.status().to_string());
  return std::move(*engine);
}

Model rows_of(const Engine& engine, const storage::EngineSnapshot* snapshot = nullptr) {
  Model rows;
  auto it = engine.iterate(snapshot);
  for (it->seek(""); it->valid(); it->next()) rows[std::string(it->key())] = it->value();
  REQUIRE_MESSAGE(it->status().ok(), it->status().to_string());
  return rows;
}

std::string number(uint64_t n) {
  std::string out;
  base::append_be64(out, n);
  return out;
}

// Puts what a few applied entries would: revision rows, now and then an erased one, and the index row. Mirrors it in `model`.
void apply_some(Backend& backend, Model& model, Rng& rng, uint64_t& revision, uint64_t commit) {
  for (uint64_t n = rng.below(12); n > 0; --n) {
    const std::string key = "f" + number(++revision);
    const std::string value(rng.below(rng.one_in(60) ? 40'000 : 200), static_cast<char>(rng.next()));
    backend.put(key, value);
    model[key] = value;
    if (rng.one_in(3)) {
      const std::string old = "f" + number(1 + rng.below(revision));
      backend.erase(old);
      model.erase(old);
    }
  }
  backend.put("jcommit", number(commit));
  model["jcommit"] = number(commit);
}

void check_contract(Engine& engine) {
  WriteBatch batch;
  batch.put("b", "1");
  batch.put("a", "2");
  batch.put("b", "3");
  batch.put("x", "gone");
  batch.erase("x");
  batch.put("empty", "");
  CHECK(batch.bytes() == 17);
  REQUIRE(engine.write(batch, true).ok());
  std::string value;
  CHECK(*engine.get("b", &value));
  CHECK(value == "3");
  CHECK(*engine.get("empty", &value));
  CHECK(value.empty());
  CHECK_FALSE(*engine.get("x", &value));
  const auto before = engine.snapshot();
  const auto walk = engine.iterate();

  WriteBatch more;
  more.erase("a");
  more.put("b", "4");
  more.put("c", "5");
  REQUIRE(engine.write(more, true).ok());
  CHECK(rows_of(engine) == Model{{"b", "4"}, {"c", "5"}, {"empty", ""}});
  CHECK(rows_of(engine, before.get()) == Model{{"a", "2"}, {"b", "3"}, {"empty", ""}});
  CHECK(*engine.get("a", &value, before.get()));
  CHECK_FALSE(*engine.get("c", &value, before.get()));
  walk->seek("");
  CHECK(walk->key() == "a");  // An iterator is a view of its own.

  const auto it = engine.iterate();
  it->seek_to_last_before("c");
  CHECK(it->key() == "b");
  it->next();
  CHECK(it->key() == "c");
  it->seek_to_last_before("zzz");
  CHECK(it->key() == "empty");
  it->seek_to_last_before("b");
  CHECK_FALSE(it->valid());
  it->seek("d");
  CHECK(it->key() == "empty");
  it->next();
  CHECK_FALSE(it->valid());
  CHECK(it->status().ok());
  CHECK(engine.compact("", "\xff").ok());
  CHECK(rows_of(engine, before.get()).size() == 3);
}

}  // namespace

TEST_CASE("engine: the contract holds in memory and on LevelDB") {
  SUBCASE("memory") {
    storage::MemoryEngine engine;
    check_contract(engine);
  }
  SUBCASE("leveldb") {
    io::MemDisk disk;
    check_contract(*open(disk));
  }
}

TEST_CASE("leveldb: one process at a time, size known, content kept over a restart") {
  io::MemDisk disk;
  auto engine = open(disk);
  CHECK(LevelDbEngine::open(disk, kDir, small()).status().code() == Code::kFailedPrecondition);
  const uint64_t before = engine->size_bytes();
  WriteBatch batch;
  for (uint64_t i = 0; i < 1000; ++i) batch.put(number(i), std::string(500, static_cast<char>(i)));
  REQUIRE(engine->write(batch, true).ok());
  CHECK(engine->size_bytes() - before > 500'000);
  const Model rows = rows_of(*engine);
  engine.reset();
  engine = open(disk);
  CHECK(rows_of(*engine) == rows);
  uint64_t sum = 0;
  const std::vector<std::string> names = *disk.list(kDir);
  for (const std::string& name : names) sum += disk.stat(io::join(kDir, name))->size_bytes;
  CHECK(engine->size_bytes() == sum);
}

TEST_CASE("leveldb: after a power cut at any change the database is an exact prefix of the commits") {
  const QuietLog quiet;
  uint64_t last_kept = 0, last_lost = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    io::MemDisk disk;
    Model model, durable, attempted;
    uint64_t revision = 0, commit = 0;
    bool any_durable = false;
    for (int life = 0; life < 4; ++life) {
      disk.lose_power_after(rng.one_in(4) ? rng.below(40) : rng.below(400));  // in the middle of opening, too
      auto engine = LevelDbEngine::open(disk, kDir, small());
      if (engine.ok()) {
        Backend backend(**engine);
        for (Status done; done.ok() && !disk.lost_power();) {
          apply_some(backend, model, rng, revision, ++commit);
          attempted = model;
          done = backend.commit_now();
          if (done.ok()) {
            durable = model;
            any_durable = true;
          }
        }
      }
      REQUIRE((disk.lost_power() || !engine.ok()));
      if (engine.ok()) engine->reset();
      disk.power_cut(rng);
      const Model found = rows_of(*open(disk));
      const bool is_durable = found == durable, is_attempted = found == attempted;
      REQUIRE((is_durable || is_attempted));
      (is_attempted ? last_kept : last_lost) += any_durable ? 1 : 0;
      model = durable = attempted = found;
    }
  }
  CHECK((last_kept > 50 && last_lost > 50));
}

TEST_CASE("leveldb: a power cut amid writes in bulk leaves a prefix of them, and none is lost once they are ended") {
  const QuietLog quiet;
  uint64_t cut_amid = 0, cut_behind = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    io::MemDisk disk;
    auto engine = open(disk);
    Model model;  // with what is being written
    const auto write = [&](uint64_t i) {
      WriteBatch batch;
      const std::string key = "k" + number(rng.below(50)), value = number(i) + std::string(rng.below(400), 'v');
      batch.put(key, value);
      model[key] = value;
      return engine->write(batch, true);
    };
    for (uint64_t i = 0; i < 10; ++i) REQUIRE(write(i).ok());
    std::vector<Model> prefixes = {model};
    disk.lose_power_after(rng.below(120));
    Status bulk = engine->begin_bulk();
    for (uint64_t i = 0; bulk.ok() && i < 60; ++i) {
      bulk = write(i);
      prefixes.push_back(model);
    }
    if (bulk.ok()) bulk = engine->end_bulk();
    const bool ended = bulk.ok() && !disk.lost_power();
    uint64_t logged = 0;  // as ever again
    if (ended) {
      for (Status done; done.ok() && !disk.lost_power() && logged < 100;) {
        const Model before = model;
        done = write(++logged);
        prefixes = {before, model};
      }
    }
    engine.reset();
    disk.power_cut(rng);
    const Model found = rows_of(*open(disk));
    REQUIRE(std::find(prefixes.begin(), prefixes.end(), found) != prefixes.end());
    ++(ended ? cut_behind : cut_amid);
  }
  CHECK((cut_amid > 50 && cut_behind > 50));
}

TEST_CASE("leveldb: damage is named, or what is read is right") {
  const QuietLog quiet;
  uint64_t refused = 0, found_while_reading = 0, cut = 0;
  for (uint64_t seed = 0; seed < 800; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    io::MemDisk disk;
    Model model;
    std::vector<Model> history = {model};  // after each commit
    uint64_t revision = 0;
    {
      auto engine = open(disk);
      Backend backend(*engine);
      const uint64_t commits = 5 + rng.below(60);
      for (uint64_t commit = 1; commit <= commits; ++commit) {
        apply_some(backend, model, rng, revision, commit);
        REQUIRE(backend.commit_now().ok());
        history.push_back(model);
      }
    }
    const std::vector<std::string> names = *disk.list(kDir);
    const std::string path = io::join(kDir, names[rng.below(names.size())]);
    const uint64_t size = disk.stat(path)->size_bytes;
    if (size == 0) continue;
    // A log that is gone or ends early has forgotten commits and nothing can know it; what is left is still a prefix.
    const uint64_t kind = rng.below(4);
    const bool is_file_cut = kind <= 1;
    switch (kind) {
      case 0:
        REQUIRE(disk.unlink(path).ok());
        break;
      case 1: {
        const auto file = disk.open(path, io::OpenMode::kReadWrite);
        REQUIRE((*file)->truncate(rng.below(size)).ok());
        break;
      }
      default:
        disk.damage_for_test(path, rng.below(size), static_cast<uint8_t>(1 + rng.below(255)));
    }
    const auto engine = LevelDbEngine::open(disk, kDir, small());
    if (!engine.ok()) {
      REQUIRE(engine.status().code() == Code::kDataLoss);
      REQUIRE(engine.status().text().find(kDir) != std::string_view::npos);
      ++refused;
      continue;
    }
    Model rows;
    auto it = (*engine)->iterate();
    for (it->seek(""); it->valid(); it->next()) rows[std::string(it->key())] = it->value();
    if (!it->status().ok()) {
      CHECK(it->status().code() == Code::kDataLoss);
      CHECK_MESSAGE(it->status().text().find(kDir) != std::string_view::npos, it->status().to_string());
      ++found_while_reading;
      continue;
    }
    // The last record may be mistaken for a torn one; then its changes are missing as a whole.
    size_t kept = history.size();
    while (kept > 0 && rows != history[kept - 1]) --kept;
    REQUIRE_MESSAGE(kept > 0, path);
    REQUIRE_MESSAGE((is_file_cut || kept + 1 >= history.size()), path);
    cut += kept < history.size() ? 1 : 0;
  }
  CHECK(refused > 50);
  CHECK(cut > 0);
  CHECK(found_while_reading > 0);
}

TEST_CASE("leveldb: a failing disk is an error of the write, and of all writes after it") {
  const QuietLog quiet;
  io::MemDisk disk;
  auto engine = open(disk);
  WriteBatch batch;
  batch.put("a", "1");
  SUBCASE("sync") { disk.fail_sync_after(0); }
  SUBCASE("write") { disk.fail_change_after(0); }
  SUBCASE("full") { disk.set_capacity(1); }
  CHECK(engine->write(batch, true).code() == Code::kInternal);
  disk.set_capacity(io::MemDisk::kDefaultCapacityBytes);
  CHECK(engine->write(batch, true).code() == Code::kInternal);
  engine.reset();
  Rng rng(1);
  disk.power_cut(rng);
  CHECK(rows_of(*open(disk)).size() <= 1);
}

TEST_CASE("engine: compacting a range gives back the space of what was erased in it, also where LevelDB has it at the bottom") {
  io::MemDisk disk;
  const auto engine = open(disk);
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    storage::WriteBatch puts, erases;
    for (int i = 0; i < 500; ++i) puts.put("f" + std::to_string(10'000 + i), std::string(4000, 'v'));
    puts.put("f", "the smallest");
    puts.put("f\x7f", "the largest");
    REQUIRE(engine->write(puts, true).ok());
    if (round == 1) REQUIRE(engine->compact("", "").ok());  // the rows alone go to disk first
    for (int i = 0; i < 500; ++i) erases.erase("f" + std::to_string(10'000 + i));
    REQUIRE(engine->write(erases, true).ok());
    const uint64_t before = engine->size_bytes();
    REQUIRE(engine->compact("f", "g").ok());
    CHECK(before > 2'000'000);
    CHECK(engine->size_bytes() < 100'000);
    // What is there, and marks of a compaction are not.
    CHECK(rows_of(*engine) == Model{{"f", "the smallest"}, {"f\x7f", "the largest"}});
  }
}
