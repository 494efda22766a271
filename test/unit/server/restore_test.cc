// A restore that cannot be finished names what failed and leaves the target as it was.
#include "server/restore.h"

#include <doctest/doctest.h>

#include "base/log.h"
#include "stopped_data.h"

namespace {

using base::Status;
using namespace server::stopped_data;

struct QuietLog {
  QuietLog() : before(base::log::level()) { base::log::set_level(base::log::Level::kFatal); }
  ~QuietLog() { base::log::set_level(before); }
  const base::log::Level before;
};

server::RestoreOptions options() {
  server::RestoreOptions options;
  options.snapshot_path = "/saved.db";
  options.data_dir = kDataDir;
  options.wal_dir = kLogDir;
  options.peer_urls = {"http://localhost:2380"};
  options.initial_cluster = "default=http://localhost:2380";
  options.initial_cluster_token = "token";
  options.skip_hash_check = true;
  return options;
}

// A disk with the snapshot alone.
std::unique_ptr<io::MemDisk> disk_with_snapshot() {
  auto disk = std::make_unique<io::MemDisk>();
  write_file(*disk, "/saved.db", database_of(content()));
  return disk;
}

}  // namespace

TEST_CASE("restore: a full disk, however full, leaves no target behind") {
  const QuietLog quiet;
  const uint64_t snapshot_bytes = disk_with_snapshot()->stat("/saved.db")->size_bytes;
  uint64_t refused = 0, room = 0;
  for (;; room += std::max<uint64_t>(4096, room / 4)) {
    CAPTURE(room);
    const auto disk = disk_with_snapshot();
    disk->set_capacity(snapshot_bytes + room);
    const Status restored = server::restore_snapshot(*disk, options());
    if (restored.ok()) break;
    ++refused;
    CHECK(restored.text().find("/data/member") != std::string_view::npos);
    CHECK(restored.text().ends_with("no space left on device"));
    CHECK_FALSE(*io::exists(*disk, kDataDir));
    // With room it succeeds, whatever was left.
    disk->set_capacity(io::MemDisk::kDefaultCapacityBytes);
    CHECK(server::restore_snapshot(*disk, options()).ok());
  }
  CHECK(refused > 5);
  CHECK(room > 60'000'000);  // the log's first segment is reserved
}

TEST_CASE("restore: an error of the disk at any step leaves no target behind, or one that is whole") {
  const QuietLog quiet;
  uint64_t step = 0, refused = 0;
  for (;; ++step) {
    CAPTURE(step);
    const auto disk = disk_with_snapshot();
    const uint64_t before = disk->changes();
    disk->fail_change_after(step);
    const Status restored = server::restore_snapshot(*disk, options());
    if (disk->changes() - before <= step) break;  // It has no such step.
    if (!restored.ok()) {
      ++refused;
      CHECK(restored.text().find("input/output error") != std::string_view::npos);
      CHECK_FALSE(*io::exists(*disk, "/data/member"));
    }
    CHECK((restored.ok() || server::restore_snapshot(*disk, options()).ok()));
  }
  CHECK(refused > 20);
}
