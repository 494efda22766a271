// One table file of LevelDB, read through: every block's checksum, each key. For tools; the store itself checks what it reads.
#pragma once

#include <string>

#include "io/disk.h"

namespace storage {

// kDataLoss names the file and the offset of the block. Returns the number of rows, those that newer ones hide included.
base::Result<uint64_t> check_table(io::Disk& disk, const std::string& path);

}  // namespace storage
