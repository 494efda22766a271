// Passwords typed by people.
#pragma once

#include <string>

#include "cli/command.h"

namespace cli {

// Shows "Password: " and reads one line from standard input, without echo if that is a terminal. Empty at the end of input.
std::string ask_password(Terminal& terminal);

}  // namespace cli
