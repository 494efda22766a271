// One HTTP/1.1 connection that we opened to another member, used by one coroutine at a time. Every wait has an end: connecting
// has a deadline, a read or a write that stalls closes the connection. Owner: core loop.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "http1/parser.h"
#include "http1/writer.h"
#include "net/stream.h"
#include "net/timer_queue.h"
#include "peer/dialer.h"

namespace peer {

inline constexpr size_t kClientReadBytes = 64 * 1024;    // one read
inline constexpr size_t kAnswerBodyBytesMax = 64 << 10;  // of answers that are kept

class HttpClient {
 public:
  // All outlive it.
  HttpClient(Dialer& dialer, net::TimerQueue& timers) : dialer_(dialer), timers_(timers) {}
  ~HttpClient() { close(); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // `timeout`: until connected; TLS may take kHandshakeTimeout more.
  asio::awaitable<base::Status> open(std::string url, base::Duration timeout);
  // From now on: see net::Stream. REQUIRES: open.
  void set_dead_after(base::Duration timeout) { stream_->set_dead_after(timeout); }
  bool is_open() const { return stream_ != nullptr && !stream_->closed(); }
  // Ends what is under way with kCancelled. Idempotent.
  void close();

  // Begins a request; its body, if `length` is not 0, is written after it.
  asio::awaitable<base::Status> request(std::string method, std::string path, http1::Fields fields, uint64_t length,
                                        base::Duration stall);
  asio::awaitable<base::Status> write(std::string bytes, base::Duration stall);

  // The next part of the answer: kHead, kBody or kEnd; the error says why there is none. kOutOfRange "EOF" when the other side
  // has closed.
  asio::awaitable<base::Result<http1::Event>> next(base::Duration stall);
  const http1::Head& head() const { return parser_->head(); }
  std::string_view body() const { return parser_->body(); }

  struct Answer {
    int status = 0;
    std::string body;  // the first kAnswerBodyBytesMax of it
  };
  // The whole answer.
  asio::awaitable<base::Result<Answer>> answer(base::Duration stall);

  uint64_t bytes_sent() const { return bytes_sent_; }
  uint64_t bytes_received() const { return bytes_received_; }

 private:
  base::Status why(base::Status status);

  Dialer& dialer_;
  net::TimerQueue& timers_;
  net::Timer timer_{[](void* self) { static_cast<HttpClient*>(self)->stalled(); }, this};
  void stalled();

  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<http1::Parser> parser_;
  std::string authority_;
  std::string buffer_;
  std::string_view unparsed_;
  uint64_t bytes_sent_ = 0, bytes_received_ = 0;
  bool timed_out_ = false;
  bool closed_ = false;
};

}  // namespace peer
