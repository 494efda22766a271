// Fixed-width integers in byte strings, hexadecimal, base64. Pure; no allocation but the strings returned.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace base {

// REQUIRES: at least 4 or 8 bytes at `p`.
inline uint32_t load_le32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;  // Little-endian hosts only: static_assert in bytes.cc.
}
inline uint64_t load_le64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}
inline uint32_t load_be32(const char* p) { return __builtin_bswap32(load_le32(p)); }
inline uint64_t load_be64(const char* p) { return __builtin_bswap64(load_le64(p)); }
inline void store_le32(char* p, uint32_t v) { std::memcpy(p, &v, 4); }
inline void store_le64(char* p, uint64_t v) { std::memcpy(p, &v, 8); }
inline void store_be32(char* p, uint32_t v) { store_le32(p, __builtin_bswap32(v)); }
inline void store_be64(char* p, uint64_t v) { store_le64(p, __builtin_bswap64(v)); }
inline void append_le64(std::string& out, uint64_t v) { out.append(reinterpret_cast<const char*>(&v), 8); }
inline void append_be32(std::string& out, uint32_t v) {
  v = __builtin_bswap32(v);
  out.append(reinterpret_cast<const char*>(&v), 4);
}
inline void append_be64(std::string& out, uint64_t v) {
  v = __builtin_bswap64(v);
  out.append(reinterpret_cast<const char*>(&v), 8);
}

// Lower case, no leading zeros, no prefix: "0", "8e9e05c52164694d". etcd's text form of ids.
std::string hex(uint64_t value);
// Lower or upper case, 1 to 16 digits, nothing else; nullopt otherwise.
std::optional<uint64_t> parse_hex(std::string_view text);
// Two lower-case digits a byte.
std::string hex_bytes(std::string_view bytes);

// Standard alphabet with padding (Go's base64.StdEncoding).
std::string base64_encode(std::string_view bytes);
// Accepts the standard and the URL alphabet, with or without padding; nullopt on anything else.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace base
