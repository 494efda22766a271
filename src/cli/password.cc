#include "cli/password.h"

#include <termios.h>
#include <unistd.h>

#include <istream>
#include <ostream>

#include "cli/text.h"

namespace cli {
namespace {

class EchoOff {
 public:
  EchoOff() {
    known_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
    if (!known_) return;
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  }
  ~EchoOff() {
    if (known_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;

 private:
  termios before_{};
  bool known_ = false;
};

}  // namespace

std::string ask_password(Terminal& terminal) {
  terminal.out << "Password: " << std::flush;
  std::string line;
  {
    const EchoOff echo_off;
    std::getline(terminal.in, line);
  }
  terminal.out << "\n";
  return std::string(trimmed(line));
}

}  // namespace cli
