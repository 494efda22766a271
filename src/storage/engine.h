// One ordered keyspace of byte strings on disk: LevelDB in production, a sorted map in tests. Any thread reads, one thread
// writes at a time. Contract of write: all changes of a list or none, and after a power cut what is found is what some prefix
// of the writes made, at least all that were synced.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace storage {

// Changes applied together or not at all, in order; a later change of a key wins.
class Changes {
 public:
  virtual ~Changes() = default;
  using Visit = std::function<void(std::string_view key, std::string_view value, bool is_erase)>;
  virtual void for_each(const Visit& visit) const = 0;
  virtual size_t bytes() const = 0;  // keys and values
  virtual bool empty() const = 0;
};

// Changes that own their bytes.
class WriteBatch final : public Changes {
 public:
  void put(std::string_view key, std::string_view value) { add(key, value, false); }
  void erase(std::string_view key) { add(key, {}, true); }
  void for_each(const Visit& visit) const override;
  size_t bytes() const override { return bytes_; }
  bool empty() const override { return flat_.empty(); }

 private:
  void add(std::string_view key, std::string_view value, bool is_erase);
  std::string flat_;  // per change: u32 key size, u32 value size, u8 is_erase, key, value
  size_t bytes_ = 0;
};

// A frozen view of the keyspace; holds disk space while it lives, and must not outlive the engine. Any thread.
class EngineSnapshot {
 public:
  virtual ~EngineSnapshot() = default;
};

// Forward iteration in byte order. One thread at a time. Views die at the next next() or seek().
class EngineIterator {
 public:
  virtual ~EngineIterator() = default;
  virtual void seek(std::string_view key) = 0;                   // to the first key >= `key`
  virtual void seek_to_last_before(std::string_view limit) = 0;  // to the last key < `limit`
  virtual bool valid() const = 0;
  virtual void next() = 0;
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  // kDataLoss when a block is damaged: names the file and the offset. Look at it when valid() turns false.
  virtual base::Status status() const = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  // true: found, *value filled. kDataLoss as above. `snapshot` null: now.
  virtual base::Result<bool> get(std::string_view key, std::string* value, const EngineSnapshot* snapshot = nullptr) const = 0;
  virtual std::unique_ptr<EngineIterator> iterate(const EngineSnapshot* snapshot = nullptr) const = 0;
  virtual std::shared_ptr<const EngineSnapshot> snapshot() const = 0;
  // Durable when it returns if `sync`. An error means the state on disk is unknown: the caller must stop.
  virtual base::Status write(const Changes& changes, bool sync) = 0;
  // Between these two a power cut leaves what some prefix of the writes made, whatever was synced; after end_bulk() all of it
  // is durable. For much that can be done again from the start: half the bytes go to disk. Errors as with write(). By default
  // nothing changes.
  virtual base::Status begin_bulk() { return {}; }
  virtual base::Status end_bulk() { return {}; }
  // Bytes on disk, about; cheap enough to call for each commit.
  virtual uint64_t size_bytes() const = 0;
  // Bytes on disk, about, of the rows in [begin, limit); of what is only in memory yet, none.
  virtual uint64_t range_bytes(std::string_view begin, std::string_view limit) const = 0;
  // Brings what is in memory to disk and rewrites [begin, limit), so that what was erased there takes no space. Blocks for as
  // long as that many bytes take: from the thread that writes, slice by slice (slices.h). Reads go on beside it. An empty
  // range: only what is in memory. An error means as with write().
  virtual base::Status compact(std::string_view begin, std::string_view limit) = 0;
};

}  // namespace storage
