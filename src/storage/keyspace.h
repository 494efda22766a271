// How etcd's buckets share the one ordered keyspace: a row's key is one byte for its bucket, then the key etcd has in that
// bucket, unchanged. The bytes ascend in the order in which bbolt keeps the buckets, so one forward walk meets the rows as a
// walk over etcd's own database does (Maintenance.Hash, snapshots). Contents: wire-and-disk 6.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace storage {

class Backend;

enum class Bucket : char {
  kAlarm = 'a',
  kAuth = 'b',
  kAuthRoles = 'c',
  kAuthUsers = 'd',
  kCluster = 'e',
  kKey = 'f',  // revisions: u64be main, '_', u64be sub, and 't' behind a tombstone
  kLease = 'g',
  kMembers = 'h',
  kMembersRemoved = 'i',
  kMeta = 'j',
};
inline constexpr Bucket kBuckets[] = {Bucket::kAlarm,          Bucket::kAuth, Bucket::kAuthRoles, Bucket::kAuthUsers,
                                      Bucket::kCluster,        Bucket::kKey,  Bucket::kLease,     Bucket::kMembers,
                                      Bucket::kMembersRemoved, Bucket::kMeta};

// etcd's name of the bucket: "alarm", "authRoles", "key", ...
std::string_view bucket_name(Bucket bucket);

inline std::string row_key(Bucket bucket, std::string_view key) {
  std::string out;
  out.reserve(1 + key.size());
  out += static_cast<char>(bucket);
  out += key;
  return out;
}
// The first key behind the bucket.
inline std::string bucket_end(Bucket bucket) { return std::string(1, static_cast<char>(static_cast<char>(bucket) + 1)); }

// Rows of the small buckets, in the pending batch of `backend`.
void put_row(Backend& backend, Bucket bucket, std::string_view key, std::string_view value);
void erase_row(Backend& backend, Bucket bucket, std::string_view key);
base::Result<std::optional<std::string>> read_row(const Backend& backend, Bucket bucket, std::string_view key);
// Every row of a bucket in key order; keys come without the bucket byte.
base::Status for_each_row(const Backend& backend, Bucket bucket,
                          const std::function<void(std::string_view key, std::string_view value)>& visit);

}  // namespace storage
