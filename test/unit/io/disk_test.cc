// What every Disk promises (both kinds), and what a power cut may and may not take (MemDisk).
#include "io/disk.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "base/rng.h"
#include "io/mem_disk.h"
#include "io/real_disk.h"

using base::Code;
using io::OpenMode;

namespace {

// A folder of its own on the machine's disk, gone at the end.
class TempDir {
 public:
  TempDir() {
    char pattern[] = "/tmp/disk_test.XXXXXX";
    REQUIRE(mkdtemp(pattern) != nullptr);
    path_ = pattern;
  }
  ~TempDir() { remove_tree(path_); }
  const std::string& path() const { return path_; }

 private:
  static void remove_tree(const std::string& dir) {
    io::RealDisk disk;
    const auto names = disk.list(dir);
    for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
      const std::string path = io::join(dir, name);
      const auto info = disk.stat(path);
      if (info.ok() && info->is_dir) {
        remove_tree(path);
      } else {
        (void)disk.unlink(path);
      }
    }
    (void)disk.remove_dir(dir);
  }
  std::string path_;
};

void on_each_disk(const std::function<void(io::Disk&, const std::string&)>& test) {
  SUBCASE("memory") {
    io::MemDisk disk;
    REQUIRE(disk.make_dir("/d").ok());
    test(disk, "/d");
  }
  SUBCASE("real") {
    io::RealDisk disk;
    TempDir dir;
    test(disk, dir.path());
  }
}

std::string read_all(io::Disk& disk, const std::string& path) {
  auto bytes = io::read_file(disk, path, 1 << 20);
  REQUIRE_MESSAGE(bytes.ok(), bytes.status().to_string());
  return *bytes;
}

std::unique_ptr<io::File> open(io::Disk& disk, const std::string& path, OpenMode how) {
  auto file = disk.open(path, how);
  REQUIRE_MESSAGE(file.ok(), file.status().to_string());
  return std::move(*file);
}

}  // namespace

TEST_CASE("disk: files keep what is written, gaps are zeros, reads stop at the end") {
  on_each_disk([](io::Disk& disk, const std::string& dir) {
    const std::string path = io::join(dir, "f");
    auto file = open(disk, path, OpenMode::kCreateNew);
    CHECK(file->write_at(5000, "abc").ok());
    CHECK(file->write_at(0, "xy").ok());
    CHECK(*file->size() == 5003);
    std::string expected(5003, '\0');
    expected.replace(0, 2, "xy");
    expected.replace(5000, 3, "abc");
    CHECK(read_all(disk, path) == expected);
    char buffer[16];
    CHECK(*file->read_at(5001, buffer, sizeof buffer) == 2);
    CHECK(*file->read_at(6000, buffer, sizeof buffer) == 0);
    CHECK(file->truncate(1).ok());
    CHECK(file->truncate(3).ok());
    CHECK(read_all(disk, path) == std::string("x\0\0", 3));
    CHECK(file->allocate(8192).ok());
    CHECK(*file->size() == 8192);
    CHECK(file->allocate(100).ok());
    CHECK(*file->size() == 8192);
    CHECK(file->sync().ok());
    CHECK(disk.stat(path)->mode == io::kPrivateFileMode);
    CHECK_FALSE(disk.stat(path)->is_dir);
  });
}

TEST_CASE("disk: names, folders and their error codes") {
  on_each_disk([](io::Disk& disk, const std::string& dir) {
    const std::string a = io::join(dir, "a");
    CHECK(disk.open(a, OpenMode::kRead).status().code() == Code::kNotFound);
    CHECK(disk.open(a, OpenMode::kReadWrite).status().code() == Code::kNotFound);
    CHECK(disk.open(a, OpenMode::kRead).status().text() == "open " + a + ": no such file or directory");
    CHECK(disk.unlink(a).code() == Code::kNotFound);
    CHECK_FALSE(*io::exists(disk, a));
    (void)open(disk, a, OpenMode::kCreate);
    CHECK(*io::exists(disk, a));
    CHECK(disk.open(a, OpenMode::kCreateNew).status().code() == Code::kAlreadyExists);
    CHECK(disk.make_dir(a).code() == Code::kAlreadyExists);
    CHECK(io::make_dirs(disk, io::join(dir, "x/y/z")).ok());
    CHECK(io::make_dirs(disk, io::join(dir, "x/y/z")).ok());
    CHECK(io::make_dirs(disk, io::join(a, "z")).code() != Code::kOk);
    CHECK(disk.stat(io::join(dir, "x/y"))->is_dir);
    CHECK(disk.stat(io::join(dir, "x/y"))->mode == io::kPrivateDirMode);
    CHECK(disk.remove_dir(io::join(dir, "x")).code() == Code::kFailedPrecondition);
    CHECK(disk.remove_dir(io::join(dir, "x/y/z")).ok());
    const std::string b = io::join(dir, "b");
    CHECK(open(disk, b, OpenMode::kCreate)->write_at(0, "b").ok());
    CHECK(disk.rename(b, a).ok());
    CHECK(read_all(disk, a) == "b");
    CHECK(*disk.list(dir) == std::vector<std::string>{"a", "x"});
    CHECK(*open(disk, a, OpenMode::kTruncate)->size() == 0);
    CHECK(disk.sync_dir(dir).ok());
    CHECK(*disk.free_bytes(dir) > 0);
    CHECK(io::write_file_durably(disk, a, "new").ok());
    CHECK(read_all(disk, a) == "new");
    CHECK(io::read_file(disk, a, 2).status().code() == Code::kResourceExhausted);
  });
}

TEST_CASE("disk: one holder of a lock at a time, gone with its file") {
  on_each_disk([](io::Disk& disk, const std::string& dir) {
    const std::string path = io::join(dir, "lock");
    auto first = open(disk, path, OpenMode::kCreate);
    auto second = open(disk, path, OpenMode::kReadWrite);
    CHECK(first->lock().ok());
    CHECK(first->lock().ok());
    CHECK(second->lock().code() == Code::kFailedPrecondition);
    first.reset();
    CHECK(second->lock().ok());
  });
}

TEST_CASE("disk: paths") {
  CHECK(io::join("a", "b") == "a/b");
  CHECK(io::join("a/", "b") == "a/b");
  CHECK(io::join("", "b") == "b");
  CHECK(io::parent("/a/b/") == "/a");
  CHECK(io::parent("/a") == "/");
  CHECK(io::parent("a") == ".");
  CHECK(io::base_name("/a/b/") == "b");
  CHECK(io::base_name("b") == "b");
}

TEST_CASE("mem disk: a power cut keeps what was synced and tears the rest between sectors") {
  bool lost = false, kept = false, torn = false, shorter = false;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    io::MemDisk disk;
    base::Rng rng(seed);
    const std::string old(4 * io::kSectorBytes, 'o');
    const std::string fresh(6 * io::kSectorBytes, 'n');
    auto file = open(disk, "/f", OpenMode::kCreate);
    REQUIRE(file->write_at(0, old).ok());
    REQUIRE(file->sync().ok());
    REQUIRE(disk.sync_dir("/").ok());
    REQUIRE(file->write_at(0, fresh).ok());
    disk.power_cut(rng);
    CHECK(file->write_at(0, "x").code() == Code::kInternal);
    const std::string after = read_all(disk, "/f");
    REQUIRE(after.size() >= old.size());
    REQUIRE(after.size() <= fresh.size());
    size_t news = 0;
    for (size_t s = 0; s * io::kSectorBytes < after.size(); ++s) {
      const std::string sector = after.substr(s * io::kSectorBytes, io::kSectorBytes);
      const bool is_new = sector == std::string(sector.size(), 'n');
      const bool is_old = sector == std::string(sector.size(), s < 4 ? 'o' : '\0');
      REQUIRE((is_new || is_old));
      news += is_new ? 1 : 0;
    }
    lost |= news == 0;
    kept |= after == fresh;
    torn |= news > 0 && news < 6;
    shorter |= after.size() > old.size() && after.size() < fresh.size();
    // What was found is what stays.
    disk.power_cut(rng);
    CHECK(read_all(disk, "/f") == after);
  }
  CHECK((lost && kept && torn && shorter));
}

TEST_CASE("mem disk: a power cut keeps synced names and any part of the rest; a rename is one step") {
  bool renamed = false, not_renamed = false, created = false, not_created = false, removed = false, not_removed = false;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    io::MemDisk disk;
    base::Rng rng(seed);
    for (const char* name : {"/a", "/r"}) {
      auto file = open(disk, name, OpenMode::kCreate);
      REQUIRE(file->write_at(0, name).ok());
      REQUIRE(file->sync().ok());
    }
    REQUIRE(disk.sync_dir("/").ok());
    (void)open(disk, "/new", OpenMode::kCreate);
    REQUIRE(disk.rename("/a", "/b").ok());
    REQUIRE(disk.unlink("/r").ok());
    disk.power_cut(rng);
    const bool a = *io::exists(disk, "/a"), b = *io::exists(disk, "/b");
    REQUIRE(a != b);
    CHECK(read_all(disk, a ? "/a" : "/b") == "/a");
    renamed |= b, not_renamed |= a;
    const bool has_new = *io::exists(disk, "/new");
    created |= has_new, not_created |= !has_new;
    const bool has_r = *io::exists(disk, "/r");
    removed |= !has_r, not_removed |= has_r;
    if (has_r) CHECK(read_all(disk, "/r") == "/r");
  }
  CHECK((renamed && not_renamed && created && not_created && removed && not_removed));
}

TEST_CASE("mem disk: a file written durably is old or new after a power cut at any change") {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    io::MemDisk disk;
    base::Rng rng(seed);
    REQUIRE(io::write_file_durably(disk, "/f", std::string(3000, 'o')).ok());
    disk.lose_power_after(rng.below(6));
    const bool done = io::write_file_durably(disk, "/f", std::string(2000, 'n')).ok();
    CHECK(done == !disk.lost_power());
    disk.power_cut(rng);
    const std::string after = read_all(disk, "/f");
    CHECK((after == std::string(2000, 'n') || (!done && after == std::string(3000, 'o'))));
  }
}

TEST_CASE("mem disk: planned faults") {
  io::MemDisk disk;
  base::Rng rng(1);
  auto file = open(disk, "/f", OpenMode::kCreate);
  REQUIRE(disk.sync_dir("/").ok());

  SUBCASE("the n-th change fails once, without effect") {
    disk.fail_change_after(1);
    CHECK(file->write_at(0, "a").ok());
    CHECK(file->write_at(1, "b").code() == Code::kInternal);
    CHECK(file->write_at(1, "c").ok());
    CHECK(read_all(disk, "/f") == "ac");
  }
  SUBCASE("bytes of a failed sync are lost though a later sync succeeds") {
    disk.fail_sync_after(0);
    CHECK(file->write_at(0, "a").ok());
    CHECK(file->sync().code() == Code::kInternal);
    CHECK(file->sync().ok());
    CHECK(read_all(disk, "/f") == "a");
    disk.power_cut(rng);
    CHECK(read_all(disk, "/f") == std::string(1, '\0'));
  }
  SUBCASE("a full disk") {
    disk.set_capacity(100);
    CHECK(file->write_at(0, std::string(60, 'a')).ok());
    CHECK(file->write_at(60, std::string(60, 'b')).code() == Code::kResourceExhausted);
    CHECK(file->allocate(200).code() == Code::kResourceExhausted);
    CHECK(*disk.free_bytes("/") == 40);
    CHECK(file->write_at(0, std::string(60, 'c')).ok());
    CHECK(file->truncate(10).ok());
    CHECK(*disk.free_bytes("/") == 90);
    CHECK(disk.unlink("/f").ok());
    CHECK(*disk.free_bytes("/") == 100);
  }
  SUBCASE("after a loss of power nothing works until it is back") {
    disk.lose_power_after(0);
    CHECK_FALSE(file->write_at(0, "a").ok());
    CHECK_FALSE(file->sync().ok());
    CHECK_FALSE(disk.open("/g", OpenMode::kCreate).ok());
    CHECK_FALSE(disk.list("/").ok());
    CHECK(disk.lost_power());
    disk.power_cut(rng);
    CHECK(disk.open("/f", OpenMode::kRead).ok());
  }
}
