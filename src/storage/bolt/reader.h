// Reads a bbolt database that may come from anywhere: a snapshot of etcd's, a copied member/snap/db, half an upload. Every
// page, length and order is checked before it is used; damage is kDataLoss and names page and offset. Pages that the tree does
// not reach are never read. Memory: one path of pages. Blocking; one thread at a time. Source: bbolt; wire-and-disk 7.9.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/disk.h"
#include "storage/bolt/rows.h"

namespace storage::bolt {

inline constexpr size_t kDepthMax = 32;                 // of a tree
inline constexpr size_t kBucketsMax = 1024;             // etcd has ten
inline constexpr size_t kPageRunBytesMax = 512u << 20;  // a page with what belongs to it

class Reader final : public Rows {
 public:
  // Chooses the newer good meta and lists the buckets. What is behind the last page (a snapshot's digest) is ignored.
  // kDataLoss: no database, cut off, or damaged.
  static base::Result<std::unique_ptr<Reader>> open(std::unique_ptr<io::File> file);
  ~Reader() override;

  // Names of all buckets, ascending, empty ones too.
  const std::vector<std::string>& buckets() const { return names_; }
  // Bytes of the database: what bbolt calls the size of a transaction.
  uint64_t size_bytes() const { return end_ * page_bytes_; }
  uint64_t txid() const { return txid_; }

  bool next() override;
  std::string_view bucket() const override { return names_[at_]; }
  std::string_view key() const override;
  std::string_view value() const override;
  const base::Status& status() const override { return status_; }

 private:
  class Walk;
  struct Page;
  struct Bucket {
    uint64_t root = 0;        // 0: inline
    std::string inline_page;  // a whole leaf page
  };

  explicit Reader(std::unique_ptr<io::File> file);
  base::Status read_meta();
  base::Status list_buckets();
  base::Result<Page> read_page(uint64_t id);
  base::Status damaged(uint64_t page, const std::string& what) const;

  const std::unique_ptr<io::File> file_;
  uint64_t page_bytes_ = 0;
  uint64_t root_ = 0;
  uint64_t end_ = 0;  // first page that is not in use
  uint64_t txid_ = 0;
  uint64_t pages_read_ = 0;  // more than there are: one is used twice
  std::vector<std::string> names_;
  std::vector<Bucket> buckets_;
  size_t at_ = 0;
  std::unique_ptr<Walk> walk_;  // over the bucket at_; null: not begun
  base::Status status_;
};

}  // namespace storage::bolt
