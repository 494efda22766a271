// Folders with all that is in them.
#pragma once

#include <string>

#include "io/disk.h"

namespace io {

inline constexpr size_t kTreeDepthMax = 16;

// Removes a file, or a folder and all below it; fine when there is none. kInvalidArgument: folders nested too deeply.
base::Status remove_tree(Disk& disk, const std::string& path);

}  // namespace io
