#include "http2/field_check.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <utility>

using http2::FieldCheck;
using Block = FieldCheck::Block;
using Fields = std::initializer_list<std::pair<std::string_view, std::string_view>>;

namespace {

bool is_good(Block block, Fields fields, bool end_stream = false) {
  FieldCheck check;
  check.begin(block);
  for (const auto& [name, value] : fields) {
    if (!check.add(name, value)) return false;
  }
  return check.complete(end_stream);
}

bool is_good_field(std::string_view name, std::string_view value) {
  return is_good(Block::kRequest, {{":method", "POST"}, {":scheme", "http"}, {":path", "/"}, {name, value}});
}

}  // namespace

TEST_CASE("http2: which blocks are well-formed") {
  struct Row {
    const char* rule;
    Block block;
    Fields fields;
    bool end_stream, good;
  };
  constexpr std::pair<std::string_view, std::string_view> kMethod{":method", "POST"}, kScheme{":scheme", "http"},
      kPath{":path", "/a"}, kStatus{":status", "200"}, kPlain{"x", "y"};
  const Row rows[] = {
      {"a request", Block::kRequest, {kMethod, kScheme, kPath, kPlain}, false, true},
      {"pseudo-header fields in any order", Block::kRequest, {kPath, kMethod, {":authority", ""}, kScheme}, true, true},
      {"a field before them", Block::kRequest, {kMethod, kPlain, kScheme, kPath}, false, false},
      {"twice the same", Block::kRequest, {kMethod, kScheme, kPath, kPath}, false, false},
      {"no method", Block::kRequest, {kScheme, kPath}, false, false},
      {"no scheme", Block::kRequest, {kMethod, kPath}, false, false},
      {"no path", Block::kRequest, {kMethod, kScheme}, false, false},
      {"an empty path", Block::kRequest, {kMethod, kScheme, {":path", ""}}, false, false},
      {"a response's in a request", Block::kRequest, {kMethod, kScheme, kPath, kStatus}, false, false},
      {"an unknown one", Block::kRequest, {kMethod, kScheme, kPath, {":protocol", "x"}}, false, false},
      {"a response", Block::kResponse, {kStatus, kPlain}, false, true},
      {"a response without status", Block::kResponse, {kPlain}, false, false},
      {"a status of two digits", Block::kResponse, {{":status", "20"}}, false, false},
      {"a request's in a response", Block::kResponse, {kStatus, kPath}, false, false},
      {"trailers", Block::kTrailers, {kPlain}, true, true},
      {"trailers that do not end the stream", Block::kTrailers, {kPlain}, false, false},
      {"a pseudo-header field in trailers", Block::kTrailers, {kStatus}, true, false},
      {"trailers of a response", Block::kLater, {kPlain}, true, true},
      {"trailers of a response that do not end it", Block::kLater, {kPlain}, false, false},
      {"the response behind a 1xx", Block::kLater, {kStatus, kPlain}, false, true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    CHECK(is_good(row.block, row.fields, row.end_stream) == row.good);
  }
}

TEST_CASE("http2: which fields are well-formed") {
  using namespace std::string_literals;
  struct Row {
    std::string name, value;
    bool good;
  };
  const Row rows[] = {
      {"grpc-timeout", "1S", true},
      {"x-\x60|~", "", true},
      {"", "x", false},
      {"X", "y", false},
      {"a b", "y", false},
      {"a:b", "y", false},
      {"a\x80", "y", false},
      {"x", "tab\tand \xc3\xa9", true},
      {"x", "seven..", true},
      {"x", "new\nline", false},
      {"x", "a longer value with \r at an odd place", false},
      {"x", "nul at the end of it\0"s, false},
      {"x", "\x7f", false},
      {"x", "eight...\x7f", false},
      {"te", "trailers", true},
      {"te", "gzip", false},
      {"connection", "close", false},
      {"keep-alive", "1", false},
      {"upgrade", "h2c", false},
      {"proxy-connection", "x", false},
      {"transfer-encoding", "chunked", false},
      {"content-length", "12", true},
      {"content-length", "", false},
      {"content-length", "-1", false},
      {"content-length", "12x", false},
      {"content-length", "99999999999999999999", false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CAPTURE(row.value);
    CHECK(is_good_field(row.name, row.value) == row.good);
  }
  FieldCheck check;
  check.begin(Block::kTrailers);
  CHECK(check.add("content-length", "5"));
  CHECK(check.content_length() == 5u);
  CHECK_FALSE(check.add("content-length", "5"));
}

TEST_CASE("http2: every byte of a value is looked at, wherever it stands") {
  for (size_t size = 1; size < 40; ++size) {
    for (size_t at = 0; at < size; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string value(size, 'v');
        value[at] = static_cast<char>(byte);
        const bool good = (byte >= 0x20 && byte != 0x7f) || byte == '\t';
        if (is_good_field("x", value) != good) FAIL("byte " << byte << " at " << at << " of " << size);
      }
    }
  }
}
