// The parts every stream shares, and streams over sockets.
#include "net/stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/resolve.h"
#include "net/socket.h"
#include "net/sys.h"

namespace net {

using base::Code;
using base::Result;
using base::Status;

asio::awaitable<Status> Stream::handshake() { co_return Status(); }

asio::awaitable<Result<size_t>> Stream::read_some(char* to, size_t size_max) {
  for (;;) {
    const IoResult result = try_read(to, size_max);
    if (result.state == IoState::kDone) co_return result.bytes;
    if (result.state == IoState::kEnd) co_return Status(Code::kOutOfRange, "EOF");
    if (result.state == IoState::kFailed) co_return error();
    Status waited = co_await readable();
    if (!waited.ok()) co_return waited;
  }
}

asio::awaitable<Status> Stream::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const IoResult result = try_write(bytes);
    if (result.state == IoState::kDone) {
      bytes.remove_prefix(result.bytes);
      continue;
    }
    if (result.state != IoState::kBlocked) co_return error();
    Status waited = co_await writable();
    if (!waited.ok()) co_return waited;
  }
  co_return Status();
}

namespace {

class SocketStream final : public Stream {
 public:
  SocketStream(asio::io_context& loop, int fd, std::string peer) : descriptor_(loop, fd), fd_(fd), peer_(std::move(peer)) {}

  IoResult try_read(char* to, size_t size_max) override {
    if (closed_) return {IoState::kFailed, 0};
    // Less than there was room for: that was all. What came since is seen by the wait, which looks at the state, not at edges.
    if (std::exchange(drained_, false)) return {IoState::kBlocked, 0};
    for (;;) {
      const ssize_t n = ::recv(fd_, to, size_max, MSG_DONTWAIT);
      if (n > 0) {
        drained_ = static_cast<size_t>(n) < size_max;
        return {IoState::kDone, static_cast<size_t>(n)};
      }
      if (n == 0) return {IoState::kEnd, 0};
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {IoState::kBlocked, 0};
      if (errno != EINTR) return failed();
    }
  }

  IoResult try_write(std::string_view bytes) override {
    if (closed_) return {IoState::kFailed, 0};
    if (bytes.empty()) return {IoState::kDone, 0};
    for (;;) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) return {IoState::kDone, static_cast<size_t>(n)};
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {IoState::kBlocked, 0};
      if (errno != EINTR) return failed();
    }
  }

  asio::awaitable<Status> readable() override {
    drained_ = false;
    return wait(Descriptor::wait_read);
  }
  asio::awaitable<Status> writable() override { return wait(Descriptor::wait_write); }

  void shutdown_write() override {
    if (!closed_) (void)::shutdown(fd_, SHUT_WR);
  }
  void close() override {
    if (std::exchange(closed_, true)) return;
    asio::error_code ignored;
    descriptor_.close(ignored);
  }
  bool closed() const override { return closed_; }
  Status error() const override {
    if (error_ == 0) return Status(Code::kUnavailable, "use of closed network connection");
    return Status(Code::kUnavailable, errno_text(error_));
  }
  const std::string& peer() const override { return peer_; }
  std::string local() const override {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (closed_ || ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    return address_text(reinterpret_cast<const sockaddr*>(&address), size);
  }
  void set_unacked_timeout(base::Duration timeout) override {
    const auto ms = static_cast<unsigned>(std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count());
    (void)setsockopt(fd_, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);  // Fails on a unix socket, which needs none.
  }
  void set_dead_after(base::Duration timeout) override {
    const auto seconds = static_cast<int>(std::chrono::duration_cast<std::chrono::seconds>(timeout).count());
    set_keepalive(fd_, std::max(1, seconds / 2), 1, std::max(1, seconds - std::max(1, seconds / 2)));
  }

 private:
  using Descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;

  IoResult failed() {
    error_ = errno;
    return {IoState::kFailed, 0};
  }

  asio::awaitable<Status> wait(Descriptor::wait_type direction) {
    if (closed_) co_return Status(Code::kCancelled, "use of closed network connection");
    const auto [error] = co_await descriptor_.async_wait(direction, kAwait);
    if (closed_ || error) co_return Status(Code::kCancelled, "use of closed network connection");
    co_return Status();
  }

  Descriptor descriptor_;
  const int fd_;
  const std::string peer_;
  int error_ = 0;
  bool drained_ = false;  // the next try_read() need not ask
  bool closed_ = false;
};

struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;
  bool tcp = false;
  std::string text;              // "dial tcp 127.0.0.1:1"
  asio::ip::tcp::endpoint from;  // port 0; unspecified: the kernel chooses
};

using Descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;

// Ends the wait for the descriptor when the deadline passes before this goes.
class Watchdog {
 public:
  Watchdog(asio::io_context& loop, base::Instant deadline, Descriptor* waiting)
      : shared_(std::make_shared<Descriptor*>(waiting)), timer_(loop) {
    timer_.expires_at(deadline);
    timer_.async_wait([shared = shared_](const asio::error_code& error) {
      asio::error_code ignored;
      if (!error && *shared != nullptr) (*shared)->cancel(ignored);
    });
  }
  ~Watchdog() { *shared_ = nullptr; }

 private:
  std::shared_ptr<Descriptor*> shared_;
  asio::steady_timer timer_;
};

Status dial_error(const Target& target, const char* call, int why) {
  const bool ours = why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM || why == EADDRNOTAVAIL;
  return Status(ours ? Code::kResourceExhausted : Code::kUnavailable, target.text + ": " + call + ": " + errno_text(why));
}

asio::awaitable<Result<Socket>> dial(asio::io_context& loop, Target target, base::Instant deadline) {
  Socket socket(::socket(target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.fd() < 0) co_return dial_error(target, "socket", errno);
  if (target.tcp) tune_tcp(socket.fd());
  if (!target.from.address().is_unspecified() &&
      ::bind(socket.fd(), target.from.data(), static_cast<socklen_t>(target.from.size())) != 0) {
    co_return dial_error(target, "bind", errno);
  }
  if (::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&target.address), target.size) == 0) co_return std::move(socket);
  if (errno != EINPROGRESS) co_return dial_error(target, "connect", errno);
  Descriptor waiting(loop, socket.fd());
  asio::error_code late;
  {
    Watchdog watchdog(loop, deadline, &waiting);
    const auto [error] = co_await waiting.async_wait(Descriptor::wait_write, kAwait);
    late = error;
  }
  (void)waiting.release();
  if (late) co_return Status(Code::kUnavailable, target.text + ": i/o timeout");
  int error = 0;
  socklen_t size = sizeof error;
  (void)getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) co_return dial_error(target, "connect", error);
  co_return std::move(socket);
}

// The peer's address as its stream tells it.
std::string peer_text(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  (void)::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return address_text(reinterpret_cast<const sockaddr*>(&address), size);
}

}  // namespace

std::unique_ptr<Stream> make_socket_stream(asio::io_context& loop, int fd, std::string peer) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) (void)::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  return std::make_unique<SocketStream>(loop, fd, std::move(peer));
}

void Socket::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

asio::awaitable<Result<Socket>> connect_socket(asio::io_context& loop, std::string host, uint16_t port,
                                               base::Instant deadline, std::string from) {
  asio::error_code no_address;
  const asio::ip::address own = from.empty() ? asio::ip::address() : asio::ip::make_address(from, no_address);
  if (no_address) co_return Status(Code::kInvalidArgument, "address " + from + ": no IP address");
  auto addresses = co_await resolve(loop, host, port);
  if (!addresses.ok()) co_return Status(Code::kUnavailable, "dial tcp: " + std::string(addresses.status().text()));
  Status last(Code::kUnavailable, "dial tcp: lookup " + host + ": no such host");
  for (const asio::ip::tcp::endpoint& endpoint : *addresses) {
    Target target;
    target.tcp = true;
    target.from = asio::ip::tcp::endpoint(own, 0);
    target.size = static_cast<socklen_t>(endpoint.size());
    std::memcpy(&target.address, endpoint.data(), endpoint.size());
    const std::string ours = address_text(target.from.data(), static_cast<socklen_t>(target.from.size())) + "->";
    target.text = "dial tcp " + (from.empty() ? std::string() : ours) + address_text(endpoint.data(), target.size);
    Result<Socket> socket = co_await dial(loop, std::move(target), deadline);
    if (socket.ok()) co_return std::move(*socket);
    last = socket.status();
  }
  co_return last;
}

asio::awaitable<Result<std::unique_ptr<Stream>>> connect_tcp(asio::io_context& loop, std::string host, uint16_t port,
                                                             base::Instant deadline, std::string from) {
  Result<Socket> socket = co_await connect_socket(loop, std::move(host), port, deadline, std::move(from));
  if (!socket.ok()) co_return Status(Code::kUnavailable, std::string(socket.status().text()));
  std::string peer = peer_text(socket->fd());
  co_return make_socket_stream(loop, socket->release(), std::move(peer));
}

asio::awaitable<Result<std::unique_ptr<Stream>>> connect_unix(asio::io_context& loop, std::string path,
                                                              base::Instant deadline) {
  Target target;
  target.text = "dial unix " + path;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) co_return dial_error(target, "connect", EINVAL);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  std::memcpy(&target.address, &address, sizeof address);
  target.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  Result<Socket> socket = co_await dial(loop, std::move(target), deadline);
  if (!socket.ok()) co_return socket.status();
  std::string peer = path;
  co_return make_socket_stream(loop, socket->release(), std::move(peer));
}

}  // namespace net
