// Lines that a user types or a script sends: from a terminal with editing and history (libedit), else plainly.
#pragma once

#include <string>

#include "cli/command.h"

namespace cli {

// Blocks. False at the end of input, also before a last line without an end of line, as Go's ReadString.
bool read_line(Terminal& terminal, std::string& line);

}  // namespace cli
