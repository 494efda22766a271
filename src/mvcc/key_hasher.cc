#include "mvcc/key_hasher.h"

#include "base/crc32c.h"
#include "storage/keyspace.h"

namespace mvcc {

KeyHasher::KeyHasher(int64_t compact_revision, int64_t revision, const std::vector<Dropped>& dropped, bool kept_any)
    : compact_revision_(compact_revision),
      revision_(revision),
      dropped_(dropped),
      kept_any_(kept_any),
      crc_(base::crc32c(storage::bucket_name(storage::Bucket::kKey))) {}

bool KeyHasher::add(const ParsedRowKey& parsed, std::string_view key, std::string_view value) {
  while (next_dropped_ < dropped_.size() && dropped_[next_dropped_].revision < parsed.revision) ++next_dropped_;
  const bool dropped = next_dropped_ < dropped_.size() && dropped_[next_dropped_].revision == parsed.revision;
  if (parsed.revision.main > revision_) return dropped;
  if (parsed.revision.main <= compact_revision_ && kept_any_ && dropped) return dropped;
  // Members up to 3.5.15 drop such a tombstone, later ones keep it: left out, so that they agree.
  if (parsed.revision.main == compact_revision_ && parsed.tombstone) return dropped;
  crc_ = base::crc32c_extend(crc_, key.substr(1));
  crc_ = base::crc32c_extend(crc_, value);
  return dropped;
}

}  // namespace mvcc
