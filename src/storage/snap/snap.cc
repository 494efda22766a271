#include "storage/snap/snap.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "storage/proto.h"

namespace storage {

using base::Code;
using base::Index;
using base::Result;
using base::Status;
using base::Term;

namespace {

constexpr std::string_view kSuffix = ".snap";
constexpr std::string_view kDbSuffix = ".snap.db";

// "0000000000000002-000000000000025e.snap"
std::string file_name(Term term, Index index) {
  std::string numbers;
  base::append_be64(numbers, term.value());
  base::append_be64(numbers, index.value());
  const std::string digits = base::hex_bytes(numbers);
  return digits.substr(0, 16) + "-" + digits.substr(16) + std::string(kSuffix);
}

Status damaged(const std::string& why) { return Status(Code::kDataLoss, "snap: " + why); }

}  // namespace

std::string encode_snap(const SnapFile& snap) {
  std::string conf_state;
  encode_conf_state(snap.conf_state, conf_state);
  std::string metadata;
  proto::append_bytes(metadata, 1, conf_state);
  proto::append_number(metadata, 2, snap.index.value());
  proto::append_number(metadata, 3, snap.term.value());
  std::string inner;
  inner.reserve(snap.data.size() + metadata.size() + 16);
  proto::append_bytes(inner, 1, snap.data);
  proto::append_bytes(inner, 2, metadata);
  std::string out;
  out.reserve(inner.size() + 16);
  proto::append_number(out, 1, base::crc32c(inner));
  proto::append_bytes(out, 2, inner);
  return out;
}

Result<SnapFile> decode_snap(std::string_view bytes) {
  if (bytes.empty()) return damaged("empty snapshot");
  uint64_t crc = 0;
  std::string_view inner;
  proto::Reader outer_fields(bytes);
  while (outer_fields.next()) {
    if (outer_fields.is_number(1)) crc = outer_fields.number();
    if (outer_fields.is_bytes(2)) inner = outer_fields.bytes();
  }
  if (!outer_fields.ok()) return damaged("not a snapshot file");
  if (crc == 0 || inner.empty()) return damaged("empty snapshot");
  if (base::crc32c(inner) != static_cast<uint32_t>(crc)) return damaged("crc mismatch");

  SnapFile out;
  std::string_view metadata;
  proto::Reader fields(inner);
  while (fields.next()) {
    if (fields.is_bytes(1)) out.data = fields.bytes();
    if (fields.is_bytes(2)) metadata = fields.bytes();
  }
  proto::Reader metadata_fields(metadata);
  while (metadata_fields.next()) {
    if (metadata_fields.is_bytes(1)) {
      Result<ConfState> conf_state = decode_conf_state(metadata_fields.bytes());
      if (!conf_state.ok()) return conf_state.status();
      out.conf_state = std::move(*conf_state);
    }
    if (metadata_fields.is_number(2)) out.index = Index(metadata_fields.number());
    if (metadata_fields.is_number(3)) out.term = Term(metadata_fields.number());
  }
  if (!fields.ok() || !metadata_fields.ok()) return damaged("not a raft snapshot");
  return out;
}

Status SnapDir::save(const SnapFile& snap) {
  if (snap.index == Index(0)) return {};
  return io::write_file_durably(disk_, io::join(dir_, file_name(snap.term, snap.index)), encode_snap(snap));
}

Result<std::vector<std::string>> SnapDir::list() {
  Result<std::vector<std::string>> names = disk_.list(dir_);
  if (!names.ok()) return names.status();
  std::erase_if(*names, [](const std::string& name) { return !name.ends_with(kSuffix); });
  // Fixed-width numbers: the order of names is the order of (term, index).
  std::sort(names->rbegin(), names->rend());
  return names;
}

Result<std::optional<SnapFile>> SnapDir::load_newest() { return load_newest_where(nullptr); }

Result<std::optional<SnapFile>> SnapDir::load_newest_of(std::span<const WalSnapshot> records) {
  return load_newest_where(&records);
}

Result<std::optional<SnapFile>> SnapDir::load_newest_where(std::span<const WalSnapshot>* records) {
  const Result<std::vector<std::string>> names = list();
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const std::string path = io::join(dir_, name);
    const Result<std::string> bytes = io::read_file(disk_, path, kSnapFileBytesMax);
    if (!bytes.ok()) return bytes.status();
    Result<SnapFile> snap = decode_snap(*bytes);
    if (snap.ok()) {
      const auto matches = [&](const WalSnapshot& record) { return record.index == snap->index && record.term == snap->term; };
      if (records == nullptr || std::any_of(records->begin(), records->end(), matches)) return std::optional(std::move(*snap));
      continue;
    }
    const std::string aside = path + ".broken";
    base::log::warn("failed to read a snap file", {{"path", path}, {"error", snap.status()}});
    if (Status done = disk_.rename(path, aside); !done.ok()) return done;
    if (Status done = disk_.sync_dir(dir_); !done.ok()) return done;
    base::log::warn("renamed to a broken snap file", {{"path", path}, {"broken-path", aside}});
  }
  return std::optional<SnapFile>();
}

Result<size_t> SnapDir::purge(size_t keep_count) {
  Result<std::vector<std::string>> names = list();
  if (!names.ok()) return names.status();
  size_t removed = 0;
  // The oldest first, so that what is left is always the newest.
  for (; names->size() > keep_count; names->pop_back()) {
    const std::string path = io::join(dir_, names->back());
    if (Status done = disk_.unlink(path); !done.ok()) return done;
    base::log::info("purged", {{"path", path}});
    ++removed;
  }
  if (removed == 0) return removed;
  if (Status done = disk_.sync_dir(dir_); !done.ok()) return done;
  return removed;
}

Status SnapDir::remove_orphans(Index index) {
  const Result<std::vector<std::string>> names = disk_.list(dir_);
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    bool orphan = name.starts_with("db.tmp") || name.ends_with(".tmp");
    if (name.ends_with(kDbSuffix)) {
      const std::string_view digits = std::string_view(name).substr(0, name.size() - kDbSuffix.size());
      const std::optional<uint64_t> received = base::parse_hex(digits);
      if (!received.has_value()) base::log::error("failed to parse index from filename", {{"path", name}});
      orphan = received.has_value() && *received < index.value();
    }
    if (!orphan) continue;
    const std::string path = io::join(dir_, name);
    base::log::info("found an orphaned file; deleting", {{"path", path}});
    if (Status done = disk_.unlink(path); !done.ok()) return done;
  }
  return {};
}

}  // namespace storage
