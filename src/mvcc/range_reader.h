// A Range answer too big to hold: its exact size first, then its bytes in pieces. Reads at the revision it was opened at
// whatever is written or compacted meanwhile: values come from a pinned Backend::View, revisions from the index; what a
// compaction drops from the index and a reader still needs is saved for it key by key. Memory: a cursor, but for sorted answers
// (48 bytes a pair) and keys changed and compacted during the read. Owner: core loop; each call does a bounded amount of work,
// but for the sort itself.
//
//   while (!reader.measure()) yield;                    // size() is known from now on
//   write the length prefix;
//   for (;;) { Result<bool> more = reader.read(&out, 32 << 10); send out; if (!*more) break; }
#pragma once

#include <cstddef>
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
class EngineIterator;
class View;
}  // namespace storage

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
  // Records of the index walked in one call of measure() or read(); with a sort by value, which reads each, kReadStep of them.
  static constexpr size_t kMeasureStep = 4096;
  static constexpr size_t kReadStep = 512;

  // Reads at `revision`, which the caller checked, and first from the store as it is: the reader ends, or is pinned, before
  // anything else happens to the store. kPairs: count() is not asked for; a limit then ends the walk.
  enum class Count { kRange, kPairs };
  RangeReader(const Store& store, const wire::RangeRequest& request, int64_t revision, Count count = Count::kRange);
  ~RangeReader();
  RangeReader(const RangeReader&) = delete;
  RangeReader& operator=(const RangeReader&) = delete;

  // From now on reads from a View, and lives as long as it likes, but not longer than the store.
  void pin();

  // Goes on finding out the size; true: known. At the current revision in key order without filters that is at once.
  // kDataLoss from the engine (only a sort by value reads).
  base::Result<bool> measure();
  // Of all fields but the header, in bytes. REQUIRES: measured, as for the three below.
  uint64_t size() const { return size_; }
  int64_t count() const { return count_; }
  bool more() const { return more_; }
  uint64_t pairs() const { return pairs_; }

  // Appends fields, and stops behind the first pair that passes `bytes_max`, or when enough was walked: it may append nothing.
  // False: that was all. REQUIRES: measured.
  base::Result<bool> read(std::string* out, size_t bytes_max);
  // The pairs alone, all at once, for an answer inside a transaction. REQUIRES: measured, nothing read yet.
  base::Status read_all(std::vector<PairBytes>* pairs);

 private:
  friend class Store;
  enum class Mode { kAscending, kDescending, kSorted };
  struct Item;
  struct Place {
    std::string key;  // walked last
    bool started = false;
  };
  struct Saved {
    Version version;
    int64_t created;
    int64_t key_version;
  };
  // A pair on the way: `record` is null if the index no longer has it.
  struct Pair {
    std::string_view key;
    const KeyRecord* record;
    Located at;
  };

  bool at_present() const;
  bool measure_by_counts();
  bool passes_filters(const Pair& pair) const;
  size_t pair_bytes(const Pair& pair) const;
  template <class Visit>
  bool walk(Place* place, size_t records_max, const Visit& visit) const;
  template <class Visit>
  bool walk_ascending(Place* place, size_t records_max, const Visit& visit) const;
  template <class Visit>
  bool walk_descending(Place* place, size_t records_max, const Visit& visit) const;
  base::Status collect(const Pair& pair);
  base::Status sort_items();
  void finish_measure();
  base::Result<PairBytes> fetch(const KeyRecord* record, const Version& version) const;
  base::Result<PairBytes> fetch_pinned(Revision revision) const;
  base::Result<PairBytes> encode(const Pair& pair) const;
  base::Result<PairBytes> encode(const Item& item) const;
  // Hands all pairs from here on to `sink` until it returns false. True: none are left.
  template <class Sink>
  base::Result<bool> produce(size_t records_max, const Sink& sink);
  void save(const KeyRecord& record);

  const Store& store_;
  const int64_t at_;
  const Count count_what_;
  std::shared_ptr<const storage::View> view_;  // null: not pinned
  const std::string key_, range_end_;
  KeyRange range_;
  wire::RangeRequest request_;  // its views: key_, range_end_
  Mode mode_ = Mode::kAscending;
  bool keys_only_ = false;    // answered from the index
  bool strip_value_ = false;  // keys only, sorted by value: the pair is read for that
  bool filtered_ = false;
  uint64_t limit_ = UINT64_MAX;
  uint64_t collect_max_ = UINT64_MAX;  // sorted: pairs taken in key order at most

  bool measured_ = false;
  bool counted_ = false;  // count_ is known
  bool done_ = false;
  bool dead_ = false;  // the store began anew
  uint64_t size_ = 0;
  uint64_t field_bytes_ = 0;
  int64_t count_ = 0;
  bool more_ = false;
  uint64_t pairs_ = 0;

  // Keys that were put in order have their rows side by side: within one read() the next row is often a step away.
  mutable std::unique_ptr<storage::EngineIterator> rows_;
  mutable Revision last_row_;

  Place place_;
  uint64_t produced_ = 0;
  std::vector<Item> items_;  // sorted: what the answer will hold
  std::map<std::string, Saved, std::less<>> saved_;
};

}  // namespace mvcc
