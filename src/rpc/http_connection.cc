#include "rpc/http_connection.h"

#include <algorithm>

#include "base/verify.h"
#include "net/spawn.h"
#include "rpc/http_exchange.h"

namespace rpc {

using base::Code;
using base::Result;
using base::Status;

namespace {

http1::Limits limits_of(const ServerOptions& options) {
  http1::Limits limits;
  // With streamed bodies the others are counted as they come.
  limits.body_bytes_max = options.streams_body ? UINT64_MAX : options.http_body_bytes_max;
  return limits;
}

}  // namespace

HttpConnection::HttpConnection(std::shared_ptr<NetLoop> loop, std::shared_ptr<ServerCore> core,
                               std::shared_ptr<const ServerOptions> options, std::unique_ptr<net::Stream> stream)
    : loop_(std::move(loop)),
      core_(std::move(core)),
      options_(std::move(options)),
      stream_(std::move(stream)),
      parser_(http1::Role::kServer, limits_of(*options_)),
      timer_([](void* self) { static_cast<HttpConnection*>(self)->abort(); }, this),
      wake_(loop_->io()),
      has_room_(loop_->io()) {}

HttpConnection::~HttpConnection() { loop_->timers().disarm(timer_); }

void HttpConnection::abort() {
  if (std::exchange(closed_, true)) return;
  stream_->close();
  loop_->timers().disarm(timer_);
  wake_.notify();
  has_room_.notify();
}

void HttpConnection::drain() {
  draining_ = true;
  wake_.notify();
}

asio::awaitable<void> HttpConnection::run(std::string first) {
  const auto self = shared_from_this();
  loop_->add(this);
  input_ = std::move(first);
  draining_ = core_->stopping.load(std::memory_order_relaxed);
  net::spawn(loop_->io().get_executor(), "http reader", read_ahead());
  for (;;) {
    HttpRequest request;
    if (!co_await read_request(request)) break;
    if (!co_await exchange(std::move(request))) break;
  }
  const bool sent = co_await send_output();
  if (sent && !peer_ended_) co_await linger();
  abort();
  while (!reader_done_) co_await wake_.wait();
  (void)core_->hold_request_bytes(0, held_bytes_);
  loop_->remove(this);
}

// Reads while there is room, so that a client that goes is noticed even while its request is served.
asio::awaitable<void> HttpConnection::read_ahead() {
  const auto self = shared_from_this();
  while (!closed_) {
    if (input_.size() >= kHttpReadAheadBytesMax) {
      co_await has_room_.wait();
      continue;
    }
    const Status waited = co_await stream_->readable();
    if (!waited.ok() || closed_) break;
    const net::IoResult got = stream_->try_read(loop_->read_buffer(), kReadBufferBytes);
    if (got.state == net::IoState::kBlocked) continue;
    if (got.state != net::IoState::kDone) break;
    loop_->counters.bytes_received.fetch_add(got.bytes, std::memory_order_relaxed);
    input_.append(loop_->read_buffer(), got.bytes);
    wake_.notify();
  }
  peer_ended_ = true;
  reader_done_ = true;
  if (current_) loop_->on_home([exchange = current_] { exchange->peer_gone(); });
  wake_.notify();
}

// Gives the parser what has been read. False when there is nothing.
bool HttpConnection::more_input() {
  if (input_.empty()) return false;
  chunk_ = std::exchange(input_, std::string());
  unparsed_ = chunk_;
  has_room_.notify();
  return true;
}

asio::awaitable<bool> HttpConnection::read_request(HttpRequest& request) {
  loop_->timers().arm(timer_, loop_->clock().now() + kHttpHeadTimeout);
  for (;;) {
    switch (parser_.next(&unparsed_)) {
      case http1::Event::kNeedMore:
        if (more_input()) break;
        if (draining_ && parser_.idle()) co_return false;
        if (closed_ || peer_ended_) co_return false;
        co_await wake_.wait();
        break;
      case http1::Event::kHead: {
        const http1::Head& head = parser_.head();
        if (head.expect_continue && unparsed_.empty() && input_.empty()) {
          http1::append_continue(output_);
          if (!co_await send_output()) co_return false;
        }
        request.upgrade = head.upgrade && head.has_token("upgrade", "websocket") && head.method == "GET" && !head.chunked &&
                          head.content_length.value_or(0) == 0;
        if (request.upgrade) {  // What follows is not HTTP, whatever the handler says.
          parser_.take_over();
          co_return take_request(request);
        }
        request.streamed = options_->streams_body && options_->streams_body(head.method, head.target);
        if (request.streamed) co_return take_request(request);
        loop_->timers().arm(timer_, loop_->clock().now() + kHttpBodyTimeout);
        break;
      }
      case http1::Event::kBody:
        if (request.body.size() + parser_.body().size() > options_->http_body_bytes_max) {
          refuse(413, "the body is larger than " + std::to_string(options_->http_body_bytes_max) + " bytes");
          co_return false;
        }
        request.body.append(parser_.body());
        if (!core_->hold_request_bytes(request.body.size(), held_bytes_)) {
          refuse(503, "the server holds too many request bytes");
          co_return false;
        }
        break;
      case http1::Event::kEnd:
        co_return take_request(request);
      case http1::Event::kError:
        refuse(parser_.error_status(), std::string(parser_.error().text()));
        co_return false;
    }
  }
}

bool HttpConnection::take_request(HttpRequest& request) {
  const http1::Head& head = parser_.head();
  request.method = head.method;
  request.target = head.target;
  request.version_minor = head.version_minor;
  request.peer = stream_->peer();
  request.tls_common_name = stream_->tls_common_name();
  request.secure = stream_->is_tls();
  for (const auto& [name, value] : head.fields) request.headers.add(name, value);
  loop_->timers().disarm(timer_);
  return true;
}

void HttpConnection::refuse(int status, const std::string& text) {
  const std::string body = std::to_string(status) + " " + http1::reason_phrase(status) + ": " + text;
  const http1::Fields fields(1, {"Content-Type", "text/plain; charset=utf-8"});
  http1::append_response_head(status, fields, http1::Framing::kLength, body.size(), /*keep_alive=*/false, output_);
  output_ += body;
}

// Hands the request to the handler and sends what it answers. False: the connection ends.
asio::awaitable<bool> HttpConnection::exchange(HttpRequest request) {
  answer_done_ = false;
  chunked_ = false;
  keep_alive_ = parser_.head().keep_alive && !draining_ && !request.upgrade;
  streams_body_ = request.streamed;
  handler_busy_ = false;
  if (!core_->http_handler) co_return false;
  std::shared_ptr<HttpCarrier> self = std::static_pointer_cast<HttpConnection>(shared_from_this());
  current_ = std::make_shared<HttpExchange>(loop_, std::move(self), std::move(request));
  const bool gone = peer_ended_;
  hand_over(*loop_, core_, current_);
  if (gone) loop_->on_home([exchange = current_] { exchange->peer_gone(); });
  bool alive = true;
  while (alive && !(answer_done_ && output_.empty())) {
    if (upgraded_) pass_upgraded_bytes();
    if (streams_body_) pass_body_bytes();
    if (output_.empty()) {
      if (closed_) alive = false;
      if (alive) co_await wake_.wait();
    } else {
      alive = co_await send_output();
    }
  }
  const std::shared_ptr<HttpExchange> over = std::move(current_);
  current_.reset();
  (void)core_->hold_request_bytes(0, held_bytes_);
  loop_->on_home([over, alive] {
    if (!alive) over->peer_gone();
    over->over();
  });
  // Answered before its body ended: where the next request begins nobody knows.
  co_return alive && keep_alive_ && !draining_ && !std::exchange(streams_body_, false);
}

// One batch at a time, as above; the parser says where the body ends.
void HttpConnection::pass_body_bytes() {
  while (streams_body_ && !handler_busy_ && !answer_done_) {
    switch (parser_.next(&unparsed_)) {
      case http1::Event::kBody:
        handler_busy_ = true;
        loop_->timers().disarm(timer_);
        loop_->on_home([exchange = current_, bytes = std::string(parser_.body())]() mutable {
          exchange->received(std::move(bytes));
        });
        break;
      case http1::Event::kEnd:
        streams_body_ = false;
        loop_->timers().disarm(timer_);
        loop_->on_home([exchange = current_] { exchange->body_ended(); });
        break;
      case http1::Event::kNeedMore:
        if (more_input()) break;
        if (peer_ended_) return abort();
        loop_->timers().arm(timer_, loop_->clock().now() + kHttpPieceTimeout);
        return;
      case http1::Event::kHead:
      case http1::Event::kError:
        return abort();
    }
  }
}

// One batch at a time, at most what is read ahead; the rest stays in the socket.
void HttpConnection::pass_upgraded_bytes() {
  if (handler_busy_ || answer_done_ || (unparsed_.empty() && !more_input())) return;
  handler_busy_ = true;
  loop_->on_home([exchange = current_, bytes = std::string(unparsed_)]() mutable { exchange->received(std::move(bytes)); });
  unparsed_ = {};
}

void HttpConnection::bytes_taken(HttpExchange* from) {
  if (from != current_.get()) return;
  handler_busy_ = false;
  wake_.notify();
}

asio::awaitable<bool> HttpConnection::send_output() {
  while (!output_.empty()) {
    if (closed_) co_return false;
    const std::string now = std::exchange(output_, std::string());
    const size_t chunk_bytes = current_ ? std::exchange(current_->unsent, 0) : 0;
    loop_->timers().arm(timer_, loop_->clock().now() + kWriteStallTimeout);
    const Status written = co_await stream_->write_all(now);
    loop_->timers().disarm(timer_);
    if (!written.ok()) {
      abort();
      co_return false;
    }
    loop_->counters.bytes_sent.fetch_add(now.size(), std::memory_order_relaxed);
    if (chunk_bytes > 0) loop_->on_home([exchange = current_, chunk_bytes] { exchange->sent(chunk_bytes); });
  }
  co_return !closed_;
}

asio::awaitable<void> HttpConnection::linger() {
  loop_->timers().arm(timer_, loop_->clock().now() + kLingerTimeout);
  stream_->shutdown_write();
  while (!closed_ && !peer_ended_) {
    input_.clear();
    has_room_.notify();
    co_await wake_.wait();
  }
}

// --- answers ----------------------------------------------------------------------------------------------------------------

void HttpConnection::answer(HttpExchange* from, HttpResponse response) {
  if (from != current_.get() || closed_) return;
  http1::Fields fields = response.headers.copy();
  fields.emplace_back("Date", http1::http_date(loop_->clock().unix_ns() / 1000000000));
  keep_alive_ = keep_alive_ && !draining_ && !response.closes;
  const bool body = may_have_body(response.status);
  const bool chunked = response.chunked && body && parser_.head().version_minor >= 1;
  const http1::Framing framing = !body ? http1::Framing::kNone : chunked ? http1::Framing::kChunked : http1::Framing::kLength;
  http1::append_response_head(response.status, fields, framing, response.body.size(), keep_alive_, output_);
  if (body && !head_only()) {
    if (chunked) {
      http1::append_chunk(response.body, output_);
      http1::append_last_chunk(output_, response.trailers.copy());
    } else {
      output_ += response.body;
    }
  }
  answer_done_ = true;
  wake_.notify();
}

void HttpConnection::answer_head(HttpExchange* from, int status, http1::Fields fields) {
  if (from != current_.get() || closed_) return;
  fields.emplace_back("Date", http1::http_date(loop_->clock().unix_ns() / 1000000000));
  chunked_ = parser_.head().version_minor >= 1;
  if (!chunked_) keep_alive_ = false;
  const http1::Framing framing = chunked_ ? http1::Framing::kChunked : http1::Framing::kUntilClose;
  http1::append_response_head(status, fields, framing, 0, keep_alive_, output_);
  wake_.notify();
}

void HttpConnection::answer_chunk(HttpExchange* from, std::string chunk) {
  if (from != current_.get() || closed_) return;
  from->unsent += chunk.size();
  if (head_only()) {
    // Nothing goes out, but the writer's credit comes back with the next bytes that do.
  } else if (chunked_) {  // Not after an upgrade.
    http1::append_chunk(chunk, output_);
  } else {
    output_ += chunk;
  }
  wake_.notify();
}

void HttpConnection::answer_upgrade(HttpExchange* from, http1::Fields fields) {
  if (from != current_.get() || closed_) return;
  upgraded_ = true;
  http1::append_response_head(101, fields, http1::Framing::kNone, 0, /*keep_alive=*/true, output_);
  wake_.notify();
}

void HttpConnection::answer_end(HttpExchange* from) {
  if (from != current_.get() || closed_) return;
  if (chunked_ && !head_only()) http1::append_last_chunk(output_);
  answer_done_ = true;
  wake_.notify();
}

}  // namespace rpc
