// Hashes left by compactions: the ten with the highest revisions (wire-and-disk 6.8).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mvcc {

struct KeyHash {
  uint32_t hash = 0;
  int64_t compact_revision = -1;
  int64_t revision = 0;
  friend bool operator==(const KeyHash&, const KeyHash&) = default;
};

class HashCache {
 public:
  static constexpr size_t kHashesMax = 10;

  void add(const KeyHash& hash);
  // Null: not there.
  const KeyHash* find(int64_t revision) const;
  // By revision, ascending.
  const std::vector<KeyHash>& all() const { return hashes_; }

 private:
  std::vector<KeyHash> hashes_;
};

}  // namespace mvcc
