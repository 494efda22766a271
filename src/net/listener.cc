#include "net/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "net/sys.h"

namespace net {

using base::Code;
using base::Result;
using base::Status;

namespace {

class SocketListener final : public Listener {
 public:
  SocketListener(asio::io_context& loop, int fd, uint16_t port, std::string address, bool tcp)
      : descriptor_(loop, fd), pause_(loop), fd_(fd), port_(port), address_(std::move(address)), tcp_(tcp) {}
  ~SocketListener() override { SocketListener::close(); }

  asio::awaitable<Result<std::unique_ptr<Stream>>> accept(asio::io_context& owner) override {
    Result<Accepted> accepted = co_await accept_socket();
    if (!accepted.ok()) co_return accepted.status();
    co_return make_socket_stream(owner, accepted->socket.release(), std::move(accepted->peer));
  }

  asio::awaitable<Result<Accepted>> accept_socket() override {
    while (!closed_) {
      sockaddr_storage peer{};
      socklen_t size = sizeof peer;
      const int fd = ::accept4(fd_, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        Accepted accepted{Socket(fd), address_text(reinterpret_cast<sockaddr*>(&peer), size)};
        co_return std::move(accepted);
      }
      const int why = errno;
      if (why == EAGAIN || why == EWOULDBLOCK) {
        (void)co_await descriptor_.async_wait(Descriptor::wait_read, kAwait);
      } else if (why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM) {
        log_pause(why);
        pause_.expires_after(kAcceptPause);
        (void)co_await pause_.async_wait(kAwait);
      } else if (why == EBADF || why == EINVAL || why == ENOTSOCK) {
        break;
      }  // Anything else is the fate of one connection (ECONNABORTED, EPERM, ...): take the next.
    }
    co_return Status(Code::kCancelled, "use of closed network connection");
  }

  void close() override {
    if (std::exchange(closed_, true)) return;
    asio::error_code ignored;
    descriptor_.close(ignored);
    pause_.cancel();
    if (!tcp_) (void)::unlink(address_.c_str());
  }
  uint16_t port() const override { return port_; }
  std::string address() const override { return address_; }

 private:
  using Descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;
  static constexpr auto kLogPause = std::chrono::seconds(5);  // at most one line in this time

  void log_pause(int why) {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_log_) return;
    next_log_ = now + kLogPause;
    const base::log::Field address("address", address_), error("error", errno_text(why));
    base::log::warn("cannot accept connections for the moment", {address, error});
  }

  Descriptor descriptor_;
  asio::steady_timer pause_;
  std::chrono::steady_clock::time_point next_log_{};
  const int fd_;
  const uint16_t port_;
  const std::string address_;
  const bool tcp_;
  bool closed_ = false;
};

// What `host` means for listening: an address of one family; IPv4 first for names, as Go does.
Status lookup(const std::string& host, uint16_t port, sockaddr_storage& out, socklen_t& size) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 || found == nullptr) {
    return Status(Code::kUnavailable, "lookup " + host + ": no such host");
  }
  const addrinfo* chosen = found;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family == AF_INET) {
      chosen = entry;
      break;
    }
  }
  std::memcpy(&out, chosen->ai_addr, chosen->ai_addrlen);
  size = chosen->ai_addrlen;
  freeaddrinfo(found);
  return Status();
}

uint16_t bound_port(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  if (bound.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

Status listen_error(const std::string& text, const char* call, int fd) {
  const int why = errno;
  if (fd >= 0) ::close(fd);
  return Status(Code::kUnavailable, text + ": " + call + ": " + errno_text(why));
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::tcp(asio::io_context& loop, const std::string& host, uint16_t port,
                                                const ListenOptions& options) {
  const std::string text = "listen tcp " + join_host_port(host, port);
  sockaddr_storage address{};
  socklen_t size = 0;
  if (host.empty()) {
    auto* any = reinterpret_cast<sockaddr_in6*>(&address);
    any->sin6_family = AF_INET6;
    any->sin6_port = htons(port);
    size = sizeof *any;
  } else {
    Status found = lookup(host, port, address, size);
    if (!found.ok()) return Status(found.code(), "listen tcp: " + std::string(found.text()));
  }
  int fd = ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 && host.empty()) {  // A host without IPv6.
    auto* any = reinterpret_cast<sockaddr_in*>(&address);
    address = sockaddr_storage{};
    any->sin_family = AF_INET;
    any->sin_port = htons(port);
    size = sizeof *any;
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  }
  if (fd < 0) return listen_error(text, "socket", fd);
  const int on = 1, off = 0;
  if (options.reuse_address) (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (options.reuse_port) (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (address.ss_family == AF_INET6) {
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, host.empty() || host == "::" ? &off : &on, sizeof off);
  }
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) return listen_error(text, "bind", fd);
  tune_tcp(fd);  // What is accepted inherits it.
  if (::listen(fd, SOMAXCONN) != 0) return listen_error(text, "listen", fd);
  const uint16_t real_port = bound_port(fd);
  return std::unique_ptr<Listener>(
      std::make_unique<SocketListener>(loop, fd, real_port, join_host_port(host, real_port), /*tcp=*/true));
}

Result<std::unique_ptr<Listener>> Listener::unix_socket(asio::io_context& loop, const std::string& path) {
  const std::string text = "listen unix " + path;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Status(Code::kUnavailable, text + ": bind: invalid argument");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  (void)::unlink(path.c_str());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return listen_error(text, "socket", fd);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return listen_error(text, "bind", fd);
  if (::listen(fd, SOMAXCONN) != 0) return listen_error(text, "listen", fd);
  return std::unique_ptr<Listener>(std::make_unique<SocketListener>(loop, fd, uint16_t{0}, path, /*tcp=*/false));
}

}  // namespace net
