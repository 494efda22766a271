// The newest pairs of keys in use, in memory up to a bound, so that reading them does not ask the engine. A slot belongs to a
// key record, which holds the slot's number. Replacement: CLOCK (second chance). Owner: core loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mvcc {

struct KeyRecord;

class HotValues {
 public:
  using Pair = std::shared_ptr<const std::string>;
  // What an entry costs besides its bytes: slot, string, reference count.
  static constexpr size_t kOverheadBytes = 96;
  // A pair above this part of the bound is not kept.
  static constexpr size_t kPairShareMin = 16;

  explicit HotValues(size_t bytes_max) : bytes_max_(bytes_max) {}
  HotValues(const HotValues&) = delete;
  HotValues& operator=(const HotValues&) = delete;

  // The pair of the record's newest version, or null.
  const Pair& get(const KeyRecord& record);
  // Keeps `pair` for the record, in the place of what it had.
  void set(KeyRecord& record, Pair pair);
  // The record's newest version changed or the record goes.
  void drop(KeyRecord& record);
  // All records go.
  void clear();
  size_t bytes() const { return bytes_; }
  size_t size() const { return slots_.size() - free_.size() - 1; }

 private:
  struct Slot {
    KeyRecord* owner = nullptr;
    Pair pair;
    bool used = false;
  };
  static size_t cost(const std::string& pair) { return pair.size() + kOverheadBytes; }
  void make_room(size_t bytes);

  const size_t bytes_max_;
  size_t bytes_ = 0;
  std::vector<Slot> slots_ = std::vector<Slot>(1);  // slot 0 is nobody's
  std::vector<uint32_t> free_;
  uint32_t hand_ = 0;
};

}  // namespace mvcc
