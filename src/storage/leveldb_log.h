// Reads LevelDB's manifest and logs before LevelDB does, and settles what a power cut left. LevelDB (1.23) alone gives no exact
// prefix: with paranoid checks it refuses a torn tail, without them it skips any damaged record and keeps the later ones.
//
// Our writes are synced one by one, so only the very last record may be torn: it is cut off and logged. Everything else must be
// whole, and is checked as one chain: CURRENT names the manifest; the manifest's live tables exist with their sizes; the log it
// names exists; the logs' write batches carry sequence numbers without a gap, from at most the manifest's last one on and at
// least up to it. A broken chain is kDataLoss.
// Formats: LevelDB's doc/log_format.md and impl.md; db/version_edit.cc for the manifest's fields.
#pragma once

#include <string>

#include "io/disk.h"

namespace storage {

// Bytes in all files of the database, 0 for a new one. The folder exists and nobody has the database open.
base::Result<uint64_t> check_leveldb(io::Disk& disk, const std::string& dir);

}  // namespace storage
