#include "base/crc32c.h"

#include <array>

#include "base/bytes.h"

namespace base {
namespace {

using Table = std::array<std::array<uint32_t, 256>, 8>;

constexpr Table make_table() {
  constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected
  Table table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (size_t k = 1; k < 8; ++k) table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
  }
  return table;
}
constexpr Table kTable = make_table();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t extend_by_hardware(uint32_t crc, std::string_view bytes) {
  uint64_t state = ~crc;
  const char* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; p += 8, left -= 8) state = __builtin_ia32_crc32di(state, load_le64(p));
  auto narrow = static_cast<uint32_t>(state);
  for (; left > 0; ++p, --left) narrow = __builtin_ia32_crc32qi(narrow, static_cast<uint8_t>(*p));
  return ~narrow;
}
#endif

}  // namespace

uint32_t crc32c_extend_by_table(uint32_t crc, std::string_view bytes) {
  uint32_t state = ~crc;
  const char* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; p += 8, left -= 8) {
    const uint64_t v = load_le64(p) ^ state;
    uint32_t next = 0;
    for (size_t k = 0; k < 8; ++k) next ^= kTable[7 - k][v >> (8 * k) & 255];
    state = next;
  }
  for (; left > 0; ++p, --left) state = state >> 8 ^ kTable[0][(state ^ static_cast<uint8_t>(*p)) & 255];
  return ~state;
}

uint32_t crc32c_extend(uint32_t crc, std::string_view bytes) {
#if defined(__x86_64__)
  static const bool has_hardware = __builtin_cpu_supports("sse4.2");
  if (has_hardware) return extend_by_hardware(crc, bytes);
#endif
  return crc32c_extend_by_table(crc, bytes);
}

uint32_t crc32c(std::string_view bytes) { return crc32c_extend(0, bytes); }

}  // namespace base
