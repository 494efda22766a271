// One HTTP/1.1 question to another member, on a connection of its own: its members, version or hash, a promotion. For what
// is asked seldom; messages of Raft have connections that stay. Everything is bounded: the deadline covers dialling, sending
// and the whole answer. Source: wire-and-disk 2.4, 3.8.
#pragma once

#include <asio.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "http1/parser.h"
#include "net/stream.h"
#include "peer/dialer.h"

namespace peer {

inline constexpr size_t kFetchAnswerBytesMax = 4u << 20;
inline constexpr size_t kFetchReadBytes = 16u << 10;

struct Question {
  PeerUrl address;
  std::string method = "GET";
  std::string target = "/";
  http1::Fields fields;
  std::string body;  // sent with a Content-Length when not empty, with any method
};

struct Answer {
  int status = 0;
  http1::Fields fields;  // names in lower case
  std::string body;

  // The first value; empty when there is none. `name` in lower case.
  std::string_view find(std::string_view name) const;
};

// Errors: kUnavailable with Go's text of what failed; kDeadlineExceeded `context deadline exceeded`; kInvalidArgument for an
// answer that is not HTTP; kResourceExhausted for one over kFetchAnswerBytesMax. Any HTTP status is an answer.
asio::awaitable<base::Result<Answer>> fetch(asio::io_context& loop, DialOptions how, Question question, base::Instant deadline);

// The same before there is a loop: blocks the calling thread.
base::Result<Answer> fetch_blocking(DialOptions how, Question question, base::Duration timeout);

}  // namespace peer
