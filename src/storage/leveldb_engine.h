// The Engine on LevelDB, over our Disk. What LevelDB does not promise by itself is added here:
// - After a power cut it opens to an exact prefix of the writes. LevelDB would either skip a damaged record of its log and
//   keep later ones, or refuse a torn tail. So before it opens, its log and manifest are read (leveldb_log.h): the torn record
//   of the last unsynced write is cut off and logged, anything else is kDataLoss; then it opens with paranoid checks.
// - New files' names are durable when their bytes are.
// - Reads go by pread through a bounded cache, so that memory stays flat; each block's checksum is checked, and damage is
//   kDataLoss that names file and offset.
// Threads: LevelDB's own compaction thread; a mutex inside.
#pragma once

#include <memory>
#include <string>

#include "io/disk.h"
#include "storage/engine.h"

namespace storage {

struct LevelDbOptions {
  size_t write_buffer_bytes = 4u << 20;
  size_t block_cache_bytes = 8u << 20;
  int open_files_max = 500;
  bool snappy = false;  // reads cost twice as much CPU, the disk 0.6 of the space
};

class LevelDbEngine final : public Engine {
 public:
  // Opens or makes the database in `dir`. `disk` outlives the engine. kDataLoss names the file and says what to do;
  // kFailedPrecondition: another process has it open.
  static base::Result<std::unique_ptr<LevelDbEngine>> open(io::Disk& disk, const std::string& dir,
                                                           const LevelDbOptions& options = {});
  ~LevelDbEngine() override;

  base::Result<bool> get(std::string_view key, std::string* value, const EngineSnapshot* snapshot = nullptr) const override;
  std::unique_ptr<EngineIterator> iterate(const EngineSnapshot* snapshot = nullptr) const override;
  std::shared_ptr<const EngineSnapshot> snapshot() const override;
  base::Status write(const Changes& changes, bool sync) override;
  base::Status begin_bulk() override;
  base::Status end_bulk() override;
  uint64_t size_bytes() const override;
  uint64_t range_bytes(std::string_view begin, std::string_view limit) const override;
  base::Status compact(std::string_view begin, std::string_view limit) override;

 private:
  struct Parts;
  base::Result<std::string> unused_key(std::string key) const;
  base::Status empty_memory();
  explicit LevelDbEngine(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace storage
