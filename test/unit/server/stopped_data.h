// Data directories of stopped members for tests: ours, made by a restore, and one of an etcd written in Go.
#pragma once

#include <doctest/doctest.h>
#include <openssl/sha.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "io/mem_disk.h"
#include "kv.pb.h"
#include "server/restore.h"
#include "storage/bolt/buckets.h"
#include "storage/bolt/writer.h"
#include "storage/keyspace.h"

namespace server::stopped_data {

using Bucket = storage::Bucket;
using Content = std::map<std::pair<std::string, std::string>, std::string>;  // (bucket, key) -> value

inline constexpr const char *kDataDir = "/data", *kStoreDir = "/data/member/store", *kLogDir = "/data/member/wal";
inline constexpr uint64_t kKeys = 40;

inline std::string number(uint64_t value) {
  std::string out;
  base::append_be64(out, value);
  return out;
}

inline std::string revision_key(uint64_t revision) {
  std::string out = number(revision);
  out.push_back('_');
  return out.append(number(0));
}

// Revisions 2 to 1 + kKeys, one key each.
inline Content content() {
  Content rows;
  for (uint64_t i = 0; i < kKeys; ++i) {
    mvccpb::KeyValue pair;
    pair.set_key("key" + std::to_string(i));
    pair.set_value("value" + std::to_string(i));
    pair.set_create_revision(static_cast<int64_t>(2 + i));
    pair.set_mod_revision(static_cast<int64_t>(2 + i));
    pair.set_version(1);
    rows[{"key", revision_key(2 + i)}] = pair.SerializeAsString();
  }
  rows[{"meta", "consistent_index"}] = number(100);
  rows[{"meta", "term"}] = number(2);
  rows[{"meta", "storageVersion"}] = "3.7.0";
  return rows;
}

class ContentRows final : public storage::bolt::Rows {
 public:
  explicit ContentRows(const Content& rows) : rows_(rows), next_(rows.begin()) {}
  bool next() override {
    if (next_ == rows_.end()) return false;
    at_ = next_++;
    return true;
  }
  std::string_view bucket() const override { return at_->first.first; }
  std::string_view key() const override { return at_->first.second; }
  std::string_view value() const override { return at_->second; }
  const base::Status& status() const override { return status_; }

 private:
  const Content& rows_;
  Content::const_iterator next_, at_;
  const base::Status status_;
};

inline std::string database_of(const Content& rows) {
  std::vector<std::string> buckets;
  for (const Bucket bucket : storage::kBuckets) buckets.emplace_back(storage::bucket_name(bucket));
  storage::bolt::Writer writer(buckets, [&] { return std::make_unique<ContentRows>(rows); });
  constexpr size_t kPieceBytes = 64 << 10;
  for (;;) {
    const base::Result<bool> known = writer.measure(kPieceBytes);
    REQUIRE_MESSAGE(known.ok(), known.status().to_string());
    if (*known) break;
  }
  std::string bytes;
  for (;;) {
    const base::Result<bool> more = writer.read(&bytes, kPieceBytes);
    REQUIRE_MESSAGE(more.ok(), more.status().to_string());
    if (!*more) return bytes;
  }
}

inline void write_file(io::Disk& disk, const std::string& path, const std::string& bytes) {
  REQUIRE(io::make_dirs(disk, io::parent(path)).ok());
  REQUIRE(io::write_file_durably(disk, path, bytes).ok());
}

// kDataDir of ours.
inline void make_ours(io::Disk& disk, const Content& rows = content()) {
  std::string file = database_of(rows);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(file.data()), file.size(), digest);
  file.append(reinterpret_cast<const char*>(digest), sizeof digest);
  write_file(disk, "/saved.db", file);
  RestoreOptions options;
  options.snapshot_path = "/saved.db";
  options.data_dir = kDataDir;
  options.wal_dir = kLogDir;
  options.peer_urls = {"http://localhost:2380"};
  options.initial_cluster = "default=http://localhost:2380";
  options.initial_cluster_token = "token";
  const base::Status restored = restore_snapshot(disk, options);
  REQUIRE_MESSAGE(restored.ok(), restored.to_string());
}

// kDataDir with the database of an etcd written in Go, without a log.
inline void make_database(io::Disk& disk, const Content& rows = content()) {
  write_file(disk, "/data/member/snap/db", database_of(rows));
}

// Every file below `dir` with its bytes.
inline std::map<std::string, std::string> files_of(io::Disk& disk, const std::string& dir) {
  std::map<std::string, std::string> out;
  const base::Result<std::vector<std::string>> names = disk.list(dir);
  REQUIRE(names.ok());
  for (const std::string& name : *names) {
    const std::string path = io::join(dir, name);
    const base::Result<io::FileInfo> info = disk.stat(path);
    REQUIRE(info.ok());
    if (info->is_dir) {
      out.merge(files_of(disk, path));
    } else {
      const base::Result<std::string> bytes = io::read_file(disk, path, size_t{1} << 30);
      REQUIRE(bytes.ok());
      out[path] = *bytes;
    }
  }
  return out;
}

}  // namespace server::stopped_data
