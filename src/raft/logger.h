// Where Raft's log lines go. The lines are etcd's, word for word: people and tools look for them. The strong types choose the
// format: members print in hexadecimal, terms and indexes in decimal.
#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"

namespace raft {

enum class LogLevel : int { kDebug = 0, kInfo = 1, kWarn = 2, kError = 3, kFatal = 4 };

class Logger {
 public:
  virtual ~Logger() = default;
  virtual bool enabled(LogLevel level) const = 0;
  virtual void write(LogLevel level, std::string_view text) = 0;
};

inline void append_part(std::string& out, std::string_view text) { out += text; }
inline void append_part(std::string& out, base::NodeId id) { out += base::hex(id.value()); }
inline void append_part(std::string& out, base::Term term) { out += std::to_string(term.value()); }
inline void append_part(std::string& out, base::Index index) { out += std::to_string(index.value()); }
template <std::integral Number>
void append_part(std::string& out, Number number) {
  out += std::to_string(number);
}

template <class... Parts>
std::string text_of(const Parts&... parts) {
  std::string out;
  (append_part(out, parts), ...);
  return out;
}

// The text is made only if the level is wanted.
template <class... Parts>
void log(Logger& logger, LogLevel level, const Parts&... parts) {
  if (logger.enabled(level)) logger.write(level, text_of(parts...));
}

// Writes the line at level kFatal and stops the process: a promise of Raft is broken, or its log was lost.
[[noreturn]] void panic(Logger& logger, std::string_view text);

}  // namespace raft
