// HashKV(revision): a checksum over the rows that a compaction at that revision would keep, the same on every member and in
// real etcd (wire-and-disk 6.7). Look into Store::hashes() first: a revision just compacted answers from there (6.8).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mvcc/hash_cache.h"
#include "mvcc/key_hasher.h"
#include "mvcc/task.h"

namespace storage {
class EngineIterator;
class View;
}  // namespace storage

namespace mvcc {

class Store;

class HashTask final : public Task {
 public:
  static constexpr size_t kIndexStep = 2048;
  static constexpr size_t kReadRows = 4096;
  static constexpr size_t kReadBytesMax = 4u << 20;

  // `revision` 0: the current one when the first step() runs; then it is also checked: status() compacted, future.
  HashTask(const Store& store, int64_t revision);
  ~HashTask() override;
  bool wants_read() const override { return phase_ == Phase::kRows; }
  void read() override;
  bool step() override;
  const base::Status& status() const override { return status_; }
  // REQUIRES: finished and ok.
  const KeyHash& result() const { return result_; }

 private:
  enum class Phase { kStart, kIndex, kRows, kDone };
  bool finish(base::Status status);

  const Store& store_;
  Phase phase_ = Phase::kStart;
  base::Status status_;
  KeyHash result_;
  std::string position_;
  std::vector<Dropped> dropped_;
  bool kept_any_ = false;
  std::shared_ptr<const storage::View> view_;
  std::unique_ptr<storage::EngineIterator> rows_;
  std::unique_ptr<KeyHasher> hasher_;
  bool rows_done_ = false;
};

}  // namespace mvcc
