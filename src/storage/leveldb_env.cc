#include "storage/leveldb_env.h"

#include <cstdarg>
#include <cstdio>
#include <memory>

#include "base/failpoint.h"
#include "base/log.h"

namespace storage {

using base::Code;
using base::Result;

namespace {

constexpr size_t kBufferBytes = 64 << 10;
constexpr size_t kLogLineBytes = 512;

leveldb::Status convert(const base::Status& status) {
  if (status.ok()) return leveldb::Status::OK();
  const std::string text(status.text());
  return status.code() == Code::kNotFound ? leveldb::Status::NotFound(text) : leveldb::Status::IOError(text);
}

struct LastRead {
  std::string path;
  uint64_t offset = 0;
};
thread_local LastRead t_last_read;

class SequentialFile final : public leveldb::SequentialFile {
 public:
  SequentialFile(std::unique_ptr<io::File> file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}

  leveldb::Status Read(size_t n, leveldb::Slice* result, char* scratch) override {
    t_last_read.path = path_;
    t_last_read.offset = offset_;
    const Result<size_t> got = file_->read_at(offset_, scratch, n);
    if (!got.ok()) return convert(got.status());
    *result = leveldb::Slice(scratch, *got);
    offset_ += *got;
    return leveldb::Status::OK();
  }
  leveldb::Status Skip(uint64_t n) override {
    offset_ += n;
    return leveldb::Status::OK();
  }

 private:
  const std::unique_ptr<io::File> file_;
  const std::string path_;
  uint64_t offset_ = 0;
};

class RandomAccessFile final : public leveldb::RandomAccessFile {
 public:
  RandomAccessFile(std::unique_ptr<io::File> file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}

  leveldb::Status Read(uint64_t offset, size_t n, leveldb::Slice* result, char* scratch) const override {
    t_last_read.path = path_;
    t_last_read.offset = offset;
    const Result<size_t> got = file_->read_at(offset, scratch, n);
    if (!got.ok()) return convert(got.status());
    *result = leveldb::Slice(scratch, *got);
    return leveldb::Status::OK();
  }

 private:
  const std::unique_ptr<io::File> file_;
  const std::string path_;
};

class WritableFile final : public leveldb::WritableFile {
 public:
  WritableFile(LevelDbEnv& env, io::Disk& disk, std::unique_ptr<io::File> file, std::string path, uint64_t offset,
               bool name_is_durable)
      : env_(env),
        disk_(disk),
        file_(std::move(file)),
        path_(std::move(path)),
        offset_(offset),
        name_is_durable_(name_is_durable) {}

  leveldb::Status Append(const leveldb::Slice& data) override {
    buffer_.append(data.data(), data.size());
    return buffer_.size() < kBufferBytes ? leveldb::Status::OK() : write_buffer();
  }
  leveldb::Status Flush() override { return leveldb::Status::OK(); }
  leveldb::Status Sync() override {
    if (leveldb::Status done = write_buffer(); !done.ok()) return done;
    // bbolt's names. What its meta page is, the MANIFEST is here.
    if (io::base_name(path_).starts_with("MANIFEST-")) {
      FAILPOINT(beforeSyncMetaPage);
    } else {
      FAILPOINT(beforeSyncDataPages);
    }
    if (base::Status done = file_->sync(); !done.ok()) return convert(done);
    if (!name_is_durable_) {
      if (base::Status done = disk_.sync_dir(io::parent(path_)); !done.ok()) return convert(done);
      name_is_durable_ = true;
    }
    return leveldb::Status::OK();
  }
  leveldb::Status Close() override { return write_buffer(); }
  ~WritableFile() override { (void)write_buffer(); }  // What was promised has been synced before.

 private:
  leveldb::Status write_buffer() {
    if (buffer_.empty()) return leveldb::Status::OK();
    const base::Status done = file_->write_at(offset_, buffer_);
    if (!done.ok()) return convert(done);
    offset_ += buffer_.size();
    env_.add_size(static_cast<int64_t>(buffer_.size()));
    if (buffer_.capacity() > 4 * kBufferBytes) std::string().swap(buffer_);
    buffer_.clear();
    return leveldb::Status::OK();
  }

  LevelDbEnv& env_;
  io::Disk& disk_;
  const std::unique_ptr<io::File> file_;
  const std::string path_;
  uint64_t offset_;
  bool name_is_durable_;
  std::string buffer_;
};

class EmptyLog final : public leveldb::WritableFile {
 public:
  leveldb::Status Append(const leveldb::Slice& /*data*/) override { return leveldb::Status::OK(); }
  leveldb::Status Flush() override { return leveldb::Status::OK(); }
  leveldb::Status Sync() override { return leveldb::Status::OK(); }
  leveldb::Status Close() override { return leveldb::Status::OK(); }
};

class Lock final : public leveldb::FileLock {
 public:
  explicit Lock(std::unique_ptr<io::File> file) : file_(std::move(file)) {}

 private:
  const std::unique_ptr<io::File> file_;
};

// LevelDB's own notes, at level debug.
class Logger final : public leveldb::Logger {
 public:
  void Logv(const char* format, std::va_list arguments) override {
    if (!base::log::enabled(base::log::Level::kDebug)) return;
    char line[kLogLineBytes];
    std::vsnprintf(line, sizeof line, format, arguments);
    std::string_view text = line;
    while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    base::log::debug("leveldb", {{"note", text}});
  }
};

}  // namespace

std::string LevelDbEnv::last_read() {
  if (t_last_read.path.empty()) return {};
  return t_last_read.path + " at offset " + std::to_string(t_last_read.offset);
}

leveldb::Status LevelDbEnv::NewSequentialFile(const std::string& path, leveldb::SequentialFile** result) {
  Result<std::unique_ptr<io::File>> file = disk_.open(path, io::OpenMode::kRead);
  if (!file.ok()) return convert(file.status());
  *result = new SequentialFile(std::move(*file), path);
  return leveldb::Status::OK();
}

leveldb::Status LevelDbEnv::NewRandomAccessFile(const std::string& path, leveldb::RandomAccessFile** result) {
  Result<std::unique_ptr<io::File>> file = disk_.open(path, io::OpenMode::kRead);
  if (!file.ok()) return convert(file.status());
  *result = new RandomAccessFile(std::move(*file), path);
  return leveldb::Status::OK();
}

leveldb::Status LevelDbEnv::new_writable(const std::string& path, io::OpenMode how, leveldb::WritableFile** result) {
  Result<std::unique_ptr<io::File>> file = disk_.open(path, how);
  if (!file.ok()) return convert(file.status());
  const Result<uint64_t> size = (*file)->size();
  if (!size.ok()) return convert(size.status());
  // The manifest refers to a log from the moment on at which it is made, before anything is written to it.
  const bool is_log = path.ends_with(".log");
  if (is_log) {
    if (base::Status done = disk_.sync_dir(io::parent(path)); !done.ok()) return convert(done);
    if (logs_left_out_.load(std::memory_order_relaxed)) {
      *result = new EmptyLog;
      return leveldb::Status::OK();
    }
  }
  *result = new WritableFile(*this, disk_, std::move(*file), path, *size, is_log);
  return leveldb::Status::OK();
}

leveldb::Status LevelDbEnv::NewWritableFile(const std::string& path, leveldb::WritableFile** result) {
  if (const Result<io::FileInfo> old = disk_.stat(path); old.ok()) add_size(-static_cast<int64_t>(old->size_bytes));
  return new_writable(path, io::OpenMode::kTruncate, result);
}

leveldb::Status LevelDbEnv::NewAppendableFile(const std::string& path, leveldb::WritableFile** result) {
  return new_writable(path, io::OpenMode::kCreate, result);
}

bool LevelDbEnv::FileExists(const std::string& path) { return disk_.stat(path).ok(); }

leveldb::Status LevelDbEnv::GetChildren(const std::string& dir, std::vector<std::string>* result) {
  Result<std::vector<std::string>> names = disk_.list(dir);
  if (!names.ok()) return convert(names.status());
  *result = std::move(*names);
  return leveldb::Status::OK();
}

leveldb::Status LevelDbEnv::RemoveFile(const std::string& path) {
  const Result<io::FileInfo> old = disk_.stat(path);
  const base::Status done = disk_.unlink(path);
  if (done.ok() && old.ok()) add_size(-static_cast<int64_t>(old->size_bytes));
  return convert(done);
}

leveldb::Status LevelDbEnv::CreateDir(const std::string& dir) { return convert(disk_.make_dir(dir)); }
leveldb::Status LevelDbEnv::RemoveDir(const std::string& dir) { return convert(disk_.remove_dir(dir)); }

leveldb::Status LevelDbEnv::GetFileSize(const std::string& path, uint64_t* size) {
  const Result<io::FileInfo> info = disk_.stat(path);
  if (!info.ok()) return convert(info.status());
  *size = info->size_bytes;
  return leveldb::Status::OK();
}

leveldb::Status LevelDbEnv::RenameFile(const std::string& from, const std::string& to) {
  const Result<io::FileInfo> replaced = disk_.stat(to);
  if (base::Status done = disk_.rename(from, to); !done.ok()) return convert(done);
  if (replaced.ok()) add_size(-static_cast<int64_t>(replaced->size_bytes));
  return convert(disk_.sync_dir(io::parent(to)));
}

leveldb::Status LevelDbEnv::LockFile(const std::string& path, leveldb::FileLock** lock) {
  Result<std::unique_ptr<io::File>> file = disk_.open(path, io::OpenMode::kCreate);
  if (!file.ok()) return convert(file.status());
  if (base::Status done = (*file)->lock(); !done.ok()) return convert(done);
  *lock = new Lock(std::move(*file));
  return leveldb::Status::OK();
}

leveldb::Status LevelDbEnv::UnlockFile(leveldb::FileLock* lock) {
  delete lock;
  return leveldb::Status::OK();
}

void LevelDbEnv::Schedule(void (*work)(void*), void* arg) { leveldb::Env::Default()->Schedule(work, arg); }
void LevelDbEnv::StartThread(void (*work)(void*), void* arg) { leveldb::Env::Default()->StartThread(work, arg); }

leveldb::Status LevelDbEnv::GetTestDirectory(std::string* /*path*/) {
  return leveldb::Status::NotSupported("no test directory here");
}

leveldb::Status LevelDbEnv::NewLogger(const std::string& /*path*/, leveldb::Logger** result) {
  *result = new Logger;
  return leveldb::Status::OK();
}

uint64_t LevelDbEnv::NowMicros() { return leveldb::Env::Default()->NowMicros(); }
void LevelDbEnv::SleepForMicroseconds(int micros) { leveldb::Env::Default()->SleepForMicroseconds(micros); }

}  // namespace storage
