// The whole store as the bytes of a bbolt database, in steps for the helper thread: what Maintenance.Snapshot streams. One
// pinned view, so writes go on meanwhile and are not in it. Memory: kExportPieceBytes and a row.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "storage/backend.h"
#include "storage/bolt/writer.h"

namespace server {

// What one step of the helper thread looks at: a commit that waits behind it waits some milliseconds.
inline constexpr size_t kExportMeasureBytes = 2u << 20;
inline constexpr size_t kExportPieceBytes = 256u << 10;

class DatabaseExport {
 public:
  explicit DatabaseExport(std::shared_ptr<const storage::View> view);
  ~DatabaseExport();
  DatabaseExport(const DatabaseExport&) = delete;
  DatabaseExport& operator=(const DatabaseExport&) = delete;

  // --- on the helper thread ---
  // One step: finds out more of the size, then, once it is known, appends a piece to buffer().
  void step();

  // --- between steps ---
  const base::Status& status() const { return status_; }
  bool measured() const { return measured_; }
  uint64_t size() const;                     // REQUIRES: measured
  bool more() const { return more_; }        // false: buffer() has the end of it
  std::string& buffer() { return buffer_; }  // what the caller has not taken yet
  // SHA-256 of all bytes. REQUIRES: not more().
  const std::string& digest() const { return digest_; }
  // Lets the view go: the store is about to. step() must not be called any more.
  void close();

 private:
  struct Sha;

  std::shared_ptr<const storage::View> view_;
  std::unique_ptr<storage::bolt::Writer> writer_;
  std::unique_ptr<Sha> sha_;
  base::Status status_;
  bool measured_ = false;
  bool more_ = true;
  std::string buffer_;
  std::string digest_;
};

}  // namespace server
