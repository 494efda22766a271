// Takes a protobuf message apart, field by field, in place. Lenient where protobuf's C++ parser is (over-long varints lose
// their top bits) and strict where it is (group ends, sizes, depth), so that both see the same message or none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wire {

enum class WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kGroup = 3, kGroupEnd = 4, kFixed32 = 5 };

constexpr uint32_t tag_of(uint32_t field, WireType type) { return field << 3 | static_cast<uint32_t>(type); }
constexpr uint32_t varint_tag(uint32_t field) { return tag_of(field, WireType::kVarint); }
constexpr uint32_t bytes_tag(uint32_t field) { return tag_of(field, WireType::kBytes); }

class Reader {
 public:
  // `depth_left`: how many more levels may open below this message.
  Reader(std::string_view bytes, int depth_left)
      : at_(bytes.data()), end_(bytes.data() + bytes.size()), depth_left_(depth_left) {}

  // True: `tag` is the next field's and its value must be taken or skipped. False: the end, or malformed (see ok()).
  bool next(uint32_t* tag) {
    if (at_ == end_ || !ok_) return false;
    uint64_t value = 0;
    if (!varint(kTagBytesMax, &value)) return false;
    *tag = static_cast<uint32_t>(value);
    return true;
  }

  uint64_t take_varint() {
    uint64_t value = 0;
    (void)varint(kVarintBytesMax, &value);
    return value;
  }
  int64_t take_int64() { return static_cast<int64_t>(take_varint()); }
  bool take_bool() { return take_varint() != 0; }
  template <class Enum>
  Enum take_enum() {
    return static_cast<Enum>(static_cast<int32_t>(take_varint()));
  }

  std::string_view take_bytes() {
    const size_t size = take_size();
    if (!ok_) return {};
    const std::string_view bytes(at_, size);
    at_ += size;
    return bytes;
  }

  // Reads a message with `read_fields(Reader&)`, which returns false when it is malformed.
  template <class ReadFields>
  void take_message(ReadFields read_fields) {
    const std::string_view bytes = take_bytes();
    if (!ok_) return;
    if (depth_left_ <= 0) return fail();
    Reader inner(bytes, depth_left_ - 1);
    if (!read_fields(inner)) fail();
  }

  // An unknown field, or a known one of another wire type.
  void skip(uint32_t tag) { skip_at(tag, depth_left_); }

  bool ok() const { return ok_; }
  // Bytes not taken yet.
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  bool more() const { return at_ != end_; }
  void fail() { ok_ = false; }

 private:
  static constexpr int kTagBytesMax = 5;
  static constexpr int kVarintBytesMax = 10;
  static constexpr uint32_t kSizeMax = 0x7fffffff - 16;

  bool varint(int bytes_max, uint64_t* value) {
    if (at_ != end_ && static_cast<uint8_t>(*at_) < 0x80) {
      *value = static_cast<uint8_t>(*at_++);
      return true;
    }
    uint64_t result = 0;
    for (int i = 0; i < bytes_max && at_ != end_; ++i) {
      const auto byte = static_cast<uint8_t>(*at_++);
      result |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
      if (byte < 0x80) {
        *value = result;
        return true;
      }
    }
    ok_ = false;
    return false;
  }

  size_t take_size();
  void skip_at(uint32_t tag, int depth_left);
  void skip_group(uint32_t field, int depth_left);

  const char* at_;
  const char* end_;
  int depth_left_;
  bool ok_ = true;
};

}  // namespace wire
