// A byte stream: TCP, unix socket, TLS or a pair in memory behind one non-blocking face. Readiness style (wait, then try) so
// that thousands of idle connections share one read buffer. Owner: the thread of the loop the stream was made on.
#pragma once

#include <asio.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/status.h"

namespace net {

enum class IoState { kDone, kBlocked, kEnd, kFailed };

struct IoResult {
  IoState state = IoState::kBlocked;
  size_t bytes = 0;  // > 0 when kDone
};

// What a TLS handshake showed of the other side, for reports.
struct TlsPeer {
  std::string server_name;  // asked for by the client
  bool has_certificate = false;
  std::vector<std::string> ip_addresses, dns_names;  // of the certificate
};

class Stream {
 public:
  virtual ~Stream() = default;

  // TLS: exchanges handshake messages until done (peer checked as the context says). Others: ok at once.
  virtual asio::awaitable<base::Status> handshake();

  // Never blocks. kDone: 1..size_max bytes were read. kEnd: the peer has finished sending. kFailed: see error().
  virtual IoResult try_read(char* to, size_t size_max) = 0;
  // Never blocks. kDone: the first `bytes` bytes were taken (maybe not all).
  virtual IoResult try_write(std::string_view bytes) = 0;
  // Wait until the matching try_... may give something other than kBlocked (it may still be kBlocked: wait again).
  // kCancelled once close() was called. One waiter each way.
  virtual asio::awaitable<base::Status> readable() = 0;
  virtual asio::awaitable<base::Status> writable() = 0;

  // Tells the peer that nothing more will come (TLS: close_notify too). Reading goes on.
  virtual void shutdown_write() = 0;
  // Idempotent. Ends both waits.
  virtual void close() = 0;
  virtual bool closed() const = 0;

  // Why the last try_... said kFailed; kUnavailable with Go's text ("connection reset by peer").
  virtual base::Status error() const = 0;
  // "127.0.0.1:39412", "[::1]:4", "@" for a client without a name on a unix socket, "memory".
  virtual const std::string& peer() const = 0;
  // The same of our side; empty where there is none. A system call: for reports.
  virtual std::string local() const { return {}; }
  // Of a TLS peer's verified certificate, and what ALPN chose; empty without.
  virtual std::string tls_common_name() const { return {}; }
  virtual std::string alpn() const { return {}; }
  virtual TlsPeer tls_peer() const { return {}; }
  virtual bool is_tls() const { return false; }
  // TCP only: the kernel gives up on unacknowledged data after this (TCP_USER_TIMEOUT).
  virtual void set_unacked_timeout(base::Duration) {}
  // TCP only: a connection whose other end's kernel gives no sign of life is at an end after this, whole seconds, at least 2.
  // Silence of the program there is none of its business.
  virtual void set_dead_after(base::Duration) {}

  // For code that is not the hot path. kOutOfRange "EOF" at the end of the stream.
  asio::awaitable<base::Result<size_t>> read_some(char* to, size_t size_max);
  asio::awaitable<base::Status> write_all(std::string_view bytes);
};

// `to` may be a numeric address or a name. Tries each address until one connects or `deadline` passes. TCP_NODELAY and
// keepalive are on. `from`: a numeric address of ours; empty: the kernel chooses. Errors as Go words them: "dial tcp
// 127.0.0.1:1: connect: connection refused".
asio::awaitable<base::Result<std::unique_ptr<Stream>>> connect_tcp(asio::io_context& loop, std::string host, uint16_t port,
                                                                   base::Instant deadline, std::string from = {});
asio::awaitable<base::Result<std::unique_ptr<Stream>>> connect_unix(asio::io_context& loop, std::string path,
                                                                    base::Instant deadline);

// Takes over a connected stream socket (TCP or unix); makes it non-blocking.
std::unique_ptr<Stream> make_socket_stream(asio::io_context& loop, int fd, std::string peer);

// Two connected ends in memory on one loop; each direction holds at most `capacity` bytes.
std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> make_memory_pair(asio::io_context& loop, size_t capacity);

}  // namespace net
