// Reads the records of consecutive log segments in order and decides what a broken one means: the torn last write of a power
// cut (the log ends there), or damage (kDataLoss). Blocking; holds one window of a file in memory.
//
// A broken record is torn only if it is in the last segment, and either it runs past the end of the file or one of its
// 512-byte sectors is all zero (segments are zeros before they are written), and its own account of its size does not
// contradict its frame; a record whose frame has no length is damaged, as the two share a sector. But what was certainly
// synced does not tear: the writer syncs each batch that has entries before it writes the next, and a batch ends with its hard
// state; so if behind the break there is an entry (or the break is one), then a hard state, then any other record, the break
// is damage. Records behind a break are recognised by frames whose running CRCs continue each other.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/disk.h"

namespace storage::wal {

class SegmentWindow;

class LogReader {
 public:
  struct Source {
    std::string path;
    const io::File* file;
  };
  // Called for each record but those of type kCrc; `data` dies with the call. An error ends the reading.
  using Visit = std::function<base::Status(uint32_t type, std::string_view data)>;

  explicit LogReader(std::vector<Source> segments) : segments_(std::move(segments)) {}

  // kDataLoss as above, with file, offset and advice.
  base::Status read_all(const Visit& visit);

  // After success: where the last segment's records end, the CRC there, and what lies behind it of a torn write.
  uint64_t end_offset() const { return offset_; }
  uint32_t crc() const { return crc_; }
  uint64_t torn_bytes() const { return torn_bytes_; }
  // In the last segment: everything before this was synced by who wrote it; what follows it may only be readable. The proof is
  // the one above: a state behind an entry, and more behind that, so the entry's sync was waited for. Not the state's: it may
  // be a commit index alone. One batch from the end, mostly.
  uint64_t synced_offset() const { return synced_offset_; }
  // "/data/member/wal/….wal at offset 4711": where read_all stands; for the texts of errors found by `visit`.
  std::string position() const;

 private:
  base::Status read_segment(const Visit& visit, bool is_first, bool is_last);
  base::Status broken(SegmentWindow& window, bool is_last, const std::string& why);
  base::Status end_of_records(SegmentWindow& window);
  void note_synced(uint32_t type);
  base::Status end_of_last(SegmentWindow& window, uint64_t skip, bool break_is_entry, const std::string& why);

  const std::vector<Source> segments_;
  size_t current_ = 0;
  uint64_t offset_ = 0;
  uint32_t crc_ = 0;
  uint64_t torn_bytes_ = 0;
  uint64_t synced_offset_ = 0;
  bool saw_entry_ = false;                // behind synced_offset_
  std::optional<uint64_t> state_offset_;  // of the newest state behind such an entry
};

// What a person can do about a damaged log.
inline constexpr std::string_view kDamageAdvice =
    "this member's log is damaged: restore its data directory from a backup, or remove the member from the cluster and add it "
    "again with an empty data directory";

}  // namespace storage::wal
