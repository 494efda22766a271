// The checksum of HashKV and of compactions, fed with rows in order (wire-and-disk 6.7). Any thread, one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "mvcc/revision.h"

namespace mvcc {

// A version that a compaction gives up.
struct Dropped {
  Revision revision;
  bool tombstone = false;
  friend bool operator<(const Dropped& a, const Dropped& b) { return a.revision < b.revision; }
};

class KeyHasher {
 public:
  // `dropped`: sorted; versions at or below `compact_revision` in it are left out, unless nothing at all was kept.
  KeyHasher(int64_t compact_revision, int64_t revision, const std::vector<Dropped>& dropped, bool kept_any);

  // A row of bucket `key` (key with the bucket byte). True if the row is in `dropped`. REQUIRES: rows ascend.
  bool add(const ParsedRowKey& parsed, std::string_view key, std::string_view value);
  uint32_t hash() const { return crc_; }

 private:
  const int64_t compact_revision_;
  const int64_t revision_;
  const std::vector<Dropped>& dropped_;
  const bool kept_any_;
  size_t next_dropped_ = 0;
  uint32_t crc_;
};

}  // namespace mvcc
