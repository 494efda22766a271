// A disk in memory that forgets like a real one. Thread-safe (LevelDB's thread and ours use it at once): one mutex inside.
// What a power cut keeps: bytes up to the last successful sync, and of each sector written later the old or the new content,
// each sector by itself (lost, torn, reordered); the size may have grown or not; names up to the last sync_dir, and of later
// creates, renames and removals a prefix or any subset, a rename being one step. A failed sync leaves its bytes lost even if a
// later sync succeeds, as Linux does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/rng.h"
#include "io/disk.h"

namespace io {

class MemDisk final : public Disk {
 public:
  static constexpr uint64_t kNever = UINT64_MAX;
  static constexpr uint64_t kDefaultCapacityBytes = 1ULL << 40;

  MemDisk();
  ~MemDisk() override;

  base::Result<std::unique_ptr<File>> open(const std::string& path, OpenMode how, uint32_t mode = kPrivateFileMode) override;
  base::Result<FileInfo> stat(const std::string& path) override;
  base::Result<std::vector<std::string>> list(const std::string& dir) override;
  base::Status make_dir(const std::string& dir, uint32_t mode = kPrivateDirMode) override;
  base::Status remove_dir(const std::string& dir) override;
  base::Status rename(const std::string& from, const std::string& to) override;
  base::Status unlink(const std::string& path) override;
  base::Status sync_dir(const std::string& dir) override;
  base::Result<uint64_t> free_bytes(const std::string& path) override;

  // Power fails and comes back: decides by `rng` what is kept. Open files are dead (every call kInternal), locks are gone,
  // planned faults are cleared.
  void power_cut(base::Rng& rng);
  // The same, decided piece by piece: a step of a folder's names, a change of a file's size, a sector. `keep` is asked once for
  // each, always in the same order for the same disk. Every answer is one that a real disk may give.
  void power_cut(const std::function<bool()>& keep);
  // Another disk with the same content, synced and not. Open files and planned faults stay here.
  std::unique_ptr<MemDisk> clone() const;

  // --- planned faults; calls that change something are counted (write, sync, truncate, allocate, create, rename, ...) ---
  uint64_t changes() const;  // counted so far
  // The power fails in the middle of the change number `n` from now (0: the next): it takes effect in part, and every call
  // after it fails until power_cut() settles what is kept.
  void lose_power_after(uint64_t n);
  bool lost_power() const;
  // The change number `n` from now fails with input/output error and has no effect, once.
  void fail_change_after(uint64_t n);
  // The sync (file or folder) number `n` from now fails, once.
  void fail_sync_after(uint64_t n);
  // Bytes of all files and reservations together; what would pass it fails with kResourceExhausted.
  void set_capacity(uint64_t bytes);

  // --- looking from outside, for tests: no faults, not counted ---
  // Flips the bits of `mask` in one byte, durably. REQUIRES: the byte exists.
  void damage_for_test(const std::string& path, uint64_t offset, uint8_t mask);

 private:
  struct Node;
  struct State;
  class Handle;
  std::shared_ptr<State> state_;
};

}  // namespace io
