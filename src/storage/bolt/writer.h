// Writes a bbolt database in one forward pass: etcd's tools read it, and etcd itself goes on writing in it. For
// Maintenance.Snapshot, which streams it to a client while the socket drains.
//
// The file begins with the metas, which name the root and the size, and the first message of a snapshot tells its size: both
// are known only when every row was placed. So the rows are walked twice over one pinned view: measure() places them without
// writing, then read() places them again and gives the bytes. The other ways were a temporary file (as big as the database, on
// a disk that may be full: the moment in which people want a backup) and bounds from sizes kept in memory (rows of half a page
// fill a page badly: off by up to 2x). Memory is flat: a leaf, a branch for each level, and the bytes not fetched yet.
//
// A branch page comes right behind the pages it points to, the root last. No freelist is stored, as etcd stores none.
// No clock, no thread; may move between threads. Source: bbolt; wire-and-disk 7.8.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "storage/bolt/rows.h"

namespace storage::bolt {

inline constexpr size_t kWritePageBytes = 4096;

class Writer {
 public:
  // Begins a walk. Each of the two gives the same rows.
  using OpenRows = std::function<std::unique_ptr<Rows>()>;

  // `buckets`: all there are, ascending; the file has each of them, with rows or without.
  Writer(std::vector<std::string> buckets, OpenRows open);
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // The first pass, in steps: looks at rows until about `bytes_max` bytes of them were seen. True: size() is known.
  // Errors: the rows' own; kInternal: rows out of order, of an unknown bucket, or of sizes that bbolt cannot hold.
  base::Result<bool> measure(size_t bytes_max);
  // Bytes of the file. REQUIRES: measured.
  uint64_t size() const { return size_; }

  // The second pass: appends the file's next bytes to *out, whole pages, `bytes_max` of them or up to two rows more. False:
  // that was the last of it, size() bytes in all. Errors as above; kInternal if the rows were not the same again.
  // REQUIRES: measured, and true so far.
  base::Result<bool> read(std::string* out, size_t bytes_max);

 private:
  class Layout;
  base::Status add_row();

  const std::vector<std::string> buckets_;
  const OpenRows open_;
  std::unique_ptr<Rows> rows_;
  std::unique_ptr<Layout> layout_;
  bool measured_ = false;
  uint64_t size_ = 0;
  uint64_t root_ = 0;
};

}  // namespace storage::bolt
