// The physical part of a compaction: trims the index in slices, then walks the rows up to the revision in a pinned View, erases
// those that were dropped and hashes as it goes (wire-and-disk 6.6, 6.8), and puts finishedCompactRev at the end. The lists of
// what to drop take the place of the memory that trimming frees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mvcc/key_hasher.h"
#include "mvcc/revision.h"
#include "mvcc/task.h"

namespace storage {
class EngineIterator;
class View;
}  // namespace storage

namespace mvcc {

class Store;

class CompactionTask final : public Task {
 public:
  // Records of the index looked at in one step.
  static constexpr size_t kIndexStep = 2048;
  // Bytes of rows read in one step at most.
  static constexpr size_t kReadBytesMax = 4u << 20;

  ~CompactionTask() override;
  bool wants_read() const override { return phase_ == Phase::kRows; }
  void read() override;
  bool step() override;
  const base::Status& status() const override { return status_; }
  int64_t revision() const { return revision_; }
  // Rows erased so far; the hash, once finished.
  size_t erased() const { return erased_; }
  uint32_t hash() const { return hash_; }

 private:
  friend class Store;
  enum class Phase { kIndex, kRows, kDone };
  CompactionTask(Store& store, int64_t revision, int64_t previous, bool previous_completed);
  bool step_index();
  bool step_rows();
  void finish();

  Store& store_;
  const int64_t revision_;
  const int64_t previous_;
  const bool previous_completed_;
  Phase phase_ = Phase::kIndex;
  base::Status status_;
  std::string position_;  // next key of the index
  std::vector<Dropped> dropped_;
  bool kept_any_ = false;
  std::shared_ptr<const storage::View> view_;
  std::unique_ptr<storage::EngineIterator> rows_;
  std::unique_ptr<KeyHasher> hasher_;
  std::vector<Dropped> batch_;  // to erase in the next step
  bool rows_done_ = false;
  base::Status read_status_;
  size_t erased_ = 0;
  uint32_t hash_ = 0;
};

}  // namespace mvcc
