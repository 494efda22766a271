// LevelDB's view of the machine, on our Disk. Beside passing calls on it does four things:
// - A file's name is made durable with its first sync, a log's name when it is made, a rename at once: LevelDB relies on the
//   manifest, which may only name what is there.
// - Flush keeps bytes in a buffer until a sync, a close or a full buffer, since every write of ours is synced anyway.
// - It can leave the logs out, see Engine::begin_bulk.
// - It remembers, per thread, where the last read was: LevelDB's reports of damage name no file.
// Threads: LevelDB calls from any; compaction runs on the one background thread of LevelDB's own environment.
#pragma once

#include <leveldb/env.h>

#include <atomic>
#include <string>
#include <vector>

#include "io/disk.h"

namespace storage {

class LevelDbEnv final : public leveldb::Env {
 public:
  explicit LevelDbEnv(io::Disk& disk) : disk_(disk) {}

  // Bytes in the files written or found so far, less those removed.
  uint64_t size_bytes() const { return size_bytes_.load(std::memory_order_relaxed); }
  void add_size(int64_t bytes) { size_bytes_.fetch_add(static_cast<uint64_t>(bytes), std::memory_order_relaxed); }
  // Logs made from now on stay empty, whatever is written to them.
  void leave_logs_out(bool yes) { logs_left_out_.store(yes, std::memory_order_relaxed); }
  // "/data/db/000005.ldb at offset 4096": the last read of this thread; empty when there was none.
  static std::string last_read();

  leveldb::Status NewSequentialFile(const std::string& path, leveldb::SequentialFile** result) override;
  leveldb::Status NewRandomAccessFile(const std::string& path, leveldb::RandomAccessFile** result) override;
  leveldb::Status NewWritableFile(const std::string& path, leveldb::WritableFile** result) override;
  leveldb::Status NewAppendableFile(const std::string& path, leveldb::WritableFile** result) override;
  bool FileExists(const std::string& path) override;
  leveldb::Status GetChildren(const std::string& dir, std::vector<std::string>* result) override;
  leveldb::Status RemoveFile(const std::string& path) override;
  leveldb::Status CreateDir(const std::string& dir) override;
  leveldb::Status RemoveDir(const std::string& dir) override;
  leveldb::Status GetFileSize(const std::string& path, uint64_t* size) override;
  leveldb::Status RenameFile(const std::string& from, const std::string& to) override;
  leveldb::Status LockFile(const std::string& path, leveldb::FileLock** lock) override;
  leveldb::Status UnlockFile(leveldb::FileLock* lock) override;
  void Schedule(void (*work)(void*), void* arg) override;
  void StartThread(void (*work)(void*), void* arg) override;
  leveldb::Status GetTestDirectory(std::string* path) override;
  leveldb::Status NewLogger(const std::string& path, leveldb::Logger** result) override;
  uint64_t NowMicros() override;
  void SleepForMicroseconds(int micros) override;

 private:
  leveldb::Status new_writable(const std::string& path, io::OpenMode how, leveldb::WritableFile** result);

  io::Disk& disk_;
  std::atomic<uint64_t> size_bytes_{0};
  std::atomic<bool> logs_left_out_{false};
};

}  // namespace storage
