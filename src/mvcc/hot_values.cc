#include "mvcc/hot_values.h"

#include "base/verify.h"
#include "mvcc/key_record.h"

namespace mvcc {

const HotValues::Pair& HotValues::get(const KeyRecord& record) {
  Slot& slot = slots_[record.hot];
  slot.used = true;
  return slot.pair;
}

void HotValues::set(KeyRecord& record, Pair pair) {
  drop(record);
  const size_t bytes = cost(*pair);
  if (bytes > bytes_max_ / kPairShareMin) return;
  make_room(bytes);
  uint32_t at;
  if (free_.empty()) {
    VERIFY(slots_.size() < UINT32_MAX);
    at = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    at = free_.back();
    free_.pop_back();
  }
  slots_[at] = {&record, std::move(pair), false};
  record.hot = at;
  bytes_ += bytes;
}

void HotValues::drop(KeyRecord& record) {
  if (record.hot == 0) return;
  Slot& slot = slots_[record.hot];
  VERIFY(slot.owner == &record);
  bytes_ -= cost(*slot.pair);
  slot = {};
  free_.push_back(record.hot);
  record.hot = 0;
}

void HotValues::make_room(size_t bytes) {
  while (bytes_ + bytes > bytes_max_) {
    hand_ = hand_ + 1 < slots_.size() ? hand_ + 1 : 1;
    Slot& slot = slots_[hand_];
    if (slot.owner == nullptr) continue;
    if (slot.used) {
      slot.used = false;
    } else {
      drop(*slot.owner);
    }
  }
}

void HotValues::clear() {
  slots_ = std::vector<Slot>(1);
  free_.clear();
  bytes_ = 0;
  hand_ = 0;
}

}  // namespace mvcc
