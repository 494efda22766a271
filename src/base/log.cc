#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace base::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};

std::string_view level_name(Level level) {
  switch (level) {
    case Level::kDebug: return "debug";
    case Level::kInfo: return "info";
    case Level::kWarn: return "warn";
    case Level::kError: return "error";
    case Level::kDPanic: return "dpanic";
    case Level::kPanic: return "panic";
    case Level::kFatal: return "fatal";
  }
  return "info";
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (byte < 0x20 || byte == 0x7f) {
          char escape[8];
          std::snprintf(escape, sizeof escape, "\\u%04x", byte);
          out += escape;
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

}  // namespace

Field::Field(std::string_view key, std::string_view text) : key_(key) { append_json_string(json_, text); }

Field::Field(std::string_view key, const std::vector<std::string>& texts) : key_(key) {
  json_ = "[";
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) json_ += ',';
    append_json_string(json_, texts[i]);
  }
  json_ += ']';
}

Field::Field(std::string_view key, const Status& status) : Field(key, status.text()) {}

Field Field::json(std::string_view key, std::string json) {
  Field field;
  field.key_ = key;
  field.json_ = std::move(json);
  return field;
}

Field Field::duration(std::string_view key, int64_t ns) { return Field(key, duration_text(ns)); }

std::string duration_text(int64_t ns) {
  if (ns == 0) return "0s";
  std::string out = ns < 0 ? "-" : "";
  uint64_t left = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  const auto fraction = [](uint64_t value, uint64_t unit) {
    std::string text = std::to_string(value / unit);
    uint64_t rest = value % unit;
    if (rest != 0) {
      text += '.';
      for (uint64_t digit = unit / 10; rest != 0; digit /= 10) {
        text += static_cast<char>('0' + rest / digit);
        rest %= digit;
      }
    }
    return text;
  };
  if (left < 1000) return out + std::to_string(left) + "ns";
  if (left < 1000000) return out + fraction(left, 1000) + "µs";
  if (left < 1000000000) return out + fraction(left, 1000000) + "ms";
  const uint64_t hours = left / 3600000000000, minutes = left / 60000000000 % 60;
  if (hours > 0) out += std::to_string(hours) + "h";
  if (hours > 0 || minutes > 0) out += std::to_string(minutes) + "m";
  return out + fraction(left % 60000000000, 1000000000) + "s";
}

bool enabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }
void set_level(Level level) { g_level.store(level); }
Level level() { return g_level.load(); }

void write(Level level, std::string_view msg, Fields fields, std::source_location where) {
  if (!enabled(level)) return;
  std::string line = "{\"level\":\"";
  line += level_name(level);
  line += "\",\"ts\":\"";
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  const std::time_t seconds = micros / 1000000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char stamp[48];
  size_t n = std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(stamp + n, sizeof stamp - n, ".%06ldZ", static_cast<long>(micros % 1000000));
  line += stamp;
  line += "\",\"caller\":\"";
  std::string_view file = where.file_name();
  const size_t slash = file.rfind('/');
  const size_t parent = slash == std::string_view::npos || slash == 0 ? std::string_view::npos : file.rfind('/', slash - 1);
  if (parent != std::string_view::npos) file.remove_prefix(parent + 1);
  line += file;
  line += ':';
  line += std::to_string(where.line());
  line += "\",\"msg\":";
  append_json_string(line, msg);
  for (const Field& field : fields) {
    line += ',';
    append_json_string(line, field.key());
    line += ':';
    line += field.value_json();
  }
  line += "}\n";
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

void flush() {}

}  // namespace base::log
