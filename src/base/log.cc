#include "base/log.h"

#include <pthread.h>
#include <signal.h>
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/flags.h"
#include "base/log_sinks.h"
#include "base/log_time.h"
#include "base/utf8.h"

namespace base::log {
namespace {

constexpr auto kFlushWaitMax = std::chrono::seconds(2);
constexpr auto kDropNoticeEvery = std::chrono::seconds(1);
constexpr size_t kSampleSlots = 4096;  // messages that fall into one slot are counted together, as in zap

std::atomic<Level> g_level{Level::kInfo};

// --- text --------------------------------------------------------------------------------------------------------------------

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

// As zap: bytes that are no UTF-8 become U+FFFD; '<', '>', '&' and DEL stay.
void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  const size_t whole = text.size();
  text = text.substr(0, kTextBytesMax);
  while (!text.empty()) {
    const auto byte = static_cast<uint8_t>(text[0]);
    if (byte >= 0x80) {
      const Rune rune = decode_rune(text);
      if (rune.valid) out += text.substr(0, rune.bytes);
      else out += "\\ufffd";
      text.remove_prefix(rune.bytes);
      continue;
    }
    switch (text[0]) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (byte < 0x20) {
          out += "\\u00";
          out += "0123456789abcdef"[byte >> 4];
          out += "0123456789abcdef"[byte & 15];
        } else {
          out += text[0];
        }
    }
    text.remove_prefix(1);
  }
  if (whole > kTextBytesMax) out += "... (" + std::to_string(whole) + " bytes)";
  out += '"';
}

// "folder/file.cc:12"
std::string caller_text(const std::source_location& where) {
  std::string_view file = where.file_name();
  if (const size_t slash = file.rfind('/'); slash != std::string_view::npos && slash > 0) {
    if (const size_t parent = file.rfind('/', slash - 1); parent != std::string_view::npos) file.remove_prefix(parent + 1);
  }
  return std::string(file) + ":" + std::to_string(where.line());
}

// zap's console form of JSON: a space after each ':' and ','.
void append_spaced(std::string& out, std::string_view json) {
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    out += json[i];
    if (in_string && json[i] == '\\' && i + 1 < json.size()) out += json[++i];
    else if (json[i] == '"') in_string = !in_string;
    else if (!in_string && (json[i] == ',' || json[i] == ':')) out += ' ';
  }
}

// --- sampling ----------------------------------------------------------------------------------------------------------------

// Counts lines by level and message in seconds; any thread. Races only make a count a little wrong.
class Sampler {
 public:
  bool passes(Level level, std::string_view msg, int64_t unix_ns) {
    uint32_t hash = 2166136261u ^ static_cast<uint32_t>(static_cast<int>(level) + 2);
    for (const char c : msg) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
    Slot& slot = slots_[hash % kSampleSlots];
    const int64_t second = unix_ns / 1000000000;
    if (slot.second.exchange(second, std::memory_order_relaxed) != second) slot.count.store(0, std::memory_order_relaxed);
    const uint64_t n = slot.count.fetch_add(1, std::memory_order_relaxed) + 1;
    return n <= kSampleFirst || (n - kSampleFirst) % kSampleThen == 0;
  }

 private:
  struct Slot {
    std::atomic<int64_t> second{0};
    std::atomic<uint64_t> count{0};
  };
  std::array<Slot, kSampleSlots> slots_;
};

// --- outputs -----------------------------------------------------------------------------------------------------------------

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarn: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
    case Level::kDPanic:
    case Level::kPanic:
    case Level::kFatal: return spdlog::level::critical;
  }
  return spdlog::level::info;
}

Level from_spdlog(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::debug: return Level::kDebug;
    case spdlog::level::warn: return Level::kWarn;
    case spdlog::level::err: return Level::kError;
    case spdlog::level::critical: return Level::kFatal;
    default: return Level::kInfo;
  }
}

// Runs in spdlog's thread: hands whole lines to our outputs and reports how far it is.
class Outputs final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit Outputs(std::vector<std::unique_ptr<Sink>> sinks) : sinks_(std::move(sinks)) {}

  // Waits until `flushes` calls of flush have passed.
  void wait_for(uint64_t flushes) {
    std::unique_lock lock(mutex_);
    passed_.wait_for(lock, kFlushWaitMax, [&] { return flushed_ >= flushes; });
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    line_.assign(message.payload.data(), message.payload.size());
    line_ += '\n';
    for (const auto& output : sinks_) output->write(from_spdlog(message.level), line_);
  }
  void flush_() override {
    const std::lock_guard lock(mutex_);
    ++flushed_;
    passed_.notify_all();
  }

  const std::vector<std::unique_ptr<Sink>> sinks_;
  std::string line_;
  std::mutex mutex_;
  std::condition_variable passed_;
  uint64_t flushed_ = 0;
};

// The logger with its thread. Never destroyed: other threads may log while the process ends.
struct Pipeline {
  Pipeline* before = nullptr;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<Outputs> outputs;
  std::shared_ptr<spdlog::async_logger> logger;
  bool console = false;
  std::atomic<uint64_t> flushes{0};
  std::atomic<size_t> drops_told{0};
  std::atomic<int64_t> told_at_ns{0};
};
std::atomic<Pipeline*> g_pipeline{nullptr};

Sampler& sampler() {
  static Sampler* const instance = new Sampler;
  return *instance;
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void emit(Pipeline* pipeline, Level level, std::string_view logger, std::string_view msg, const Field* fields, size_t count,
          const std::source_location& where, int64_t at_ns) {
  const std::string caller = caller_text(where);
  const Line line{level, at_ns, logger, caller, msg};
  if (pipeline == nullptr) {
    const std::string text = json_line(line, fields, count) + "\n";
    (void)!::write(STDERR_FILENO, text.data(), text.size());
    return;
  }
  const std::string text = pipeline->console ? console_line(line, fields, count) : json_line(line, fields, count);
  pipeline->logger->log(to_spdlog(level), spdlog::string_view_t(text.data(), text.size()));
}

// At most once a second a line says what was lost.
void tell_drops(Pipeline& pipeline, int64_t at_ns) {
  const size_t dropped = pipeline.pool->overrun_counter();
  const size_t told = pipeline.drops_told.load(std::memory_order_relaxed);
  const int64_t last = pipeline.told_at_ns.load(std::memory_order_relaxed);
  if (dropped == told || at_ns - last < std::chrono::nanoseconds(kDropNoticeEvery).count()) return;
  pipeline.drops_told.store(dropped, std::memory_order_relaxed);
  pipeline.told_at_ns.store(at_ns, std::memory_order_relaxed);
  const Field fields[] = {{"lines-dropped", dropped - told}, {"lines-dropped-total", dropped}};
  emit(&pipeline, Level::kWarn, {}, "log lines were dropped; the log outputs did not take them in time", fields, 2,
       std::source_location::current(), at_ns);
}

void write_line(Level level, std::string_view logger, std::string_view msg, const Field* fields, size_t count,
                const std::source_location& where) {
  if (!enabled(level)) return;
  const int64_t at_ns = now_ns();
  if (!sampler().passes(level, msg, at_ns)) return;
  Pipeline* const pipeline = g_pipeline.load(std::memory_order_acquire);
  if (pipeline != nullptr) tell_drops(*pipeline, at_ns);
  emit(pipeline, level, logger, msg, fields, count, where, at_ns);
}

// Signals are for the threads that wait for them; and a pipe whose reader left is an error here, not the end.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  (void)pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

// zap.Open: the sinks sorted and without doubles; /dev/null silences the rest.
Result<std::vector<std::unique_ptr<Sink>>> open_outputs(const Options& options) {
  std::vector<std::string> paths;
  bool journal = false;
  for (const std::string& output : options.outputs) {
    if (output == "systemd/journal") journal = true;
    else paths.push_back(output == "default" ? "stderr" : output);
  }
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  std::vector<std::unique_ptr<Sink>> sinks;
  if (journal) {
    Result<std::unique_ptr<Sink>> sink = journal_sink();
    if (!sink.ok()) return sink.status();
    sinks.push_back(std::move(sink).value());
  }
  if (std::find(paths.begin(), paths.end(), "/dev/null") != paths.end()) return sinks;
  std::string errors;
  for (const std::string& path : paths) {
    if (path == "stderr") {
      sinks.push_back(descriptor_sink(STDERR_FILENO, false));
    } else if (path == "stdout") {
      sinks.push_back(descriptor_sink(STDOUT_FILENO, false));
    } else if (options.rotation.has_value()) {
      sinks.push_back(rotating_sink(path, *options.rotation));
    } else {
      const size_t scheme = path.find("://");
      const bool is_file_url = path.starts_with("file://");
      std::string why;
      if (scheme != std::string::npos && !is_file_url && path[0] != '/') {
        why = "no sink found for scheme " + flags::quote(path.substr(0, scheme));
      } else if (Result<std::unique_ptr<Sink>> sink = file_sink(is_file_url ? path.substr(7) : path); sink.ok()) {
        sinks.push_back(std::move(sink).value());
      } else {
        why = sink.status().text();
      }
      if (!why.empty()) errors += (errors.empty() ? "" : "; ") + ("open sink " + flags::quote(path) + ": " + why);
    }
  }
  if (!errors.empty()) return Status(Code::kInvalidArgument, errors);
  return sinks;
}

}  // namespace

// --- fields ------------------------------------------------------------------------------------------------------------------

Field::Field(std::string_view key, std::string_view text) : key_(key) { append_json_string(json_, text); }

Field::Field(std::string_view key, double value) : key_(key) {
  if (std::isnan(value)) {
    json_ = "\"NaN\"";
  } else if (std::isinf(value)) {
    json_ = value > 0 ? "\"+Inf\"" : "\"-Inf\"";
  } else {
    char buffer[400];  // the largest double has 309 digits
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
    json_.assign(buffer, end.ptr);
  }
}

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

// --- lines -------------------------------------------------------------------------------------------------------------------

std::string json_line(const Line& line, const Field* fields, size_t count) {
  std::string out = "{\"level\":\"";
  out += level_name(line.level);
  out += "\",\"ts\":\"";
  out += timestamp(line.unix_ns);
  out += '"';
  if (!line.logger.empty()) {
    out += ",\"logger\":";
    append_json_string(out, line.logger);
  }
  out += ",\"caller\":";
  append_json_string(out, line.caller);
  out += ",\"msg\":";
  append_json_string(out, line.msg);
  for (size_t i = 0; i < count; ++i) {
    out += ',';
    append_json_string(out, fields[i].key());
    out += ':';
    out += fields[i].value_json();
  }
  out += '}';
  return out;
}

std::string console_line(const Line& line, const Field* fields, size_t count) {
  std::string out = timestamp(line.unix_ns);
  out += '\t';
  out += level_name(line.level);
  out += '\t';
  if (!line.logger.empty()) {
    out += line.logger;
    out += '\t';
  }
  out += line.caller;
  out += '\t';
  out += line.msg;
  if (count == 0) return out;
  out += "\t{";
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) out += ", ";
    append_json_string(out, fields[i].key());
    out += ": ";
    append_spaced(out, fields[i].value_json());
  }
  out += '}';
  return out;
}

std::string timestamp(int64_t unix_ns) {
  int64_t seconds = unix_ns / 1000000000, micros = unix_ns % 1000000000 / 1000;
  if (micros < 0) micros += 1000000, --seconds;
  const std::time_t time = seconds;
  std::tm local{};
  localtime_r(&time, &local);
  char text[64];
  size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &local);
  n += static_cast<size_t>(std::snprintf(text + n, sizeof text - n, ".%06ld", static_cast<long>(micros)));
  if (local.tm_gmtoff == 0) text[n++] = 'Z';
  else n += std::strftime(text + n, sizeof text - n, "%z", &local);
  return std::string(text, n);
}

bool enabled(Level level) { return level >= g_level.load(std::memory_order_relaxed); }
void set_level(Level level) { g_level.store(level); }
Level level() { return g_level.load(); }

void write(Level level, std::string_view msg, Fields fields, std::source_location where) {
  write_line(level, {}, msg, fields.begin(), fields.size(), where);
}

void write_named(std::string_view logger, Level level, std::string_view msg, Fields fields, std::source_location where) {
  write_line(level, logger, msg, fields.begin(), fields.size(), where);
}

void write_fields(Level level, std::string_view msg, const std::vector<Field>& fields, std::source_location where) {
  write_line(level, {}, msg, fields.data(), fields.size(), where);
}

// --- settings ----------------------------------------------------------------------------------------------------------------

Result<Level> parse_level(std::string_view name) {
  std::string lower(name);
  if (std::all_of(lower.begin(), lower.end(), [](char c) { return c < 'a' || c > 'z'; })) {
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  if (lower.empty()) return Level::kInfo;
  if (lower == "warning") return Level::kWarn;
  for (int level = -1; level <= 5; ++level) {
    if (lower == level_name(static_cast<Level>(level))) return static_cast<Level>(level);
  }
  return Status(Code::kInvalidArgument, "unrecognized level: " + flags::quote(name));
}

Result<Rotation> parse_rotation(std::string_view json) {
  const auto invalid = [](const std::string& text) { return Status(Code::kInvalidArgument, text); };
  nlohmann::json parsed;
  try {
    parsed = nlohmann::json::parse(json);
  } catch (const nlohmann::json::parse_error& error) {
    const size_t at = error.byte == 0 ? 0 : error.byte - 1;
    const bool ended = at >= json.find_last_not_of(" \t\r\n") + 1 || json.empty();
    return invalid("improperly formatted log rotation config: " +
                   (ended ? std::string("unexpected end of JSON input")
                          : "invalid character '" + std::string(json.substr(at, 1)) + "' looking for beginning of value"));
  }
  const auto kind = [](const nlohmann::json& value) {
    return value.is_boolean() ? "bool" : value.is_number() ? "number" : value.is_string() ? "string"
           : value.is_array() ? "array"
                              : "object";
  };
  Rotation out;
  if (parsed.is_null()) return out;
  if (!parsed.is_object()) {
    return invalid(std::string("invalid log rotation config: json: cannot unmarshal ") + kind(parsed) +
                   " into Go value of type embed.logRotationConfig");
  }
  const auto mismatch = [&](const std::string& key, const nlohmann::json& value, const char* type) {
    return invalid("invalid log rotation config: json: cannot unmarshal " + std::string(kind(value)) +
                   (value.is_number() ? " " + value.dump() : "") + " into Go struct field logRotationConfig.Logger." + key +
                   " of type " + type);
  };
  struct Number {
    const char* key;
    int64_t* into;
  };
  struct Switch {
    const char* key;
    bool* into;
  };
  for (const auto& [given, value] : parsed.items()) {
    if (value.is_null()) continue;
    std::string key = given;  // Go matches keys in any case
    for (char& c : key) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    for (const Number& n : {Number{"maxsize", &out.size_mb}, {"maxage", &out.age_days}, {"maxbackups", &out.backups}}) {
      if (key != n.key) continue;
      if (!value.is_number_integer()) return mismatch(key, value, "int");
      *n.into = value.get<int64_t>();
    }
    for (const Switch& s : {Switch{"localtime", &out.local_time}, {"compress", &out.compress}}) {
      if (key != s.key) continue;
      if (!value.is_boolean()) return mismatch(key, value, "bool");
      *s.into = value.get<bool>();
    }
  }
  return out;
}

Status configure(const Options& options) {
  Result<std::vector<std::unique_ptr<Sink>>> sinks = open_outputs(options);
  if (!sinks.ok()) return sinks.status();
  try {
    auto next = std::make_unique<Pipeline>();
    next->console = options.console;
    next->pool = std::make_shared<spdlog::details::thread_pool>(kQueueLinesMax, 1, block_signals);
    next->outputs = std::make_shared<Outputs>(std::move(sinks).value());
    next->logger = std::make_shared<spdlog::async_logger>("etcd", next->outputs, next->pool,
                                                          spdlog::async_overflow_policy::overrun_oldest);
    next->logger->set_level(spdlog::level::trace);
    next->logger->flush_on(spdlog::level::off);
    set_level(options.level);
    static std::once_flag at_exit;
    std::call_once(at_exit, [] { (void)std::atexit(flush); });
    flush();
    // The old one stays: a thread may be using it. Its thread sleeps.
    next->before = g_pipeline.load(std::memory_order_acquire);
    g_pipeline.store(next.release(), std::memory_order_release);
  } catch (const std::exception& error) {  // no thread to be had
    return Status(Code::kResourceExhausted, std::string("cannot start the log writer: ") + error.what());
  }
  return {};
}

void flush() {
  Pipeline* const pipeline = g_pipeline.load(std::memory_order_acquire);
  if (pipeline == nullptr) return;
  const uint64_t mine = ++pipeline->flushes;
  pipeline->logger->flush();
  pipeline->outputs->wait_for(mine);
}

void flush_and_exit(int code) {
  flush();
  std::_Exit(code);
}

void exit_fatal(std::string_view msg, Fields fields, std::source_location where) {
  write_line(Level::kFatal, {}, msg, fields.begin(), fields.size(), where);
  flush_and_exit(1);
}

uint64_t lines_dropped() {
  Pipeline* const pipeline = g_pipeline.load(std::memory_order_acquire);
  return pipeline == nullptr ? 0 : pipeline->pool->overrun_counter();
}

}  // namespace base::log
