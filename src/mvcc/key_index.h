// All keys in byte order: a B+ tree of record pointers that also knows, for every subtree, how many of its keys exist now and
// how many bytes their pairs take in an answer. So count, limit and the size of an answer at the current revision are O(log n).
// A node keeps 8 bytes of each key behind the prefix all its keys share; most comparisons end there without touching a record.
// About 150 bytes for a key of 64 bytes with one version. Owner: core loop. Source of behaviour: etcd mvcc/index.go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "mvcc/key_record.h"

namespace mvcc {

struct KeyNode;
struct KeyLeaf;

class KeyIndex {
 public:
  static constexpr int kFanout = 64;
  static constexpr int kDepthMax = 16;

  // Keys that exist, and bytes of their pairs as fields of a RangeResponse.
  struct Totals {
    uint64_t live = 0;
    uint64_t bytes = 0;
    friend bool operator==(const Totals&, const Totals&) = default;
  };

  KeyIndex();
  ~KeyIndex();
  KeyIndex(const KeyIndex&) = delete;
  KeyIndex& operator=(const KeyIndex&) = delete;

  // --- reading ------------------------------------------------------------------------------------------------------------
  KeyRecord* find(std::string_view key) const;
  uint64_t live() const { return totals_.live; }
  size_t size() const { return records_; }           // records, also of deleted keys
  size_t versions() const { return versions_; }      // of all records
  uint64_t row_bytes() const { return row_bytes_; }  // of the values of all versions
  // Of the keys below `key`.
  Totals before(std::string_view key) const;
  uint64_t live_before(std::string_view key) const;  // the same without sizes, which cost a look at the records of a leaf
  // Of the first `rank` keys that exist; all if there are fewer.
  Totals first(uint64_t rank) const;
  const Totals& totals() const { return totals_; }

  // A place in the order; dies with the next insert or erase.
  class Cursor {
   public:
    bool valid() const { return leaf_ != nullptr; }
    KeyRecord& record() const;
    void next();
    void previous();
    // To the next record that is live(). O(log n) however many deleted keys lie between.
    void next_live();

   private:
    friend class KeyIndex;
    Cursor(const KeyIndex* index, const KeyLeaf* leaf, int at) : index_(index), leaf_(leaf), at_(at) {}
    const KeyIndex* index_;
    const KeyLeaf* leaf_;
    int at_;
  };
  Cursor lower_bound(std::string_view key) const;  // the first record >= key
  Cursor begin() const;
  Cursor last_below(std::string_view key) const;  // the last record < key
  Cursor last() const;

  // --- writing ------------------------------------------------------------------------------------------------------------
  // The record, made if there is none (empty() then, and to be given a version before anything else happens).
  KeyRecord& find_or_make(std::string_view key);
  // As the functions of KeyRecord. REQUIRES: `record` is of this index.
  void put(KeyRecord& record, const Version& version);
  void bury(KeyRecord& record, const Version& tombstone);
  void restore(KeyRecord& record, const Version& version, int64_t create_revision, int64_t put_version);
  void drop_oldest(KeyRecord& record, size_t count);
  void erase(KeyRecord& record);

  // As new. Cursors and records are gone.
  void clear();
  // The two trees change places; records stay where they are.
  void swap(KeyIndex& other) noexcept;

  // Walks everything and VERIFYs the invariants of the tree.
  void verify_for_test() const;

 private:
  struct Path;

  KeyLeaf* descend(std::string_view key, Path* path) const;
  void insert(KeyRecord* record);
  void remove(const Path& path);
  // Looks for the record unless it is the one found last.
  const Path& path_to(const KeyRecord& record);
  void add_weight(const KeyRecord& record, const Totals& was);
  Cursor select(uint64_t rank) const;

  KeyNode* root_ = nullptr;
  int height_ = 0;  // levels of inner nodes
  Totals totals_;
  size_t records_ = 0;
  size_t versions_ = 0;
  uint64_t row_bytes_ = 0;
  // The way to the record found last by a write: what is written next, mostly.
  std::unique_ptr<Path> path_;
  const KeyRecord* path_record_ = nullptr;  // null: path_ is not valid
};

}  // namespace mvcc
