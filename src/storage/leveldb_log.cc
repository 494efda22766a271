#include "storage/leveldb_log.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"

namespace storage {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr size_t kBlockBytes = 32768;
constexpr size_t kHeadBytes = 7;  // u32 masked crc of type and data, u16 length, u8 type
constexpr size_t kBatchHeadBytes = 12;  // u64 sequence, u32 count
constexpr uint64_t kLogFileBytesMax = 4ULL << 30;
constexpr uint64_t kSequenceStepMax = 1ULL << 40;
constexpr uint64_t kSearchChecksumBytesMax = 1ULL << 30;
constexpr size_t kCurrentBytesMax = 256;
constexpr std::string_view kAdvice =
    "this member's database is damaged: restore its data directory from a backup, or remove the member from the cluster and "
    "add it again with an empty data directory";

enum FragmentType : uint8_t { kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

Status data_loss(const std::string& what) { return Status(Code::kDataLoss, "leveldb: " + what + "; " + std::string(kAdvice)); }

uint32_t unmask(uint32_t masked) {
  const uint32_t rotated = masked - 0xa282ead8u;
  return rotated >> 17 | rotated << 15;
}

struct Fragment {
  FragmentType type;
  std::string_view data;
  size_t end;
};

// The sound fragment at `at`, if there is one.
std::optional<Fragment> fragment_at(std::string_view file, size_t at) {
  const size_t block_left = kBlockBytes - at % kBlockBytes;
  if (at + kHeadBytes > file.size() || block_left < kHeadBytes) return std::nullopt;
  const char* head = file.data() + at;
  const size_t length = static_cast<unsigned char>(head[4]) | static_cast<size_t>(static_cast<unsigned char>(head[5])) << 8;
  const auto type = static_cast<uint8_t>(head[6]);
  if (type < kFull || type > kLast || kHeadBytes + length > block_left || at + kHeadBytes + length > file.size()) return {};
  if (unmask(base::load_le32(head)) != base::crc32c(file.substr(at + 6, 1 + length))) return std::nullopt;
  return Fragment{static_cast<FragmentType>(type), file.substr(at + kHeadBytes, length), at + kHeadBytes + length};
}

// Steps over the up to 6 bytes at the end of a block in which no head fits.
size_t skip_trailer(size_t at) {
  const size_t block_left = kBlockBytes - at % kBlockBytes;
  return block_left < kHeadBytes ? at + block_left : at;
}

// The records of a log or manifest, joined from fragments.
class RecordReader {
 public:
  explicit RecordReader(std::string_view file) : file_(file) {}

  // False at the end or at a break.
  bool next() {
    start_ = skip_trailer(at_);
    joined_.clear();
    for (size_t at = start_;;) {
      at = skip_trailer(at);
      if (at >= file_.size()) {
        // The writer fills block ends by itself: only an unfinished record or rest of a head is a break.
        broken_ = at != start_;
        return false;
      }
      const std::optional<Fragment> fragment = fragment_at(file_, at);
      const bool is_first = at == start_;
      const bool fits = fragment.has_value() && is_first == (fragment->type == kFull || fragment->type == kFirst);
      if (!fits) {
        broken_ = true;
        return false;
      }
      joined_.append(fragment->data);
      at = fragment->end;
      if (fragment->type == kFull || fragment->type == kLast) {
        at_ = at;
        return true;
      }
    }
  }

  std::string_view record() const { return joined_; }
  size_t start() const { return start_; }  // of the record, or of the broken one
  bool broken() const { return broken_; }

  // Whether a record starts behind the broken one: a sound first fragment that `plausible` accepts.
  bool more_behind(const std::function<bool(std::string_view)>& plausible) const {
    uint64_t checksum_bytes_left = kSearchChecksumBytesMax;
    for (size_t at = start_ + 1; at + kHeadBytes <= file_.size();) {
      const std::optional<Fragment> fragment = fragment_at(file_, at);
      if (fragment.has_value()) {
        // At the end of a block a first fragment may be too short to say anything but that it is one.
        const bool is_start = fragment->type == kFull || fragment->type == kFirst;
        const bool is_stub = fragment->data.size() < kBatchHeadBytes && fragment->end % kBlockBytes == 0;
        if (is_start && (is_stub || plausible(fragment->data))) return true;
        at = skip_trailer(fragment->end);
        continue;
      }
      // Hostile bytes could look like heads of long fragments everywhere.
      const auto type = static_cast<uint8_t>(file_[at + 6]);
      if (type >= kFull && type <= kLast) {
        const uint64_t cost = static_cast<unsigned char>(file_[at + 5]) << 8;
        if (cost > checksum_bytes_left) return false;
        checksum_bytes_left -= cost;
      }
      ++at;
    }
    return false;
  }

 private:
  const std::string_view file_;
  size_t at_ = 0;
  size_t start_ = 0;
  bool broken_ = false;
  std::string joined_;
};

// --- the manifest ---

struct Manifest {
  uint64_t log_number = 0;
  uint64_t previous_log_number = 0;
  uint64_t last_sequence = 0;
  std::map<uint64_t, uint64_t> tables;  // number -> bytes
};

class EditReader {
 public:
  explicit EditReader(std::string_view in) : in_(in) {}

  // Applies the edit to `manifest`; false if it is not one.
  bool apply(Manifest& manifest) {
    while (!in_.empty()) {
      uint64_t number = 0, bytes = 0;
      switch (take_varint()) {
        case 1: skip_bytes(); break;                                // comparator
        case 2: manifest.log_number = take_varint(); break;
        case 3: take_varint(); break;                               // next file number
        case 4: manifest.last_sequence = take_varint(); break;
        case 5: take_varint(), skip_bytes(); break;                 // compaction pointer: level, key
        case 6:
          take_varint();  // level
          number = take_varint();
          if (ok_) manifest.tables.erase(number);
          break;
        case 7:
          take_varint();  // level
          number = take_varint();
          bytes = take_varint();
          skip_bytes(), skip_bytes();  // smallest and largest key
          if (ok_) manifest.tables[number] = bytes;
          break;
        case 9: manifest.previous_log_number = take_varint(); break;
        default: ok_ = false;
      }
      if (!ok_) return false;
    }
    return true;
  }

 private:
  uint64_t take_varint() {
    uint64_t v = 0;
    for (size_t i = 0; i < in_.size() && i < 10; ++i) {
      v |= static_cast<uint64_t>(in_[i] & 0x7f) << 7 * i;
      if (static_cast<unsigned char>(in_[i]) < 0x80) {
        in_.remove_prefix(i + 1);
        return v;
      }
    }
    in_ = {};
    ok_ = false;
    return 0;
  }
  void skip_bytes() {
    const uint64_t n = take_varint();
    if (n > in_.size()) {
      ok_ = false;
      in_ = {};
    } else {
      in_.remove_prefix(n);
    }
  }

  std::string_view in_;
  bool ok_ = true;
};

// --- the check ---

class Checker {
 public:
  Checker(io::Disk& disk, std::string dir) : disk_(disk), dir_(std::move(dir)) {}

  Result<uint64_t> run() {
    Result<std::vector<std::string>> names = disk_.list(dir_);
    if (!names.ok()) return names.status();
    names_.insert(names->begin(), names->end());
    if (names_.count("CURRENT") == 0) return check_new();
    if (Status done = read_manifest(); !done.ok()) return done;
    if (Status done = check_tables(); !done.ok()) return done;
    if (Status done = read_logs(); !done.ok()) return done;
    return sum_sizes();
  }

 private:
  std::string path(const std::string& name) const { return io::join(dir_, name); }
  static std::string numbered(uint64_t number, const char* suffix) {
    std::string digits = std::to_string(number);
    return std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits + suffix;
  }

  // A database whose making was interrupted has a manifest and nothing else.
  Result<uint64_t> check_new() const {
    for (const std::string& name : names_) {
      if (name.ends_with(".ldb") || name.ends_with(".sst") || name.ends_with(".log")) {
        return data_loss("file CURRENT is missing in " + dir_ + " though there is data (" + name + ")");
      }
    }
    return uint64_t{0};
  }

  // Cuts the torn record off, unless there is more behind it.
  Status cut_or_report(const RecordReader& reader, const std::string& name, uint64_t file_bytes,
                       const std::function<bool(std::string_view)>& plausible) {
    const std::string where = path(name) + " at offset " + std::to_string(reader.start());
    if (reader.more_behind(plausible)) {
      return data_loss("damaged record in " + where + ", though records behind it were synced");
    }
    base::log::warn("cut off a torn record at the end of a database log",
                    {{"path", path(name)}, {"offset", reader.start()}, {"bytes", file_bytes - reader.start()}});
    Result<std::unique_ptr<io::File>> file = disk_.open(path(name), io::OpenMode::kReadWrite);
    if (!file.ok()) return file.status();
    if (Status done = (*file)->truncate(reader.start()); !done.ok()) return done;
    return (*file)->sync();
  }

  Status read_manifest() {
    const Result<std::string> current = io::read_file(disk_, path("CURRENT"), kCurrentBytesMax);
    if (!current.ok()) return current.status();
    if (!current->starts_with("MANIFEST-") || current->back() != '\n') return data_loss("damaged file " + path("CURRENT"));
    const std::string name = current->substr(0, current->size() - 1);
    if (names_.count(name) == 0) return data_loss("file " + path(name) + " is missing");
    const Result<std::string> bytes = io::read_file(disk_, path(name), kLogFileBytesMax);
    if (!bytes.ok()) return bytes.status();
    RecordReader reader(*bytes);
    bool any = false;
    for (; reader.next(); any = true) {
      if (!EditReader(reader.record()).apply(manifest_)) {
        return data_loss("not a version edit in " + path(name) + " at offset " + std::to_string(reader.start()));
      }
    }
    // The first record was synced before CURRENT named the file.
    if (!any) return data_loss("damaged record in " + path(name) + " at offset 0");
    if (!reader.broken()) return {};
    return cut_or_report(reader, name, bytes->size(), [](std::string_view data) { return !data.empty(); });
  }

  Status check_tables() const {
    for (const auto& [number, bytes] : manifest_.tables) {
      std::string name = numbered(number, ".ldb");
      if (names_.count(name) == 0) name = numbered(number, ".sst");
      if (names_.count(name) == 0) return data_loss("file " + path(numbered(number, ".ldb")) + " is missing");
      const Result<io::FileInfo> info = disk_.stat(path(name));
      if (!info.ok()) return info.status();
      if (info->size_bytes != bytes) {
        return data_loss("file " + path(name) + " has " + std::to_string(info->size_bytes) + " bytes instead of " +
                         std::to_string(bytes));
      }
    }
    return {};
  }

  Status read_logs() {
    std::vector<uint64_t> numbers;
    for (const std::string& name : names_) {
      if (!name.ends_with(".log") || name.find_first_not_of("0123456789") != name.size() - 4) continue;
      const uint64_t number = std::strtoull(name.c_str(), nullptr, 10);
      if (number >= manifest_.log_number || number == manifest_.previous_log_number) numbers.push_back(number);
    }
    std::sort(numbers.begin(), numbers.end());
    if (manifest_.log_number != 0 && std::find(numbers.begin(), numbers.end(), manifest_.log_number) == numbers.end()) {
      return data_loss("file " + path(numbered(manifest_.log_number, ".log")) + " is missing");
    }
    for (const uint64_t number : numbers) {
      if (Status done = read_log(numbered(number, ".log")); !done.ok()) return done;
    }
    if (next_sequence_.has_value() && *next_sequence_ <= manifest_.last_sequence) {
      return data_loss("the logs in " + dir_ + " end before sequence " + std::to_string(manifest_.last_sequence));
    }
    return {};
  }

  Status read_log(const std::string& name) {
    const Result<std::string> bytes = io::read_file(disk_, path(name), kLogFileBytesMax);
    if (!bytes.ok()) return bytes.status();
    // A log is begun only after the last write to the one before was synced.
    if (!torn_log_.empty() && !bytes->empty()) {
      return data_loss("damaged record in " + path(torn_log_) + ", though " + path(name) + " has data");
    }
    RecordReader reader(*bytes);
    while (reader.next()) {
      const std::string where = path(name) + " at offset " + std::to_string(reader.start());
      if (reader.record().size() < kBatchHeadBytes) return data_loss("not a write batch in " + where);
      const uint64_t sequence = base::load_le64(reader.record().data());
      const uint64_t count = base::load_le32(reader.record().data() + 8);
      const bool follows = next_sequence_.has_value() ? sequence == *next_sequence_ : sequence <= manifest_.last_sequence + 1;
      if (!follows) return data_loss("writes are missing before " + where);
      next_sequence_ = sequence + count;
    }
    if (!reader.broken()) return {};
    torn_log_ = name;
    const uint64_t lowest = next_sequence_.value_or(0);
    return cut_or_report(reader, name, bytes->size(), [lowest](std::string_view data) {
      if (data.size() < kBatchHeadBytes) return false;
      const uint64_t sequence = base::load_le64(data.data());
      return sequence >= lowest && sequence - lowest < kSequenceStepMax;
    });
  }

  Result<uint64_t> sum_sizes() const {
    uint64_t sum = 0;
    for (const std::string& name : names_) {
      const Result<io::FileInfo> info = disk_.stat(path(name));
      if (!info.ok()) return info.status();
      sum += info->size_bytes;
    }
    return sum;
  }

  io::Disk& disk_;
  const std::string dir_;
  std::set<std::string> names_;
  Manifest manifest_;
  std::optional<uint64_t> next_sequence_;
  std::string torn_log_;
};

}  // namespace

Result<uint64_t> check_leveldb(io::Disk& disk, const std::string& dir) { return Checker(disk, dir).run(); }

}  // namespace storage
