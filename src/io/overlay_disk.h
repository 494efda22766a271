// A disk over another: everything is read from below, and what is changed is kept in memory and never reaches it. For tools
// that look at a data directory as a start would, and leave each byte as it was. A file opened for writing is copied into
// memory first: at most kCopyBytesMax of it, kResourceExhausted beyond. Folders are made but not removed below; a
// renamed folder must be new. Locks are of this disk only: who must keep others out takes theirs below. Thread-safe.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "io/disk.h"
#include "io/mem_disk.h"

namespace io {

class OverlayDisk final : public Disk {
 public:
  static constexpr uint64_t kCopyBytesMax = 1ULL << 30;

  // `below` outlives this.
  explicit OverlayDisk(Disk& below) : below_(below) {}

  base::Result<std::unique_ptr<File>> open(const std::string& path, OpenMode how, uint32_t mode = kPrivateFileMode) override;
  base::Result<FileInfo> stat(const std::string& path) override;
  base::Result<std::vector<std::string>> list(const std::string& dir) override;
  base::Status make_dir(const std::string& dir, uint32_t mode = kPrivateDirMode) override;
  base::Status remove_dir(const std::string& dir) override;
  base::Status rename(const std::string& from, const std::string& to) override;
  base::Status unlink(const std::string& path) override;
  base::Status sync_dir(const std::string&) override { return {}; }
  base::Result<uint64_t> free_bytes(const std::string& path) override { return below_.free_bytes(path); }

 private:
  base::Status copy_up(const std::string& path);
  base::Status make_above(const std::string& dir);
  bool is_above(const std::string& path);

  Disk& below_;
  MemDisk above_;
  std::mutex mutex_;
  std::set<std::string> gone_;  // removed or renamed away; there again once above_ has it
};

}  // namespace io
