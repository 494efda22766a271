// A disk over another: what is seen is what a disk with the same changes would show, and the disk below keeps every byte.
#include "io/overlay_disk.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "io/mem_disk.h"

using base::Code;
using base::Result;
using base::Status;
using io::MemDisk;
using io::OpenMode;
using io::OverlayDisk;

namespace {

constexpr size_t kFileBytesMax = 1 << 20;
constexpr uint64_t kHoleBytes = 200'000;

void write(io::Disk& disk, const std::string& path, const std::string& bytes, uint64_t at = 0,
           OpenMode how = OpenMode::kCreate) {
  Result<std::unique_ptr<io::File>> file = disk.open(path, how);
  REQUIRE_MESSAGE(file.ok(), file.status().to_string());
  REQUIRE((*file)->write_at(at, bytes).ok());
}

// Everything a disk shows below `dir`, as one text.
std::string tree(io::Disk& disk, const std::string& dir) {
  const Result<std::vector<std::string>> names = disk.list(dir);
  if (!names.ok()) return dir + ": " + names.status().to_string() + "\n";
  std::string out = dir + "/\n";
  for (const std::string& name : *names) {
    const std::string path = io::join(dir, name);
    const Result<io::FileInfo> info = disk.stat(path);
    if (!info.ok()) {
      out += path + ": " + info.status().to_string() + "\n";
    } else if (info->is_dir) {
      out += tree(disk, path);
    } else {
      const Result<std::string> bytes = io::read_file(disk, path, kFileBytesMax);
      out += path + " " + std::to_string(info->size_bytes) + " " + (bytes.ok() ? *bytes : bytes.status().to_string()) + "\n";
    }
  }
  return out;
}

void lay_out(io::Disk& disk) {
  for (const char* dir : {"/d", "/d/one", "/d/two"}) REQUIRE(disk.make_dir(dir).ok());
  write(disk, "/d/a", "content of a");
  write(disk, "/d/one/b", "content of b");
  write(disk, "/d/two/c", "behind a hole", kHoleBytes);
}

}  // namespace

TEST_CASE("overlay disk: what is written, cut, renamed and removed is seen above and not below") {
  MemDisk below;
  lay_out(below);
  const std::string before = tree(below, "/d");
  OverlayDisk disk(below);
  CHECK(tree(disk, "/d") == before);
  const uint64_t changes = below.changes();

  write(disk, "/d/a", "CON");
  CHECK(*io::read_file(disk, "/d/a", 100) == "CONtent of a");
  write(disk, "/d/two/c", "X", kHoleBytes);
  const Result<std::string> hole = io::read_file(disk, "/d/two/c", kFileBytesMax);
  REQUIRE(hole.ok());
  CHECK(hole->find_first_not_of('\0') == kHoleBytes);
  CHECK(hole->substr(kHoleBytes) == "Xehind a hole");
  write(disk, "/d/new", "new");
  write(disk, "/d/one/b", "", 0, OpenMode::kTruncate);
  CHECK(disk.stat("/d/one/b")->size_bytes == 0);
  REQUIRE(disk.rename("/d/a", "/d/moved").ok());
  CHECK(disk.stat("/d/a").status().code() == Code::kNotFound);
  CHECK(disk.open("/d/a", OpenMode::kRead).status().code() == Code::kNotFound);
  REQUIRE(disk.unlink("/d/two/c").ok());
  CHECK(disk.unlink("/d/two/c").code() == Code::kNotFound);
  REQUIRE(disk.make_dir("/d/three").ok());
  CHECK(disk.make_dir("/d/one").code() == Code::kAlreadyExists);
  CHECK(disk.sync_dir("/d").ok());
  CHECK(tree(disk, "/d") == "/d/\n/d/moved 12 CONtent of a\n/d/new 3 new\n/d/one/\n/d/one/b 0 \n/d/three/\n/d/two/\n");

  CHECK(tree(below, "/d") == before);
  CHECK(below.changes() == changes);
}

TEST_CASE("overlay disk: a name that went can come back, empty") {
  MemDisk below;
  lay_out(below);
  OverlayDisk disk(below);
  REQUIRE(disk.unlink("/d/a").ok());
  CHECK(disk.open("/d/a", OpenMode::kReadWrite).status().code() == Code::kNotFound);
  write(disk, "/d/a", "z", 1, OpenMode::kCreateNew);
  CHECK(*io::read_file(disk, "/d/a", 100) == std::string("\0z", 2));
  REQUIRE(disk.unlink("/d/a").ok());
  CHECK(disk.stat("/d/a").status().code() == Code::kNotFound);
  CHECK(*io::read_file(below, "/d/a", 100) == "content of a");
}

TEST_CASE("overlay disk: modes of opening") {
  MemDisk below;
  lay_out(below);
  OverlayDisk disk(below);
  struct Row {
    const char* path;
    OpenMode how;
    Code code;
  };
  for (const Row& row :
       {Row{"/d/a", OpenMode::kCreateNew, Code::kAlreadyExists}, Row{"/d/no", OpenMode::kRead, Code::kNotFound},
        Row{"/d/no", OpenMode::kReadWrite, Code::kNotFound}, Row{"/d/a", OpenMode::kRead, Code::kOk},
        Row{"/d/made", OpenMode::kCreateNew, Code::kOk}, Row{"/d/made", OpenMode::kCreateNew, Code::kAlreadyExists},
        Row{"/d/made", OpenMode::kReadWrite, Code::kOk}}) {
    CAPTURE(row.path);
    CHECK(disk.open(row.path, row.how).status().code() == row.code);
  }
  // A lock is this disk's: two of its handles exclude each other, those of below it does not touch.
  auto one = disk.open("/d/a", OpenMode::kReadWrite), two = disk.open("/d/a", OpenMode::kReadWrite);
  auto under = below.open("/d/a", OpenMode::kReadWrite);
  REQUIRE((one.ok() && two.ok() && under.ok()));
  CHECK((*one)->lock().ok());
  CHECK((*two)->lock().code() == Code::kFailedPrecondition);
  CHECK((*under)->lock().ok());
}

TEST_CASE("overlay disk: a file that is too large to be copied is refused, and can be read") {
  MemDisk below;
  REQUIRE(below.make_dir("/d").ok());
  {
    auto file = below.open("/d/large", OpenMode::kCreate);
    REQUIRE(file.ok());
    REQUIRE((*file)->truncate(OverlayDisk::kCopyBytesMax + 1).ok());
  }
  OverlayDisk disk(below);
  const Status opened = disk.open("/d/large", OpenMode::kReadWrite).status();
  CHECK(opened.code() == Code::kResourceExhausted);
  CHECK(opened.text() == "/d/large: too large to work on a copy of it");
  CHECK(disk.open("/d/large", OpenMode::kRead).ok());
}

// Model: the same steps at an overlay and at a disk with the same files.
TEST_CASE("overlay disk: any steps end as they do without it") {
  const std::vector<std::string> dirs = {"/d", "/d/one", "/d/two"};
  const std::vector<std::string> names = {"a", "b", "c", "e"};
  for (uint64_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    base::Rng rng(seed);
    MemDisk below, plain;
    lay_out(below);
    lay_out(plain);
    const std::string before = tree(below, "/d");
    OverlayDisk disk(below);
    for (int step = 0; step < 30; ++step) {
      const std::string dir = dirs[rng.below(dirs.size())];
      const std::string path = io::join(dir, names[rng.below(names.size())]);
      const std::string other = io::join(dir, names[rng.below(names.size())]);
      const std::string bytes(1 + rng.below(40), static_cast<char>('a' + rng.below(26)));
      const uint64_t at = rng.below(30), kind = rng.below(5);
      const auto how = static_cast<OpenMode>(rng.below(5));
      CAPTURE(step);
      CAPTURE(kind);
      CAPTURE(path);
      CAPTURE(other);
      const auto act = [&](io::Disk& on) {
        if (kind == 0) return on.unlink(path);
        if (kind == 1) return path == other ? Status() : on.rename(path, other);
        Result<std::unique_ptr<io::File>> file = on.open(path, how);
        if (!file.ok() || how == OpenMode::kRead) return file.status();
        return kind == 2 ? (*file)->truncate(at) : (*file)->write_at(at, bytes);
      };
      const Status wanted = act(plain), done = act(disk);
      REQUIRE(done.code() == wanted.code());
      if (!wanted.ok()) REQUIRE(done.text() == wanted.text());
    }
    REQUIRE(tree(disk, "/d") == tree(plain, "/d"));
    REQUIRE(tree(below, "/d") == before);
  }
}
