// Any bytes as the only segment of a log: opening ends, with the log or with an error that fits; and a log that opens can be
// appended to and opens again to the same and the new. First byte: how the rest is meant, as the bytes of the file or as the
// records of a log whose frames and checksums are right (else hardly any input gets past the first checksum).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/verify.h"
#include "io/mem_disk.h"
#include "storage/wal/record.h"
#include "storage/wal/wal.h"

using base::Code;
using base::Index;
using base::NodeId;
using base::Status;
using base::Term;
using storage::Wal;

namespace {

void check_error(const Status& status) {
  VERIFY(status.code() == Code::kDataLoss || status.code() == Code::kNotFound);
  VERIFY(!status.text().empty());
}

// Each record: a byte for its type, a byte for the size of its data, the data.
std::string log_of_records(std::string_view in) {
  std::string out;
  std::string snapshot;
  uint32_t crc = 0;
  const auto add = [&](uint32_t type, std::string_view data) {
    crc = base::crc32c_extend(crc, data);
    storage::wal::append_frame(out, type, crc, data);
  };
  storage::wal::append_crc_frame(out, 0);
  storage::encode_wal_snapshot({}, snapshot);
  add(storage::wal::kSnapshot, snapshot);
  while (in.size() >= 2) {
    const auto type = static_cast<uint32_t>(in[0] & 7);
    const size_t bytes = std::min<size_t>(static_cast<unsigned char>(in[1]), in.size() - 2);
    if (type == storage::wal::kCrc) {
      storage::wal::append_crc_frame(out, crc);
    } else {
      add(type, in.substr(2, bytes));
    }
    in.remove_prefix(2 + bytes);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  base::log::set_level(base::log::Level::kFatal);
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string bytes = data[0] % 2 == 0 ? std::string(rest) : log_of_records(rest);
  io::MemDisk disk;
  const std::string path = "/" + storage::wal::segment_name({0, 0});
  {
    auto file = disk.open(path, io::OpenMode::kCreate);
    VERIFY(file.ok());
    VERIFY((*file)->write_at(0, bytes).ok());
  }
  storage::WalOptions options;
  options.segment_bytes = 1 << 20;
  if (auto snapshots = Wal::valid_snapshots(disk, "/"); !snapshots.ok()) check_error(snapshots.status());
  auto opened = Wal::open(disk, "/", Index(0), Term(0), options);
  if (!opened.ok()) {
    check_error(opened.status());
    return 0;
  }
  auto& [log, contents] = *opened;
  const Index next = Index(contents.entries.size() + 1);
  VERIFY(contents.entries.empty() || contents.entries.back().index + 1 == next);
  const storage::WalEntry entry = {Term(9), next, storage::kEntryNormal, std::make_shared<const std::string>("appended")};
  storage::WalBatch batch;
  log->encode({&entry, 1}, {Term(9), NodeId(1), contents.state.commit}, &batch);
  VERIFY(log->write(batch).ok());
  log.reset();
  auto again = Wal::open(disk, "/", Index(0), Term(0), options);
  VERIFY(again.ok());
  VERIFY(again->second.cut_bytes == 0);
  VERIFY(again->second.metadata == contents.metadata);
  VERIFY(again->second.entries.size() == contents.entries.size() + 1);
  VERIFY(*again->second.entries.back().data == "appended");
  return 0;
}
