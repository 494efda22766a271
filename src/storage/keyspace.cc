#include "storage/keyspace.h"

#include "storage/backend.h"

namespace storage {

std::string_view bucket_name(Bucket bucket) {
  switch (bucket) {
    case Bucket::kAlarm:
      return "alarm";
    case Bucket::kAuth:
      return "auth";
    case Bucket::kAuthRoles:
      return "authRoles";
    case Bucket::kAuthUsers:
      return "authUsers";
    case Bucket::kCluster:
      return "cluster";
    case Bucket::kKey:
      return "key";
    case Bucket::kLease:
      return "lease";
    case Bucket::kMembers:
      return "members";
    case Bucket::kMembersRemoved:
      return "members_removed";
    case Bucket::kMeta:
      return "meta";
  }
  return "";
}

void put_row(Backend& backend, Bucket bucket, std::string_view key, std::string_view value) {
  backend.put(row_key(bucket, key), value);
}

void erase_row(Backend& backend, Bucket bucket, std::string_view key) { backend.erase(row_key(bucket, key)); }

base::Result<std::optional<std::string>> read_row(const Backend& backend, Bucket bucket, std::string_view key) {
  std::string value;
  base::Result<bool> found = backend.get(row_key(bucket, key), &value);
  if (!found.ok()) return found.status();
  return *found ? std::optional<std::string>(std::move(value)) : std::nullopt;
}

base::Status for_each_row(const Backend& backend, Bucket bucket,
                          const std::function<void(std::string_view key, std::string_view value)>& visit) {
  const std::shared_ptr<const View> view = backend.view();
  const std::unique_ptr<EngineIterator> rows = view->iterate();
  const std::string end = bucket_end(bucket);
  for (rows->seek(row_key(bucket, "")); rows->valid() && rows->key() < end; rows->next()) {
    visit(rows->key().substr(1), rows->value());
  }
  return rows->status();
}

}  // namespace storage
