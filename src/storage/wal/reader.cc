#include "storage/wal/reader.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "storage/wal/record.h"
#include "storage/wal/wal.h"

namespace storage::wal {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr size_t kWindowBytes = 1 << 20;

// Whether one sector of the file range [offset, offset + bytes.size()), or the part of one that lies in it, is all zero.
bool has_zero_sector(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t n = std::min<size_t>(bytes.size(), io::kSectorBytes - offset % io::kSectorBytes);
    if (bytes.substr(0, n).find_first_not_of('\0') == std::string_view::npos) return true;
    bytes.remove_prefix(n);
    offset += n;
  }
  return false;
}

constexpr size_t kRecordHeadBytes = 18;  // most that stands before a record's data: type, crc, size of the data

std::optional<uint64_t> take_varint(std::string_view& in) {
  uint64_t value = 0;
  for (size_t i = 0; i < in.size() && i < 10; ++i) {
    value |= static_cast<uint64_t>(in[i] & 0x7f) << 7 * i;
    if (static_cast<unsigned char>(in[i]) < 0x80) {
      in.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

// What a record says of its own size, and how many bytes say it.
struct OwnSize {
  uint64_t record_bytes, head_bytes;
};
// nullopt: it does not begin as records with data do. `body`: what follows the frame's head. The fields stand in order.
std::optional<OwnSize> own_size(std::string_view body) {
  std::string_view rest = body;
  std::optional<uint64_t> number;
  for (const char tag : {'\x08', '\x10', '\x1a'}) {
    if (rest.empty() || rest[0] != tag) return std::nullopt;
    rest.remove_prefix(1);
    number = take_varint(rest);
    if (!number.has_value()) return std::nullopt;
  }
  const uint64_t head_bytes = body.size() - rest.size();
  return OwnSize{head_bytes + *number, head_bytes};
}

// Whether a record whose frame has a head can be the remains of a torn write: not if it says itself that the frame lies.
bool frame_may_be_true(uint64_t offset, std::string_view body, uint64_t record_bytes) {
  if (const std::optional<OwnSize> own = own_size(body)) {
    return own->record_bytes == record_bytes || has_zero_sector(offset, body.substr(0, own->head_bytes));
  }
  const std::string_view head = body.substr(0, kRecordHeadBytes);
  return head.size() < kRecordHeadBytes || has_zero_sector(offset, head);
}

// Looks for proof that a batch behind a break was begun after one before it was synced.
class ProofSearch {
 public:
  ProofSearch(std::string_view bytes, bool saw_entry) : bytes_(bytes), saw_entry_(saw_entry) {}

  bool found() {
    for (size_t at = 0; at + kFrameHeadBytes <= bytes_.size();) {
      const size_t end = follow_chain(at);
      if (proven_) return true;
      at = end > at ? end : at + 8;
    }
    return false;
  }

 private:
  // The record at `at` and the end of its frame; nullopt when there is no sound frame.
  struct Found {
    Record record;
    size_t end;
  };
  std::optional<Found> frame_at(size_t at) const {
    if (at + kFrameHeadBytes > bytes_.size()) return std::nullopt;
    const Frame frame = decode_frame_head(base::load_le64(bytes_.data() + at));
    if (!frame.sound || frame.record_bytes == 0) return std::nullopt;
    if (frame.record_bytes > bytes_.size() || frame.total() > bytes_.size() - at) return std::nullopt;
    const std::optional<Record> record = decode_record(bytes_.substr(at + kFrameHeadBytes, frame.record_bytes));
    if (!record.has_value() || record->type > kSnapshot) return std::nullopt;
    return Found{*record, at + frame.total()};
  }

  // Follows frames from `at` while each one's CRC continues that of the one before; returns where they end, or `at`.
  size_t follow_chain(size_t at) {
    std::optional<Found> here = frame_at(at);
    bool is_first = true;
    while (here.has_value()) {
      const std::optional<Found> next = frame_at(here->end);
      const bool continued = next.has_value() && continues(here->record, next->record);
      if (!continued && is_first) return at;  // A single frame may be chance; two whose CRCs fit are not.
      note(here->record.type);
      if (proven_ || !continued) return here->end;
      is_first = false;
      here = next;
    }
    return at;
  }

  bool continues(const Record& record, const Record& next) {
    // Hostile bytes could claim long records everywhere.
    if (next.data.size() > checksum_bytes_left_) return false;
    checksum_bytes_left_ -= next.data.size();
    return base::crc32c_extend(record.crc, next.data) == next.crc;
  }

  void note(uint32_t type) {
    if (saw_entry_ && saw_state_) proven_ = true;
    saw_state_ |= saw_entry_ && type == kState;
    saw_entry_ |= type == kEntry;
  }

  static constexpr uint64_t kChecksumBytesMax = 1ULL << 30;

  const std::string_view bytes_;
  uint64_t checksum_bytes_left_ = kChecksumBytesMax;
  bool saw_entry_;
  bool saw_state_ = false;
  bool proven_ = false;
};

}  // namespace

// A part of a file in memory.
class SegmentWindow {
 public:
  SegmentWindow(const io::File& file, uint64_t size) : file_(file), size_(size) {}
  uint64_t size() const { return size_; }

  // The `n` bytes at `offset`. REQUIRES: inside the file. Dies at the next call.
  Result<std::string_view> at(uint64_t offset, uint64_t n) {
    if (offset < start_ || offset + n > start_ + bytes_.size()) {
      bytes_.resize(std::min(size_ - offset, std::max<uint64_t>(n, kWindowBytes)));
      const Result<size_t> got = file_.read_at(offset, bytes_.data(), bytes_.size());
      if (!got.ok()) return got.status();
      if (*got < n) return Status(Code::kInternal, "wal: file shrank while it was read");
      bytes_.resize(*got);
      start_ = offset;
    }
    return std::string_view(bytes_).substr(offset - start_, n);
  }

 private:
  const io::File& file_;
  const uint64_t size_;
  uint64_t start_ = 0;
  std::string bytes_;
};

std::string LogReader::position() const { return segments_[current_].path + " at offset " + std::to_string(offset_); }

Status LogReader::read_all(const Visit& visit) {
  for (current_ = 0; current_ < segments_.size(); ++current_) {
    const bool is_last = current_ + 1 == segments_.size();
    if (Status done = read_segment(visit, current_ == 0, is_last); !done.ok()) return done;
    if (is_last) break;
  }
  return {};
}

Status LogReader::read_segment(const Visit& visit, bool is_first, bool is_last) {
  const Result<uint64_t> size = segments_[current_].file->size();
  if (!size.ok()) return size.status();
  SegmentWindow window(*segments_[current_].file, *size);
  synced_offset_ = 0;
  saw_entry_ = false;
  state_offset_.reset();
  for (offset_ = 0;;) {
    uint64_t head = 0;
    if (offset_ + kFrameHeadBytes <= window.size()) {
      const Result<std::string_view> bytes = window.at(offset_, kFrameHeadBytes);
      if (!bytes.ok()) return bytes.status();
      head = base::load_le64(bytes->data());
    }
    if (head == 0) {
      // The head is synced before the file gets its name.
      if (offset_ == 0) return Status(Code::kDataLoss, "wal: no records in " + position() + "; " + std::string(kDamageAdvice));
      return is_last ? end_of_records(window) : Status();
    }
    const Frame frame = decode_frame_head(head);
    if (!frame.sound) return broken(window, is_last, "bad record length");
    if (frame.record_bytes > kWalRecordBytesMax || frame.total() > window.size() - offset_) {
      return broken(window, is_last, "record cut short");
    }
    const Result<std::string_view> bytes = window.at(offset_ + kFrameHeadBytes, frame.record_bytes);
    if (!bytes.ok()) return bytes.status();
    const std::optional<Record> record = decode_record(*bytes);
    if (!record.has_value()) return broken(window, is_last, "not a record");
    if (record->type == kCrc) {
      // The first segment read may carry on from one that is gone.
      const bool adopts = is_first && offset_ == 0;
      if (!adopts && record->crc != crc_) {
        return Status(Code::kDataLoss, "wal: crc mismatch between segments, found in " + position() +
                                           ": the segment before it is not complete; " + std::string(kDamageAdvice));
      }
      crc_ = record->crc;
    } else {
      const uint32_t crc = base::crc32c_extend(crc_, record->data);
      if (crc != record->crc) return broken(window, is_last, "crc mismatch");
      crc_ = crc;
      note_synced(record->type);
      if (Status done = visit(record->type, record->data); !done.ok()) return done;
    }
    offset_ += frame.total();
  }
}

// A sound record of this type stands at offset_.
void LogReader::note_synced(uint32_t type) {
  if (state_offset_.has_value()) {
    synced_offset_ = *state_offset_;
    saw_entry_ = false;
    state_offset_.reset();
  }
  if (type == kEntry) saw_entry_ = true;
  if (type == kState && saw_entry_) state_offset_ = offset_;
}

Status LogReader::broken(SegmentWindow& window, bool is_last, const std::string& why) {
  const Result<std::string_view> head = window.at(offset_, kFrameHeadBytes);
  if (!head.ok()) return head.status();
  const Frame frame = decode_frame_head(base::load_le64(head->data()));
  const uint64_t room = window.size() - offset_;
  const bool past_end = frame.record_bytes > kWalRecordBytesMax || frame.total() > room;
  const uint64_t length = past_end ? room : frame.total();
  const Result<std::string_view> bytes = window.at(offset_, length);
  if (!bytes.ok()) return bytes.status();
  const std::string_view body = bytes->substr(kFrameHeadBytes);
  // A frame head lies in one sector: it is there or zero, never torn.
  const uint64_t body_offset = offset_ + kFrameHeadBytes;
  const bool may_be_torn = frame.sound && (past_end || has_zero_sector(body_offset, body.substr(0, frame.record_bytes))) &&
                           frame_may_be_true(body_offset, body, frame.record_bytes);
  if (!is_last || !may_be_torn) {
    return Status(Code::kDataLoss, "wal: " + why + " in " + position() + "; " + std::string(kDamageAdvice));
  }
  // The fields of a record stand in order: the type comes first.
  const bool is_entry = body.size() >= 2 && body[0] == 1 << 3 && body[1] == kEntry;
  return end_of_last(window, kFrameHeadBytes, is_entry, why);
}

// There is no frame at offset_. Its head and what follows it in the sector come to the disk together: a record without its head
// was damaged.
Status LogReader::end_of_records(SegmentWindow& window) {
  const uint64_t behind = offset_ + kFrameHeadBytes;
  const uint64_t sector_end = (offset_ / io::kSectorBytes + 1) * io::kSectorBytes;
  if (behind < sector_end && sector_end <= window.size()) {
    const Result<std::string_view> rest = window.at(behind, sector_end - behind);
    if (!rest.ok()) return rest.status();
    if (own_size(*rest).has_value()) {
      return Status(Code::kDataLoss, "wal: record without its length in " + position() + "; " + std::string(kDamageAdvice));
    }
  }
  return end_of_last(window, 0, false, "records missing");
}

// The log ends at offset_, unless there is proof behind it that it does not.
Status LogReader::end_of_last(SegmentWindow& window, uint64_t skip, bool break_is_entry, const std::string& why) {
  const uint64_t room = window.size() - offset_;
  uint64_t looked_at = std::min(room, kWalProofBytes);
  if (room >= kFrameHeadBytes) {
    // A long torn record does not hide what is behind it.
    const Result<std::string_view> head = window.at(offset_, kFrameHeadBytes);
    if (!head.ok()) return head.status();
    const Frame frame = decode_frame_head(base::load_le64(head->data()));
    if (frame.record_bytes <= kWalRecordBytesMax && frame.total() <= room) {
      looked_at = std::min(room, frame.total() + kWalProofBytes);
    }
  }
  const Result<std::string_view> bytes = window.at(offset_, looked_at);
  if (!bytes.ok()) return bytes.status();
  const size_t last_set = bytes->find_last_not_of('\0');
  if (last_set == std::string_view::npos) return {};
  if (ProofSearch(bytes->substr(skip), break_is_entry).found()) {
    return Status(Code::kDataLoss, "wal: " + why + " in " + position() + ", though records behind it were synced; " +
                                       std::string(kDamageAdvice));
  }
  torn_bytes_ = last_set + 1;
  return {};
}

}  // namespace storage::wal
