#include "io/disk.h"

namespace io {

using base::Code;
using base::Result;
using base::Status;

std::string join(std::string_view dir, std::string_view name) {
  if (dir.empty()) return std::string(name);
  std::string out(dir);
  if (out.back() != '/') out += '/';
  out += name;
  return out;
}

std::string parent(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return slash == 0 ? "/" : std::string(path.substr(0, slash));
}

std::string base_name(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

Result<bool> exists(Disk& disk, const std::string& path) {
  const Result<FileInfo> info = disk.stat(path);
  if (info.ok()) return true;
  if (info.status().code() == Code::kNotFound) return false;
  return info.status();
}

Result<std::string> read_file(Disk& disk, const std::string& path, size_t bytes_max) {
  Result<std::unique_ptr<File>> file = disk.open(path, OpenMode::kRead);
  if (!file.ok()) return file.status();
  const Result<uint64_t> size = (*file)->size();
  if (!size.ok()) return size.status();
  if (*size > bytes_max) {
    return Status(Code::kResourceExhausted, "read " + path + ": " + std::to_string(*size) + " bytes are over the limit of " +
                                                std::to_string(bytes_max));
  }
  std::string bytes(*size, '\0');
  const Result<size_t> got = (*file)->read_at(0, bytes.data(), bytes.size());
  if (!got.ok()) return got.status();
  bytes.resize(*got);
  return bytes;
}

Status write_file_durably(Disk& disk, const std::string& path, std::string_view bytes, uint32_t mode) {
  const std::string temporary = path + ".tmp";
  {
    Result<std::unique_ptr<File>> file = disk.open(temporary, OpenMode::kTruncate, mode);
    if (!file.ok()) return file.status();
    Status done = (*file)->write_at(0, bytes);
    if (done.ok()) done = (*file)->sync();
    if (!done.ok()) {
      (void)disk.unlink(temporary);  // The first error is the one to tell.
      return done;
    }
  }
  if (Status done = disk.rename(temporary, path); !done.ok()) return done;
  return disk.sync_dir(parent(path));
}

Status make_dirs(Disk& disk, const std::string& dir, uint32_t mode) {
  const Result<FileInfo> info = disk.stat(dir);
  if (info.ok()) {
    return info->is_dir ? Status() : Status(Code::kFailedPrecondition, "mkdir " + dir + ": not a directory");
  }
  if (info.status().code() != Code::kNotFound) return info.status();
  const std::string above = parent(dir);
  if (above != dir) {
    if (Status done = make_dirs(disk, above, mode); !done.ok()) return done;
  }
  Status done = disk.make_dir(dir, mode);
  if (!done.ok() && done.code() != Code::kAlreadyExists) return done;
  return disk.sync_dir(above);
}

}  // namespace io
