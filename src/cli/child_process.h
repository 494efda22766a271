// Runs a program and waits for it without holding up the loop.
#pragma once

#include <asio.hpp>
#include <string>
#include <utility>
#include <vector>

namespace cli {

// Runs `words` (a program looked up in PATH, then its arguments) with this process's environment and `variables` on top; its
// standard input is empty, its output ours. The answer is empty when it ended with 0, else what went wrong as Go's os/exec says
// it: "exit status 3", "signal: killed", `exec: "x": executable file not found in $PATH`.
// REQUIRES: `words` is not empty.
asio::awaitable<std::string> run_child(asio::io_context& loop, std::vector<std::string> words,
                                       std::vector<std::pair<std::string, std::string>> variables);

}  // namespace cli
