// The machine's disk. Stateless; thread-safe.
#pragma once

#include "io/disk.h"

namespace io {

class RealDisk final : public Disk {
 public:
  base::Result<std::unique_ptr<File>> open(const std::string& path, OpenMode how, uint32_t mode = kPrivateFileMode) override;
  base::Result<FileInfo> stat(const std::string& path) override;
  base::Result<std::vector<std::string>> list(const std::string& dir) override;
  base::Status make_dir(const std::string& dir, uint32_t mode = kPrivateDirMode) override;
  base::Status remove_dir(const std::string& dir) override;
  base::Status rename(const std::string& from, const std::string& to) override;
  base::Status unlink(const std::string& path) override;
  base::Status sync_dir(const std::string& dir) override;
  base::Result<uint64_t> free_bytes(const std::string& path) override;
};

}  // namespace io
