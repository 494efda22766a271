// Just enough of the protobuf encoding for the small messages of log and snapshot files. Internal to storage/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace storage::proto {

inline size_t varint_bytes(uint64_t v) { return static_cast<size_t>(64 - __builtin_clzll(v | 1) + 6) / 7; }

inline char* put_varint(char* at, uint64_t v) {
  for (; v >= 0x80; v >>= 7) *at++ = static_cast<char>(v | 0x80);
  *at++ = static_cast<char>(v);
  return at;
}

inline void append_varint(std::string& out, uint64_t v) {
  char bytes[10];
  out.append(bytes, static_cast<size_t>(put_varint(bytes, v) - bytes));
}

// Field numbers here are below 16: a key is one byte.
inline void append_number(std::string& out, uint32_t field, uint64_t v) {
  out += static_cast<char>(field << 3);
  append_varint(out, v);
}
inline void append_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  out += static_cast<char>(field << 3 | 2);
  append_varint(out, bytes.size());
  out.append(bytes);
}

// Walks the fields of a message in place. Every read is checked; after damage ok() is false and next() too.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}

  // Steps to the next field that is a varint or length-delimited; fixed-size ones are skipped.
  bool next() {
    for (;;) {
      uint64_t key;
      if (!ok_ || in_.empty() || !take_varint(key)) return false;
      field_ = static_cast<uint32_t>(key >> 3);
      if (key >> 3 == 0 || key >> 32 != 0) return fail();
      switch (key & 7) {
        case 0: is_bytes_ = false; return take_varint(number_);
        case 1:
          if (!skip(8)) return false;
          continue;
        case 2: {
          uint64_t n;
          if (!take_varint(n)) return false;
          if (n > in_.size()) return fail();
          is_bytes_ = true;
          bytes_ = in_.substr(0, n);
          in_.remove_prefix(n);
          return true;
        }
        case 5:
          if (!skip(4)) return false;
          continue;
        default: return fail();
      }
    }
  }

  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  bool is_number(uint32_t field) const { return field_ == field && !is_bytes_; }
  bool is_bytes(uint32_t field) const { return field_ == field && is_bytes_; }
  uint64_t number() const { return number_; }
  std::string_view bytes() const { return bytes_; }

 private:
  bool fail() { return ok_ = false; }
  bool skip(size_t n) {
    if (in_.size() < n) return fail();
    in_.remove_prefix(n);
    return true;
  }
  bool take_varint(uint64_t& v) {
    v = 0;
    for (size_t i = 0; i < in_.size() && i < 10; ++i) {
      const auto byte = static_cast<unsigned char>(in_[i]);
      v |= static_cast<uint64_t>(byte & 0x7f) << 7 * i;
      if (byte < 0x80) {
        in_.remove_prefix(i + 1);
        return true;
      }
    }
    return fail();
  }

  std::string_view in_;
  bool ok_ = true;
  bool is_bytes_ = false;
  uint32_t field_ = 0;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

}  // namespace storage::proto
