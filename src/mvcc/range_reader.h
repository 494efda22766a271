// A Range answer too big to hold: its exact size first, then its bytes in pieces. Reads at the revision it was opened at whatever
// is written or compacted meanwhile: values come from a pinned Backend::View, revisions from the index; what a compaction drops
// from the index and a reader still needs is saved for it key by key. Memory: a cursor, but for sorted answers (24-40 bytes a
// pair) and keys changed and compacted during the read. Owner: core loop; each call does a bounded amount of work.
//
//   while (!reader.measure()) yield;                    // size() is known from now on
//   write the length prefix;
//   for (;;) { Result<bool> more = reader.read(&out, 32 << 10); send out; if (!*more) break; }
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "mvcc/key_index.h"
#include "wire/codec.h"

namespace storage {
class View;
}

namespace mvcc {

class Store;
using PairBytes = std::shared_ptr<const std::string>;

// [key, end) as requests write it: `range_end` empty is the one key, "\0" everything from `key` on.
struct KeyRange {
  std::string_view begin;
  std::string_view end;
  bool single = false;
  bool open_end = false;

  static KeyRange of(std::string_view key, std::string_view range_end);
  bool contains(std::string_view key) const;
};

class RangeReader {
 public:
  // Records of the index walked in one call of measure().
  static constexpr size_t kMeasureStep = 4096;

  // Reads at `revision`, which the caller checked. Pin: values come from a View taken now; kDirect: from the store as it is, for
  // readers that end before anything else happens.
  enum class Source { kPinned, kDirect };
  RangeReader(const Store& store, const wire::RangeRequest& request, int64_t revision, Source source);
  ~RangeReader();
  RangeReader(const RangeReader&) = delete;
  RangeReader& operator=(const RangeReader&) = delete;

  // Goes on finding out the size; true: known. fatal() never, kDataLoss from the engine (only a sort by value reads).
  base::Result<bool> measure(size_t records_max = kMeasureStep);
  // Of all fields but the header. REQUIRES: measured.
  uint64_t size() const { return size_; }
  int64_t count() const { return count_; }
  bool more() const { return more_; }
  uint64_t pairs() const { return pairs_; }

  // Appends fields, stopping at the first pair that passes `bytes_max`. False: that was all. REQUIRES: measured.
  base::Result<bool> read(std::string* out, size_t bytes_max);
  // The pairs alone, all of them, for an answer inside a transaction. REQUIRES: measured, nothing read yet.
  base::Status read_all(std::vector<PairBytes>* pairs);

 private:
  friend class Store;
  enum class Mode { kAscending, kDescending, kSorted };
  struct Found;
  struct Item;
  struct Saved {
    Version version;
    int64_t create_revision;
    int64_t key_version;
  };

  bool walks_index() const { return !sorted_ready_ && !done_; }
  bool matches(const Located& at) const;
  uint64_t field_bytes(std::string_view key, const Located& at) const;
  template <class Visit>
  bool walk(bool descending, std::string* position, bool* started, size_t records_max, const Visit& visit);
  base::Result<PairBytes> fetch(std::string_view key, const KeyRecord* record, const Located& at) const;
  base::Result<PairBytes> fetch_row(Revision revision) const;
  base::Status sort_items();
  void save(const KeyRecord& record);

  const Store& store_;
  const int64_t at_;
  std::shared_ptr<const storage::View> view_;  // null: kDirect

  std::string key_, range_end_;
  KeyRange range_;
  wire::RangeRequest request_;
  Mode mode_;
  bool fast_keys_only_;
  bool strip_value_;  // keys_only, sorted by value: the pair without its value
  bool filtered_;
  uint64_t limit_;  // 0: none

  bool measured_ = false;
  bool sorted_ready_ = false;
  bool done_ = false;
  uint64_t size_ = 0;
  uint64_t pair_bytes_ = 0;
  int64_t count_ = 0;
  bool more_ = false;
  uint64_t pairs_ = 0;

  std::string position_;  // last key walked
  bool started_ = false;
  uint64_t read_pairs_ = 0;
  std::vector<Item> items_;
  std::map<std::string, Saved, std::less<>> saved_;
};

}  // namespace mvcc
