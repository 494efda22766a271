// A revision: the transaction (main) and the place of the write in it (sub). Rows of bucket `key` are named by it:
//
//   'f' | u64be main | '_' | u64be sub          a put          value: wire::KeyValue
//   'f' | u64be main | '_' | u64be sub | 't'    a tombstone    value: wire::KeyValue with the key alone
//
// ('f' is storage::Bucket::kKey.) Byte order of the keys is order of the revisions. Source: wire-and-disk 6.2.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mvcc {

struct Revision {
  int64_t main = 0;
  int64_t sub = 0;
  friend auto operator<=>(const Revision&, const Revision&) = default;
};

// A row's key on the stack.
class RowKey {
 public:
  static constexpr size_t kPutBytes = 18;
  static constexpr size_t kTombstoneBytes = 19;

  RowKey(Revision revision, bool tombstone);
  std::string_view view() const { return {bytes_, size_}; }
  // As etcd's bucket has it: without the bucket byte.
  std::string_view in_bucket() const { return view().substr(1); }

 private:
  char bytes_[kTombstoneBytes];
  size_t size_;
};

struct ParsedRowKey {
  Revision revision;
  bool tombstone = false;
};
// nullopt: not the key of a revision row (the bucket byte is part of `key`).
std::optional<ParsedRowKey> parse_row_key(std::string_view key);

}  // namespace mvcc
