// Maintenance.Hash: a checksum over all rows but those that differ between healthy members (wire-and-disk 6.9). All of it is
// reading, in bounded steps on the helper thread.
#pragma once

#include <memory>

#include "mvcc/task.h"
#include "storage/backend.h"
#include "storage/bolt/buckets.h"

namespace server {

class DatabaseHashTask final : public mvcc::Task {
 public:
  static constexpr size_t kReadBytesMax = 4u << 20;
  static constexpr size_t kRowBytes = 64;  // what a row counts for besides its bytes

  explicit DatabaseHashTask(std::shared_ptr<const storage::View> view);
  bool wants_read() const override { return !done_; }
  void read() override;
  bool step() override { return done_; }
  const base::Status& status() const override { return rows_->status(); }
  // REQUIRES: finished and ok.
  uint32_t hash() const { return crc_; }

 private:
  const std::shared_ptr<const storage::View> view_;
  const std::unique_ptr<storage::bolt::Rows> rows_;
  storage::bolt::DatabaseHash hash_;
  uint32_t crc_ = 0;
  bool done_ = false;
};

}  // namespace server
