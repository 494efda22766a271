#include "base/log_sinks.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <vector>

namespace base::log {
namespace {

constexpr int kWriteWaitMs = 1000;
constexpr int64_t kMegabyte = 1024 * 1024;
constexpr int64_t kSizeMbDefault = 100;
constexpr std::string_view kCompressedSuffix = ".gz";
constexpr size_t kCopyBytes = 64 << 10;

// Go's text of a failed system call on a path.
std::string system_error(std::string_view call, std::string_view path) {
  char buffer[128];
  std::string why = strerror_r(errno, buffer, sizeof buffer);
  if (!why.empty() && why[0] >= 'A' && why[0] <= 'Z') why[0] = static_cast<char>(why[0] + 32);
  return std::string(call) + " " + std::string(path) + ": " + why;
}

// False when not all of it went out.
bool write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n > 0) {
      data.remove_prefix(static_cast<size_t>(n));
    } else if (n < 0 && errno == EAGAIN) {
      pollfd wait{fd, POLLOUT, 0};
      if (::poll(&wait, 1, kWriteWaitMs) <= 0) return false;
    } else if (n == 0 || errno != EINTR) {
      return false;
    }
  }
  return true;
}

class DescriptorSink final : public Sink {
 public:
  DescriptorSink(int fd, bool owned) : fd_(fd), owned_(owned) {}
  ~DescriptorSink() override {
    if (owned_) ::close(fd_);
  }
  void write(Level, std::string_view line) override { (void)write_all(fd_, line); }

 private:
  const int fd_;
  const bool owned_;
};

// Compresses beside the file and removes it; on any failure the file stays as it is.
void compress(const std::string& path) {
  const std::string target = path + std::string(kCompressedSuffix);
  const int in = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0) return;
  struct stat info {};
  const int out = ::fstat(in, &info) == 0 ? ::open(target.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, info.st_mode) : -1;
  gzFile zip = out >= 0 ? ::gzdopen(out, "wb") : nullptr;
  bool ok = zip != nullptr;
  std::vector<char> buffer(kCopyBytes);
  ssize_t n = 0;
  while (ok && (n = ::read(in, buffer.data(), buffer.size())) > 0) {
    ok = ::gzwrite(zip, buffer.data(), static_cast<unsigned>(n)) == n;
  }
  ok = ok && n == 0;
  if (zip != nullptr) ok = ::gzclose(zip) == Z_OK && ok;
  ::close(in);
  ::unlink(ok ? path.c_str() : target.c_str());
}

class RotatingSink final : public Sink {
 public:
  RotatingSink(std::string path, Rotation rotation)
      : path_(std::move(path)),
        rotation_(rotation),
        bytes_max_((rotation.size_mb == 0 ? kSizeMbDefault : rotation.size_mb) * kMegabyte) {
    const std::filesystem::path file(path_);
    folder_ = file.parent_path().empty() ? "." : file.parent_path().string();
    extension_ = file.extension().string();
    prefix_ = file.stem().string() + "-";
  }
  ~RotatingSink() override {
    if (fd_ >= 0) ::close(fd_);
  }

  void write(Level, std::string_view line) override {
    const auto bytes = static_cast<int64_t>(line.size());
    if (bytes > bytes_max_) return;
    if (fd_ < 0 && !open_existing(bytes)) return;
    if (bytes_ + bytes > bytes_max_ && !rotate()) return;
    if (write_all(fd_, line)) bytes_ += bytes;
  }

 private:
  bool open_existing(int64_t bytes) {
    clean_up();
    struct stat info {};
    if (::stat(path_.c_str(), &info) != 0) return open_new();
    if (info.st_size + bytes >= bytes_max_) return rotate();
    fd_ = ::open(path_.c_str(), O_APPEND | O_WRONLY | O_CLOEXEC);
    if (fd_ < 0) return open_new();
    bytes_ = info.st_size;
    return true;
  }

  bool rotate() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    if (!open_new()) return false;
    clean_up();
    return true;
  }

  // What is there moves to a name with the time in it.
  bool open_new() {
    std::error_code ignored;
    std::filesystem::create_directories(folder_, ignored);
    mode_t mode = 0600;
    struct stat info {};
    if (::stat(path_.c_str(), &info) == 0) {
      mode = info.st_mode & 07777;
      if (::rename(path_.c_str(), backup_path().c_str()) != 0) return false;
    }
    fd_ = ::open(path_.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, mode);
    bytes_ = 0;
    return fd_ >= 0;
  }

  std::string backup_path() const {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    std::tm parts{};
    if (rotation_.local_time) ::localtime_r(&now.tv_sec, &parts);
    else ::gmtime_r(&now.tv_sec, &parts);
    char stamp[64];
    const size_t n = std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H-%M-%S", &parts);
    std::snprintf(stamp + n, sizeof stamp - n, ".%03ld", now.tv_nsec / 1000000);
    return folder_ + "/" + prefix_ + stamp + extension_;
  }

  struct Backup {
    std::string stamp;  // sorts by time
    std::string name;
    std::time_t time;
  };

  std::optional<Backup> parse_backup(const std::string& name) const {
    std::string_view rest = name;
    if (rest.ends_with(kCompressedSuffix)) rest.remove_suffix(kCompressedSuffix.size());
    if (!rest.starts_with(prefix_) || !rest.ends_with(extension_) || rest.size() < prefix_.size() + extension_.size()) {
      return std::nullopt;
    }
    const std::string stamp(rest.substr(prefix_.size(), rest.size() - prefix_.size() - extension_.size()));
    std::tm parts{};
    const char* end = ::strptime(stamp.c_str(), "%Y-%m-%dT%H-%M-%S", &parts);
    if (end == nullptr || *end != '.' || std::strlen(end) != 4) return std::nullopt;
    return Backup{stamp, name, ::timegm(&parts)};
  }

  // Removes and compresses what the rotation says. In the writing thread: the queue takes lines meanwhile.
  void clean_up() const {
    if (rotation_.backups == 0 && rotation_.age_days == 0 && !rotation_.compress) return;
    std::vector<Backup> backups;
    DIR* dir = ::opendir(folder_.c_str());
    if (dir == nullptr) return;
    while (const dirent* entry = ::readdir(dir)) {
      if (std::optional<Backup> backup = parse_backup(entry->d_name)) backups.push_back(std::move(*backup));
    }
    ::closedir(dir);
    std::sort(backups.begin(), backups.end(), [](const Backup& a, const Backup& b) { return a.stamp > b.stamp; });
    const std::time_t oldest = std::time(nullptr) - rotation_.age_days * 24 * 3600;
    int64_t kept = 0;
    for (size_t i = 0; i < backups.size(); ++i) {
      // A file and its half-made .gz count as one.
      if (i == 0 || backups[i].stamp != backups[i - 1].stamp) ++kept;
      const std::string path = folder_ + "/" + backups[i].name;
      const bool too_many = rotation_.backups > 0 && kept > rotation_.backups;
      const bool too_old = rotation_.age_days > 0 && backups[i].time < oldest;
      if (too_many || too_old) ::unlink(path.c_str());
      else if (rotation_.compress && !path.ends_with(kCompressedSuffix)) compress(path);
    }
  }

  const std::string path_;
  const Rotation rotation_;
  const int64_t bytes_max_;
  std::string folder_, prefix_, extension_;
  int fd_ = -1;
  int64_t bytes_ = 0;
};

// systemd's native protocol: KEY=value lines in one datagram; falls back to stderr.
class JournalSink final : public Sink {
 public:
  JournalSink(int fd, std::string identifier) : fd_(fd), identifier_(std::move(identifier)) {}
  ~JournalSink() override { ::close(fd_); }

  void write(Level level, std::string_view line) override {
    std::string_view text = line;
    if (text.ends_with('\n')) text.remove_suffix(1);
    std::string datagram = "PRIORITY=" + std::to_string(priority(level)) + "\nSYSLOG_IDENTIFIER=" + identifier_ + "\n";
    if (const std::string package = caller_folder(text); !package.empty()) datagram += "PACKAGE=" + package + "\n";
    // With a length, in case the text holds an end of line.
    datagram += "MESSAGE\n";
    uint64_t size = text.size();
    for (int i = 0; i < 8; ++i, size >>= 8) datagram += static_cast<char>(size & 0xff);
    datagram += text;
    datagram += '\n';
    if (::send(fd_, datagram.data(), datagram.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) (void)write_all(STDERR_FILENO, line);
  }

 private:
  static int priority(Level level) {
    switch (level) {
      case Level::kDebug: return 7;
      case Level::kInfo: return 6;
      case Level::kWarn: return 4;
      case Level::kError: return 3;
      case Level::kDPanic:
      case Level::kPanic:
      case Level::kFatal: return 2;
    }
    return 6;
  }

  // The folder of "caller":"folder/file.cc:12".
  static std::string caller_folder(std::string_view json) {
    constexpr std::string_view kKey = "\"caller\":\"";
    const size_t at = json.find(kKey);
    if (at == std::string_view::npos) return {};
    const std::string_view rest = json.substr(at + kKey.size());
    const std::string_view caller = rest.substr(0, rest.find('"'));
    const size_t slash = caller.rfind('/');
    return slash == std::string_view::npos ? "." : std::string(caller.substr(0, slash));
  }

  const int fd_;
  const std::string identifier_;
};

}  // namespace

std::unique_ptr<Sink> descriptor_sink(int fd, bool owned) { return std::make_unique<DescriptorSink>(fd, owned); }

Result<std::unique_ptr<Sink>> file_sink(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return Status(Code::kInvalidArgument, system_error("open", path));
  return descriptor_sink(fd, true);
}

std::unique_ptr<Sink> rotating_sink(std::string path, Rotation rotation) {
  return std::make_unique<RotatingSink>(std::move(path), rotation);
}

Result<std::unique_ptr<Sink>> journal_sink(const char* socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (std::strlen(socket_path) >= sizeof address.sun_path) return Status(Code::kInvalidArgument, "journal path too long");
  std::memcpy(address.sun_path, socket_path, std::strlen(socket_path));
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const std::string why = system_error("connect", "");
    if (fd >= 0) ::close(fd);
    // "connect : no such file" without the empty path
    return Status(Code::kInvalidArgument, "can't find journal (dial unixgram " + std::string(socket_path) + ": connect" +
                                              why.substr(std::strlen("connect ")) + ")");
  }
  return std::unique_ptr<Sink>(std::make_unique<JournalSink>(fd, program_invocation_short_name));
}

}  // namespace base::log
