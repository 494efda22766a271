// A bbolt database as an Engine that is only read: for tools that look at a file as the store looks at its own rows. A walk
// goes through the file in order; a seek back begins it anew, and a get() outside of bucket `meta`, whose rows are kept in
// memory, walks up to its row. So it is for a few long walks, not for serving. Any thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "io/disk.h"
#include "storage/engine.h"

namespace storage::bolt {

class DatabaseEngine final : public Engine {
 public:
  // Walks through the whole file once, so that damage of its structure is known. `disk` outlives this. Errors as Reader.
  static base::Result<std::unique_ptr<DatabaseEngine>> open(io::Disk& disk, const std::string& path);

  base::Result<bool> get(std::string_view key, std::string* value, const EngineSnapshot* snapshot = nullptr) const override;
  std::unique_ptr<EngineIterator> iterate(const EngineSnapshot* snapshot = nullptr) const override;
  std::shared_ptr<const EngineSnapshot> snapshot() const override;
  // kFailedPrecondition, always.
  base::Status write(const Changes& changes, bool sync) override;
  uint64_t size_bytes() const override { return size_bytes_; }
  uint64_t range_bytes(std::string_view, std::string_view) const override { return 0; }
  base::Status compact(std::string_view begin, std::string_view limit) override;

 private:
  class Iterator;
  DatabaseEngine(io::Disk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}

  io::Disk& disk_;
  const std::string path_;
  uint64_t size_bytes_ = 0;
  std::map<std::string, std::string, std::less<>> meta_;  // rows of bucket `meta`, with the bucket's byte
};

}  // namespace storage::bolt
