#include "cli/text.h"

#include <charconv>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "base/bytes.h"
#include "base/flags.h"
#include "base/verify.h"

namespace cli {
namespace {

void append_utf8(std::string& out, uint32_t rune) {
  if (rune < 0x80) {
    out += static_cast<char>(rune);
  } else if (rune < 0x800) {
    out += static_cast<char>(0xc0 | (rune >> 6));
    out += static_cast<char>(0x80 | (rune & 0x3f));
  } else if (rune < 0x10000) {
    out += static_cast<char>(0xe0 | (rune >> 12));
    out += static_cast<char>(0x80 | ((rune >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (rune & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (rune >> 18));
    out += static_cast<char>(0x80 | ((rune >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((rune >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (rune & 0x3f));
  }
}

// Takes `count` digits from the front; false if there are fewer.
bool take_digits(std::string_view& text, size_t count, unsigned base, uint32_t& value) {
  if (text.size() < count) return false;
  value = 0;
  for (size_t i = 0; i < count; ++i) {
    const char c = text[i];
    unsigned digit = 99;
    if (c >= '0' && c <= '9') digit = static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') digit = static_cast<unsigned>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') digit = static_cast<unsigned>(c - 'A') + 10;
    if (digit >= base) return false;
    value = value * base + digit;
  }
  text.remove_prefix(count);
  return true;
}

// One escape sequence, `text` behind the backslash.
bool take_escape(std::string_view& text, std::string& out) {
  if (text.empty()) return false;
  const char kind = text[0];
  uint32_t value = 0;
  if (kind >= '0' && kind <= '7') {
    if (!take_digits(text, 3, 8, value) || value > 255) return false;
    out += static_cast<char>(value);
    return true;
  }
  text.remove_prefix(1);
  switch (kind) {
    case 'a': out += '\a'; return true;
    case 'b': out += '\b'; return true;
    case 'f': out += '\f'; return true;
    case 'n': out += '\n'; return true;
    case 'r': out += '\r'; return true;
    case 't': out += '\t'; return true;
    case 'v': out += '\v'; return true;
    case '\\': out += '\\'; return true;
    case '"': out += '"'; return true;
    case 'x':
      if (!take_digits(text, 2, 16, value)) return false;
      out += static_cast<char>(value);
      return true;
    case 'u':
    case 'U':
      if (!take_digits(text, kind == 'u' ? 4 : 8, 16, value)) return false;
      if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return false;
      append_utf8(out, value);
      return true;
    default: return false;
  }
}

}  // namespace

std::string hex_escaped(std::string_view bytes) {
  const std::string digits = base::hex_bytes(bytes);
  std::string out;
  out.reserve(digits.size() * 2);
  for (size_t i = 0; i < digits.size(); i += 2) out.append("\\x").append(digits, i, 2);
  return out;
}

std::string humanize_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 10) return std::to_string(bytes) + " B";
  const double size = static_cast<double>(bytes);
  const double exponent = std::floor(std::log(size) / std::log(1000.0));
  const double value = std::floor(size / std::pow(1000.0, exponent) * 10 + 0.5) / 10;
  return formatted(value < 10 ? "%.1f %s" : "%.0f %s", value, kUnits[static_cast<size_t>(exponent)]);
}

base::Result<std::string> unquote(std::string_view literal) {
  const base::Status wrong(base::Code::kInvalidArgument, "invalid syntax");
  if (literal.size() < 2 || literal.front() != literal.back()) return wrong;
  const char quote = literal.front();
  std::string_view inside = literal.substr(1, literal.size() - 2);
  std::string out;
  if (quote == '`') {
    if (inside.find('`') != std::string_view::npos) return wrong;
    for (const char c : inside) {
      if (c != '\r') out += c;
    }
    return out;
  }
  if (quote != '"') return wrong;
  while (!inside.empty()) {
    const char c = inside[0];
    inside.remove_prefix(1);
    if (c == '"' || c == '\n') return wrong;
    if (c != '\\') {
      out += c;
    } else if (!take_escape(inside, out)) {
      return wrong;
    }
  }
  return out;
}

std::string float_text(double value) {
  char buffer[64] = {};
  const auto scientific = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<size_t>(scientific.ptr - buffer));
  const size_t at = text.find('e');
  if (at == std::string_view::npos) return std::isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
  const int exponent = std::atoi(text.data() + at + 1);  // to_chars ends in the exponent; the buffer is longer
  if (exponent < -4 || exponent >= 6) return std::string(text);
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  return std::string(buffer, fixed.ptr);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

base::Result<uint64_t> parse_hex_id(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  const char* why = nullptr;
  if (error == std::errc::result_out_of_range) why = "value out of range";
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) why = "invalid syntax";
  if (why == nullptr) return value;
  return base::Status(base::Code::kInvalidArgument, "strconv.ParseUint: parsing " + base::flags::quote(text) + ": " + why);
}

std::string formatted(const char* format, ...) {
  char buffer[400];
  va_list values;
  va_start(values, format);
  const int size = std::vsnprintf(buffer, sizeof buffer, format, values);
  va_end(values);
  VERIFY(size >= 0 && static_cast<size_t>(size) < sizeof buffer);
  return std::string(buffer, static_cast<size_t>(size));
}

}  // namespace cli
