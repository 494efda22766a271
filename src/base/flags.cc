#include "base/flags.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <utility>

#include "base/utf8.h"

namespace base::flags {
namespace {

Status invalid(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

// Close to Go's unicode.IsPrint: controls, separators other than ' ', format characters and private use are not.
bool is_printable(uint32_t rune) {
  if (rune < 0x20 || (rune >= 0x7f && rune <= 0xa0) || rune == 0xad) return false;
  struct Range {
    uint32_t first, last;
  };
  static constexpr std::array kHidden{Range{0x600, 0x605},   Range{0x1680, 0x1680}, Range{0x180e, 0x180e},
                                      Range{0x2000, 0x200f}, Range{0x2028, 0x202f}, Range{0x205f, 0x206f},
                                      Range{0x3000, 0x3000}, Range{0xe000, 0xf8ff}, Range{0xfeff, 0xfeff},
                                      Range{0xfff9, 0xfffb}, Range{0xfffe, 0xffff}, Range{0xe0000, 0x10ffff}};
  return std::none_of(kHidden.begin(), kHidden.end(), [&](Range r) { return r.first <= rune && rune <= r.last; });
}

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return -1;
}

// Go's underscoreOK, for a number with a base prefix: one underscore only between digits, or after the prefix.
bool underscores_ok(std::string_view text) {
  char before = '^';  // what stood before: '^' start, '0' digit, '_', '!' other
  size_t i = 0;
  bool hex = false;
  if (text.size() >= 2 && text[0] == '0') {
    const char kind = static_cast<char>(text[1] | 0x20);
    if (kind == 'b' || kind == 'o' || kind == 'x') {
      i = 2;
      before = '0';
      hex = kind == 'x';
    }
  }
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if ((c >= '0' && c <= '9') || (hex && digit_value(c) >= 10 && digit_value(c) < 16)) {
      before = '0';
    } else if (c == '_') {
      if (before != '0') return false;
      before = '_';
    } else {
      if (before == '_') return false;
      before = '!';
    }
  }
  return before != '_';
}

enum class Number { kOk, kSyntax, kRange };

Number read_unsigned(std::string_view text, int bits, uint64_t& out) {
  const std::string_view whole = text;
  if (text.empty()) return Number::kSyntax;
  unsigned base = 10;
  if (text[0] == '0') {
    const char kind = text.size() >= 3 ? static_cast<char>(text[1] | 0x20) : '\0';
    if (kind == 'b' || kind == 'o' || kind == 'x') {
      base = kind == 'b' ? 2 : kind == 'o' ? 8 : 16;
      text.remove_prefix(2);
    } else {
      base = 8;
      text.remove_prefix(1);
    }
  }
  const uint64_t max = bits == 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1;
  uint64_t value = 0;
  bool underscores = false;
  for (const char c : text) {
    if (c == '_') {
      underscores = true;
      continue;
    }
    const int digit = digit_value(c);
    if (digit < 0 || static_cast<unsigned>(digit) >= base) return Number::kSyntax;
    const auto wide = static_cast<unsigned __int128>(value) * base + static_cast<unsigned>(digit);
    if (wide > max) return Number::kRange;
    value = static_cast<uint64_t>(wide);
  }
  if (underscores && !underscores_ok(whole)) return Number::kSyntax;
  out = value;
  return Number::kOk;
}

Status number_error(Number what) { return invalid(what == Number::kRange ? "value out of range" : "parse error"); }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::string quote(std::string_view text) {
  std::string out = "\"";
  const auto escape = [&](const char* format, uint32_t value) {
    char buffer[16];
    std::snprintf(buffer, sizeof buffer, format, value);
    out += buffer;
  };
  while (!text.empty()) {
    const Rune rune = decode_rune(text);
    if (!rune.valid) {
      escape("\\x%02x", static_cast<uint8_t>(text[0]));
    } else if (rune.value == '"' || rune.value == '\\') {
      out += '\\';
      out += text[0];
    } else if (is_printable(rune.value)) {
      out += text.substr(0, rune.bytes);
    } else if (rune.value >= 7 && rune.value <= 13) {
      out += '\\';
      out += "abtnvfr"[rune.value - 7];
    } else if (rune.value < 0x20 || rune.value == 0x7f) {
      escape("\\x%02x", rune.value);
    } else if (rune.value < 0x10000) {
      escape("\\u%04x", rune.value);
    } else {
      escape("\\U%08x", rune.value);
    }
    text.remove_prefix(rune.bytes);
  }
  return out + "\"";
}

Result<bool> parse_bool(std::string_view text) {
  for (const char* yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (const char* no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return invalid("parse error");
}

Result<int64_t> parse_int(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  uint64_t value = 0;
  if (const Number read = read_unsigned(text, 64, value); read != Number::kOk) return number_error(read);
  const uint64_t limit = uint64_t{1} << 63;
  if (negative ? value > limit : value >= limit) return number_error(Number::kRange);
  return static_cast<int64_t>(negative ? 0 - value : value);
}

Result<uint64_t> parse_uint(std::string_view text, int bits) {
  uint64_t value = 0;
  if (const Number read = read_unsigned(text, bits, value); read != Number::kOk) return number_error(read);
  return value;
}

Result<int64_t> parse_duration(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 8> kUnits{{{"ns", 1},
                                                                                {"us", 1000},
                                                                                {"µs", 1000},
                                                                                {"μs", 1000},
                                                                                {"ms", 1000000},
                                                                                {"s", 1000000000},
                                                                                {"m", 60000000000},
                                                                                {"h", 3600000000000}}};
  constexpr uint64_t kLimit = uint64_t{1} << 63;
  const Status bad = invalid("time: invalid duration " + quote(text));
  std::string_view left = text;
  const bool negative = left.starts_with('-');
  if (negative || left.starts_with('+')) left.remove_prefix(1);
  if (left == "0") return int64_t{0};
  if (left.empty()) return bad;
  uint64_t total = 0;
  while (!left.empty()) {
    uint64_t whole = 0, fraction = 0;
    double scale = 1;
    size_t digits = 0;
    for (; !left.empty() && is_digit(left[0]); left.remove_prefix(1), ++digits) {
      if (whole > kLimit / 10) return bad;
      whole = whole * 10 + static_cast<uint64_t>(left[0] - '0');
      if (whole > kLimit) return bad;
    }
    if (left.starts_with('.')) {
      left.remove_prefix(1);
      bool full = false;  // more digits than fit are dropped
      for (; !left.empty() && is_digit(left[0]); left.remove_prefix(1), ++digits) {
        full = full || fraction > (kLimit - 1) / 10;
        if (full) continue;
        fraction = fraction * 10 + static_cast<uint64_t>(left[0] - '0');
        scale *= 10;
      }
    }
    if (digits == 0) return bad;
    size_t length = 0;
    while (length < left.size() && left[length] != '.' && !is_digit(left[length])) ++length;
    if (length == 0) return invalid("time: missing unit in duration " + quote(text));
    const std::string_view name = left.substr(0, length);
    const auto unit = std::find_if(kUnits.begin(), kUnits.end(), [&](const auto& row) { return row.first == name; });
    if (unit == kUnits.end()) {
      return invalid("time: unknown unit " + quote(name) + " in duration " + quote(text));
    }
    left.remove_prefix(length);
    if (whole > kLimit / unit->second) return bad;
    whole *= unit->second;
    whole += static_cast<uint64_t>(static_cast<double>(fraction) * (static_cast<double>(unit->second) / scale));
    if (whole > kLimit) return bad;
    total += whole;
    if (total > kLimit) return bad;
  }
  if (negative) return static_cast<int64_t>(0 - total);
  if (total == kLimit) return bad;
  return static_cast<int64_t>(total);
}

void FlagSet::add(Flag flag) {
  VERIFY(!flags_.contains(flag.name));
  std::string name = flag.name;
  flags_.emplace(std::move(name), std::move(flag));
}

Status FlagSet::set(std::string_view name, std::string_view value) {
  const auto flag = flags_.find(name);
  VERIFY(flag != flags_.end());
  Status done = flag->second.set(value);
  if (done.ok()) set_.emplace(name);
  return done;
}

FlagSet::Parsed FlagSet::parse(std::span<const std::string> arguments) {
  const auto failed = [](std::string text) { return Parsed{Outcome::kError, std::move(text), {}}; };
  size_t next = 0;
  while (next < arguments.size()) {
    const std::string_view word = arguments[next];
    if (word.size() < 2 || word[0] != '-') break;
    if (word == "--") {
      ++next;
      break;
    }
    std::string_view name = word.substr(word[1] == '-' ? 2 : 1);
    if (name.empty() || name[0] == '-' || name[0] == '=') return failed("bad flag syntax: " + std::string(word));
    ++next;
    const size_t equals = name.find('=');
    bool has_value = equals != std::string_view::npos;
    std::string_view value = has_value ? name.substr(equals + 1) : std::string_view{};
    name = name.substr(0, equals);
    const auto found = flags_.find(name);
    if (found == flags_.end()) {
      if (name == "help" || name == "h") return Parsed{Outcome::kHelp, {}, {}};
      return failed("flag provided but not defined: -" + std::string(name));
    }
    const bool is_boolean = found->second.is_boolean;
    if (!has_value && is_boolean) {
      value = "true";
    } else if (!has_value) {
      if (next == arguments.size()) return failed("flag needs an argument: -" + std::string(name));
      value = arguments[next++];
    }
    const Status done = set(name, value);
    if (done.ok()) continue;
    const std::string tail = "-" + std::string(name) + ": " + std::string(done.text());
    return failed((is_boolean ? "invalid boolean value " : "invalid value ") + quote(value) +
                  (is_boolean ? " for " : " for flag ") + tail);
  }
  Parsed parsed;
  parsed.rest.assign(arguments.begin() + static_cast<std::ptrdiff_t>(next), arguments.end());
  return parsed;
}

std::string environment_name(std::string_view prefix, std::string_view flag) {
  std::string name = std::string(prefix) + "_";
  for (const char c : flag) name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

}  // namespace base::flags
