// HTTP/1.1 without I/O: bytes in, events out, for either side of a connection. llhttp reads the start line and the header
// fields; line ends, framing and bodies are ours and strict, so that nobody can smuggle a request past a proxy before us:
// CRLF only, no folded fields, never both Content-Length and Transfer-Encoding, chunk sizes in plain hexadecimal.
// Everything is bounded by Limits. Source: RFC 9112, with the answers of Go's net/http where they differ.
//
//   std::string_view input = received;
//   for (;;) switch (parser.next(&input)) {
//     case Event::kHead: ... parser.head() ...; break;
//     case Event::kBody: use(parser.body()); break;
//     case Event::kEnd: answer; stop here until the answer is out if requests are pipelined; break;
//     case Event::kNeedMore: read from the socket; break;
//     case Event::kError: answer parser.error_status() and close; break;
//   }
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace http1 {

// Names in lower case when received; in order.
using Fields = std::vector<std::pair<std::string, std::string>>;

struct Limits {
  size_t head_bytes_max = 64 * 1024;          // start line and fields, or the trailers of a chunked body
  size_t fields_max = 128;                    // in a head
  uint64_t body_bytes_max = 4 * 1024 * 1024;  // UINT64_MAX: no bound, for callers that stream
  size_t chunk_line_bytes_max = 256;          // a chunk's size and its extensions
};

enum class Role { kServer, kClient };  // reads requests, reads responses

enum class Event { kNeedMore, kHead, kBody, kEnd, kError };

struct Head {
  std::string method;  // requests
  std::string target;  // requests, as sent: "/v3/kv/put?x=y"
  int status = 0;      // responses
  std::string reason;  // responses
  int version_minor = 1;
  Fields fields;

  std::optional<uint64_t> content_length;
  bool chunked = false;
  bool keep_alive = true;        // may another message follow on this connection
  bool expect_continue = false;  // the client waits for "100 Continue" before it sends the body
  bool upgrade = false;          // "Connection: upgrade" with an Upgrade field, or a 101 answer

  // The first value; an empty view with data() == nullptr when absent. `name` in lower case.
  std::string_view find(std::string_view name) const;
  // Whether the comma-separated list `name` (all its lines) holds `token`, in any case. `token` in lower case.
  bool has_token(std::string_view name, std::string_view token) const;
};

class Parser {
 public:
  explicit Parser(Role role, Limits limits = {});
  ~Parser();
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  // Takes bytes off the front of `input` until something is to be told; kNeedMore: `input` is used up. After kError always
  // kError. Interim answers (1xx but 101) are skipped, at most kInterimResponsesMax of them.
  Event next(std::string_view* input);
  // The other side has closed: kEnd completes a body that ends with the connection, kNeedMore says that nothing was under
  // way, kError that a message was cut.
  Event finish();

  // Valid from kHead until the call of next() after kEnd.
  const Head& head() const { return head_; }
  // Valid at kBody until the next call: a part of its input.
  std::string_view body() const { return body_; }

  // Role::kClient: what the next answer belongs to; the answer to HEAD has no body. REQUIRES: between messages.
  void expect_answer_to(std::string_view method) { answers_head_ = method == "HEAD"; }

  // True between messages with nothing received of the next one: the connection is idle.
  bool idle() const { return state_ == State::kBetween; }
  // Bytes after an upgrade belong to the new protocol: what is left in `input` after kHead, which then is the last event.
  // REQUIRES: head().upgrade, after kHead.
  void take_over() { state_ = State::kClosed; }

  // At kError: kInvalidArgument or kResourceExhausted with a text, and the HTTP status that tells it best (400, 413, 431, 501,
  // 505).
  const base::Status& error() const { return error_; }
  int error_status() const { return error_status_; }

 private:
  enum class State {
    kBetween,
    kHead,
    kStartBody,
    kBodyOfLength,
    kBodyUntilClose,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailers,
    kMessageEnd,
    kClosed,
    kFailed
  };
  struct HeadReader;  // llhttp and what it collects

  Event step(std::string_view* input);
  size_t scan_head(std::string_view input, const char** trouble);
  Event read_head(std::string_view* input);
  Event finish_head();
  Event fail_head(int llhttp_result);
  Event frame_body();
  Event read_body(std::string_view* input);
  Event read_chunk_size(std::string_view* input);
  Event read_chunk_end(std::string_view* input);
  Event read_trailers(std::string_view* input);
  Event outcome() const;
  bool take_line(std::string_view* input, size_t bytes_max, int too_long_status);
  Event fail(int http_status, std::string text);

  Role role_;
  Limits limits_;
  State state_ = State::kBetween;
  State after_head_ = State::kMessageEnd;
  std::unique_ptr<HeadReader> reader_;
  Head head_;
  std::string_view body_;
  size_t head_bytes_ = 0;
  size_t head_end_matched_ = 0;  // how much of CR LF CR LF ends what was read so far
  uint64_t body_left_ = 0;
  uint64_t body_taken_ = 0;
  std::string line_;  // an unfinished chunk-size or trailer line
  size_t trailer_bytes_ = 0;
  bool answers_head_ = false;
  int interim_responses_ = 0;
  base::Status error_;
  int error_status_ = 0;
};

inline constexpr int kInterimResponsesMax = 8;

}  // namespace http1
