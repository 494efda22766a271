// A listening socket. Out of descriptors it pauses, logs and goes on; it never spins. Owner: the loop's thread.
#pragma once

#include <asio.hpp>
#include <memory>
#include <string>

#include "base/status.h"
#include "net/socket.h"
#include "net/stream.h"

namespace net {

struct ListenOptions {
  bool reuse_port = false;
  bool reuse_address = true;
};

inline constexpr auto kAcceptPause = std::chrono::milliseconds(100);  // after EMFILE, ENFILE, ENOBUFS, ENOMEM

class Listener {
 public:
  // Host: an address, a name (the first IPv4 address wins, as in Go), or empty (all addresses, IPv4 and IPv6). Port 0: any.
  // Blocks for the name lookup. Errors as Go words them: "listen tcp 127.0.0.1:2379: bind: address already in use".
  static base::Result<std::unique_ptr<Listener>> tcp(asio::io_context& loop, const std::string& host, uint16_t port,
                                                     const ListenOptions& options = ListenOptions());
  // Removes a left-over socket file first, and its own at the end.
  static base::Result<std::unique_ptr<Listener>> unix_socket(asio::io_context& loop, const std::string& path);
  virtual ~Listener() = default;

  // The next connection, as a stream that belongs to `owner`. kCancelled after close().
  virtual asio::awaitable<base::Result<std::unique_ptr<Stream>>> accept(asio::io_context& owner) = 0;
  // The same before it is a stream: non-blocking, TCP_NODELAY and keepalive on.
  struct Accepted {
    Socket socket;
    std::string peer;
  };
  virtual asio::awaitable<base::Result<Accepted>> accept_socket() = 0;
  virtual void close() = 0;
  virtual uint16_t port() const = 0;        // 0 for unix sockets
  virtual std::string address() const = 0;  // "127.0.0.1:2379" or the path
};

}  // namespace net
