#include "peer/http_client.h"

namespace peer {
namespace {

using base::Code;
using base::Result;
using base::Status;

}  // namespace

asio::awaitable<Status> HttpClient::open(std::string url, base::Duration timeout) {
  stream_.reset();
  timed_out_ = false;
  std::optional<PeerUrl> where = parse_peer_url(url);
  if (!where) co_return Status(Code::kInvalidArgument, "no URL of a member: " + url);
  authority_ = where->authority;
  const base::Instant deadline = timers_.clock().now() + timeout;
  Result<std::unique_ptr<net::Stream>> stream = co_await dialer_.dial(std::move(*where), deadline);
  if (!stream.ok()) co_return stream.status();
  if (closed_) co_return Status(Code::kCancelled, "context canceled");
  stream_ = std::move(*stream);
  http1::Limits limits;
  limits.body_bytes_max = UINT64_MAX;
  parser_ = std::make_unique<http1::Parser>(http1::Role::kClient, limits);
  buffer_.resize(kClientReadBytes);
  unparsed_ = {};
  timers_.arm(timer_, timers_.clock().now() + kHandshakeTimeout);
  Status shaken = co_await stream_->handshake();
  timers_.disarm(timer_);
  co_return timed_out_ ? Status(Code::kDeadlineExceeded, "net/http: TLS handshake timeout") : shaken;
}

void HttpClient::close() {
  closed_ = true;
  timers_.disarm(timer_);
  if (stream_ != nullptr) stream_->close();
}

void HttpClient::stalled() {
  timed_out_ = true;
  stream_->close();
}

Status HttpClient::why(Status status) { return timed_out_ ? Status(Code::kDeadlineExceeded, "i/o timeout") : status; }

asio::awaitable<Status> HttpClient::write(std::string bytes, base::Duration stall) {
  timers_.arm(timer_, timers_.clock().now() + stall);
  Status written = co_await stream_->write_all(bytes);
  timers_.disarm(timer_);
  if (!written.ok()) co_return why(std::move(written));
  bytes_sent_ += bytes.size();
  co_return Status();
}

asio::awaitable<Status> HttpClient::request(std::string method, std::string path, http1::Fields fields, uint64_t length,
                                            base::Duration stall) {
  std::string head;
  parser_->expect_answer_to(method);
  const http1::Framing framing = method == "GET" ? http1::Framing::kNone : http1::Framing::kLength;
  http1::append_request_head(method, path, authority_, fields, framing, length, head);
  co_return co_await write(std::move(head), stall);
}

asio::awaitable<Result<http1::Event>> HttpClient::next(base::Duration stall) {
  for (;;) {
    const http1::Event event = parser_->next(&unparsed_);
    if (event == http1::Event::kError) co_return parser_->error();
    if (event != http1::Event::kNeedMore) co_return event;
    const net::IoResult got = stream_->try_read(buffer_.data(), buffer_.size());
    if (got.state == net::IoState::kDone) {
      bytes_received_ += got.bytes;
      unparsed_ = std::string_view(buffer_.data(), got.bytes);
      continue;
    }
    if (got.state == net::IoState::kFailed) co_return why(stream_->error());
    if (got.state == net::IoState::kEnd) {
      if (parser_->finish() == http1::Event::kEnd) co_return http1::Event::kEnd;
      co_return Status(Code::kOutOfRange, "EOF");
    }
    timers_.arm(timer_, timers_.clock().now() + stall);
    Status ready = co_await stream_->readable();
    timers_.disarm(timer_);
    if (!ready.ok()) co_return why(std::move(ready));
  }
}

asio::awaitable<Result<HttpClient::Answer>> HttpClient::answer(base::Duration stall) {
  Answer out;
  for (;;) {
    Result<http1::Event> event = co_await next(stall);
    if (!event.ok()) co_return event.status();
    if (*event == http1::Event::kBody && out.body.size() < kAnswerBodyBytesMax) {
      out.body += body().substr(0, kAnswerBodyBytesMax - out.body.size());
    }
    if (*event != http1::Event::kEnd) continue;
    out.status = head().status;
    if (!head().keep_alive) stream_->close();
    co_return out;
  }
}

}  // namespace peer
