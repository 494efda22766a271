// The log: etcd's bytes, what comes back after restarts and power cuts, and what damage is told apart from a torn write.
#include "storage/wal/wal.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "base/bytes.h"
#include "base/log.h"
#include "base/rng.h"
#include "io/mem_disk.h"
#include "storage/wal/record.h"

using base::Code;
using base::Index;
using base::NodeId;
using base::Result;
using base::Rng;
using base::Status;
using base::Term;
using storage::HardState;
using storage::Wal;
using storage::WalBatch;
using storage::WalContents;
using storage::WalEntry;
using storage::WalOptions;
using storage::WalSnapshot;

namespace {

const std::string kDir = "/data/member/wal";
constexpr uint64_t kSmallSegment = 16 << 10;

WalOptions small_segments() {
  WalOptions options;
  options.segment_bytes = kSmallSegment;
  return options;
}

struct QuietLog {
  QuietLog() : before(base::log::level()) { base::log::set_level(base::log::Level::kError); }
  ~QuietLog() { base::log::set_level(before); }
  const base::log::Level before;
};

WalEntry entry(uint64_t index, uint64_t term, std::string data) {
  return {Term(term), Index(index), storage::kEntryNormal, std::make_shared<const std::string>(std::move(data))};
}

bool same(const WalEntry& a, const WalEntry& b) {
  const std::string none;
  return a.term == b.term && a.index == b.index && a.type == b.type && (a.data ? *a.data : none) == (b.data ? *b.data : none);
}

bool is_prefix(const std::vector<WalEntry>& part, const std::vector<WalEntry>& whole) {
  return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin(), same);
}

std::unique_ptr<Wal> create(io::Disk& disk, const WalOptions& options = {}) {
  auto log = Wal::create(disk, kDir, "meta", options);
  REQUIRE_MESSAGE(log.ok(), log.status().to_string());
  return std::move(*log);
}

std::pair<std::unique_ptr<Wal>, WalContents> open(io::Disk& disk, const WalOptions& options = {}, Index index = Index(0),
                                                  Term term = Term(0)) {
  auto opened = Wal::open(disk, kDir, index, term, options);
  REQUIRE_MESSAGE(opened.ok(), opened.status().to_string());
  return std::move(*opened);
}

Status save(Wal& log, const std::vector<WalEntry>& entries, HardState state, const WalSnapshot* snapshot = nullptr) {
  WalBatch batch;
  log.encode(entries, state, &batch, snapshot);
  return log.write(batch);
}

std::string first_segment(size_t sequence = 0, size_t first_index = 0) {
  return io::join(kDir, storage::wal::segment_name({sequence, first_index}));
}

// A writer that does what a member may do, and remembers it.
struct Story {
  Rng& rng;
  std::vector<WalEntry> entries = {};
  HardState state = {Term(1), NodeId(7), Index(0)};

  std::vector<WalEntry> next_entries() {
    std::vector<WalEntry> added;
    uint64_t count = rng.below(4);
    // Now and then a new leader overwrites what is not committed.
    if (rng.one_in(10) && state.commit.value() < entries.size()) {
      state.term = state.term + 1;
      entries.resize(state.commit.value() + rng.below(entries.size() - state.commit.value()));
      ++count;
    }
    for (uint64_t i = 0; i < count; ++i) {
      const bool is_big = rng.one_in(12);
      std::string data(rng.below(is_big ? 6000 : 300), rng.one_in(3) ? '\0' : 'd');
      if (rng.one_in(5)) data.clear();
      WalEntry e = entry(entries.size() + 1, state.term.value(), std::move(data));
      e.type = static_cast<uint32_t>(rng.below(3));
      entries.push_back(e);
      added.push_back(std::move(e));
    }
    return added;
  }
  void commit_some() { state.commit = state.commit + rng.below(entries.size() - state.commit.value() + 1); }
};

}  // namespace

TEST_CASE("wal: the first bytes are etcd's") {
  io::MemDisk disk;
  // Node 952d73781cdfb102 of cluster b60512969eeabe04, as a restore by etcd 3.5 wrote it.
  const std::string metadata("\x08\x82\xe2\xfe\xe6\x81\xef\xdc\x96\x95\x01\x10\x84\xfc\xaa\xf7\xe9\xd2\xc4\x82\xb6\x01", 22);
  REQUIRE(Wal::create(disk, kDir, metadata).ok());
  CHECK(*disk.list(kDir) == std::vector<std::string>{"0000000000000000-0000000000000000.wal"});
  CHECK(disk.stat(first_segment())->size_bytes == 64'000'000);
  CHECK(disk.stat(first_segment())->mode == 0600);
  CHECK(disk.stat(kDir)->mode == 0700);
  const std::string bytes = *io::read_file(disk, first_segment(), 100'000'000);
  CHECK(base::hex_bytes(bytes.substr(0, 88)) ==
        "04000000000000840804100000000000"
        "2000000000000000080110f793e4f2031a160882e2fee681efdc9695011084fcaaf7e9d2c482b601"
        "0e00000000000082080510e3c8b982011a0408001000"
        "0000"
        "0000000000000000");
  CHECK(bytes.find_first_not_of('\0', 80) == std::string::npos);
}

TEST_CASE("wal: an entry as etcd 3.7 writes it") {
  io::MemDisk disk;
  auto log = create(disk);
  WalEntry conf = entry(1, 1, "x");
  conf.type = storage::kEntryConfChange;
  WalBatch batch;
  const std::vector<WalEntry> entries = {conf, {Term(2), Index(2), storage::kEntryNormal, nullptr}};
  log->encode(entries, {Term(2), NodeId(0), Index(1)}, &batch);
  REQUIRE(log->write(batch).ok());
  const std::string bytes = *io::read_file(disk, first_segment(), 100'000'000);
  CHECK(bytes.find(std::string("\x1a\x09\x08\x01\x10\x01\x18\x01\x22\x01x", 11)) != std::string::npos);
  CHECK(bytes.find(std::string("\x1a\x04\x10\x02\x18\x02", 6)) != std::string::npos);
  CHECK(bytes.find(std::string("\x1a\x06\x08\x02\x10\x00\x18\x01", 8)) != std::string::npos);
}

TEST_CASE("wal: segment names") {
  CHECK(storage::wal::segment_name({1, 1000}) == "0000000000000001-00000000000003e8.wal");
  CHECK(storage::wal::parse_segment_name("0000000000000001-00000000000003e8.wal")->first_index == 1000);
  for (const char* bad : {"", "0.tmp", "0000000000000001-00000000000003e8.wal.broken", "1-3e8.wal",
                          "000000000000000g-00000000000003e8.wal", "0000000000000001_00000000000003e8.wal"}) {
    CHECK_FALSE(storage::wal::parse_segment_name(bad).has_value());
  }
}

TEST_CASE("wal: what is written comes back, over many segments and restarts") {
  const QuietLog quiet;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    io::MemDisk disk;
    Story story{rng};
    auto log = create(disk, small_segments());
    WalBatch batch;
    for (int step = 0; step < 200; ++step) {
      const std::vector<WalEntry> added = story.next_entries();
      story.commit_some();
      log->encode(added, story.state, &batch);
      CHECK((added.empty() || batch.must_sync()));
      REQUIRE(log->write(batch).ok());
      if (rng.one_in(3)) REQUIRE(log->prepare().ok());
      if (!rng.one_in(25)) continue;
      log.reset();
      auto [reopened, contents] = open(disk, small_segments());
      log = std::move(reopened);
      CHECK(contents.metadata == "meta");
      CHECK(contents.state == story.state);
      CHECK(contents.cut_bytes == 0);
      CHECK(contents.entries.size() == story.entries.size());
      CHECK(is_prefix(contents.entries, story.entries));
    }
    CHECK(log->locked_segments() > 1);
  }
}

TEST_CASE("wal: after a power cut at any moment nothing synced is lost and the log opens") {
  const QuietLog quiet;
  uint64_t torn = 0, whole = 0, partial = 0;
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    io::MemDisk disk;
    Story story{rng};
    auto log = create(disk, small_segments());
    HardState synced_state;  // at least this must be there
    for (int life = 0; life < 3; ++life) {
      disk.lose_power_after(rng.below(120));
      std::vector<WalEntry> synced = story.entries;  // and these
      WalBatch batch;
      for (;;) {
        const std::vector<WalEntry> added = story.next_entries();
        story.commit_some();
        log->encode(added, story.state, &batch);
        // What a new leader overwrites may be lost or not; so only what both stories share must be there.
        const auto shared = std::mismatch(synced.begin(), synced.end(), story.entries.begin(), story.entries.end(), same);
        synced.erase(shared.first, synced.end());
        if (!log->write(batch).ok()) break;
        if (batch.must_sync()) {
          synced = story.entries;
          synced_state = story.state;
        }
        if (rng.one_in(3) && !log->prepare().ok()) break;
        if (rng.one_in(20)) (void)log->release_to(story.state.commit);
      }
      REQUIRE(disk.lost_power());
      log.reset();
      disk.power_cut(rng);
      auto [reopened, contents] = open(disk, small_segments());
      log = std::move(reopened);
      REQUIRE(is_prefix(synced, contents.entries));
      REQUIRE(contents.state.term >= synced_state.term);
      REQUIRE(contents.state.commit >= synced_state.commit);
      REQUIRE(contents.state.commit.value() <= contents.entries.size());
      torn += contents.cut_bytes != 0 ? 1 : 0;
      whole += contents.entries.size() == story.entries.size() ? 1 : 0;
      partial += contents.entries.size() > synced.size() && contents.entries.size() < story.entries.size() ? 1 : 0;
      story.entries = contents.entries;
      synced_state = contents.state;
      story.state = contents.state.empty() ? HardState{Term(1), NodeId(7), Index(0)} : contents.state;
    }
  }
  CHECK((torn > 50 && whole > 50 && partial > 50));
}

// The process whose sync failed stops itself and is started again on the same machine, which loses its power later.
TEST_CASE("wal: what was readable after a failed sync and was built upon stays") {
  const QuietLog quiet;
  uint64_t built_upon = 0;
  for (uint64_t seed = 0; seed < 1500; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    io::MemDisk disk;
    Story story{rng};
    auto log = create(disk, small_segments());
    WalBatch batch;
    for (int life = 0; life < 4; ++life) {
      disk.fail_sync_after(rng.below(12));
      for (Status done; done.ok();) {
        const std::vector<WalEntry> added = story.next_entries();
        story.commit_some();
        // Entries alone, and the commit index behind them in a batch of its own, which is not synced.
        log->encode(added, !added.empty() && rng.one_in(2) ? HardState() : story.state, &batch);
        done = log->write(batch);
        if (done.ok() && rng.one_in(4)) done = log->prepare().status();
      }
      log.reset();
      auto [reopened, contents] = open(disk, small_segments());
      REQUIRE(is_prefix(contents.entries, story.entries));
      built_upon += contents.entries.size() == story.entries.size() ? 1 : 0;
      log = std::move(reopened);
      story.entries = contents.entries;
      story.state = contents.state.empty() ? HardState{Term(1), NodeId(7), Index(0)} : contents.state;
    }
    // One more, synced: it stands for all before it.
    story.entries.push_back(entry(story.entries.size() + 1, story.state.term.value(), "last"));
    REQUIRE(save(*log, {story.entries.back()}, story.state).ok());
    log.reset();
    disk.power_cut(rng);
    const WalContents contents = open(disk, small_segments()).second;
    REQUIRE(contents.entries.size() == story.entries.size());
    REQUIRE(is_prefix(story.entries, contents.entries));
  }
  CHECK(built_upon > 1000);
}

TEST_CASE("wal: a torn last record is cut off") {
  const QuietLog quiet;
  io::MemDisk disk;
  auto log = create(disk);
  REQUIRE(save(*log, {entry(1, 1, std::string(2000, 'a'))}, {Term(1), NodeId(1), Index(0)}).ok());
  const uint64_t before = [&] {
    const std::string bytes = *io::read_file(disk, first_segment(), 100'000'000);
    return bytes.find_last_not_of('\0');
  }();
  REQUIRE(save(*log, {entry(2, 1, std::string(2000, 'b'))}, {Term(1), NodeId(1), Index(1)}).ok());
  log.reset();

  const auto file = disk.open(first_segment(), io::OpenMode::kReadWrite);
  REQUIRE(file.ok());
  SUBCASE("a sector in its middle is lost") {
    REQUIRE((*file)->write_at((before / 512 + 2) * 512, std::string(512, '\0')).ok());
  }
  SUBCASE("the file ends inside it") { REQUIRE((*file)->truncate(before + 1000).ok()); }
  SUBCASE("its first sectors are lost, head and all") {
    REQUIRE((*file)->write_at((before + 7) / 8 * 8, std::string(1024, '\0')).ok());
  }
  auto [reopened, contents] = open(disk);
  CHECK(contents.entries.size() == 1);
  CHECK(contents.cut_bytes > 0);
  // And the log goes on behind the cut.
  REQUIRE(save(*reopened, {entry(2, 2, "again")}, {Term(2), NodeId(1), Index(1)}).ok());
  reopened.reset();
  auto [once_more, after] = open(disk);
  CHECK(after.cut_bytes == 0);
  REQUIRE(after.entries.size() == 2);
  CHECK(*after.entries[1].data == "again");
  CHECK(disk.stat(first_segment())->size_bytes == storage::kWalSegmentBytes);
}

TEST_CASE("wal: damage never loses what was synced without saying so") {
  const QuietLog quiet;
  constexpr size_t kBatchesPerSectorMax = io::kSectorBytes / 48;  // the smallest: an entry and a hard state
  uint64_t refused = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    io::MemDisk disk;
    Story story{rng};
    auto log = create(disk, small_segments());
    std::vector<std::vector<WalEntry>> logs(kBatchesPerSectorMax + 3);  // after each batch with entries
    for (int step = 0; step < 30; ++step) {
      const std::vector<WalEntry> added = story.next_entries();
      story.commit_some();
      REQUIRE(save(*log, added, story.state).ok());
      if (!added.empty()) logs.push_back(story.entries);
    }
    log.reset();
    const std::vector<std::string> names = *disk.list(kDir);
    const std::string path = io::join(kDir, names[rng.below(names.size())]);
    const std::string bytes = *io::read_file(disk, path, 1 << 20);
    const uint64_t at = rng.below(bytes.find_last_not_of('\0') + 1);
    // The last two batches with entries may be mistaken for torn, and those that share a lost sector with them; no other.
    size_t doubtful = 2;
    if (rng.one_in(2)) {
      disk.damage_for_test(path, at, static_cast<uint8_t>(1 + rng.below(255)));
    } else {
      doubtful += kBatchesPerSectorMax;
      const auto file = disk.open(path, io::OpenMode::kReadWrite);
      const uint64_t sector = at / io::kSectorBytes * io::kSectorBytes;
      REQUIRE((*file)->write_at(sector, std::string(std::min<uint64_t>(512, bytes.size() - sector), '\0')).ok());
    }
    std::vector<WalEntry> certain = logs.back();
    for (auto other = logs.end() - static_cast<ptrdiff_t>(doubtful) - 1; other != logs.end(); ++other) {
      certain.erase(std::mismatch(certain.begin(), certain.end(), other->begin(), other->end(), same).first, certain.end());
    }
    const auto opened = Wal::open(disk, kDir, Index(0), Term(0), small_segments());
    if (!opened.ok()) {
      REQUIRE(opened.status().code() == Code::kDataLoss);
      const std::string_view text = opened.status().text();
      const bool names_place = text.find(kDir) != std::string_view::npos &&
                               text.find("restore its data directory from a backup") != std::string_view::npos;
      REQUIRE_MESSAGE(names_place, opened.status().to_string());
      ++refused;
    } else {
      REQUIRE(is_prefix(certain, opened->second.entries));
    }
  }
  CHECK(refused > 1500);
}

TEST_CASE("wal: a flipped bit takes no synced entry away") {
  const QuietLog quiet;
  uint64_t refused = 0, harmless = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    io::MemDisk disk;
    auto log = create(disk, small_segments());
    const uint64_t count = 1 + rng.below(6);
    for (uint64_t i = 1; i <= count; ++i) {
      // No whole sector of zeros, and often a record of a power of two: a flip then makes its length 0.
      std::string data(rng.one_in(2) ? 46 : rng.below(1500), '\0');
      for (char& c : data) c = static_cast<char>(1 + rng.below(255));
      REQUIRE(save(*log, {entry(i, 1, std::move(data))}, {Term(1), NodeId(1), Index(i - 1)}).ok());
    }
    log.reset();
    const std::vector<std::string> names = *disk.list(kDir);
    const std::string path = io::join(kDir, names[rng.below(names.size())]);
    const uint64_t used = io::read_file(disk, path, 1 << 20)->find_last_not_of('\0') + 1;
    const uint64_t at = rng.below(used);
    disk.damage_for_test(path, at, static_cast<uint8_t>(1u << rng.below(8)));
    const auto opened = Wal::open(disk, kDir, Index(0), Term(0), small_segments());
    refused += opened.ok() ? 0 : 1;
    harmless += opened.ok() ? 1 : 0;
    if (opened.ok()) REQUIRE(opened->second.entries.size() == count);
  }
  CHECK(refused > 2000);
  CHECK(harmless > 0);
}

TEST_CASE("wal: snapshots, and opening at one") {
  io::MemDisk disk;
  auto log = create(disk);
  storage::ConfState conf_state;
  conf_state.voters = {NodeId(1), NodeId(0xcfdf6804355e827b)};
  conf_state.learners = {NodeId(3)};
  conf_state.auto_leave = true;
  const WalSnapshot at2{Index(2), Term(1), conf_state};
  const WalSnapshot at9{Index(9), Term(1), {}};
  REQUIRE(save(*log, {entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")}, {Term(1), NodeId(1), Index(2)}).ok());
  REQUIRE(save(*log, {}, {}, &at2).ok());
  REQUIRE(save(*log, {entry(4, 1, "d")}, {Term(1), NodeId(1), Index(3)}).ok());
  CHECK(log->last_index() == Index(4));
  REQUIRE(save(*log, {}, {}, &at9).ok());  // recorded, but never committed here
  CHECK(log->last_index() == Index(9));
  log.reset();

  const auto valid = Wal::valid_snapshots(disk, kDir);
  REQUIRE(valid.ok());
  CHECK(*valid == std::vector<WalSnapshot>{WalSnapshot{}, at2});
  auto [reopened, contents] = open(disk, {}, Index(2), Term(1));
  REQUIRE(contents.entries.size() == 2);
  CHECK(*contents.entries[0].data == "c");
  CHECK(contents.snapshots == std::vector<WalSnapshot>{WalSnapshot{}, at2, at9});
  reopened.reset();
  CHECK(Wal::open(disk, kDir, Index(3), Term(1)).status().code() == Code::kNotFound);
  CHECK(Wal::open(disk, kDir, Index(2), Term(5)).status().code() == Code::kDataLoss);
}

TEST_CASE("wal: a member's own snapshot, recorded behind a newer one that another member sent, is not the one to start from") {
  io::MemDisk disk;
  auto log = create(disk);
  const WalSnapshot at3{Index(3), Term(1), {}}, at10{Index(10), Term(1), {}};
  REQUIRE(save(*log, {entry(1, 1, "a"), entry(2, 1, "b"), entry(3, 1, "c")}, {Term(1), NodeId(1), Index(3)}).ok());
  REQUIRE(save(*log, {}, {Term(1), NodeId(1), Index(10)}, &at10).ok());
  REQUIRE(save(*log, {}, {}, &at3).ok());
  REQUIRE(save(*log, {entry(11, 1, "k")}, {Term(1), NodeId(1), Index(11)}).ok());
  log.reset();
  const auto valid = Wal::valid_snapshots(disk, kDir);
  REQUIRE(valid.ok());
  CHECK(*valid == std::vector<WalSnapshot>{WalSnapshot{}, at3, at10});
  const auto [reopened, contents] = open(disk, {}, valid->back().index, valid->back().term);
  REQUIRE(contents.entries.size() == 1);
  CHECK(*contents.entries[0].data == "k");
}

TEST_CASE("wal: one process at a time; readers do not mind") {
  io::MemDisk disk;
  CHECK_FALSE(*Wal::exists(disk, kDir));
  CHECK(Wal::open(disk, kDir, Index(0), Term(0)).status().code() == Code::kNotFound);
  auto log = create(disk);
  CHECK(*Wal::exists(disk, kDir));
  CHECK(Wal::create(disk, kDir, "meta").status().code() == Code::kAlreadyExists);
  CHECK(Wal::open(disk, kDir, Index(0), Term(0)).status().code() == Code::kFailedPrecondition);
  CHECK(Wal::valid_snapshots(disk, kDir).ok());
}

TEST_CASE("wal: old segments are released and purged from the oldest on") {
  const QuietLog quiet;
  io::MemDisk disk;
  auto log = create(disk, small_segments());
  uint64_t index = 0;
  while (log->locked_segments() < 6) {
    ++index;
    REQUIRE(save(*log, {entry(index, 1, std::string(1000, 'x'))}, {Term(1), NodeId(1), Index(index)}).ok());
  }
  CHECK(*log->purge(2) == 0);  // all are locked
  const std::vector<std::string> names = *disk.list(kDir);
  const uint64_t third = storage::wal::parse_segment_name(names[2])->first_index;
  REQUIRE(log->release_to(Index(third + 1)).ok());
  CHECK(log->locked_segments() == 4);
  CHECK(*log->purge(5) == 1);
  CHECK(*log->purge(1) == 1);
  CHECK(disk.list(kDir)->front() == names[2]);
  REQUIRE(log->release_to(Index(index + 2)).ok());
  CHECK(log->locked_segments() == 1);
  CHECK(*log->purge(0) == 3);
  CHECK(Wal::open(disk, kDir, Index(1), Term(1), small_segments()).status().code() == Code::kDataLoss);
  CHECK(disk.list(kDir)->size() == 1);
}

TEST_CASE("wal: whatever the snapshot that segments are released for, the log opens at it") {
  const QuietLog quiet;
  for (const int64_t from_third : {-2, -1, 0, 1}) {
    CAPTURE(from_third);
    io::MemDisk disk;
    auto log = create(disk, small_segments());
    uint64_t index = 0;
    while (log->locked_segments() < 4) {
      ++index;
      REQUIRE(save(*log, {entry(index, 1, std::string(1000, 'x'))}, {Term(1), NodeId(1), Index(index)}).ok());
    }
    const auto third = static_cast<int64_t>(storage::wal::parse_segment_name((*disk.list(kDir))[2])->first_index);
    const WalSnapshot snapshot{Index(static_cast<uint64_t>(third + from_third)), Term(1), {}};
    REQUIRE(save(*log, {}, {}, &snapshot).ok());
    REQUIRE(log->release_to(snapshot.index).ok());
    CHECK(*log->purge(1) > 0);
    log.reset();
    const auto [reopened, contents] = open(disk, small_segments(), snapshot.index, snapshot.term);
    CHECK(contents.entries.size() == index - snapshot.index.value());
  }
}

TEST_CASE("wal: a snapshot's record is on disk when it is written, and each segment knows term and vote by itself") {
  const QuietLog quiet;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    CAPTURE(seed);
    Rng rng(seed);
    io::MemDisk disk;
    auto log = create(disk, small_segments());
    const HardState state{Term(3), NodeId(2), Index(0)};
    REQUIRE(save(*log, {entry(1, 3, "a")}, state).ok());
    const WalSnapshot snapshot{Index(7), Term(3), {}};
    REQUIRE(save(*log, {}, {}, &snapshot).ok());  // Of another member: the log goes on behind it.
    uint64_t index = snapshot.index.value();
    if (rng.one_in(2)) {
      while (log->locked_segments() < 2) REQUIRE(save(*log, {entry(++index, 3, std::string(1000, 'x'))}, {}).ok());
    }
    log.reset();
    disk.power_cut(rng);
    const auto [reopened, contents] = open(disk, small_segments(), snapshot.index, snapshot.term);
    CHECK(contents.entries.size() == index - snapshot.index.value());
    CHECK(contents.state.term == state.term);
    CHECK(contents.state.vote == state.vote);
  }
  // The first segment is gone: what was said once is in the head of the next.
  io::MemDisk disk;
  auto log = create(disk, small_segments());
  const HardState state{Term(3), NodeId(2), Index(1)};
  REQUIRE(save(*log, {entry(1, 3, "a")}, state).ok());
  uint64_t index = 1;
  while (log->locked_segments() < 3) REQUIRE(save(*log, {entry(++index, 3, std::string(1000, 'x'))}, {}).ok());
  REQUIRE(save(*log, {entry(++index, 3, "b")}, {}).ok());
  const WalSnapshot snapshot{Index(index), Term(3), {}};
  REQUIRE(save(*log, {}, {}, &snapshot).ok());
  REQUIRE(log->release_to(Index(index + 1)).ok());
  CHECK(*log->purge(1) == 2);
  log.reset();
  const auto [reopened, contents] = open(disk, small_segments(), snapshot.index, snapshot.term);
  CHECK(contents.state == state);
}

TEST_CASE("wal: a missing segment is named") {
  const QuietLog quiet;
  io::MemDisk disk;
  auto log = create(disk, small_segments());
  for (uint64_t index = 1; log->locked_segments() < 4; ++index) {
    REQUIRE(save(*log, {entry(index, 1, std::string(3000, 'x'))}, {Term(1), NodeId(1), Index(index)}).ok());
  }
  log.reset();
  const std::vector<std::string> names = *disk.list(kDir);
  SUBCASE("in the middle") {
    REQUIRE(disk.unlink(io::join(kDir, names[1])).ok());
    const Status status = Wal::open(disk, kDir, Index(0), Term(0), small_segments()).status();
    CHECK(status.code() == Code::kDataLoss);
    CHECK(status.text().find("segment missing in " + kDir + " before " + names[2]) != std::string_view::npos);
  }
  SUBCASE("at the end: the commit index gives it away") {
    REQUIRE(disk.unlink(io::join(kDir, names[3])).ok());
    const auto opened = Wal::open(disk, kDir, Index(0), Term(0), small_segments());
    // Only its head was there: nothing is missing.
    CHECK(opened.ok());
  }
  SUBCASE("at the start") {
    REQUIRE(disk.unlink(io::join(kDir, names[0])).ok());
    CHECK(Wal::open(disk, kDir, Index(0), Term(0), small_segments()).status().code() == Code::kDataLoss);
  }
}

TEST_CASE("wal: disk trouble is reported") {
  const QuietLog quiet;
  io::MemDisk disk;
  SUBCASE("no space for the first segment") {
    disk.set_capacity(1 << 20);
    CHECK(Wal::create(disk, kDir, "meta").status().code() == Code::kResourceExhausted);
    disk.set_capacity(128 << 20);
    CHECK(Wal::create(disk, kDir, "meta").ok());
  }
  SUBCASE("no space for the next one") {
    auto log = create(disk, small_segments());
    disk.set_capacity(kSmallSegment + 4000);
    Status done;
    for (uint64_t index = 1; done.ok(); ++index) done = save(*log, {entry(index, 1, std::string(1000, 'x'))}, {});
    CHECK(done.code() == Code::kResourceExhausted);
  }
  SUBCASE("a failed sync") {
    auto log = create(disk);
    disk.fail_sync_after(0);
    CHECK(save(*log, {entry(1, 1, "a")}, {Term(1), NodeId(1), Index(0)}).code() == Code::kInternal);
  }
  SUBCASE("what a failed sync left to be read is on disk before anything is built upon it") {
    auto log = create(disk);
    REQUIRE(save(*log, {entry(1, 1, "a")}, {Term(1), NodeId(1), Index(0)}).ok());
    disk.fail_sync_after(0);
    CHECK_FALSE(save(*log, {entry(2, 1, std::string(3000, 'b'))}, {Term(1), NodeId(1), Index(1)}).ok());
    log.reset();  // The process stops itself; the machine goes on.
    auto again = open(disk);
    CHECK(again.second.entries.size() == 2);
    REQUIRE(save(*again.first, {entry(3, 1, "c")}, {Term(1), NodeId(1), Index(2)}).ok());
    again.first.reset();
    Rng rng(1);
    disk.power_cut(rng);
    CHECK(open(disk).second.entries.size() == 3);
  }
  SUBCASE("of a log that is mostly certainly synced only the end is written once more") {
    auto log = create(disk);
    for (uint64_t index = 1; index <= 20; ++index) {
      REQUIRE(save(*log, {entry(index, 1, std::string(1 << 20, 'x'))}, {Term(1), NodeId(1), Index(index - 1)}).ok());
    }
    log.reset();
    const uint64_t before = disk.changes();
    auto again = open(disk);
    CHECK(again.second.entries.size() == 20);
    // The last batch in two pieces at most, a new size, the reservation, two syncs, the names of two prepared files.
    CHECK(disk.changes() - before <= 8);
  }
  SUBCASE("a commit index alone is not synced") {
    auto log = create(disk);
    REQUIRE(save(*log, {entry(1, 1, "a")}, {Term(1), NodeId(1), Index(0)}).ok());
    disk.fail_sync_after(0);
    CHECK(save(*log, {}, {Term(1), NodeId(1), Index(1)}).ok());
    CHECK_FALSE(save(*log, {}, {Term(2), NodeId(1), Index(1)}).ok());
  }
}

// Killed between the write that filled a segment and its cut: the first batch after the restart may have nothing to write.
TEST_CASE("wal: an empty batch behind a full segment leaves the cut to the next one") {
  const QuietLog quiet;
  io::MemDisk disk;
  const HardState state{Term(1), NodeId(7), Index(1)};
  auto log = create(disk);
  REQUIRE(save(*log, {entry(1, 1, std::string(kSmallSegment, 'x'))}, state).ok());
  log.reset();
  log = std::move(open(disk, small_segments()).first);
  WalBatch batch;
  log->encode({}, HardState(), &batch);
  CHECK(batch.empty());
  CHECK_FALSE(batch.must_sync());
  REQUIRE(log->write(batch).ok());
  REQUIRE(save(*log, {entry(2, 1, "behind the full segment")}, HardState()).ok());
  REQUIRE(save(*log, {entry(3, 1, "in the next")}, HardState()).ok());
  CHECK(log->locked_segments() == 2);
  log.reset();
  const WalContents contents = std::move(open(disk, small_segments()).second);
  CHECK(contents.entries.size() == 3);
  CHECK(contents.state == state);
}

TEST_CASE("wal: prepare works in bounded steps ahead of the writer and then rests") {
  io::MemDisk disk;
  auto log = create(disk);
  const uint64_t before = disk.changes();
  int steps = 0;
  while (*log->prepare()) ++steps;
  CHECK(steps == static_cast<int>(storage::kWalZeroAheadBytes / storage::kWalZeroSliceBytes));
  CHECK(disk.changes() - before <= static_cast<uint64_t>(steps) * 9);
  CHECK_FALSE(*log->prepare());
}

TEST_CASE("raft state: encodings and damaged bytes") {
  storage::ConfState conf_state;
  conf_state.voters = {NodeId(1)};
  conf_state.voters_outgoing = {NodeId(2), NodeId(300)};
  conf_state.learners_next = {NodeId(UINT64_MAX)};
  std::string bytes;
  storage::encode_conf_state(conf_state, bytes);
  CHECK(*storage::decode_conf_state(bytes) == conf_state);
  CHECK(*storage::decode_conf_state(std::string("\x0a\x03\x01\xac\x02", 5)) ==
        storage::ConfState{{NodeId(1), NodeId(300)}, {}, {}, {}, false});  // packed
  for (size_t n = 0; n < bytes.size(); ++n) (void)storage::decode_conf_state(bytes.substr(0, n));
  for (const char* bad : {"\x0a", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x22\x05xx", "\x0b", "\x09xx"}) {
    CHECK(storage::decode_entry(bad).status().code() == Code::kDataLoss);
  }
  CHECK(storage::decode_hard_state(std::string("\x3d"
                                               "abcd"
                                               "\x18\x05",
                                               7))
            ->commit == Index(5));  // skips fixed32
}
