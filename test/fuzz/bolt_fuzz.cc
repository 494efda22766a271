// Any bytes as a bbolt database: damage that is named, or rows in order that survive being written and read again. Metas carry
// a checksum, which a mutation breaks; so an input that does not begin like a meta is the pages behind metas that are made
// here.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/verify.h"
#include "storage/bolt/format.h"
#include "storage/bolt/reader.h"
#include "storage/bolt/writer.h"

namespace {

using base::Result;
using base::Status;
using storage::bolt::Reader;
using storage::bolt::Rows;

// Bytes as a file; nothing may write to it.
class BytesFile final : public io::File {
 public:
  explicit BytesFile(std::string_view bytes) : bytes_(bytes) {}
  Result<size_t> read_at(uint64_t offset, char* into, size_t n) const override {
    if (offset >= bytes_.size()) return size_t{0};
    return bytes_.copy(into, n, offset);
  }
  Status write_at(uint64_t, std::string_view) override { return refuse(); }
  Status sync() override { return refuse(); }
  Result<uint64_t> size() const override { return uint64_t{bytes_.size()}; }
  Status truncate(uint64_t) override { return refuse(); }
  Status allocate(uint64_t) override { return refuse(); }
  Status lock() override { return refuse(); }

 private:
  static Status refuse() { return Status(base::Code::kInternal, "read only"); }
  const std::string_view bytes_;
};

struct Row {
  std::string bucket, key, value;
  friend bool operator==(const Row&, const Row&) = default;
};

class RowList final : public Rows {
 public:
  explicit RowList(const std::vector<Row>& rows) : rows_(rows) {}
  bool next() override { return ++at_ <= rows_.size(); }
  std::string_view bucket() const override { return rows_[at_ - 1].bucket; }
  std::string_view key() const override { return rows_[at_ - 1].key; }
  std::string_view value() const override { return rows_[at_ - 1].value; }
  const Status& status() const override { return status_; }

 private:
  const std::vector<Row>& rows_;
  size_t at_ = 0;
  Status status_;
};

// False: damaged.
bool read(std::string_view bytes, std::vector<std::string>* buckets, std::vector<Row>* rows) {
  const Result<std::unique_ptr<Reader>> reader = Reader::open(std::make_unique<BytesFile>(bytes));
  if (!reader.ok()) {
    VERIFY(reader.status().code() == base::Code::kDataLoss);
    return false;
  }
  *buckets = (*reader)->buckets();
  size_t given = 0;
  while ((*reader)->next()) {
    rows->push_back({std::string((*reader)->bucket()), std::string((*reader)->key()), std::string((*reader)->value())});
    // No byte of the file is a row twice, whatever points to it.
    given += rows->back().key.size() + rows->back().value.size();
    VERIFY(given <= bytes.size());
  }
  if ((*reader)->status().ok()) return true;
  VERIFY((*reader)->status().code() == base::Code::kDataLoss);
  return false;
}

constexpr size_t kSmallPageBytes = 512;

void append_le32(std::string& out, uint32_t number) { out.append(reinterpret_cast<const char*>(&number), sizeof number); }

// A database of small pages with `pages` from page 2 on; page 2 is the root.
std::string with_metas(std::string_view pages) {
  std::string file;
  for (uint64_t id = 0; id < 2; ++id) {
    base::append_le64(file, id);
    append_le32(file, storage::bolt::kMetaPage);
    append_le32(file, 0);
    std::string meta;
    append_le32(meta, storage::bolt::kMagic);
    append_le32(meta, storage::bolt::kFormatVersion);
    append_le32(meta, kSmallPageBytes);
    append_le32(meta, 0);
    base::append_le64(meta, storage::bolt::kFirstPage);
    base::append_le64(meta, 0);
    base::append_le64(meta, storage::bolt::kNoFreelist);
    base::append_le64(meta, storage::bolt::kFirstPage + pages.size() / kSmallPageBytes);
    base::append_le64(meta, 2 - id);
    base::append_le64(meta, storage::bolt::fnv1a(meta));
    file += meta;
    file.resize((id + 1) * kSmallPageBytes, '\0');
  }
  file += pages;
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string file(reinterpret_cast<const char*>(data), size);
  if (size < 9 || data[8] != storage::bolt::kMetaPage) file = with_metas(file);
  std::vector<std::string> buckets, again_buckets;
  std::vector<Row> rows, again_rows;
  if (!read(file, &buckets, &rows)) return 0;
  storage::bolt::Writer writer(buckets, [&rows] { return std::make_unique<RowList>(rows); });
  const Result<bool> measured = writer.measure(SIZE_MAX);
  VERIFY(measured.ok() && *measured);
  std::string bytes;
  const Result<bool> written = writer.read(&bytes, SIZE_MAX);
  VERIFY(written.ok() && !*written && bytes.size() == writer.size());
  VERIFY(read(bytes, &again_buckets, &again_rows));
  VERIFY(buckets == again_buckets && rows == again_rows);
  return 0;
}
