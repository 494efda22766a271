// The disk as a seam: files, directories, locks and durability. RealDisk is POSIX, MemDisk a memory disk that loses power.
// Every call blocks; any thread may use a Disk, one thread at a time a File (reads with read_at may run beside each other).
// What is durable: bytes of a file after File::sync, a created, renamed or removed name after sync_dir of its folder; no more.
// Errors carry Go's text form "open /dir/name: no such file or directory" and these codes:
//   kNotFound, kAlreadyExists, kPermissionDenied (also: read-only), kResourceExhausted (disk, quota or handles are full),
//   kFailedPrecondition (locked by another, folder not empty), kInternal (input/output error and all else).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace io {

inline constexpr uint32_t kPrivateFileMode = 0600;
inline constexpr uint32_t kPrivateDirMode = 0700;
// A power cut tears a write between sectors, never inside one.
inline constexpr size_t kSectorBytes = 512;

enum class OpenMode {
  kRead,        // must exist
  kReadWrite,   // must exist
  kCreate,      // read and write, made when missing
  kCreateNew,   // read and write, kAlreadyExists when there is one
  kTruncate,    // read and write, made when missing, emptied when not
};

struct FileInfo {
  uint64_t size_bytes = 0;
  uint32_t mode = 0;  // permission bits
  bool is_dir = false;
};

// Closing (destruction) drops the lock and syncs nothing.
class File {
 public:
  virtual ~File() = default;
  // Reads up to `n` bytes at `offset`; fewer only at the end of the file.
  virtual base::Result<size_t> read_at(uint64_t offset, char* into, size_t n) const = 0;
  // Writes all of `bytes`; a gap before `offset` reads as zeros. After an error any part may be written.
  virtual base::Status write_at(uint64_t offset, std::string_view bytes) = 0;
  // Makes bytes and size durable (fdatasync). After an error the state is unknown and a second call proves nothing: stop.
  virtual base::Status sync() = 0;
  virtual base::Result<uint64_t> size() const = 0;
  // Cuts or extends with zeros.
  virtual base::Status truncate(uint64_t size_bytes) = 0;
  // Reserves space and makes the file at least `size_bytes` long; new bytes read as zeros. Where the file system cannot
  // reserve, only the size changes.
  virtual base::Status allocate(uint64_t size_bytes) = 0;
  // Takes the exclusive lock of the file without waiting: kFailedPrecondition when another holder (of this or another process)
  // has it. It is Go etcd's kind of lock, so the two exclude each other. REQUIRES: opened for writing.
  virtual base::Status lock() = 0;
};

class Disk {
 public:
  virtual ~Disk() = default;
  // `mode` counts when the file is made (the umask does not widen it).
  virtual base::Result<std::unique_ptr<File>> open(const std::string& path, OpenMode how,
                                                   uint32_t mode = kPrivateFileMode) = 0;
  virtual base::Result<FileInfo> stat(const std::string& path) = 0;
  // Names in the folder, sorted, without "." and "..".
  virtual base::Result<std::vector<std::string>> list(const std::string& dir) = 0;
  // kAlreadyExists when there is anything of that name. The parent must exist.
  virtual base::Status make_dir(const std::string& dir, uint32_t mode = kPrivateDirMode) = 0;
  virtual base::Status remove_dir(const std::string& dir) = 0;  // must be empty
  // Replaces a file `to`. Both in one folder.
  virtual base::Status rename(const std::string& from, const std::string& to) = 0;
  virtual base::Status unlink(const std::string& path) = 0;
  // Makes the names in `dir` durable.
  virtual base::Status sync_dir(const std::string& dir) = 0;
  // Bytes an unprivileged writer may still use on the file system of `path`.
  virtual base::Result<uint64_t> free_bytes(const std::string& path) = 0;
};

// "a/b" of "a" and "b"; "b" when `dir` is empty.
std::string join(std::string_view dir, std::string_view name);
// "a" of "a/b"; "." of "b"; "/" of "/b".
std::string parent(std::string_view path);
std::string base_name(std::string_view path);

// False also when a parent is missing; any other trouble is an error.
base::Result<bool> exists(Disk& disk, const std::string& path);
// kResourceExhausted when the file is longer than `bytes_max`.
base::Result<std::string> read_file(Disk& disk, const std::string& path, size_t bytes_max);
// The file has the new content or the old one whatever happens, and the new one durably after success: writes `path`.tmp,
// syncs, renames, syncs the folder.
base::Status write_file_durably(Disk& disk, const std::string& path, std::string_view bytes, uint32_t mode = kPrivateFileMode);
// Makes `dir` and its missing parents, durably. Fine when it exists as a folder.
base::Status make_dirs(Disk& disk, const std::string& dir, uint32_t mode = kPrivateDirMode);

}  // namespace io
