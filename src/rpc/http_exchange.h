// The handler's end of one HTTP request, whichever version of HTTP carries it. Lives on the home loop and reaches what carries
// the request by tasks for its loop; that tells it in turn, by tasks for home, what the client sent and took.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/verify.h"
#include "http1/writer.h"
#include "net/wake.h"
#include "rpc/net_loop.h"
#include "rpc/server.h"

namespace rpc {

inline constexpr size_t kHttpQueuedBytesMax = 256 * 1024;  // answer bytes waiting for the socket; writers wait beyond

class HttpExchange;

// Carries requests and their answers on a connection. On its loop; calls for an exchange that is over are ignored.
class HttpCarrier {
 public:
  virtual void answer(HttpExchange* from, HttpResponse response) = 0;
  virtual void answer_head(HttpExchange* from, int status, http1::Fields fields) = 0;
  virtual void answer_chunk(HttpExchange* from, std::string chunk) = 0;
  virtual void answer_end(HttpExchange* from) = 0;
  virtual void answer_upgrade(HttpExchange* from, http1::Fields fields) = 0;
  // The handler has taken the bytes it was given last.
  virtual void bytes_taken(HttpExchange* from) = 0;
  // The handler gave up in the middle of an answer: what the client has of it must not look whole.
  virtual void answer_broken(HttpExchange* from) = 0;

 protected:
  ~HttpCarrier() = default;
};

// Hands a request to the handler of `core`; an answer of 500 if that forgets it.
void hand_over(NetLoop& loop, std::shared_ptr<ServerCore> core, const std::shared_ptr<HttpExchange>& exchange);
// Whether an answer of this status has a body.
bool may_have_body(int status);

class HttpExchange final : public HttpCall, public std::enable_shared_from_this<HttpExchange> {
 public:
  HttpExchange(std::shared_ptr<NetLoop> loop, std::shared_ptr<HttpCarrier> carrier, HttpRequest request)
      : loop_(std::move(loop)),
        carrier_(std::move(carrier)),
        request_(std::move(request)),
        room_(loop_->home()),
        arrived_(loop_->home()) {}
  const HttpRequest& request() const override { return request_; }

  void finish(HttpResponse response) override {
    if (stage_ != Stage::kNothing) return;
    stage_ = Stage::kDone;
    const auto self = shared_from_this();
    loop_->on_owner(
        [self, response = std::move(response)]() mutable { self->carrier_->answer(self.get(), std::move(response)); });
  }

  void begin(int status, Metadata headers) override {
    if (stage_ != Stage::kNothing) return;
    stage_ = Stage::kBegun;
    const auto self = shared_from_this();
    loop_->on_owner([self, status, fields = headers.copy()]() mutable {
      self->carrier_->answer_head(self.get(), status, std::move(fields));
    });
  }

  asio::awaitable<base::Status> write(std::string chunk) override {
    if (closed_ || (stage_ != Stage::kBegun && stage_ != Stage::kUpgraded)) {
      co_return base::Status(base::Code::kCancelled, "context canceled");
    }
    if (chunk.empty()) co_return base::Status();
    queued_ += chunk.size();
    const auto self = shared_from_this();
    send_chunk(std::move(chunk));
    while (!closed_ && queued_ > kHttpQueuedBytesMax) co_await room_.wait();
    co_return closed_ ? base::Status(base::Code::kCancelled, "context canceled") : base::Status();
  }

  bool try_write(std::string chunk) override {
    const bool open = !closed_ && (stage_ == Stage::kBegun || stage_ == Stage::kUpgraded);
    if (!open || queued_ > kHttpQueuedBytesMax) return false;
    if (chunk.empty()) return true;
    queued_ += chunk.size();
    send_chunk(std::move(chunk));
    return true;
  }

  void end() override {
    if (stage_ != Stage::kBegun && stage_ != Stage::kUpgraded) return;
    stage_ = Stage::kDone;
    arrived_.notify();
    const auto self = shared_from_this();
    loop_->on_owner([self] { self->carrier_->answer_end(self.get()); });
  }

  void upgrade(Metadata headers) override {
    VERIFY(request_.upgrade);
    if (stage_ != Stage::kNothing) return;
    stage_ = Stage::kUpgraded;
    const auto self = shared_from_this();
    loop_->on_owner(
        [self, fields = headers.copy()]() mutable { self->carrier_->answer_upgrade(self.get(), std::move(fields)); });
  }

  asio::awaitable<std::optional<std::string>> read() override {
    while (received_.empty() && !closed_ && !body_complete_ && (stage_ == Stage::kUpgraded || request_.streamed)) {
      co_await arrived_.wait();
    }
    if (received_.empty()) co_return std::nullopt;
    std::string bytes = std::exchange(received_, std::string());
    loop_->on_owner([self = shared_from_this()] { self->carrier_->bytes_taken(self.get()); });
    co_return std::optional<std::string>(std::move(bytes));
  }

  bool body_complete() const override { return body_complete_ && received_.empty(); }
  bool closed() const override { return closed_; }
  void on_closed(std::function<void()> callback) override {
    if (closed_) {
      callback();
    } else {
      callback_ = std::move(callback);
    }
  }

  // From the connection, posted to the home loop.
  void received(std::string bytes) {
    received_ += bytes;
    arrived_.notify();
  }
  void body_ended() {
    body_complete_ = true;
    arrived_.notify();
  }
  void peer_gone() {
    closed_ = true;
    room_.notify();
    arrived_.notify();
    if (callback_) std::exchange(callback_, nullptr)();
  }
  void sent(size_t bytes) {
    queued_ -= std::min(bytes, queued_);
    if (queued_ <= kHttpQueuedBytesMax && room_.waiting()) room_.notify();
  }
  // The exchange is over: nothing will happen to it any more.
  void over() { callback_ = nullptr; }
  // The handler holds nothing any more. If it has not answered, the client must not wait for ever.
  void handler_gone() {
    if (closed_ || stage_ == Stage::kDone) return;
    if (stage_ == Stage::kBegun || stage_ == Stage::kUpgraded)
      return loop_->on_owner([self = shared_from_this()] { self->carrier_->answer_broken(self.get()); });
    HttpResponse response;
    response.status = 500;
    finish(std::move(response));
  }
  // Owner's side: chunk bytes in the connection's output since the socket took everything last.
  size_t unsent = 0;

 private:
  enum class Stage { kNothing, kBegun, kUpgraded, kDone };

  void send_chunk(std::string chunk) {
    const auto self = shared_from_this();
    loop_->on_owner(
        [self, chunk = std::move(chunk)]() mutable { self->carrier_->answer_chunk(self.get(), std::move(chunk)); });
  }

  const std::shared_ptr<NetLoop> loop_;
  const std::shared_ptr<HttpCarrier> carrier_;
  const HttpRequest request_;
  net::Wake room_, arrived_;
  std::string received_;
  std::function<void()> callback_;
  size_t queued_ = 0;
  Stage stage_ = Stage::kNothing;
  bool closed_ = false;
  bool body_complete_ = false;
};

}  // namespace rpc
