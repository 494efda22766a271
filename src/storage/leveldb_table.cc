#include "storage/leveldb_table.h"

#include <leveldb/options.h>
#include <leveldb/table.h>

#include <memory>

#include "storage/leveldb_env.h"

namespace storage {

using base::Code;
using base::Result;
using base::Status;

namespace {

Status convert(const leveldb::Status& status, const std::string& path) {
  if (!status.IsCorruption() && !status.IsInvalidArgument()) return Status(Code::kInternal, status.ToString());
  const std::string where = LevelDbEnv::last_read();
  return Status(Code::kDataLoss, "damaged block in " + (where.empty() ? path : where) + ": " + status.ToString());
}

}  // namespace

Result<uint64_t> check_table(io::Disk& disk, const std::string& path) {
  const Result<io::FileInfo> info = disk.stat(path);
  if (!info.ok()) return info.status();
  LevelDbEnv env(disk);
  leveldb::RandomAccessFile* opened = nullptr;
  if (const leveldb::Status status = env.NewRandomAccessFile(path, &opened); !status.ok()) return convert(status, path);
  const std::unique_ptr<leveldb::RandomAccessFile> file(opened);
  leveldb::Options options;  // the order of keys only matters to who seeks
  options.env = &env;
  options.paranoid_checks = true;
  leveldb::Table* found = nullptr;
  if (const leveldb::Status status = leveldb::Table::Open(options, file.get(), info->size_bytes, &found); !status.ok()) {
    return convert(status, path);
  }
  const std::unique_ptr<leveldb::Table> table(found);
  leveldb::ReadOptions read;
  read.verify_checksums = true;
  read.fill_cache = false;
  const std::unique_ptr<leveldb::Iterator> row(table->NewIterator(read));
  uint64_t rows = 0;
  for (row->SeekToFirst(); row->Valid(); row->Next()) ++rows;
  if (!row->status().ok()) return convert(row->status(), path);
  return rows;
}

}  // namespace storage
