#include "wire/utf8.h"

#include <cstddef>
#include <cstdint>

namespace wire {
namespace {

struct Lead {
  size_t following;    // continuation bytes; 0: no lead byte
  uint8_t second_min;  // bounds of the first of them: they keep out overlong forms, surrogates and what is too big
  uint8_t second_max;
};

Lead lead_of(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

bool valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<uint8_t>(text[i]);
    if (first < 0x80) {
      ++i;
      continue;
    }
    const Lead lead = lead_of(first);
    if (lead.following == 0 || text.size() - i <= lead.following) return false;
    const auto second = static_cast<uint8_t>(text[i + 1]);
    if (second < lead.second_min || second > lead.second_max) return false;
    for (size_t k = 2; k <= lead.following; ++k) {
      if ((static_cast<uint8_t>(text[i + k]) & 0xC0) != 0x80) return false;
    }
    i += lead.following + 1;
  }
  return true;
}

}  // namespace wire
