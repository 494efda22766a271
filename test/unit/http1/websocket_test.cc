#include "http1/websocket.h"

#include <doctest/doctest.h>

namespace {

std::string masked(uint8_t first, std::string_view payload, size_t length_bytes = 0) {
  std::string out(1, static_cast<char>(first));
  if (length_bytes == 0) {
    out.push_back(static_cast<char>(0x80 | payload.size()));
  } else {
    out.push_back(static_cast<char>(0x80 | (length_bytes == 2 ? 126 : 127)));
    for (size_t i = length_bytes; i-- > 0;) out.push_back(static_cast<char>(payload.size() >> (8 * i)));
  }
  const std::string mask = "\x01\x80\xff\x7f";
  out += mask;
  for (size_t i = 0; i < payload.size(); ++i) out.push_back(static_cast<char>(payload[i] ^ mask[i % 4]));
  return out;
}

// What is read of `input` in pieces: events as letters with their payloads.
std::string story(std::string_view input, size_t piece, size_t bytes_max = 1000) {
  http1::WebSocketParser parser(bytes_max);
  std::string told;
  while (!input.empty()) {
    std::string_view part = input.substr(0, piece);
    input.remove_prefix(part.size());
    for (;;) {
      const auto event = parser.next(&part);
      using Event = http1::WebSocketParser::Event;
      if (event == Event::kNeedMore) break;
      constexpr const char* kNames[] = {"", "message", "ping", "pong", "close", "error"};
      told += std::string(told.empty() ? "" : " ") + kNames[static_cast<int>(event)];
      if (event == Event::kClose || event == Event::kError) told += "=" + std::to_string(parser.code());
      told += ":" + parser.payload();
      if (event == Event::kError) return told;
    }
  }
  return told;
}

}  // namespace

TEST_CASE("websocket: the key of RFC 6455 and keys that are none") {
  CHECK(http1::websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  CHECK_FALSE(http1::websocket_accept(""));
  CHECK_FALSE(http1::websocket_accept("dGhlIHNhbXBsZQ=="));
  CHECK_FALSE(http1::websocket_accept("dGhlIHNhbXBsZSBub25jZQ"));
}

TEST_CASE("websocket: frames, whole and byte by byte") {
  struct Row {
    const char* what;
    std::string input;
    std::string told;
  };
  const Row rows[] = {
      {"text", masked(0x81, "hello"), "message:hello"},
      {"an empty binary message", masked(0x82, ""), "message:"},
      {"16-bit length of 5 and of 127", masked(0x81, "hello", 2) + masked(0x81, std::string(127, 'x'), 2),
       "message:hello message:" + std::string(127, 'x')},
      {"64-bit length", masked(0x81, "hello", 8), "message:hello"},
      {"fragments with a ping between", masked(0x01, "he") + masked(0x89, "p") + masked(0x00, "l") + masked(0x80, "lo"),
       "ping:p message:hello"},
      {"pong", masked(0x8a, "x"), "pong:x"},
      {"close with code and reason, nothing after it",
       masked(0x88,
              "\x03\xe8"
              "bye") +
           masked(0x81, "x"),
       "close=1000:bye"},
      {"close without a code", masked(0x88, ""), "close=1005:"},
      {"close with half a code", masked(0x88, "\x03"), "error=1002:bad close code 3"},
      {"close with a code nobody may send", masked(0x88, "\x03\xed"), "error=1002:bad close code 1005"},
      {"close with a reason that is no text", masked(0x88, "\x03\xe8\xff"), "error=1002:invalid utf8 payload in close frame"},
      {"no mask", std::string("\x81\x01x"), "error=1002:bad MASK"},
      {"reserved bit", masked(0xc1, "x"), "error=1002:RSV1 set"},
      {"unknown data opcode", masked(0x83, "x"), "error=1002:bad opcode 3"},
      {"unknown control opcode", masked(0x8b, "x"), "error=1002:bad opcode 11"},
      {"a ping in fragments", masked(0x09, "x"), "error=1002:FIN not set on control"},
      {"a long ping", masked(0x89, std::string(126, 'x'), 2), "error=1002:len > 125 for control"},
      {"a new message inside another", masked(0x01, "x") + masked(0x81, "y"), "error=1002:data before FIN"},
      {"a continuation of nothing", masked(0x80, "x"), "error=1002:continuation after FIN"},
      {"too large", masked(0x81, std::string(1001, 'x'), 2), "error=1009:"},
      {"too large in parts", masked(0x01, std::string(900, 'x'), 2) + masked(0x80, std::string(101, 'x')), "error=1009:"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const std::string told = story(row.input, row.input.size());
    CHECK(told == row.told);
    CHECK(story(row.input, 1) == told);
  }
}

TEST_CASE("websocket: what is written has the shortest length and no mask") {
  for (const size_t size : {0, 1, 125, 126, 65535, 65536}) {
    std::string out;
    http1::append_websocket_frame(http1::WebSocketOpcode::kText, std::string(size, 'x'), &out);
    CHECK(out.size() == size + (size <= 125 ? 2 : size <= 65535 ? 4 : 10));
    CHECK(static_cast<uint8_t>(out[1]) == (size <= 125 ? size : size <= 65535 ? 126u : 127u));
  }
  std::string close;
  http1::append_websocket_close(1002, std::string(500, 'r'), &close);
  CHECK(close.size() == 2 + 125);
  close.clear();
  http1::append_websocket_close(http1::kWebSocketNoStatus, "ignored", &close);
  CHECK(close == std::string("\x88\0", 2));
}
