#include "http1/writer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

namespace http1 {
namespace {

struct Phrase {
  int status;
  std::string_view text;
};
constexpr Phrase kPhrases[] = {{100, "Continue"},
                               {101, "Switching Protocols"},
                               {200, "OK"},
                               {201, "Created"},
                               {202, "Accepted"},
                               {204, "No Content"},
                               {206, "Partial Content"},
                               {301, "Moved Permanently"},
                               {302, "Found"},
                               {303, "See Other"},
                               {304, "Not Modified"},
                               {307, "Temporary Redirect"},
                               {308, "Permanent Redirect"},
                               {400, "Bad Request"},
                               {401, "Unauthorized"},
                               {403, "Forbidden"},
                               {404, "Not Found"},
                               {405, "Method Not Allowed"},
                               {406, "Not Acceptable"},
                               {408, "Request Timeout"},
                               {409, "Conflict"},
                               {410, "Gone"},
                               {411, "Length Required"},
                               {412, "Precondition Failed"},
                               {413, "Request Entity Too Large"},
                               {414, "Request URI Too Long"},
                               {415, "Unsupported Media Type"},
                               {417, "Expectation Failed"},
                               {421, "Misdirected Request"},
                               {426, "Upgrade Required"},
                               {428, "Precondition Required"},
                               {429, "Too Many Requests"},
                               {431, "Request Header Fields Too Large"},
                               {500, "Internal Server Error"},
                               {501, "Not Implemented"},
                               {502, "Bad Gateway"},
                               {503, "Service Unavailable"},
                               {504, "Gateway Timeout"},
                               {505, "HTTP Version Not Supported"}};

bool is_token(std::string_view name) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || kMarks.find(c) != kMarks.npos;
  });
}

void append_harmless(std::string_view value, std::string& out) {
  for (char c : value) out.push_back(c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
}

void append_target_char(char c, std::string& out) {
  const bool breaks_line = static_cast<uint8_t>(c) <= ' ' || c == 0x7f;
  breaks_line ? out.append("%20") : out.append(1, c);
}

void append_field(std::string_view name, std::string_view value, std::string& out) {
  if (!is_token(name)) return;
  out.append(name).append(": ");
  append_harmless(value, out);
  out.append("\r\n");
}

void append_fields_and_framing(const Fields& fields, Framing framing, uint64_t length, std::string& out) {
  for (const auto& [name, value] : fields) append_field(name, value, out);
  if (framing == Framing::kLength) append_field("Content-Length", std::to_string(length), out);
  if (framing == Framing::kChunked) append_field("Transfer-Encoding", "chunked", out);
}

}  // namespace

std::string reason_phrase(int status) {
  for (const Phrase& phrase : kPhrases) {
    if (phrase.status == status) return std::string(phrase.text);
  }
  return "status code " + std::to_string(status);
}

void append_response_head(int status, const Fields& fields, Framing framing, uint64_t length, bool keep_alive,
                          std::string& out) {
  out.append("HTTP/1.1 ").append(std::to_string(status)).append(" ").append(reason_phrase(status)).append("\r\n");
  append_fields_and_framing(fields, framing, length, out);
  const bool closes = !keep_alive || framing == Framing::kUntilClose;
  if (closes && status >= 200) append_field("Connection", "close", out);
  out.append("\r\n");
}

void append_request_head(std::string_view method, std::string_view target, std::string_view host, const Fields& fields,
                         Framing framing, uint64_t length, std::string& out) {
  out.append(method).append(" ");
  for (char c : target) append_target_char(c, out);
  out.append(" HTTP/1.1\r\n");
  append_field("Host", host, out);
  append_fields_and_framing(fields, framing, length, out);
  out.append("\r\n");
}

void append_continue(std::string& out) { out.append("HTTP/1.1 100 Continue\r\n\r\n"); }

void append_chunk(std::string_view data, std::string& out) {
  if (data.empty()) return;
  std::array<char, 20> size;
  const int digits = std::snprintf(size.data(), size.size(), "%zx\r\n", data.size());
  out.append(size.data(), static_cast<size_t>(digits)).append(data).append("\r\n");
}

void append_last_chunk(std::string& out, const Fields& trailers) {
  out.append("0\r\n");
  for (const auto& [name, value] : trailers) append_field(name, value, out);
  out.append("\r\n");
}

std::string http_date(int64_t unix_seconds) {
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto seconds = static_cast<time_t>(unix_seconds);
  std::tm utc = {};
  gmtime_r(&seconds, &utc);
  std::array<char, 64> text;
  const int length = std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[utc.tm_wday],
                                   utc.tm_mday, kMonths[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
  return std::string(text.data(), static_cast<size_t>(length));
}

}  // namespace http1
