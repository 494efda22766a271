// Rows that wait for their commit: Batch while they collect, Rows when sealed. Used by backend.cc only; in a header for its
// tests.
//
// Most rows are new revisions: their keys ascend within their first byte. So a Batch keeps, per first byte, a run to which an
// ascending key is appended without a search, and a B-tree for the rest. The bytes of all rows of one commit lie in one arena,
// which lives as long as somebody holds a Rows of it. Each entry carries the first 16 bytes of its key as two numbers, so that
// a search compares without touching rows.
#pragma once

#include <absl/container/btree_set.h>

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "storage/engine.h"

namespace storage::pending {

// Header of a row in the arena; key and value follow.
struct Row {
  static constexpr uint32_t kErased = UINT32_MAX;
  uint32_t key_bytes;
  uint32_t value_bytes;  // kErased: the row says that the key is gone
  uint32_t value_room;   // an overwrite in place may use this much

  const char* bytes() const { return reinterpret_cast<const char*>(this + 1); }
  std::string_view key() const { return {bytes(), key_bytes}; }
  bool erased() const { return value_bytes == kErased; }
  std::string_view value() const { return erased() ? std::string_view() : std::string_view(bytes() + key_bytes, value_bytes); }
};

// A key as seen by a search. Order: bytes of the key.
struct Probe {
  uint64_t high = 0;  // bytes 0-7 of the key, big-endian, zeros behind a shorter key
  uint64_t low = 0;   // bytes 8-15
  std::string_view key;

  explicit Probe(std::string_view key);
};

struct Entry {
  uint64_t high;
  uint64_t low;
  Row* row;

  friend std::strong_ordering operator<=>(const Entry& a, const Probe& b) { return compare(a.high, a.low, *a.row, b); }
  friend bool operator==(const Entry& a, const Probe& b) { return (a <=> b) == 0; }

 private:
  static std::strong_ordering compare(uint64_t high, uint64_t low, const Row& row, const Probe& b) {
    if (high != b.high) return high <=> b.high;
    if (low != b.low) return low <=> b.low;
    return row.key() <=> b.key;  // Also tells "a" from "a\0".
  }
};

// Allocates rows; frees them all at once. Only the Batch that fills it adds; rows once sealed do not move or change.
class Arena {
 public:
  static constexpr size_t kBlockBytes = 64 << 10;

  Row* add(std::string_view key, std::string_view value, bool is_erase);
  size_t used_bytes() const { return used_bytes_; }

 private:
  char* take(size_t bytes);

  std::vector<std::unique_ptr<char[]>> blocks_;
  char* at_ = nullptr;
  size_t left_ = 0;
  size_t used_bytes_ = 0;
};

// Sorted, one row a key, immutable: shared between threads.
class Rows final : public Changes {
 public:
  Rows(std::vector<Entry> entries, std::shared_ptr<const Arena> arena)
      : entries_(std::move(entries)), arena_(std::move(arena)) {}
  // `newer` wins where both have a key. REQUIRES: of one arena.
  static std::shared_ptr<const Rows> merge(const Rows& older, const Rows& newer);

  // Null: no row. A row may say "erased".
  const Row* find(const Probe& key) const;
  // Position of the first row >= key.
  size_t lower_bound(const Probe& key) const;
  size_t size() const { return entries_.size(); }
  const Row& at(size_t position) const { return *entries_[position].row; }

  void for_each(const Visit& visit) const override;
  // Of the whole arena. REQUIRES: it grows no more, that is, these are the rows of a commit.
  size_t bytes() const override { return arena_->used_bytes(); }
  bool empty() const override { return entries_.empty(); }

 private:
  const std::vector<Entry> entries_;
  const std::shared_ptr<const Arena> arena_;
};

// Owner: the core loop.
class Batch {
 public:
  Batch();
  void put(std::string_view key, std::string_view value, bool is_erase);
  const Row* find(const Probe& key) const;
  // Of all rows since the last start_commit(), sealed or not.
  size_t bytes() const { return arena_->used_bytes(); }
  bool empty() const { return runs_.empty(); }
  // Hands over the rows and is empty afterwards.
  std::shared_ptr<const Rows> seal();
  // What comes now belongs to the next commit. REQUIRES: empty().
  void start_commit();

 private:
  struct Before {
    using is_transparent = void;
    bool operator()(const Entry& a, const Entry& b) const { return (a <=> Probe(b.row->key())) < 0; }
    bool operator()(const Entry& a, const Probe& b) const { return (a <=> b) < 0; }
    bool operator()(const Probe& a, const Entry& b) const { return (b <=> a) > 0; }
  };
  // Rows whose keys start with one byte.
  struct Run {
    unsigned char first;
    std::vector<Entry> ascending;
    absl::btree_set<Entry, Before> others;  // keys below ascending.back(), none of them in `ascending`
  };
  Run& run_of(unsigned char first);
  void replace(Entry& entry, std::string_view value, bool is_erase);

  std::shared_ptr<Arena> arena_;
  std::vector<Run> runs_;
  std::array<uint8_t, 256> run_at_{};  // position in runs_ + 1; 0: none
};

}  // namespace storage::pending
