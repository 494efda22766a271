// Lets one coroutine sleep until somebody on the same thread wakes it. A notify() without a sleeper is remembered once.
#pragma once

#include <asio.hpp>
#include <memory>
#include <utility>

#include "base/verify.h"

namespace net {

class Wake {
 public:
  explicit Wake(asio::io_context& loop) : loop_(loop) {}
  Wake(const Wake&) = delete;
  Wake& operator=(const Wake&) = delete;

 private:
  struct Waiter {
    virtual ~Waiter() = default;
    virtual void resume() = 0;
  };
  template <class Handler>
  struct WaiterOf final : Waiter {
    explicit WaiterOf(Handler&& h) : handler(std::move(h)) {}
    void resume() override { std::move(handler)(); }
    Handler handler;
  };

  template <class Token>
  auto sleep(Token&& token) {
    return asio::async_initiate<Token, void()>(
        [this](auto handler) { waiter_ = std::make_unique<WaiterOf<decltype(handler)>>(std::move(handler)); }, token);
  }

 public:
  // Returns after the next notify(), or at once when one came since the last wait. One waiter at a time, woken
  // before this object dies.
  asio::awaitable<void> wait() {
    if (std::exchange(notified_, false)) co_return;
    VERIFY(waiter_ == nullptr);
    co_await sleep(asio::use_awaitable);
  }
  // The waiter continues by a post to the loop, never inside this call.
  void notify() {
    if (waiter_ == nullptr) {
      notified_ = true;
      return;
    }
    asio::post(loop_, [waiter = std::shared_ptr<Waiter>(std::move(waiter_))] { waiter->resume(); });
  }
  bool waiting() const { return waiter_ != nullptr; }

 private:
  asio::io_context& loop_;
  std::unique_ptr<Waiter> waiter_;
  bool notified_ = false;
};

}  // namespace net
