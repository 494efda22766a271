#include "rpc/grpc_text.h"

#include <array>
#include <cstdint>
#include <limits>

#include "base/bytes.h"

namespace rpc {

using base::Code;
using base::Duration;
using base::Result;
using base::Status;

namespace {

constexpr size_t kTimeoutDigitsMax = 8;
constexpr std::string_view kGrpcType = "application/grpc";

struct Unit {
  char letter;
  int64_t ns;
};
constexpr std::array<Unit, 6> kUnits = {{{'n', 1},
                                         {'u', 1000},
                                         {'m', 1000000},
                                         {'S', 1000000000},
                                         {'M', 60 * int64_t{1000000000}},
                                         {'H', 3600 * int64_t{1000000000}}}};

bool printable(unsigned char c) { return c >= ' ' && c <= '~'; }

void append_percent(unsigned char c, std::string& out) {
  constexpr char kHex[] = "0123456789ABCDEF";
  out += '%';
  out += kHex[c >> 4];
  out += kHex[c & 15];
}

// Length of the UTF-8 sequence at the front of `text`; 0 when it is not one (overlong, surrogate, out of range, cut).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  size_t size = 0;
  unsigned char low = 0x80, high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    size = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    size = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    size = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  }
  if (size == 0 || text.size() < size || byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < size; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return size;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Result<Duration> parse_timeout(std::string_view text) {
  const auto wrong = [&](const char* what) {
    return Status(Code::kInternal, std::string("transport: timeout ") + what + ": " + quote(text));
  };
  if (text.size() < 2) return wrong("string is too short");
  if (text.size() > kTimeoutDigitsMax + 1) return wrong("string is too long");
  const Unit* unit = nullptr;
  for (const Unit& candidate : kUnits) {
    if (candidate.letter == text.back()) unit = &candidate;
  }
  if (unit == nullptr) return wrong("unit is not recognized");
  const std::string_view digits = text.substr(0, text.size() - 1);
  int64_t count = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') {
      return Status(Code::kInternal, "strconv.ParseUint: parsing " + quote(digits) + ": invalid syntax");
    }
    count = count * 10 + (c - '0');
  }
  if (count > std::numeric_limits<int64_t>::max() / unit->ns) return Duration::max();
  return Duration(count * unit->ns);
}

std::string format_timeout(Duration timeout) {
  const int64_t ns = timeout.count() > 0 ? timeout.count() : 0;
  for (const Unit& unit : kUnits) {
    const int64_t count = ns / unit.ns + (ns % unit.ns != 0 ? 1 : 0);
    if (count < 100000000) return std::to_string(count) + unit.letter;
  }
  return "99999999H";
}

std::string encode_message(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text[0]);
    const size_t size = utf8_length(text);
    if (size == 1 && printable(c) && c != '%') {
      out += text[0];
    } else if (size == 0) {
      out += "%EF%BF%BD";
    } else {
      for (char part : text.substr(0, size)) append_percent(static_cast<unsigned char>(part), out);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return out;
}

std::string decode_message(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out += static_cast<char>(high * 16 + low);
        i += 2;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

std::optional<std::string> content_subtype(std::string_view content_type) {
  std::string lower(content_type);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (!std::string_view(lower).starts_with(kGrpcType)) return std::nullopt;
  if (lower.size() == kGrpcType.size()) return std::string();
  const char next = lower[kGrpcType.size()];
  if (next != '+' && next != ';') return std::nullopt;
  return lower.substr(kGrpcType.size() + 1);
}

std::string content_type(std::string_view subtype) {
  std::string out(kGrpcType);
  if (!subtype.empty()) out.append("+").append(subtype);
  return out;
}

std::string quote(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text[0]);
    const size_t size = utf8_length(text);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += text[0];
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (size > 1 || printable(c)) {
      out.append(text.substr(0, size));
    } else {
      out += "\\x";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  out += '"';
  return out;
}

std::optional<std::string> decode_binary(std::string_view text, size_t* bad_at) {
  if (text.find_first_of("-_") == std::string_view::npos) {  // Go takes the standard alphabet only.
    auto decoded = base::base64_decode(text);
    if (decoded) return decoded;
  }
  *bad_at = 0;
  const auto good = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  while (*bad_at < text.size() && good(text[*bad_at])) ++*bad_at;
  if (*bad_at == text.size()) *bad_at -= text.size() % 4;  // Cut short: where the last group begins.
  return std::nullopt;
}

}  // namespace rpc
