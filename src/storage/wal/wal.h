// The Raft log on disk, in etcd's own file format (etcd server/storage/wal; layout in README.md here). A folder of segments
// "<sequence>-<first index>.wal", each preallocated, zero-filled ahead of the writer, and locked while it may be needed.
//
// Two threads share a Wal, each its own half:
//   home thread   encode(): turns entries into a WalBatch; cheap, no disk. It runs ahead of the disk.
//   disk thread   write() the batches in the order in which they were encoded; prepare(), release_to(), purge(). Blocking.
// No locks: a batch carries all the disk half needs.
//
// Invariants: a batch holds at most one hard state, at its end, and is synced before the next is written, unless only the
// commit index changed. So a record with entries and a hard state and still more behind it was certainly synced.
// After an error of write() the state on disk is unknown: the caller must stop (base::fatal).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/disk.h"
#include "storage/raft_state.h"

namespace storage {

inline constexpr uint64_t kWalSegmentBytes = 64'000'000;
// The writer keeps this much zero-filled ahead of itself when there is time, one slice a step.
inline constexpr uint64_t kWalZeroAheadBytes = 4u << 20;
inline constexpr uint64_t kWalZeroSliceBytes = 1u << 20;
// How far behind the last good record the reader looks for proof that more was synced.
inline constexpr uint64_t kWalProofBytes = 4u << 20;
// Most bytes of one record; a frame that claims more is damage. (etcd has no other bound than the file.)
inline constexpr uint64_t kWalRecordBytesMax = 1u << 30;

struct WalOptions {
  uint64_t segment_bytes = kWalSegmentBytes;  // smaller in tests
  bool no_sync = false;                       // --unsafe-no-fsync
};

// Encoded records on their way to the disk. Reuse it (encode clears it, its memory stays).
class WalBatch {
 public:
  size_t bytes() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  bool must_sync() const { return must_sync_; }

 private:
  friend class Wal;
  std::string bytes_;
  uint64_t sequence_ = 0;  // of the segment, to catch batches out of order
  uint64_t offset_ = 0;    // in the segment
  bool must_sync_ = false;
  bool cut_ = false;              // the segment ends behind this batch
  base::Index next_first_index_;  // and the next one begins with this index
  std::string next_head_;         // and these records
};

// What a log holds from a snapshot on.
struct WalContents {
  std::string metadata;
  HardState state;
  std::vector<WalEntry> entries;       // indexes start+1, start+2, ... without a gap
  std::vector<WalSnapshot> snapshots;  // all snapshot records of the segments read, valid or not
  uint64_t cut_bytes = 0;              // of a torn last record; 0: the log ended cleanly
};

class Wal {
 public:
  // Starts a log in `dir` (made when missing, 0700): metadata, and the record of the empty snapshot at index 0.
  // kAlreadyExists when the folder holds a log.
  static base::Result<std::unique_ptr<Wal>> create(io::Disk& disk, const std::string& dir, std::string_view metadata,
                                                   const WalOptions& options = {});
  // Reads everything behind the snapshot (index, term), which the log must have a record of, and opens for appending.
  // A torn last record is cut off and logged. Errors:
  //   kDataLoss            damage before a record that was certainly synced, a missing segment or entry, a commit index past
  //                        the last entry: the text names file and offset and says what to do
  //   kNotFound            no log, or no record of that snapshot
  //   kFailedPrecondition  a segment is locked by another process
  static base::Result<std::pair<std::unique_ptr<Wal>, WalContents>> open(io::Disk& disk, const std::string& dir,
                                                                         base::Index snapshot_index, base::Term snapshot_term,
                                                                         const WalOptions& options = {});
  // The snapshots with a record in the log whose index is committed, lowest index first. Reads all segments; takes no lock,
  // changes nothing. Errors as open().
  static base::Result<std::vector<WalSnapshot>> valid_snapshots(io::Disk& disk, const std::string& dir);
  // Whether the folder holds at least one segment.
  static base::Result<bool> exists(io::Disk& disk, const std::string& dir);

  ~Wal();
  Wal(const Wal&) = delete;
  Wal& operator=(const Wal&) = delete;

  // --- home thread ---
  // Fills `batch` (cleared first) with the snapshot record, then the entries, then the hard state (empty: none). Each part may
  // be missing. Entries may go back to an index that was written before (a new leader overwrites). 0.1 us an entry + copy.
  void encode(std::span<const WalEntry> entries, const HardState& state, WalBatch* batch,
              const WalSnapshot* snapshot = nullptr);
  base::Index last_index() const { return last_index_; }

  // --- disk thread ---
  // Writes the batch and syncs it if it must be; goes on to a new segment when this one is full. `written` is called between
  // the two, for who measures.
  base::Status write(const WalBatch& batch, const std::function<void()>& written = nullptr);
  // Does one bounded step of work ahead (zero-fills a slice, prepares the next segment); false: nothing to do. Call it when no
  // batch waits.
  base::Result<bool> prepare();
  // Whether prepare() would do anything.
  bool wants_preparing() const;
  // Unlocks the segments that hold only entries below `index`, except the newest of those.
  base::Status release_to(base::Index index);
  // Removes the oldest segments that are not locked until `keep_count` segments are left.
  // Returns how many were removed.
  base::Result<size_t> purge(size_t keep_count);
  size_t locked_segments() const { return segments_.size(); }

 private:
  struct Segment {
    uint64_t sequence;
    base::Index first_index;
    std::string path;
    std::unique_ptr<io::File> file;
  };
  Wal(io::Disk& disk, std::string dir, const WalOptions& options);

  // Home thread.
  void add_head(std::string& out);
  void add_record(uint32_t type, std::string_view data, std::string& out);
  void add_entry(const WalEntry& entry, std::string& out);
  // Disk thread.
  base::Status start(std::string_view metadata);
  base::Status take_over(uint64_t synced_offset, uint64_t end_offset);
  static base::Status rewrite(io::File& file, uint64_t from, uint64_t to);
  base::Status cut(const WalBatch& batch);
  base::Status prepare_next();
  uint64_t zero_fill_to() const;  // the end of what prepare() would fill next
  base::Status zero_fill(io::File& file, uint64_t from, uint64_t to);
  base::Status sync(io::File& file);

  io::Disk& disk_;
  const std::string dir_;
  const WalOptions options_;

  // Home thread: where the next record goes.
  uint32_t crc_ = 0;
  std::string metadata_;
  HardState state_;
  base::Index last_index_;
  uint64_t encode_sequence_ = 0;
  uint64_t encode_offset_ = 0;

  // Disk thread.
  std::vector<Segment> segments_;  // locked ones, oldest first; the last is written to
  uint64_t write_offset_ = 0;      // behind the last batch written
  uint64_t zero_end_ = 0;          // the last segment is zero-filled up to here
  std::unique_ptr<io::File> next_file_;
  std::string next_path_;
  uint64_t next_zero_end_ = 0;
};

}  // namespace storage
