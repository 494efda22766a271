#include "mvcc/revision.h"

#include "base/bytes.h"
#include "base/verify.h"
#include "storage/keyspace.h"

namespace mvcc {

RowKey::RowKey(Revision revision, bool tombstone) : size_(tombstone ? kTombstoneBytes : kPutBytes) {
  VERIFY(revision.main >= 0 && revision.sub >= 0);
  bytes_[0] = static_cast<char>(storage::Bucket::kKey);
  base::store_be64(bytes_ + 1, static_cast<uint64_t>(revision.main));
  bytes_[9] = '_';
  base::store_be64(bytes_ + 10, static_cast<uint64_t>(revision.sub));
  bytes_[18] = 't';
}

std::optional<ParsedRowKey> parse_row_key(std::string_view key) {
  if (key.size() != RowKey::kPutBytes && key.size() != RowKey::kTombstoneBytes) return std::nullopt;
  if (key[0] != static_cast<char>(storage::Bucket::kKey) || key[9] != '_') return std::nullopt;
  ParsedRowKey parsed;
  parsed.revision.main = static_cast<int64_t>(base::load_be64(key.data() + 1));
  parsed.revision.sub = static_cast<int64_t>(base::load_be64(key.data() + 10));
  parsed.tombstone = key.size() == RowKey::kTombstoneBytes;
  if (parsed.revision.main < 0 || parsed.revision.sub < 0 || (parsed.tombstone && key[18] != 't')) return std::nullopt;
  return parsed;
}

}  // namespace mvcc
