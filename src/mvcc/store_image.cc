#include "mvcc/store_image.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "storage/backend.h"
#include "storage/keyspace.h"
#include "wire/codec.h"

namespace mvcc {
namespace {

using base::Code;
using base::Result;
using base::Status;
using storage::Bucket;

Status damaged(std::string_view row, const char* what) {
  return Status(Code::kDataLoss, "the store holds a damaged row (key " + base::hex_bytes(row) + "): " + what);
}

// A revision in bucket `meta`: the row key of (revision, 0) without the bucket byte. -1: no such row.
Result<int64_t> read_meta_revision(const storage::View& view, std::string_view name) {
  std::string row;
  const Result<bool> found = view.get(storage::row_key(Bucket::kMeta, name), &row);
  if (!found.ok()) return found.status();
  if (!*found) return int64_t{-1};
  const std::optional<ParsedRowKey> parsed = parse_row_key(storage::row_key(Bucket::kKey, row));
  if (!parsed) return damaged(name, "not a revision");
  return parsed->revision.main;
}

using LeaseOf = absl::flat_hash_map<const KeyRecord*, int64_t>;

Status add_row(std::string_view key, std::string_view value, StoreImage* image, LeaseOf* leases) {
  const std::optional<ParsedRowKey> parsed = parse_row_key(key);
  if (!parsed) return damaged(key, "its key is not a revision");
  wire::KeyValue pair;
  if (!wire::parse(value, pair)) return damaged(key, "its value is not a KeyValue");
  if (value.size() > UINT32_MAX || parsed->revision.sub > kSubMax) return damaged(key, "out of bounds");
  image->newest = parsed->revision.main;
  KeyRecord& record = image->index.find_or_make(pair.key);
  const Version version = make_version(parsed->revision, value.size(), parsed->tombstone, pair.lease != 0);
  if (record.empty()) {
    // A tombstone that comes first is what a compaction left of its generation.
    image->index.restore(record, version, parsed->tombstone ? 0 : pair.create_revision, parsed->tombstone ? 1 : pair.version);
  } else if (parsed->revision <= record.newest.revision()) {
    return damaged(key, "there is a put and a tombstone of this revision");
  } else if (!parsed->tombstone) {
    image->index.put(record, version);
  } else if (record.live()) {
    image->index.bury(record, version);
  }  // else: a second tombstone, which etcd writes no more and skips too.
  if (pair.lease != 0 && !parsed->tombstone)
    (*leases)[&record] = pair.lease;
  else
    leases->erase(&record);
  return {};
}

}  // namespace

Result<std::unique_ptr<StoreImage>> StoreImage::read(const storage::View& view) {
  auto image = std::make_unique<StoreImage>();
  Result<int64_t> finished = read_meta_revision(view, kFinishedCompactRow);
  if (!finished.ok()) return finished.status();
  Result<int64_t> scheduled = read_meta_revision(view, kScheduledCompactRow);
  if (!scheduled.ok()) return scheduled.status();
  image->finished_compact = *finished;
  image->scheduled_compact = *scheduled;
  LeaseOf leases;
  const std::unique_ptr<storage::EngineIterator> row = view.iterate();
  const std::string end = storage::bucket_end(Bucket::kKey);
  for (row->seek(RowKey({1, 0}, false).view()); row->valid() && row->key() < end; row->next()) {
    if (Status added = add_row(row->key(), row->value(), image.get(), &leases); !added.ok()) return added;
  }
  if (!row->status().ok()) return row->status();
  image->leased.reserve(leases.size());
  for (const auto& [record, lease] : leases) image->leased.emplace_back(record->key(), lease);
  std::sort(image->leased.begin(), image->leased.end());
  return image;
}

}  // namespace mvcc
