// The frames of a log segment, one after the other, each a multiple of 8 bytes so that its first 8 bytes are never torn:
//
//   u64 little-endian: low 56 bits = size of the record, top byte = 0x80 | padding, or 0 without padding
//   walpb.Record {1: type, 2: crc, 3: data}
//   0-7 zero bytes of padding
//
// crc is the running CRC-32C of the data of all records up to and with this one, over segments; a record of type kCrc, the
// first of each segment, hands it on. Eight zero bytes end a segment. Pure. Source: etcd server/storage/wal encoder, decoder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace storage::wal {

enum RecordType : uint32_t { kMetadata = 1, kEntry = 2, kState = 3, kCrc = 4, kSnapshot = 5 };

inline constexpr size_t kFrameHeadBytes = 8;

struct Frame {
  uint64_t record_bytes;
  uint64_t padding;
  bool sound;  // the top byte says what the size asks for
  uint64_t total() const { return kFrameHeadBytes + record_bytes + padding; }
};
inline Frame decode_frame_head(uint64_t head) {
  const uint64_t record_bytes = head & ~(0xffULL << 56);
  const uint64_t padding = (8 - record_bytes % 8) % 8;
  return {record_bytes, padding, head >> 56 == (padding != 0 ? 0x80 | padding : 0)};
}

struct Record {
  uint32_t type = 0;
  uint32_t crc = 0;
  std::string_view data;
};
// nullopt: not a walpb.Record with a type.
std::optional<Record> decode_record(std::string_view bytes);

// A frame around data given in two parts (either may be empty), with the crc as given.
void append_frame(std::string& out, uint32_t type, uint32_t crc, std::string_view data, std::string_view more = {});
// Without the data field, as kCrc records are.
void append_crc_frame(std::string& out, uint32_t crc);

// "0000000000000001-00000000000003e8.wal"
struct SegmentName {
  uint64_t sequence;
  uint64_t first_index;
};
std::string segment_name(SegmentName name);
std::optional<SegmentName> parse_segment_name(std::string_view name);

}  // namespace storage::wal
