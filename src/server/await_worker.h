// A coroutine of the loop lets a worker do something and goes on when it is done. The closure owns what it touches: the
// coroutine may be gone when it runs.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <utility>

#include "base/loop.h"

namespace server {

template <class Token>
auto submit_and_wait(base::Worker& worker, std::function<void()> work, Token&& token) {
  return asio::async_initiate<Token, void()>(
      [&worker](auto handler, std::function<void()> job) {
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        worker.submit(std::move(job), [shared] { std::move (*shared)(); });
      },
      token, std::move(work));
}

inline asio::awaitable<void> await_worker(base::Worker& worker, std::function<void()> work) {
  co_await submit_and_wait(worker, std::move(work), asio::use_awaitable);
}

}  // namespace server
