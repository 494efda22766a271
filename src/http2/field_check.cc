#include "http2/field_check.h"

#include <array>
#include <charconv>
#include <cstring>

namespace http2 {
namespace {

constexpr std::array<bool, 256> kNameByte = [] {
  std::array<bool, 256> table{};
  for (const char c : std::string_view("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")) {
    table[static_cast<unsigned char>(c)] = true;
  }
  return table;
}();

bool is_name(std::string_view name) {
  for (const char c : name) {
    if (!kNameByte[static_cast<unsigned char>(c)]) return false;
  }
  return !name.empty();
}

bool is_value_byte(unsigned char c) { return (c >= 0x20 && c != 0x7f) || c == '\t'; }

// The high bit of each byte that is below 0x20 or is 0x7f. Bytes above 0x7f are never marked.
uint64_t control_bytes(uint64_t eight) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  const uint64_t low = eight & ~kHigh;
  const uint64_t at_least_space = low + (0x80 - 0x20) * kOnes;  // high bit: the low seven bits are 0x20 or more
  const uint64_t is_delete = low + kOnes;                       // high bit: they are 0x7f
  return (~at_least_space | is_delete) & ~eight & kHigh;
}

uint64_t load_eight(const char* at) {
  uint64_t eight;
  std::memcpy(&eight, at, 8);
  return eight;
}

// The last step looks at the last eight bytes, whether some were seen before or not.
bool has_control_byte(std::string_view value) {
  uint64_t found = 0;
  if (value.size() >= 8) {
    const char* const last = value.data() + value.size() - 8;
    for (const char* at = value.data(); at < last; at += 8) found |= control_bytes(load_eight(at));
    return (found | control_bytes(load_eight(last))) != 0;
  }
  for (const char c : value) found |= static_cast<uint64_t>(!is_value_byte(static_cast<unsigned char>(c)));
  return found != 0;
}

bool is_value(std::string_view value) {
  if (!has_control_byte(value)) [[likely]]
    return true;
  for (const char c : value) {  // A tab is allowed.
    if (!is_value_byte(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

}  // namespace

bool FieldCheck::add_pseudo(std::string_view name, std::string_view value) {
  Pseudo which;
  if (block_ == Block::kRequest) {
    if (name == ":path")
      which = kPath;
    else if (name == ":method")
      which = kMethod;
    else if (name == ":scheme")
      which = kScheme;
    else if (name == ":authority")
      which = kAuthority;
    else
      return false;
  } else {
    if (block_ == Block::kTrailers || name != ":status" || value.size() != 3) return false;
    which = kStatus;
  }
  if (fields_begun_ || (seen_ & which) != 0) return false;
  seen_ |= which;
  return which == kAuthority || !value.empty();
}

// Fields with a meaning of their own, and those of every call, whose names need no further look; told apart by length first.
bool FieldCheck::is_allowed(std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 2:
      if (name == "te") return value == "trailers";
      break;
    case 7:
      if (name == "upgrade") return false;
      break;
    case 10:
      if (name == "user-agent") return true;
      if (name == "connection" || name == "keep-alive") return false;
      break;
    case 12:
      if (name == "content-type") return true;
      break;
    case 14:
      if (name == "content-length") return add_length(value);
      break;
    case 16:
      if (name == "proxy-connection") return false;
      break;
    case 17:
      if (name == "transfer-encoding") return false;
      break;
    case 20:
      if (name == "grpc-accept-encoding") return true;
      break;
    default:
      break;
  }
  return is_name(name);
}

bool FieldCheck::add_length(std::string_view value) {
  uint64_t length = 0;
  const char* const end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, length);
  if (error != std::errc() || rest != end || content_length_) return false;
  content_length_ = length;
  return true;
}

bool FieldCheck::add(std::string_view name, std::string_view value) {
  if (!is_value(value)) return false;
  if (name.starts_with(':')) return add_pseudo(name, value);
  fields_begun_ = true;
  return is_allowed(name, value);
}

bool FieldCheck::complete(bool end_stream) const {
  constexpr uint8_t kNeeded = kMethod | kScheme | kPath;
  switch (block_) {
    case Block::kRequest:
      return (seen_ & kNeeded) == kNeeded;
    case Block::kResponse:
      return seen_ == kStatus;
    default:
      return seen_ == kStatus || end_stream;
  }
}

}  // namespace http2
