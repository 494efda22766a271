#include "cli/line_reader.h"

#include <editline/readline.h>
#include <unistd.h>

#include <iostream>
#include <istream>
#include <memory>

namespace cli {
namespace {

struct Free {
  void operator()(char* text) const { std::free(text); }
};

}  // namespace

bool read_line(Terminal& terminal, std::string& line) {
  const bool typed = &terminal.in == &std::cin && ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
  if (!typed) return static_cast<bool>(std::getline(terminal.in, line)) && !terminal.in.eof();
  const std::unique_ptr<char, Free> text(::readline(""));
  if (text == nullptr) return false;
  line = text.get();
  if (!line.empty()) ::add_history(line.c_str());
  return true;
}

}  // namespace cli
