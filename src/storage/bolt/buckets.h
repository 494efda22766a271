// Between the one keyspace of the store and etcd's database of ten buckets: rows of a view as the database has them, the
// checksum over them, and a foreign database's rows into an engine. Source: wire-and-disk 6.1, 6.9.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "storage/backend.h"
#include "storage/bolt/rows.h"
#include "storage/engine.h"

namespace storage::bolt {

// The names of storage::kBuckets.
std::vector<std::string> bucket_names();

// All rows of a view; kDataLoss for a row that is in no bucket. The view lives at least as long.
std::unique_ptr<Rows> rows_of(const View& view);

// The checksum that Maintenance.Hash and `etcdutl snapshot status` show: CRC-32C over each bucket's name and its keys and
// values.
class DatabaseHash {
 public:
  // `buckets`: all there are, ascending; names of empty ones count.
  explicit DatabaseHash(std::vector<std::string> buckets) : buckets_(std::move(buckets)) {}
  // REQUIRES: rows in order, of those buckets.
  void add(std::string_view bucket, std::string_view key, std::string_view value);
  // After the last row.
  uint32_t finish();

 private:
  void enter(std::string_view bucket);

  const std::vector<std::string> buckets_;
  size_t entered_ = 0;  // names hashed so far
  uint32_t crc_ = 0;
};
// Rows that Maintenance.Hash leaves out: they differ between healthy members.
bool left_out_of_hash(std::string_view bucket, std::string_view key);

struct Imported {
  uint64_t rows = 0;
  uint64_t skipped = 0;  // rows of buckets that no etcd of today has; they are left behind
};
// Puts all rows into an engine that has none, in synced writes of about kImportBytes. It is not one write: after an error or a
// power cut the engine holds a part, so do it in a folder that only gets its name when this has returned.
// Errors: the rows' own; the engine's.
inline constexpr size_t kImportBytes = 4u << 20;
base::Result<Imported> import_rows(Rows& rows, Engine& engine);

}  // namespace storage::bolt
