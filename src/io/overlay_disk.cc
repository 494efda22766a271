#include "io/overlay_disk.h"

#include <algorithm>

namespace io {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr size_t kPieceBytes = 64u << 10;

Status not_found(const char* what, const std::string& path) {
  return Status(Code::kNotFound, std::string(what) + " " + path + ": no such file or directory");
}

// MemDisk knows only what is below its root.
std::string rooted(const std::string& path) { return path.starts_with('/') ? path : "/./" + path; }

}  // namespace

bool OverlayDisk::is_above(const std::string& path) { return above_.stat(rooted(path)).ok(); }

Status OverlayDisk::make_above(const std::string& dir) { return make_dirs(above_, rooted(dir)); }

Status OverlayDisk::copy_up(const std::string& path) {
  Result<std::unique_ptr<File>> from = below_.open(path, OpenMode::kRead);
  if (!from.ok()) return from.status();
  Result<uint64_t> size = (*from)->size();
  if (!size.ok()) return size.status();
  if (*size > kCopyBytesMax) return Status(Code::kResourceExhausted, path + ": too large to work on a copy of it");
  Status done = make_above(parent(path));
  if (!done.ok()) return done;
  Result<std::unique_ptr<File>> to = above_.open(rooted(path), OpenMode::kTruncate);
  if (!to.ok()) return to.status();
  std::string piece(kPieceBytes, '\0');
  for (uint64_t at = 0; at < *size;) {
    Result<size_t> n = (*from)->read_at(at, piece.data(), piece.size());
    if (!n.ok()) return n.status();
    if (*n == 0) break;
    const std::string_view bytes = std::string_view(piece).substr(0, *n);
    // A log is mostly zeros that wait to be written; those take no memory.
    const bool has_content = bytes.find_first_not_of('\0') != std::string_view::npos;
    if (has_content) done = (*to)->write_at(at, bytes);
    if (!done.ok()) return done;
    at += *n;
  }
  return (*to)->truncate(*size);
}

Result<std::unique_ptr<File>> OverlayDisk::open(const std::string& path, OpenMode how, uint32_t mode) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const bool above = is_above(path);
  if (!above && gone_.contains(path) && (how == OpenMode::kRead || how == OpenMode::kReadWrite)) return not_found("open", path);
  if (!above && how == OpenMode::kRead) return below_.open(path, how, mode);
  if (!above) {
    Result<bool> there = exists(below_, path);
    if (!there.ok()) return there.status();
    if (gone_.contains(path)) there = false;
    if (*there && how == OpenMode::kCreateNew) return Status(Code::kAlreadyExists, "open " + path + ": file exists");
    Status done = *there && how != OpenMode::kTruncate ? copy_up(path) : make_above(parent(path));
    if (!done.ok()) return done;
  }
  return above_.open(rooted(path), how, mode);
}

Result<FileInfo> OverlayDisk::stat(const std::string& path) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Result<FileInfo> info = above_.stat(rooted(path));
  // A folder above may only be there to hold copies: that of below says more.
  if (info.ok() && !info->is_dir) return info;
  if (gone_.contains(path)) return info.ok() ? std::move(info) : not_found("stat", path);
  Result<FileInfo> under = below_.stat(path);
  return under.ok() || !info.ok() ? std::move(under) : std::move(info);
}

Result<std::vector<std::string>> OverlayDisk::list(const std::string& dir) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Result<std::vector<std::string>> above = above_.list(rooted(dir));
  Result<std::vector<std::string>> below = below_.list(dir);
  if (!above.ok() && !below.ok()) return below;
  std::vector<std::string> names;
  if (above.ok()) names = *above;
  if (below.ok() && !gone_.contains(dir)) {
    for (const std::string& name : *below) {
      if (!gone_.contains(join(dir, name))) names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Status OverlayDisk::make_dir(const std::string& dir, uint32_t mode) {
  const std::lock_guard<std::mutex> guard(mutex_);
  Result<bool> there = exists(below_, dir);
  if (there.ok() && *there && !gone_.contains(dir)) return Status(Code::kAlreadyExists, "mkdir " + dir + ": file exists");
  Status done = make_above(parent(dir));
  return done.ok() ? above_.make_dir(rooted(dir), mode) : done;
}

Status OverlayDisk::remove_dir(const std::string& dir) {
  const std::lock_guard<std::mutex> guard(mutex_);
  gone_.insert(dir);
  return is_above(dir) ? above_.remove_dir(rooted(dir)) : Status();
}

Status OverlayDisk::rename(const std::string& from, const std::string& to) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (!is_above(from)) {
    if (gone_.contains(from) || !below_.stat(from).ok()) return not_found("rename", from);
    if (Status done = copy_up(from); !done.ok()) return done;
  }
  if (Status done = make_above(parent(to)); !done.ok()) return done;
  gone_.insert(from);
  return above_.rename(rooted(from), rooted(to));
}

Status OverlayDisk::unlink(const std::string& path) {
  const std::lock_guard<std::mutex> guard(mutex_);
  const bool above = is_above(path);
  if (!above && (gone_.contains(path) || !below_.stat(path).ok())) return not_found("remove", path);
  gone_.insert(path);
  return above ? above_.unlink(rooted(path)) : Status();
}

}  // namespace io
