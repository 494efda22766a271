// zap-compatible structured log: one JSON object a line,
//   {"level":"info","ts":"2026-01-02T03:04:05.678901Z","caller":"server/applier.cc:73","msg":"...","key":value,...}
// Any thread may write; a line is written whole. Tools match `msg` and field names: feature map 11.2 lists those.
// Until configure() a line goes to stderr in the calling thread; after it a thread of its own (spdlog's) writes, so that a slow
// disk or a pipe nobody reads never holds up the member: past kQueueLinesMax waiting lines the oldest are dropped, and a line
// says how many. Nothing here throws. Unlike zap there are no stack traces.
#pragma once

#include <cstdint>
#include <concepts>
#include <initializer_list>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace base::log {

inline constexpr size_t kQueueLinesMax = 1024;
inline constexpr size_t kTextBytesMax = 32 << 10;  // longer texts are cut, with a note
// Like zap: of lines with the same level and message, the first 100 of each second are written, then every 100th.
inline constexpr uint64_t kSampleFirst = 100, kSampleThen = 100;

enum class Level : int { kDebug = -1, kInfo = 0, kWarn = 1, kError = 2, kDPanic = 3, kPanic = 4, kFatal = 5 };

// A key and its value, already as JSON text. Built only for lines that pass the level (the macros-free price: a string).
class Field {
 public:
  Field(std::string_view key, std::string_view text);
  Field(std::string_view key, const char* text) : Field(key, std::string_view(text)) {}
  Field(std::string_view key, const std::string& text) : Field(key, std::string_view(text)) {}
  Field(std::string_view key, bool value) : key_(key), json_(value ? "true" : "false") {}
  template <std::integral Number>
  Field(std::string_view key, Number value) : key_(key), json_(std::to_string(value)) {}
  Field(std::string_view key, double value);
  Field(std::string_view key, const std::vector<std::string>& texts);  // ["a","b"]
  Field(std::string_view key, const Status& status);                    // its text
  // A value that is JSON already.
  static Field json(std::string_view key, std::string json);
  // zap's duration text, e.g. "1.5s", "100ms" (Go's time.Duration.String()).
  static Field duration(std::string_view key, int64_t ns);

  std::string_view key() const { return key_; }
  std::string_view value_json() const { return json_; }

 private:
  Field() = default;
  std::string_view key_;  // outlives the call: a literal
  std::string json_;
};

using Fields = std::initializer_list<Field>;

bool enabled(Level level);
void write(Level level, std::string_view msg, Fields fields = {},
           std::source_location where = std::source_location::current());
// The same with `"logger":name`, as the lines of "raft" have it.
void write_named(std::string_view logger, Level level, std::string_view msg, Fields fields = {},
                 std::source_location where = std::source_location::current());
// For lines whose fields are made at run time.
void write_fields(Level level, std::string_view msg, const std::vector<Field>& fields,
                  std::source_location where = std::source_location::current());

inline void debug(std::string_view msg, Fields fields = {}, std::source_location where = std::source_location::current()) {
  if (enabled(Level::kDebug)) write(Level::kDebug, msg, fields, where);
}
inline void info(std::string_view msg, Fields fields = {}, std::source_location where = std::source_location::current()) {
  write(Level::kInfo, msg, fields, where);
}
inline void warn(std::string_view msg, Fields fields = {}, std::source_location where = std::source_location::current()) {
  write(Level::kWarn, msg, fields, where);
}
inline void error(std::string_view msg, Fields fields = {}, std::source_location where = std::source_location::current()) {
  write(Level::kError, msg, fields, where);
}

// Go's time.Duration.String() of `ns` nanoseconds: "0s", "1.5s", "2m30s", "100ms", "1.234567ms".
std::string duration_text(int64_t ns);

// May change at run time, from any thread.
void set_level(Level level);
Level level();
// "debug" "info" "warn" "error" "dpanic" "panic" "fatal" in lower or upper case, or "" for info.
// Error: `unrecognized level: "x"`.
Result<Level> parse_level(std::string_view name);

// Size-bounded files as lumberjack makes them: name-2006-01-02T15-04-05.000.ext beside the file, optionally .gz.
struct Rotation {
  int64_t size_mb = 100;   // 0: 100
  int64_t age_days = 0;    // 0: no limit
  int64_t backups = 0;     // 0: no limit
  bool local_time = false;
  bool compress = false;
};
// {"maxsize":100,"maxage":0,"maxbackups":0,"localtime":false,"compress":false}; errors as Go's encoding/json words them.
Result<Rotation> parse_rotation(std::string_view json);

struct Options {
  Level level = Level::kInfo;
  bool console = false;  // tab-separated for people instead of JSON
  // "stderr", "default" (the same), "stdout", "systemd/journal", or paths of files to append to; /dev/null alone counts.
  std::vector<std::string> outputs{"stderr"};
  std::optional<Rotation> rotation;  // for the paths
};
// Opens the outputs and starts the writing thread. May be called again; the old outputs get what was written before.
// On an error (`open sink "p": open p: no such file or directory`) nothing changes.
Status configure(const Options& options);

// Waits until what was written so far is out, at most two seconds. Called by fatal() and at exit.
void flush();
// Flushes and ends the process at once: no destructors, whose threads may be anywhere.
[[noreturn]] void flush_and_exit(int code);
// A line at level "fatal", flush, exit code 1: for starts that cannot go on.
[[noreturn]] void exit_fatal(std::string_view msg, Fields fields = {},
                             std::source_location where = std::source_location::current());
// Lines dropped because the outputs did not take them in time.
uint64_t lines_dropped();

// One line as it is written, without the end of line: for tests and other writers of the same format.
struct Line {
  Level level;
  int64_t unix_ns;
  std::string_view logger;  // may be empty
  std::string_view caller;  // "folder/file.cc:12"
  std::string_view msg;
};
std::string json_line(const Line& line, const Field* fields, size_t count);
std::string console_line(const Line& line, const Field* fields, size_t count);

}  // namespace base::log
