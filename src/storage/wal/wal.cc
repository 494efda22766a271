#include "storage/wal/wal.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/verify.h"
#include "storage/proto.h"
#include "storage/wal/reader.h"
#include "storage/wal/record.h"

namespace storage {

using base::Code;
using base::Index;
using base::Result;
using base::Status;
using base::Term;
using wal::LogReader;
using wal::SegmentName;

namespace {

constexpr size_t kZeroPieceBytes = 128 << 10;
// Never written: the pages stay the shared zero page.
char g_zeros[kZeroPieceBytes];

Status data_loss(const std::string& text) {
  return Status(Code::kDataLoss, "wal: " + text + "; " + std::string(wal::kDamageAdvice));
}

// The segments of a folder, oldest first.
Result<std::vector<SegmentName>> list_segments(io::Disk& disk, const std::string& dir) {
  const Result<std::vector<std::string>> names = disk.list(dir);
  if (!names.ok()) return names.status();
  std::vector<SegmentName> segments;
  for (const std::string& name : *names) {
    if (const std::optional<SegmentName> segment = wal::parse_segment_name(name)) {
      segments.push_back(*segment);
    } else if (!name.ends_with(".tmp")) {
      base::log::warn("ignored file in WAL directory", {{"path", io::join(dir, name)}});
    }
  }
  return segments;
}

// The segments needed to read what is behind `index`. A gap in their numbers is damage.
Result<std::vector<SegmentName>> list_from(io::Disk& disk, const std::string& dir, Index index) {
  Result<std::vector<SegmentName>> segments = list_segments(disk, dir);
  if (!segments.ok()) return segments.status();
  if (segments->empty()) return Status(Code::kNotFound, "wal: file not found in " + dir);
  const auto after = std::find_if(segments->rbegin(), segments->rend(),
                                  [&](const SegmentName& name) { return name.first_index <= index.value(); });
  if (after == segments->rend()) {
    return data_loss("file not found in " + dir + " which matches the snapshot index " + std::to_string(index.value()));
  }
  segments->erase(segments->begin(), after.base() - 1);
  for (size_t i = 1; i < segments->size(); ++i) {
    if ((*segments)[i].sequence != (*segments)[i - 1].sequence + 1) {
      return data_loss("segment missing in " + dir + " before " + wal::segment_name((*segments)[i]));
    }
  }
  return segments;
}

// Puts the records of a log together.
class Collector {
 public:
  Collector(Index start_index, Term start_term, const LogReader& reader)
      : start_index_(start_index), start_term_(start_term), reader_(reader) {}

  Status take(uint32_t type, std::string_view data) {
    switch (type) {
      case wal::kMetadata:
        if (has_metadata_ && contents.metadata != data) return damage("conflicting metadata found");
        has_metadata_ = true;
        contents.metadata = data;
        return {};
      case wal::kEntry:
        return take_entry(data);
      case wal::kState: {
        const Result<HardState> state = decode_hard_state(data);
        if (!state.ok()) return damage("bad hard state");
        contents.state = *state;
        return {};
      }
      case wal::kSnapshot: {
        Result<WalSnapshot> snapshot = decode_wal_snapshot(data);
        if (!snapshot.ok()) return damage("bad snapshot record");
        if (snapshot->index == start_index_) {
          if (snapshot->term != start_term_) return damage("snapshot mismatch");
          found_start_ = true;
        }
        last_index_ = std::max(last_index_, snapshot->index);
        contents.snapshots.push_back(std::move(*snapshot));
        return {};
      }
      default:
        return damage("unexpected block type " + std::to_string(type));
    }
  }

  Status finish() const {
    if (!found_start_) {
      return Status(Code::kNotFound, "wal: snapshot not found: index " + std::to_string(start_index_.value()));
    }
    const Index last = contents.entries.empty() ? start_index_ : contents.entries.back().index;
    if (contents.state.commit > last) {
      return damage("entries missing: commit index " + std::to_string(contents.state.commit.value()) +
                    " is past the last entry " + std::to_string(last.value()));
    }
    return {};
  }

  WalContents contents;
  Index last_index() const { return last_index_; }

 private:
  Status damage(const std::string& what) const { return data_loss(what + " in " + reader_.position()); }

  Status take_entry(std::string_view data) {
    Result<WalEntry> entry = decode_entry(data);
    if (!entry.ok()) return damage("bad entry");
    last_index_ = entry->index;
    if (entry->index <= start_index_) return {};
    // An entry replaces all from its index on: a new leader overwrote them.
    const uint64_t position = entry->index - start_index_ - 1;
    if (position > contents.entries.size()) {
      return damage("entries missing before index " + std::to_string(entry->index.value()));
    }
    contents.entries.resize(position);
    contents.entries.push_back(std::move(*entry));
    return {};
  }

  const Index start_index_;
  const Term start_term_;
  const LogReader& reader_;
  bool has_metadata_ = false;
  bool found_start_ = false;
  Index last_index_;
};

}  // namespace

Wal::Wal(io::Disk& disk, std::string dir, const WalOptions& options) : disk_(disk), dir_(std::move(dir)), options_(options) {}

Wal::~Wal() {
  if (next_file_ != nullptr) (void)disk_.unlink(next_path_);  // Left behind it would only be made anew.
}

// --- creating and opening ---

Result<bool> Wal::exists(io::Disk& disk, const std::string& dir) {
  const Result<std::vector<SegmentName>> segments = list_segments(disk, dir);
  if (segments.ok()) return !segments->empty();
  if (segments.status().code() == Code::kNotFound) return false;
  return segments.status();
}

Result<std::unique_ptr<Wal>> Wal::create(io::Disk& disk, const std::string& dir, std::string_view metadata,
                                         const WalOptions& options) {
  const Result<bool> there = exists(disk, dir);
  if (!there.ok()) return there.status();
  if (*there) return Status(Code::kAlreadyExists, "wal: file already exists in " + dir);
  if (Status done = io::make_dirs(disk, dir); !done.ok()) return done;
  std::unique_ptr<Wal> log(new Wal(disk, dir, options));
  if (Status done = log->start(metadata); !done.ok()) return done;
  return log;
}

Status Wal::start(std::string_view metadata) {
  metadata_ = metadata;
  WalBatch first;
  add_head(first.next_head_);
  std::string snapshot;
  encode_wal_snapshot({}, snapshot);
  add_record(wal::kSnapshot, snapshot, first.next_head_);
  encode_offset_ = first.next_head_.size();
  return cut(first);
}

Result<std::pair<std::unique_ptr<Wal>, WalContents>> Wal::open(io::Disk& disk, const std::string& dir, Index snapshot_index,
                                                               Term snapshot_term, const WalOptions& options) {
  const Result<std::vector<SegmentName>> names = list_from(disk, dir, snapshot_index);
  if (!names.ok()) return names.status();
  std::unique_ptr<Wal> log(new Wal(disk, dir, options));
  std::vector<LogReader::Source> sources;
  for (const SegmentName& name : *names) {
    std::string path = io::join(dir, wal::segment_name(name));
    Result<std::unique_ptr<io::File>> file = disk.open(path, io::OpenMode::kReadWrite);
    if (!file.ok()) return file.status();
    if (Status done = (*file)->lock(); !done.ok()) return done;
    sources.push_back({path, file->get()});
    log->segments_.push_back({name.sequence, Index(name.first_index), std::move(path), std::move(*file)});
  }

  LogReader reader(std::move(sources));
  Collector collector(snapshot_index, snapshot_term, reader);
  Status done = reader.read_all([&](uint32_t type, std::string_view data) { return collector.take(type, data); });
  if (done.ok()) done = collector.finish();
  if (!done.ok()) return done;

  WalContents contents = std::move(collector.contents);
  contents.cut_bytes = reader.torn_bytes();
  log->metadata_ = contents.metadata;
  log->state_ = contents.state;
  log->last_index_ = collector.last_index();
  log->crc_ = reader.crc();
  if (contents.cut_bytes != 0) {
    base::log::warn("cut off a torn record at the end of the WAL",
                    {{"path", log->segments_.back().path}, {"offset", reader.end_offset()}, {"bytes", contents.cut_bytes}});
  }
  done = log->take_over(reader.synced_offset(), reader.end_offset());
  if (!done.ok()) return done;
  return std::make_pair(std::move(log), std::move(contents));
}

Status Wal::rewrite(io::File& file, uint64_t from, uint64_t to) {
  std::string piece(static_cast<size_t>(std::min(to - from, kWalZeroSliceBytes)), '\0');
  for (uint64_t at = from; at < to;) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(to - at, piece.size()));
    const Result<size_t> got = file.read_at(at, piece.data(), wanted);
    if (!got.ok()) return got.status();
    if (*got == 0) return Status(Code::kInternal, "wal: unexpected EOF");
    if (Status done = file.write_at(at, std::string_view(piece).substr(0, *got)); !done.ok()) return done;
    at += *got;
  }
  return {};
}

// Makes the last segment ready to be written behind `end_offset`; what is before `synced_offset` is on disk for certain.
Status Wal::take_over(uint64_t synced_offset, uint64_t end_offset) {
  io::File& tail = *segments_.back().file;
  // A sync that failed (its process stopped itself) left bytes that can be read and are not on disk, and no later sync would
  // bring them there: they are written once more. sim seed 1008: they were built upon, and a power cut took them away.
  if (Status done = rewrite(tail, synced_offset, end_offset); !done.ok()) return done;
  // Remains of a torn write, wherever they lie, must not come to light between new records.
  if (Status done = tail.truncate(end_offset); !done.ok()) return done;
  if (Status done = tail.allocate(std::max(end_offset, options_.segment_bytes)); !done.ok()) return done;
  if (Status done = tail.sync(); !done.ok()) return done;
  if (Status done = disk_.sync_dir(dir_); !done.ok()) return done;  // The same for its name.
  // What an interrupted process prepared.
  for (const char* name : {"0.tmp", "1.tmp"}) {
    const Status gone = disk_.unlink(io::join(dir_, name));
    if (!gone.ok() && gone.code() != Code::kNotFound) return gone;
  }
  encode_sequence_ = segments_.back().sequence;
  encode_offset_ = write_offset_ = zero_end_ = end_offset;
  return {};
}

Result<std::vector<WalSnapshot>> Wal::valid_snapshots(io::Disk& disk, const std::string& dir) {
  const Result<std::vector<SegmentName>> names = list_segments(disk, dir);
  if (!names.ok()) return names.status();
  if (names->empty()) return Status(Code::kNotFound, "wal: file not found in " + dir);
  std::vector<std::unique_ptr<io::File>> files;
  std::vector<LogReader::Source> sources;
  for (const SegmentName& name : *names) {
    const std::string path = io::join(dir, wal::segment_name(name));
    Result<std::unique_ptr<io::File>> file = disk.open(path, io::OpenMode::kRead);
    if (!file.ok()) return file.status();
    sources.push_back({path, file->get()});
    files.push_back(std::move(*file));
  }
  LogReader reader(std::move(sources));
  std::vector<WalSnapshot> snapshots;
  HardState state;
  Status done = reader.read_all([&](uint32_t type, std::string_view data) {
    if (type == wal::kSnapshot) {
      Result<WalSnapshot> snapshot = decode_wal_snapshot(data);
      if (!snapshot.ok()) return data_loss("bad snapshot record in " + reader.position());
      snapshots.push_back(std::move(*snapshot));
    } else if (type == wal::kState) {
      const Result<HardState> read = decode_hard_state(data);
      if (!read.ok()) return data_loss("bad hard state in " + reader.position());
      state = *read;
    }
    return Status();
  });
  if (!done.ok()) return done;
  std::erase_if(snapshots, [&](const WalSnapshot& snapshot) { return snapshot.index > state.commit; });
  // A member's own snapshot may be recorded behind one of another member's that is ahead of it.
  std::stable_sort(snapshots.begin(), snapshots.end(),
                   [](const WalSnapshot& a, const WalSnapshot& b) { return a.index < b.index; });
  return snapshots;
}

// --- home thread ---

void Wal::add_record(uint32_t type, std::string_view data, std::string& out) {
  crc_ = base::crc32c_extend(crc_, data);
  wal::append_frame(out, type, crc_, data);
}

void Wal::add_entry(const WalEntry& entry, std::string& out) {
  // The entry's message without its data, then the data: two parts of one record, so that the data is copied once.
  char head[48];
  char* at = head;
  const auto add_number = [&](uint32_t field, uint64_t value) {
    *at++ = static_cast<char>(field << 3);
    at = proto::put_varint(at, value);
  };
  if (entry.type != kEntryNormal) add_number(1, entry.type);
  add_number(2, entry.term.value());
  add_number(3, entry.index.value());
  const std::string_view data = entry.data != nullptr ? std::string_view(*entry.data) : std::string_view();
  if (!data.empty()) {
    *at++ = 4 << 3 | 2;
    at = proto::put_varint(at, data.size());
  }
  const std::string_view first(head, static_cast<size_t>(at - head));
  crc_ = base::crc32c_extend(base::crc32c_extend(crc_, first), data);
  wal::append_frame(out, wal::kEntry, crc_, first, data);
}

// What each segment starts with.
void Wal::add_head(std::string& out) {
  wal::append_crc_frame(out, crc_);
  add_record(wal::kMetadata, metadata_, out);
  if (state_.empty()) return;
  std::string state;
  encode_hard_state(state_, state);
  add_record(wal::kState, state, out);
}

void Wal::encode(std::span<const WalEntry> entries, const HardState& state, WalBatch* batch, const WalSnapshot* snapshot) {
  batch->bytes_.clear();
  batch->next_head_.clear();
  batch->cut_ = false;
  batch->sequence_ = encode_sequence_;
  batch->offset_ = encode_offset_;
  batch->must_sync_ = !entries.empty() || snapshot != nullptr;
  std::string message;
  if (snapshot != nullptr) {
    encode_wal_snapshot(*snapshot, message);
    add_record(wal::kSnapshot, message, batch->bytes_);
    last_index_ = std::max(last_index_, snapshot->index);
  }
  for (const WalEntry& entry : entries) add_entry(entry, batch->bytes_);
  if (!entries.empty()) last_index_ = entries.back().index;
  if (!state.empty()) {
    // A commit index alone may be lost: it is learned again.
    batch->must_sync_ |= state.term != state_.term || state.vote != state_.vote;
    state_ = state;
    message.clear();
    encode_hard_state(state, message);
    add_record(wal::kState, message, batch->bytes_);
  }
  // A restart may find the segment full and not cut yet; with nothing to write that waits for the next batch.
  if (batch->empty()) return;
  encode_offset_ += batch->bytes_.size();
  if (encode_offset_ < options_.segment_bytes) return;
  batch->cut_ = true;
  batch->next_first_index_ = last_index_ + 1;
  add_head(batch->next_head_);
  ++encode_sequence_;
  encode_offset_ = batch->next_head_.size();
}

// --- disk thread ---

Status Wal::sync(io::File& file) {
  if (options_.no_sync) return {};
  FAILPOINT(walBeforeSync);
  Status done = file.sync();
  FAILPOINT(walAfterSync);
  return done;
}

Status Wal::zero_fill(io::File& file, uint64_t from, uint64_t to) {
  while (from < to) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(to - from, kZeroPieceBytes));
    if (Status done = file.write_at(from, std::string_view(g_zeros, n)); !done.ok()) return done;
    from += n;
  }
  return {};
}

Status Wal::write(const WalBatch& batch, const std::function<void()>& written) {
  if (batch.empty()) return {};
  Segment& tail = segments_.back();
  VERIFY(batch.sequence_ == tail.sequence && batch.offset_ == write_offset_);
  if (Status done = tail.file->write_at(batch.offset_, batch.bytes_); !done.ok()) return done;
  write_offset_ += batch.bytes_.size();
  if (written) written();
  if (batch.cut_) {
    if (Status done = tail.file->truncate(write_offset_); !done.ok()) return done;
    if (Status done = sync(*tail.file); !done.ok()) return done;
    return cut(batch);
  }
  if (write_offset_ > zero_end_) {
    // These blocks were reserved but not written before, which makes the sync slow; pay for a whole slice at once.
    const uint64_t to = std::min(options_.segment_bytes, write_offset_ + kWalZeroSliceBytes);
    if (Status done = zero_fill(*tail.file, write_offset_, to); !done.ok()) return done;
    zero_end_ = std::max(to, write_offset_);
  }
  return batch.must_sync_ ? sync(*tail.file) : Status();
}

// Goes on in a new segment with the head of `batch`. Complete and synced before it gets its name.
Status Wal::cut(const WalBatch& batch) {
  if (next_file_ == nullptr) {
    if (Status done = prepare_next(); !done.ok()) return done;
  }
  if (Status done = next_file_->write_at(0, batch.next_head_); !done.ok()) return done;
  if (Status done = sync(*next_file_); !done.ok()) return done;
  const uint64_t sequence = segments_.empty() ? 0 : segments_.back().sequence + 1;
  std::string path = io::join(dir_, wal::segment_name({sequence, batch.next_first_index_.value()}));
  if (Status done = disk_.rename(next_path_, path); !done.ok()) return done;
  if (Status done = disk_.sync_dir(dir_); !done.ok()) return done;
  if (sequence > 0) base::log::info("created a new WAL segment", {{"path", path}});
  segments_.push_back({sequence, batch.next_first_index_, std::move(path), std::move(next_file_)});
  write_offset_ = batch.next_head_.size();
  zero_end_ = next_zero_end_;
  return {};
}

Status Wal::prepare_next() {
  // Two names in turn, as etcd does: the file of the last cut may still have the other one on a disk that forgot the rename.
  const uint64_t sequence = segments_.empty() ? 0 : segments_.back().sequence + 1;
  next_path_ = io::join(dir_, std::to_string(sequence % 2) + ".tmp");
  Result<std::unique_ptr<io::File>> file = disk_.open(next_path_, io::OpenMode::kTruncate);
  if (!file.ok()) return file.status();
  if (Status done = (*file)->lock(); !done.ok()) return done;
  if (Status done = (*file)->allocate(options_.segment_bytes); !done.ok()) return done;
  next_file_ = std::move(*file);
  next_zero_end_ = 0;
  return {};
}

uint64_t Wal::zero_fill_to() const {
  const uint64_t filled = std::max(zero_end_, write_offset_);
  // Whole slices, but the last: not a sync for each few bytes written.
  const uint64_t to = std::min(options_.segment_bytes, filled + kWalZeroSliceBytes);
  return to > write_offset_ + kWalZeroAheadBytes ? filled : to;
}

bool Wal::wants_preparing() const {
  if (next_file_ == nullptr && write_offset_ >= options_.segment_bytes / 2) return true;
  return zero_fill_to() > std::max(zero_end_, write_offset_);
}

Result<bool> Wal::prepare() {
  if (!wants_preparing()) return false;
  if (next_file_ == nullptr && write_offset_ >= options_.segment_bytes / 2) {
    if (Status done = prepare_next(); !done.ok()) return done;
    next_zero_end_ = std::min(options_.segment_bytes, kWalZeroSliceBytes);
    if (Status done = zero_fill(*next_file_, 0, next_zero_end_); !done.ok()) return done;
    if (Status done = sync(*next_file_); !done.ok()) return done;
    return true;
  }
  Segment& tail = segments_.back();
  const uint64_t to = zero_fill_to();
  if (Status done = zero_fill(*tail.file, std::max(zero_end_, write_offset_), to); !done.ok()) return done;
  zero_end_ = to;
  if (Status done = sync(*tail.file); !done.ok()) return done;
  return true;
}

Status Wal::release_to(Index index) {
  // A segment is done with when the one behind it starts below `index`; that one is kept.
  size_t below = 0;
  while (below < segments_.size() && segments_[below].first_index < index) ++below;
  if (below > 1) segments_.erase(segments_.begin(), segments_.begin() + static_cast<ptrdiff_t>(below - 1));
  return {};
}

Result<size_t> Wal::purge(size_t keep_count) {
  Result<std::vector<SegmentName>> names = list_segments(disk_, dir_);
  if (!names.ok()) return names.status();
  size_t removed = 0;
  for (const SegmentName& name : *names) {
    if (names->size() - removed <= keep_count || name.sequence >= segments_.front().sequence) break;
    const std::string path = io::join(dir_, wal::segment_name(name));
    {
      Result<std::unique_ptr<io::File>> file = disk_.open(path, io::OpenMode::kReadWrite);
      if (!file.ok()) return file.status();
      const Status locked = (*file)->lock();
      if (locked.code() == Code::kFailedPrecondition) break;  // Another process reads it.
      if (!locked.ok()) return locked;
      if (Status done = disk_.unlink(path); !done.ok()) return done;
    }
    // One by one: a later segment must not be gone while an earlier one is back after a power cut.
    if (Status done = disk_.sync_dir(dir_); !done.ok()) return done;
    base::log::info("purged", {{"path", path}});
    ++removed;
  }
  return removed;
}

}  // namespace storage
