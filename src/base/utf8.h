// UTF-8 as Go reads it: for quoting, logs and JSON, where bytes that are no text must be shown as something that is. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace base {

struct Rune {
  uint32_t value;  // kRuneError if invalid
  size_t bytes;    // consumed; 1 if invalid
  bool valid;
};

inline constexpr uint32_t kRuneError = 0xfffd;

// The first character of `text`: shortest form only, no surrogates. REQUIRES: !text.empty().
inline Rune decode_rune(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(0);
  constexpr Rune kInvalid{kRuneError, 1, false};
  if (lead < 0x80) return {lead, 1, true};
  size_t bytes = 0;
  uint32_t value = 0, least = 0;
  if (lead >= 0xc2 && lead <= 0xdf) bytes = 2, value = lead & 0x1f, least = 0x80;
  else if (lead >= 0xe0 && lead <= 0xef) bytes = 3, value = lead & 0x0f, least = 0x800;
  else if (lead >= 0xf0 && lead <= 0xf4) bytes = 4, value = lead & 0x07, least = 0x10000;
  else return kInvalid;
  if (text.size() < bytes) return kInvalid;
  for (size_t i = 1; i < bytes; ++i) {
    if ((at(i) & 0xc0) != 0x80) return kInvalid;
    value = value << 6 | (at(i) & 0x3f);
  }
  if (value < least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return kInvalid;
  return {value, bytes, true};
}

}  // namespace base
