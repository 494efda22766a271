#include "wire/reader.h"

namespace wire {

size_t Reader::take_size() {
  uint64_t size = 0;
  if (!varint(kTagBytesMax, &size)) return 0;
  if (size > kSizeMax || size > static_cast<size_t>(end_ - at_)) ok_ = false;
  return ok_ ? static_cast<size_t>(size) : 0;
}

void Reader::skip_at(uint32_t tag, int depth_left) {
  if (tag >> 3 == 0) return fail();
  size_t fixed = 0;
  switch (static_cast<WireType>(tag & 7)) {
    case WireType::kVarint:
      (void)take_varint();
      return;
    case WireType::kBytes:
      (void)take_bytes();
      return;
    case WireType::kGroup:
      return skip_group(tag >> 3, depth_left);
    case WireType::kFixed64:
      fixed = 8;
      break;
    case WireType::kFixed32:
      fixed = 4;
      break;
    default:  // A group end without its start, or no wire type at all.
      return fail();
  }
  if (static_cast<size_t>(end_ - at_) < fixed) return fail();
  at_ += fixed;
}

void Reader::skip_group(uint32_t field, int depth_left) {
  if (depth_left <= 0) return fail();
  uint32_t tag = 0;
  while (next(&tag)) {
    if (tag == tag_of(field, WireType::kGroupEnd)) return;
    skip_at(tag, depth_left - 1);
  }
  fail();  // The message ended inside the group.
}

}  // namespace wire
