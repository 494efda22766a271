#include "io/tree.h"

namespace io {

using base::Code;
using base::Result;
using base::Status;

namespace {

Status remove_below(Disk& disk, const std::string& path, size_t depth) {
  Result<FileInfo> info = disk.stat(path);
  if (info.status().code() == Code::kNotFound) return {};
  if (!info.ok()) return info.status();
  if (!info->is_dir) return disk.unlink(path);
  if (depth >= kTreeDepthMax) return Status(Code::kInvalidArgument, path + ": folders are nested too deeply");
  Result<std::vector<std::string>> names = disk.list(path);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    Status removed = remove_below(disk, path + "/" + name, depth + 1);
    if (!removed.ok()) return removed;
  }
  return disk.remove_dir(path);
}

}  // namespace

Status remove_tree(Disk& disk, const std::string& path) { return remove_below(disk, path, 0); }

}  // namespace io
