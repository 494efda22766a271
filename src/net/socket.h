// A socket's descriptor and its owner, for what needs more of it than a stream's face; else stream.h. Any thread.
#pragma once

#include <asio.hpp>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/status.h"

namespace net {

class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket() { close(); }

  int fd() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void close();

 private:
  int fd_ = -1;
};

// connect_tcp() of stream.h before it is a stream: non-blocking, TCP_NODELAY and keepalive on. Errors as there, except
// kResourceExhausted when this process or host has no descriptor, memory or port left for it.
asio::awaitable<base::Result<Socket>> connect_socket(asio::io_context& loop, std::string host, uint16_t port,
                                                     base::Instant deadline, std::string from = {});

}  // namespace net
