#include "rpc/client_response.h"

#include <doctest/doctest.h>

#include "rpc/endpoint.h"

namespace rpc {
namespace {

using base::Code;
using base::Status;

struct Step {
  enum What { kHeaders, kHeadersEnd, kData, kDataEnd } what;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string data;
};

std::string framed(std::string_view message, char format = 0) {
  std::string out(kMessagePrefixBytes, '\0');
  store_message_prefix(out.data(), false, static_cast<uint32_t>(message.size()));
  out[0] = format;
  return out + std::string(message);
}

// The messages, each in brackets, then the status.
std::string play(const std::vector<Step>& steps, size_t piece) {
  ClientResponse response(100);
  std::string told;
  for (const Step& step : steps) {
    for (const auto& [name, value] : step.fields) response.on_header(name, value);
    if (step.what == Step::kHeaders || step.what == Step::kHeadersEnd) response.on_headers_end(step.what == Step::kHeadersEnd);
    std::string_view rest = step.data;
    while (!rest.empty()) {
      std::string_view part = rest.substr(0, piece);
      rest.remove_prefix(part.size());
      std::string message;
      while (response.next(&part, &message) == ClientResponse::Got::kMessage) told += "[" + message + "] ";
    }
    if (step.what == Step::kDataEnd) response.on_end_stream();
  }
  if (!response.finished()) return told + "unfinished";
  return told + (response.status().ok() ? std::string("OK") : response.status().to_string());
}

TEST_CASE("client response: what the server said becomes messages and a status") {
  const Step ok_headers{Step::kHeaders, {{":status", "200"}, {"content-type", "application/grpc"}}, ""};
  const Step ok_trailers{Step::kHeadersEnd, {{"grpc-status", "0"}}, ""};
  struct Row {
    const char* rule;
    std::vector<Step> steps;
    const char* told;
  };
  const Row rows[] = {
      {"one message", {ok_headers, {Step::kData, {}, framed("abc")}, ok_trailers}, "[abc] OK"},
      {"empty message", {ok_headers, {Step::kData, {}, framed("")}, ok_trailers}, "[] OK"},
      {"two messages in one frame", {ok_headers, {Step::kData, {}, framed("a") + framed("b")}, ok_trailers}, "[a] [b] OK"},
      {"trailers only, percent-encoded",
       {{Step::kHeadersEnd,
         {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "5"}, {"grpc-message", "caf%C3%A9%"}},
         ""}},
       "NotFound: caf\xc3\xa9%"},
      {"status after a message",
       {ok_headers, {Step::kData, {}, framed("a")}, {Step::kHeadersEnd, {{"grpc-status", "8"}}, ""}},
       "[a] ResourceExhausted: "},
      {"no grpc-status", {ok_headers, {Step::kHeadersEnd, {}, ""}}, "Unknown: "},
      {"unknown number", {ok_headers, {Step::kHeadersEnd, {{"grpc-status", "99"}}, ""}}, "Unknown: "},
      {"malformed number",
       {ok_headers, {Step::kHeadersEnd, {{"grpc-status", "1x"}}, ""}},
       "Unknown: transport: malformed grpc-status: strconv.ParseInt: parsing \"1x\": invalid syntax"},
      {"end without trailers",
       {ok_headers, {Step::kDataEnd, {}, framed("a")}},
       "[a] Internal: server closed the stream without sending trailers"},
      {"trailers inside a message",
       {ok_headers, {Step::kData, {}, framed("abc").substr(0, 7)}, ok_trailers},
       "Internal: unexpected EOF"},
      {"headers twice", {ok_headers, ok_headers}, "Internal: a HEADERS frame cannot appear in the middle of a stream"},
      {"too large",
       {ok_headers, {Step::kData, {}, framed(std::string(101, 'x'))}},
       "ResourceExhausted: grpc: received message larger than max (101 vs. 100)"},
      {"compressed without an encoding",
       {ok_headers, {Step::kData, {}, framed("a", 1)}},
       "Internal: grpc: compressed flag set with identity or empty encoding"},
      {"unknown payload format",
       {ok_headers, {Step::kData, {}, framed("a", 2)}},
       "Internal: grpc: received unexpected payload format 2"},
      {"interim answer first", {{Step::kHeaders, {{":status", "103"}}, ""}, ok_headers, ok_trailers}, "OK"},
      {"a web server",
       {{Step::kHeaders, {{":status", "404"}, {"content-type", "text/plain"}}, ""}, {Step::kDataEnd, {}, "no\n"}},
       "Unimplemented: unexpected HTTP status code received from server: 404 (Not Found); transport: received unexpected "
       "content-type \"text/plain\"\ndata: \"no\\n\""},
      {"a proxy without a body",
       {{Step::kHeadersEnd, {{":status", "503"}}, ""}},
       "Unavailable: unexpected HTTP status code received from server: 503 (Service Unavailable); malformed header: missing "
       "HTTP content-type"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    CHECK(play(row.steps, SIZE_MAX) == row.told);
    CHECK(play(row.steps, 1) == row.told);
  }
}

TEST_CASE("client response: a foreign body is kept to a bound") {
  const Step headers{Step::kHeaders, {{":status", "200"}, {"content-type", "text/html"}}, ""};
  const Step endless{Step::kData, {}, std::string(5000, 'x')};
  const std::string told = play({headers, endless}, 100);
  CHECK(told.size() < 1024 + 200);
  CHECK(told.find("Unknown: unexpected HTTP status code") == 0);
}

TEST_CASE("client response: resets") {
  CHECK(status_of_reset(8) == Status(Code::kCancelled, "stream terminated by RST_STREAM with error code: CANCEL"));
  CHECK(status_of_reset(7).code() == Code::kUnavailable);
  CHECK(status_of_reset(0).code() == Code::kInternal);
  CHECK(status_of_reset(11).code() == Code::kResourceExhausted);
  CHECK(status_of_reset(77) ==
        Status(Code::kUnknown, "stream terminated by RST_STREAM with error code: unknown error code 77"));
}

TEST_CASE("endpoints as users write them") {
  struct Row {
    const char* text;
    const char* told;  // host:port or path, and the scheme's wish; or the error
  };
  const Row rows[] = {{"127.0.0.1:2379", "127.0.0.1|2379||1|127.0.0.1:2379"},
                      {"http://a.b:1", "a.b|1||0|a.b:1"},
                      {"https://[::1]:65535", "::1|65535||2|[::1]:65535"},
                      {"http://a:1/", "a|1||0|a:1/"},
                      {"unix:///tmp/x.sock", "|0|/tmp/x.sock|0|/tmp/x.sock"},
                      {"unix:rel.sock", "|0|rel.sock|0|rel.sock"},
                      {"unixs://x:1", "|0|x:1|2|x:1"},
                      {":2379", "localhost|2379||1|:2379"},
                      {"localhost", "address localhost: missing port in address"},
                      {"a:65536", "address 65536: invalid port"},
                      {"a:http", "address http: invalid port"},
                      {"unix://", "dial unix: missing path"}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    auto parsed = parse_endpoint(row.text);
    if (!parsed.ok()) {
      CHECK(parsed.status().text() == row.told);
      continue;
    }
    const std::string told = parsed->host + "|" + std::to_string(parsed->port) + "|" + parsed->path + "|" +
                             std::to_string(static_cast<int>(parsed->tls)) + "|" + parsed->authority;
    CHECK(told == row.told);
  }
}

}  // namespace
}  // namespace rpc
