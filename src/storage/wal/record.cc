#include "storage/wal/record.h"

#include "base/bytes.h"
#include "storage/proto.h"

namespace storage::wal {

namespace {

constexpr uint32_t kTypeField = 1;
constexpr uint32_t kCrcField = 2;
constexpr uint32_t kDataField = 3;

size_t padding_of(size_t record_bytes) { return (8 - record_bytes % 8) % 8; }

// Appends frame head and the fields type and crc; returns the padding that must follow the record.
size_t begin_frame(std::string& out, uint32_t type, uint32_t crc, size_t data_field_bytes) {
  char head[kFrameHeadBytes + 16];
  char* at = head + kFrameHeadBytes;
  *at++ = static_cast<char>(kTypeField << 3);
  at = proto::put_varint(at, type);
  *at++ = static_cast<char>(kCrcField << 3);
  at = proto::put_varint(at, crc);
  const size_t record_bytes = static_cast<size_t>(at - head) - kFrameHeadBytes + data_field_bytes;
  const size_t padding = padding_of(record_bytes);
  base::store_le64(head, record_bytes | (padding != 0 ? (0x80ULL | padding) << 56 : 0));
  out.append(head, static_cast<size_t>(at - head));
  return padding;
}

}  // namespace

std::optional<Record> decode_record(std::string_view bytes) {
  Record record;
  proto::Reader in(bytes);
  while (in.next()) {
    if (in.is_number(kTypeField)) {
      if (in.number() == 0 || in.number() > UINT32_MAX) return std::nullopt;
      record.type = static_cast<uint32_t>(in.number());
    }
    if (in.is_number(kCrcField)) record.crc = static_cast<uint32_t>(in.number());
    if (in.is_bytes(kDataField)) record.data = in.bytes();
  }
  if (!in.ok() || record.type == 0) return std::nullopt;
  return record;
}

void append_frame(std::string& out, uint32_t type, uint32_t crc, std::string_view data, std::string_view more) {
  const size_t n = data.size() + more.size();
  const size_t padding = begin_frame(out, type, crc, 1 + proto::varint_bytes(n) + n);
  out += static_cast<char>(kDataField << 3 | 2);
  proto::append_varint(out, n);
  out.append(data).append(more).append(padding, '\0');
}

void append_crc_frame(std::string& out, uint32_t crc) { out.append(begin_frame(out, kCrc, crc, 0), '\0'); }

std::string segment_name(SegmentName name) {
  std::string out;
  base::append_be64(out, name.sequence);
  base::append_be64(out, name.first_index);
  const std::string digits = base::hex_bytes(out);
  return digits.substr(0, 16) + "-" + digits.substr(16) + ".wal";
}

std::optional<SegmentName> parse_segment_name(std::string_view name) {
  if (name.size() != 37 || name[16] != '-' || name.substr(33) != ".wal") return std::nullopt;
  const std::optional<uint64_t> sequence = base::parse_hex(name.substr(0, 16));
  const std::optional<uint64_t> first_index = base::parse_hex(name.substr(17, 16));
  if (!sequence.has_value() || !first_index.has_value()) return std::nullopt;
  return SegmentName{*sequence, *first_index};
}

}  // namespace storage::wal
