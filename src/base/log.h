// zap-compatible structured log: one JSON object a line,
//   {"level":"info","ts":"2026-01-02T03:04:05.678901Z","caller":"server/applier.cc:73","msg":"...","key":value,...}
// Any thread may write; a line is written whole. Tools match `msg` and field names: feature map 11.2 lists those.
// Configured once at start (LogOptions); before that lines go to stderr at level info.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/status.h"

namespace base::log {

enum class Level : int { kDebug = -1, kInfo = 0, kWarn = 1, kError = 2, kDPanic = 3, kPanic = 4, kFatal = 5 };

// A key and its value, already as JSON text. Built only for lines that pass the level (the macros-free price: a string).
class Field {
 public:
  Field(std::string_view key, std::string_view text);
  Field(std::string_view key, const char* text) : Field(key, std::string_view(text)) {}
  Field(std::string_view key, const std::string& text) : Field(key, std::string_view(text)) {}
  Field(std::string_view key, bool value) : key_(key), json_(value ? "true" : "false") {}
  template <class Number>
    requires(std::is_arithmetic_v<Number> && !std::is_same_v<Number, bool>)
  Field(std::string_view key, Number value) : key_(key), json_(std::to_string(value)) {}
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
  std::string_view key_;  // a literal
  std::string json_;
};

using Fields = std::initializer_list<Field>;

bool enabled(Level level);
void write(Level level, std::string_view msg, Fields fields = {},
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

void set_level(Level level);
Level level();
void flush();

}  // namespace base::log
