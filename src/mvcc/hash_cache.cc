#include "mvcc/hash_cache.h"

#include <algorithm>

namespace mvcc {

void HashCache::add(const KeyHash& hash) {
  const auto place = std::find_if(hashes_.begin(), hashes_.end(), [&](const KeyHash& h) { return h.revision > hash.revision; });
  hashes_.insert(place, hash);
  if (hashes_.size() > kHashesMax) hashes_.erase(hashes_.begin());
}

const KeyHash* HashCache::find(int64_t revision) const {
  for (const KeyHash& hash : hashes_) {
    if (hash.revision == revision) return &hash;
  }
  return nullptr;
}

}  // namespace mvcc
