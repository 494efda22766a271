// The only way to start a coroutine (asio::detached would lose its exceptions), and the gate that counts them for shutdown.
#pragma once

#include <asio.hpp>
#include <exception>
#include <utility>

#include "base/status.h"
#include "net/wake.h"

namespace net {

// Stops the process: an exception left the coroutine called `name`.
[[noreturn]] void coroutine_failed(const char* name, std::exception_ptr error);

// Runs `coroutine` on `executor`; it starts by a post, never inside this call. `name` must be a literal.
template <class Executor>
void spawn(const Executor& executor, const char* name, asio::awaitable<void> coroutine) {
  asio::co_spawn(executor, std::move(coroutine), [name](std::exception_ptr error) {
    if (error) coroutine_failed(name, error);
  });
}

// Counts what must end before its owner may go: close(), tell everybody to stop, wait(). One thread.
class Gate {
 public:
  explicit Gate(asio::io_context& loop) : empty_(loop) {}
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // False once closed: do not start.
  bool enter() {
    if (closed_) return false;
    ++inside_;
    return true;
  }
  void leave() {
    if (--inside_ == 0 && closed_) empty_.notify();
  }
  void close() { closed_ = true; }
  bool closed() const { return closed_; }
  size_t inside() const { return inside_; }
  // REQUIRES: closed; one waiter.
  asio::awaitable<void> wait() {
    while (inside_ > 0) co_await empty_.wait();
  }
  // Spawns and counts; false (and the coroutine is destroyed unstarted) once closed.
  template <class Executor>
  bool spawn(const Executor& executor, const char* name, asio::awaitable<void> coroutine) {
    if (!enter()) return false;
    asio::co_spawn(executor, std::move(coroutine), [this, name](std::exception_ptr error) {
      if (error) coroutine_failed(name, error);
      leave();
    });
    return true;
  }

 private:
  Wake empty_;
  size_t inside_ = 0;
  bool closed_ = false;
};

}  // namespace net
