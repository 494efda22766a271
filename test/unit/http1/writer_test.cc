#include "http1/writer.h"

#include <doctest/doctest.h>

namespace http1 {
namespace {

TEST_CASE("http1: heads as they go out") {
  const Fields fields = {{"Content-Type", "text/plain"}};
  std::string out;
  append_response_head(200, fields, Framing::kLength, 5, true, out);
  CHECK(out == "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n");
  out.clear();
  append_response_head(413, fields, Framing::kChunked, 0, false, out);
  CHECK(out ==
        "HTTP/1.1 413 Request Entity Too Large\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: "
        "close\r\n\r\n");
  out.clear();
  append_response_head(299, {}, Framing::kUntilClose, 0, true, out);
  CHECK(out == "HTTP/1.1 299 status code 299\r\nConnection: close\r\n\r\n");
  out.clear();
  append_request_head("POST", "/raft x\r\n", "10.0.0.1:2380", fields, Framing::kLength, 0, out);
  CHECK(out == "POST /raft%20x%20%20 HTTP/1.1\r\nHost: 10.0.0.1:2380\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n");
}

TEST_CASE("http1: a field cannot break out of its line") {
  std::string out;
  append_response_head(200, {{"X", "a\r\nSet-Cookie: b"}, {"bad name", "c"}, {"", "d"}, {"Y:", "e"}}, Framing::kNone, 0, true,
                       out);
  CHECK(out == "HTTP/1.1 200 OK\r\nX: a  Set-Cookie: b\r\n\r\n");
}

TEST_CASE("http1: chunks, and that an empty one does not end the body") {
  std::string out;
  append_chunk("0123456789abcdef", out);
  append_chunk("", out);
  append_last_chunk(out);
  CHECK(out == "10\r\n0123456789abcdef\r\n0\r\n\r\n");
}

TEST_CASE("http1: dates") {
  CHECK(http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
  CHECK(http_date(1795366372) == "Sun, 22 Nov 2026 16:52:52 GMT");
}

}  // namespace
}  // namespace http1
