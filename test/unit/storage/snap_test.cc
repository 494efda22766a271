// .snap files: etcd's bytes, the newest that can be read, and what is moved out of the way.
#include "storage/snap/snap.h"

#include <doctest/doctest.h>

#include <string>

#include "base/log.h"
#include "base/rng.h"
#include "io/mem_disk.h"

using base::Code;
using base::Index;
using base::NodeId;
using base::Term;
using storage::SnapDir;
using storage::SnapFile;

namespace {

SnapFile snap(uint64_t term, uint64_t index, std::string data = "{}") {
  SnapFile out;
  out.index = Index(index);
  out.term = Term(term);
  out.conf_state.voters = {NodeId(0xcfdf6804355e827b)};
  out.data = std::move(data);
  return out;
}

struct QuietLog {
  QuietLog() : before(base::log::level()) { base::log::set_level(base::log::Level::kError); }
  ~QuietLog() { base::log::set_level(before); }
  const base::log::Level before;
};

}  // namespace

TEST_CASE("snap: the bytes end as in a file of etcd") {
  const std::string bytes = storage::encode_snap(snap(2, 606));
  const std::string tail("\x12\x14\x0a\x0d\x08\xfb\x84\xfa\xaa\xc3\x80\xda\xef\xcf\x01\x28\x00\x10\xde\x04\x18\x02", 22);
  CHECK(bytes.ends_with(tail));
  const auto read = storage::decode_snap(bytes);
  REQUIRE(read.ok());
  CHECK(read->index == Index(606));
  CHECK(read->term == Term(2));
  CHECK(read->conf_state.voters == std::vector<NodeId>{NodeId(0xcfdf6804355e827b)});
  CHECK(read->data == "{}");
}

TEST_CASE("snap: every single damaged byte is noticed") {
  const SnapFile original = snap(2, 606, "some data");
  const std::string bytes = storage::encode_snap(original);
  for (size_t at = 0; at < bytes.size(); ++at) {
    CAPTURE(at);
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x41);
    const auto read = storage::decode_snap(damaged);
    CHECK(read.status().code() == Code::kDataLoss);
    CHECK(storage::decode_snap(bytes.substr(0, at)).status().code() == Code::kDataLoss);
  }
}

TEST_CASE("snap: the newest readable one is loaded, damaged ones are set aside") {
  const QuietLog quiet;
  io::MemDisk disk;
  SnapDir dir(disk, "/");
  CHECK_FALSE(dir.load_newest()->has_value());
  REQUIRE(dir.save(snap(1, 0)).ok());
  CHECK(dir.list()->empty());
  for (const auto& [term, index] : {std::pair{1, 900}, std::pair{2, 100}, std::pair{2, 300}, std::pair{2, 200}}) {
    REQUIRE(dir.save(snap(static_cast<uint64_t>(term), static_cast<uint64_t>(index))).ok());
  }
  const std::vector<std::string> newest_first = {
      "0000000000000002-000000000000012c.snap", "0000000000000002-00000000000000c8.snap",
      "0000000000000002-0000000000000064.snap", "0000000000000001-0000000000000384.snap"};
  CHECK(*dir.list() == newest_first);
  CHECK((*dir.load_newest())->index == Index(300));
  const std::vector<storage::WalSnapshot> records = {
      {}, {Index(900), Term(1), {}}, {Index(200), Term(2), {}}, {Index(300), Term(1), {}}};
  CHECK((*dir.load_newest_of(records))->index == Index(200));
  CHECK_FALSE(dir.load_newest_of({})->has_value());

  disk.damage_for_test("/0000000000000002-000000000000012c.snap", 20, 1);
  CHECK((*dir.load_newest())->index == Index(200));
  CHECK(*io::exists(disk, "/0000000000000002-000000000000012c.snap.broken"));
  CHECK(dir.list()->size() == 3);
  CHECK(*dir.purge(2) == 1);
  CHECK(*dir.purge(2) == 0);
  CHECK(dir.list()->back() == "0000000000000002-0000000000000064.snap");
}

TEST_CASE("snap: orphans") {
  const QuietLog quiet;
  io::MemDisk disk;
  SnapDir dir(disk, "/");
  REQUIRE(dir.save(snap(1, 5)).ok());
  for (const char* name : {"/0000000000000004.snap.db", "/0000000000000005.snap.db", "/db.tmp.123", "/db", "/x.tmp"}) {
    REQUIRE(disk.open(name, io::OpenMode::kCreate).ok());
  }
  REQUIRE(dir.remove_orphans(Index(5)).ok());
  const std::vector<std::string> left = {"0000000000000001-0000000000000005.snap", "0000000000000005.snap.db", "db"};
  CHECK(*disk.list("/") == left);
}

TEST_CASE("snap: a saved file survives every power cut, an unsaved one does no harm") {
  const QuietLog quiet;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    base::Rng rng(seed);
    io::MemDisk disk;
    SnapDir dir(disk, "/");
    REQUIRE(dir.save(snap(1, 1, std::string(2000, 'a'))).ok());
    disk.lose_power_after(rng.below(6));
    const bool saved = dir.save(snap(1, 2, std::string(3000, 'b'))).ok();
    disk.power_cut(rng);
    const auto newest = dir.load_newest();
    REQUIRE(newest.ok());
    REQUIRE(newest->has_value());
    CHECK((*newest)->index >= Index(saved ? 2 : 1));
  }
}
