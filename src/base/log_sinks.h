// Where log lines go: descriptors, size-bounded files, the systemd journal. Owner: the log's writing thread.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"

namespace base::log {

// Takes whole lines, the end of line included; loses a line rather than wait long or fail.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(Level level, std::string_view line) = 0;
};

// `fd` is closed at the end if `owned`. A descriptor that takes nothing for a second loses the line.
std::unique_ptr<Sink> descriptor_sink(int fd, bool owned);
// Appends; creates the file 0644. Error: `open <path>: no such file or directory`.
Result<std::unique_ptr<Sink>> file_sink(const std::string& path);
// Opened at the first line, as lumberjack does; folders are made.
std::unique_ptr<Sink> rotating_sink(std::string path, Rotation rotation);
// Error: `can't find journal (dial unixgram /run/systemd/journal/socket: connect: no such file or directory)`.
Result<std::unique_ptr<Sink>> journal_sink(const char* socket_path = "/run/systemd/journal/socket");

}  // namespace base::log
