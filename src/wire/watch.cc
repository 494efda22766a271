#include "wire/watch.h"

#include <cstring>

#include "base/verify.h"
#include "wire/reader.h"

namespace wire {
namespace {

constexpr size_t kVarintBytesMax = 10;

size_t varint_size(uint64_t value) { return static_cast<size_t>((63 - __builtin_clzll(value | 1)) / 7) + 1; }

char* put_varint(char* at, uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  return at;
}

void append_number(uint32_t field, uint64_t value, std::string& out) {
  if (value == 0) return;
  char bytes[2 * kVarintBytesMax];
  char* at = put_varint(put_varint(bytes, varint_tag(field)), value);
  out.append(bytes, static_cast<size_t>(at - bytes));
}

char* put_bytes(char* at, uint32_t field, std::string_view value) {
  at = put_varint(put_varint(at, bytes_tag(field)), value.size());
  if (!value.empty()) std::memcpy(at, value.data(), value.size());
  return at + value.size();
}

size_t bytes_size(size_t size) { return 1 + varint_size(size) + size; }

// Fields of mvccpb.Event and WatchResponse.
constexpr uint32_t kEventType = 1, kEventPair = 2, kEventPrev = 3, kResponseEvents = 11;
constexpr uint64_t kTypeDelete = 1;

}  // namespace

void append_watch_header(const ResponseHeader& header, std::string& out) {
  char tag[2 * kVarintBytesMax];
  char* at = put_varint(put_varint(tag, bytes_tag(1)), encoded_size(header));
  out.append(tag, static_cast<size_t>(at - tag));
  append(header, out);
}

void append_watch_fields(const WatchHead& head, std::string& out) {
  append_number(2, static_cast<uint64_t>(head.watch_id), out);
  append_number(3, head.created, out);
  append_number(4, head.canceled, out);
  append_number(5, static_cast<uint64_t>(head.compact_revision), out);
  if (!head.cancel_reason.empty()) {
    out += static_cast<char>(bytes_tag(6));
    char size[kVarintBytesMax];
    out.append(size, static_cast<size_t>(put_varint(size, head.cancel_reason.size()) - size));
    out += head.cancel_reason;
  }
  append_number(7, head.fragment, out);
}

void append(const WatchHead& head, std::string& out) {
  append_watch_header(head.header, out);
  append_watch_fields(head, out);
}

void append_watch_event(bool is_delete, std::string_view pair, const std::string_view* prev_pair, std::string& out) {
  const size_t event =
      (is_delete ? 2 : 0) + bytes_size(pair.size()) + (prev_pair != nullptr ? bytes_size(prev_pair->size()) : 0);
  const size_t before = out.size();
  out.resize(before + bytes_size(event));
  char* at = out.data() + before;
  at = put_varint(put_varint(at, bytes_tag(kResponseEvents)), event);
  if (is_delete) at = put_varint(put_varint(at, varint_tag(kEventType)), kTypeDelete);
  at = put_bytes(at, kEventPair, pair);
  if (prev_pair != nullptr) at = put_bytes(at, kEventPrev, *prev_pair);
  VERIFY(at == out.data() + out.size());
}

std::string_view first_watch_event(std::string_view events) {
  uint64_t size = 0;
  size_t at = 1;
  for (int shift = 0;; shift += 7) {
    VERIFY(at < events.size() && shift < 64);
    const auto byte = static_cast<uint8_t>(events[at++]);
    size |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  VERIFY(size <= events.size() - at);
  return events.substr(0, at + size);
}

}  // namespace wire
