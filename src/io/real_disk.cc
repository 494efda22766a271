#include "io/real_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace io {
namespace {

using base::Code;
using base::Result;
using base::Status;

Code code_of(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR: return Code::kNotFound;
    case EEXIST: return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS: return Code::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE: return Code::kResourceExhausted;
    case ENOTEMPTY:
    case EBUSY: return Code::kFailedPrecondition;
    default: return Code::kInternal;
  }
}

// "open /data/x: no such file or directory": Go's form, which is C's text in lower case.
Status trouble(const char* call, const std::string& path, int error) {
  std::string text = std::strerror(error);
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] + ('a' - 'A'));
  return Status(code_of(error), std::string(call) + " " + path + ": " + text);
}

template <class Call>
auto retry(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

class RealFile final : public File {
 public:
  RealFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~RealFile() override { ::close(fd_); }

  Result<size_t> read_at(uint64_t offset, char* into, size_t n) const override {
    size_t done = 0;
    while (done < n) {
      const ssize_t got = retry([&] { return ::pread(fd_, into + done, n - done, static_cast<off_t>(offset + done)); });
      if (got < 0) return trouble("read", path_, errno);
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  Status write_at(uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t put = retry([&] { return ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
      if (put < 0) return trouble("write", path_, errno);
      bytes.remove_prefix(static_cast<size_t>(put));
      offset += static_cast<uint64_t>(put);
    }
    return {};
  }

  Status sync() override {
    // Not retried, not even when interrupted: what a failed sync did is unknown.
    if (::fdatasync(fd_) != 0) return trouble("fdatasync", path_, errno);
    return {};
  }

  Result<uint64_t> size() const override {
    struct stat info;
    if (::fstat(fd_, &info) != 0) return trouble("stat", path_, errno);
    return static_cast<uint64_t>(info.st_size);
  }

  Status truncate(uint64_t size_bytes) override {
    if (retry([&] { return ::ftruncate(fd_, static_cast<off_t>(size_bytes)); }) != 0) return trouble("truncate", path_, errno);
    return {};
  }

  Status allocate(uint64_t size_bytes) override {
    if (retry([&] { return ::fallocate(fd_, 0, 0, static_cast<off_t>(size_bytes)); }) == 0) return {};
    if (errno != EOPNOTSUPP && errno != ENOSYS) return trouble("fallocate", path_, errno);
    const Result<uint64_t> now = size();
    if (!now.ok()) return now.status();
    return *now < size_bytes ? truncate(size_bytes) : Status();
  }

  Status lock() override {
    struct flock whole = {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (retry([&] { return ::fcntl(fd_, F_OFD_SETLK, &whole); }) == 0) return {};
    if (errno == EAGAIN || errno == EACCES) {
      return Status(Code::kFailedPrecondition, "lock " + path_ + ": file already locked");
    }
    return trouble("lock", path_, errno);
  }

 private:
  const int fd_;
  const std::string path_;
};

int flags_of(OpenMode how) {
  switch (how) {
    case OpenMode::kRead: return O_RDONLY;
    case OpenMode::kReadWrite: return O_RDWR;
    case OpenMode::kCreate: return O_RDWR | O_CREAT;
    case OpenMode::kCreateNew: return O_RDWR | O_CREAT | O_EXCL;
    case OpenMode::kTruncate: return O_RDWR | O_CREAT | O_TRUNC;
  }
  return O_RDONLY;
}

}  // namespace

Result<std::unique_ptr<File>> RealDisk::open(const std::string& path, OpenMode how, uint32_t mode) {
  const int fd = retry([&] { return ::open(path.c_str(), flags_of(how) | O_CLOEXEC, static_cast<mode_t>(mode)); });
  if (fd < 0) return trouble("open", path, errno);
  return std::unique_ptr<File>(std::make_unique<RealFile>(fd, path));
}

Result<FileInfo> RealDisk::stat(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return trouble("stat", path, errno);
  FileInfo out;
  out.size_bytes = static_cast<uint64_t>(info.st_size);
  out.mode = info.st_mode & 07777;
  out.is_dir = S_ISDIR(info.st_mode);
  return out;
}

Result<std::vector<std::string>> RealDisk::list(const std::string& dir) {
  DIR* stream = ::opendir(dir.c_str());
  if (stream == nullptr) return trouble("open", dir, errno);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  const int error = errno;
  ::closedir(stream);
  if (error != 0) return trouble("readdir", dir, error);
  std::sort(names.begin(), names.end());
  return names;
}

Status RealDisk::make_dir(const std::string& dir, uint32_t mode) {
  if (::mkdir(dir.c_str(), static_cast<mode_t>(mode)) != 0) return trouble("mkdir", dir, errno);
  return {};
}

Status RealDisk::remove_dir(const std::string& dir) {
  if (::rmdir(dir.c_str()) != 0) return trouble("rmdir", dir, errno);
  return {};
}

Status RealDisk::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return trouble("rename", from + " " + to, errno);
  return {};
}

Status RealDisk::unlink(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return trouble("remove", path, errno);
  return {};
}

Status RealDisk::sync_dir(const std::string& dir) {
  const int fd = retry([&] { return ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return trouble("open", dir, errno);
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return error == 0 ? Status() : trouble("fsync", dir, error);
}

Result<uint64_t> RealDisk::free_bytes(const std::string& path) {
  struct statvfs info;
  if (::statvfs(path.c_str(), &info) != 0) return trouble("statfs", path, errno);
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

}  // namespace io
