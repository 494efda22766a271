#include "http1/parser.h"

#include <doctest/doctest.h>

#include <string>

namespace http1 {
namespace {

// What the parser tells, in one line: "GET / [a=1] body(2) end", "error 400".
std::string tell(Parser& parser, std::string_view input, size_t piece) {
  std::string told;
  std::string body;
  const auto flush_body = [&] {
    if (!body.empty()) told += " body(" + body + ")";
    body.clear();
  };
  while (true) {
    std::string_view part = input.substr(0, std::min(piece, input.size()));
    const size_t offered = part.size();
    const Event event = parser.next(&part);
    input.remove_prefix(offered - part.size());
    if (event == Event::kNeedMore) {
      if (input.empty()) break;
      continue;
    }
    if (event == Event::kBody) {
      body += parser.body();
      continue;
    }
    flush_body();
    if (event == Event::kError) return told + " error " + std::to_string(parser.error_status());
    if (event == Event::kEnd) told += " end";
    if (event == Event::kHead) {
      const Head& head = parser.head();
      told += head.method.empty() ? " " + std::to_string(head.status) : " " + head.method + " " + head.target;
      for (const auto& [name, value] : head.fields) {
        if (name != "host") told += " " + name + "=" + value;
      }
    }
  }
  flush_body();
  return told;
}

std::string tell_request(std::string_view input, size_t piece, Limits limits = {}) {
  Parser parser(Role::kServer, limits);
  return tell(parser, input, piece);
}

TEST_CASE("http1: requests, whole and byte by byte") {
  struct Row {
    const char* rule;
    const char* in;
    const char* told;
  };
  const Row rows[] = {
      {"no body", "GET /x?y=z HTTP/1.1\r\nHost: a\r\n\r\n", " GET /x?y=z end"},
      {"two in a row", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", " GET /1 end GET /2 end"},
      {"names in lower case, values trimmed", "GET / HTTP/1.1\r\nHOST: a\r\nX-Y: \t v w \r\n\r\n", " GET / x-y=v w end"},
      {"body of a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET",
       " POST / content-length=3 body(abc) end"},
      {"length zero", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", " POST / content-length=0 end"},
      {"chunked with extension and trailer",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;q=\"1\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: "
       "1\r\n\r\n",
       " POST / transfer-encoding=Chunked body(abc0123456789) end"},
      {"after close nothing counts",
       "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
       " GET /1 connection=close end"},
      {"HTTP/1.0 closes by itself", "GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n", " GET /1 end"},
      {"HTTP/1.0 with keep-alive", "GET /1 HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
       " GET /1 connection=Keep-Alive end GET /2 end"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    // A length that ends exactly with the input leaves the rest for the next message; cut it off for the table.
    std::string whole = tell_request(row.in, SIZE_MAX);
    CHECK(whole == row.told);
    CHECK(tell_request(row.in, 1) == whole);
  }
}

TEST_CASE("http1: what is refused, and how") {
  struct Row {
    const char* rule;
    std::string in;
    const char* told;
  };
  const std::string post = "POST / HTTP/1.1\r\nHost: a\r\n";
  const std::string chunked = post + "Transfer-Encoding: chunked\r\n\r\n";
  const std::string chunked_told = " POST / transfer-encoding=chunked";
  const Row rows[] = {
      {"both framings", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", " error 400"},
      {"both, other order", post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", " error 400"},
      {"two lengths", post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", " error 400"},
      {"list of lengths", post + "Content-Length: 3, 3\r\n\r\n", " error 400"},
      {"signed length", post + "Content-Length: +3\r\n\r\n", " error 400"},
      {"negative length", post + "Content-Length: -3\r\n\r\n", " error 400"},
      {"hex length", post + "Content-Length: 0x3\r\n\r\n", " error 400"},
      {"length over 64 bits", post + "Content-Length: 99999999999999999999\r\n\r\n", " error 400"},
      {"coding not last", post + "Transfer-Encoding: chunked, gzip\r\n\r\n", " error 400"},
      {"gzip coding", post + "Transfer-Encoding: gzip, chunked\r\n\r\n", " error 501"},
      {"coding with tab trick",
       post + "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n",
       " error 400"},
      {"space before colon", post + "Content-Length : 3\r\n\r\n", " error 400"},
      {"folded field", post + "X: 1\r\n 2\r\n\r\n", " error 400"},
      {"bare LF", "GET / HTTP/1.1\nHost: a\n\n", " error 400"},
      {"bare CR", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", " error 400"},
      {"NUL in a value", post + std::string("X: a\0b\r\n\r\n", 10), " error 400"},
      {"empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", " error 400"},
      {"no host", "GET / HTTP/1.1\r\n\r\n", " error 400"},
      {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", " error 400"},
      {"unknown method", "FROB / HTTP/1.1\r\nHost: a\r\n\r\n", " error 501"},
      {"HTTP/2 over 1", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", " error 505"},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", " error 400"},
      {"garbage", "\x16\x03\x01\x02", " error 501"},
      {"chunk size with 0x", chunked + "0x3\r\nabc\r\n", " error 400"},
      {"chunk size with sign", chunked + "+3\r\nabc\r\n", " error 400"},
      {"chunk size with space", chunked + "3 \r\nabc\r\n", " error 400"},
      {"empty chunk size", chunked + "\r\n", " error 400"},
      {"chunk size over 60 bits", chunked + "1000000000000000\r\n", " error 400"},
      {"chunk size line with LF", chunked + "3\nabc\r\n", " error 400"},
      {"chunk longer than its size", chunked + "3\r\nabcd\r\n", " body(abc) error 400"},
      {"malformed trailer", chunked + "0\r\nbad\r\n\r\n", " error 400"},
      {"chunked over the limit", chunked + "7\r\nabcdefg\r\n4\r\nabcd\r\n", " body(abcdefg) error 413"},
      {"length over the limit", post + "Content-Length: 11\r\n\r\n", " error 413"},
      {"too many fields", "GET / HTTP/1.1\r\nHost: a\r\n1: 1\r\n2: 2\r\n3: 3\r\n4: 4\r\n\r\n", " error 431"},
      {"too long a head", "GET /" + std::string(300, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", " error 431"},
      {"endless chunk extension", chunked + "1;" + std::string(300, 'x'), " error 400"},
      {"endless trailers", chunked + "0\r\n" + "a: 1\r\n" + "b: " + std::string(300, 'x'), " error 431"},
  };
  Limits limits;
  limits.head_bytes_max = 256;
  limits.fields_max = 4;
  limits.body_bytes_max = 10;
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    std::string told = row.told;
    if (row.in.compare(0, chunked.size(), chunked) == 0) told = chunked_told + told;
    CHECK(tell_request(row.in, SIZE_MAX, limits) == told);
    CHECK(tell_request(row.in, 1, limits) == told);
  }
}

std::string tell_answer(std::string_view method, std::string_view input, size_t piece, Event* last) {
  Parser parser(Role::kClient);
  parser.expect_answer_to(method);
  std::string told = tell(parser, input, piece);
  *last = parser.finish();
  return told;
}

TEST_CASE("http1: answers") {
  struct Row {
    const char* rule;
    const char* method;
    const char* in;
    const char* told;
    Event last;  // when the connection then closes
  };
  const Row rows[] = {
      {"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", " 200 content-length=2 body(ab) end",
       Event::kNeedMore},
      {"until close", "GET", "HTTP/1.1 200 OK\r\n\r\nabc", " 200 body(abc)", Event::kEnd},
      {"until close, empty", "GET", "HTTP/1.0 200 OK\r\n\r\n", " 200", Event::kEnd},
      {"to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", " 200 content-length=2 end", Event::kNeedMore},
      {"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", " 204 end", Event::kNeedMore},
      {"no phrase", "GET", "HTTP/1.1 204\r\n\r\n", " 204 end", Event::kNeedMore},
      {"interim first", "PUT", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", " 204 end", Event::kNeedMore},
      {"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
       " 200 transfer-encoding=chunked body(a) end", Event::kNeedMore},
      {"cut in the body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na", " 200 content-length=3 body(a)",
       Event::kError},
      {"cut in the head", "GET", "HTTP/1.1 200 OK\r\nContent", "", Event::kError},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    for (size_t piece : {SIZE_MAX, size_t{1}}) {
      Event last = Event::kBody;
      CHECK(tell_answer(row.method, row.in, piece, &last) == row.told);
      CHECK(last == row.last);
    }
  }
}

TEST_CASE("http1: endless interim answers end") {
  std::string input;
  for (int i = 0; i <= kInterimResponsesMax; ++i) input += "HTTP/1.1 103 Early Hints\r\n\r\n";
  Parser parser(Role::kClient);
  CHECK(tell(parser, input, SIZE_MAX) == " error 400");
}

TEST_CASE("http1: an upgrade leaves the rest of the input alone") {
  const std::string in =
      "GET /v3/watch HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi";
  std::string_view rest = in;
  Parser parser(Role::kServer);
  REQUIRE(parser.next(&rest) == Event::kHead);
  CHECK(parser.head().upgrade);
  CHECK(parser.head().keep_alive);
  CHECK(parser.head().find("upgrade") == "websocket");
  CHECK(parser.head().find("absent").data() == nullptr);
  CHECK(rest == "\x81\x02hi");
}

TEST_CASE("http1: Expect: 100-continue is told with the head") {
  std::string_view in = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
  Parser parser(Role::kServer);
  REQUIRE(parser.next(&in) == Event::kHead);
  CHECK(parser.head().expect_continue);
  CHECK(parser.next(&in) == Event::kNeedMore);
  CHECK_FALSE(parser.idle());
  std::string_view body = "ab";
  CHECK(parser.next(&body) == Event::kBody);
  CHECK(parser.next(&body) == Event::kEnd);
  CHECK(parser.next(&body) == Event::kNeedMore);
  CHECK(parser.idle());
}

}  // namespace
}  // namespace http1
