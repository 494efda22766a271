// Looks through a stopped member's data directory as no start does: every record of the log, every block of the store, what
// its rows promise each other, and whether log, store, members and snapshot files fit together. Changes nothing. Knows ours
// and the directories of an etcd written in Go. Blocking; memory: the log behind its newest snapshot and the index of the keys.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "io/disk.h"

namespace server {

struct DataDirReport {
  std::vector<std::string> facts;     // what was looked at and found sound, one line each
  std::vector<std::string> problems;  // each names the file, and the offset where there is one
};

// More problems than these are not told.
inline constexpr size_t kProblemsMax = 100;

// `wal_dir` empty: inside of the data directory. `wait` as in StoppedMember::open. An error: it could not be looked at.
base::Result<DataDirReport> check_data_dir(io::Disk& disk, const std::string& data_dir, const std::string& wal_dir,
                                           const std::function<bool()>& wait);

}  // namespace server
