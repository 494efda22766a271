// The client side: one logical connection to a cluster. Keeps HTTP/2 connections to its endpoints, reconnects with backoff
// (1 s x 1.6, 20 % jitter, at most 120 s, as grpc-go), moves to the next endpoint when one fails. Owner: the loop given.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "rpc/metadata.h"

namespace asio::ssl {
class context;
}

namespace rpc {

struct ChannelOptions {
  // "127.0.0.1:2379", "http://host:port", "https://host:port", "unix:///path", "unixs:///path".
  std::vector<std::string> endpoints;
  std::chrono::nanoseconds dial_timeout = std::chrono::seconds(2);
  std::chrono::nanoseconds keepalive_time{0};  // 0: no pings
  std::chrono::nanoseconds keepalive_timeout = std::chrono::seconds(6);
  size_t message_bytes_max = 0x7fffffff;    // receive limit
  size_t send_bytes_max = 2 * 1024 * 1024;  // etcd's client default
  // Null: clear text, and an https endpoint fails. The channel sets ALPN and, by tls_insecure_skip_verify, verification on it.
  std::shared_ptr<asio::ssl::context> tls;
  std::string tls_server_name;  // empty: the endpoint's host
  bool tls_insecure_skip_verify = false;
  std::string user_agent = "grpc-go/1.82.1";
};

// The connection a call ran on, for those who report about it. Empty texts: the call never had one.
struct CallPeer {
  std::string remote;  // "127.0.0.1:2379"; unix sockets: the path
  std::string local;
  bool tls = false;
};

struct CallOptions {
  // Sent as grpc-timeout and kept here too: kDeadlineExceeded "context deadline exceeded". While no connection could be had
  // the text is "latest balancer error: ..." with what went wrong.
  std::optional<base::Instant> deadline;
  Metadata metadata;
  std::shared_ptr<CallPeer> peer;  // filled in before the call is done, unless null
  bool wait_for_ready = false;     // false: kUnavailable at once when no connection can be had (after one dial round)
};

// A streaming call. Destroying it resets the stream.
class ClientStream {
 public:
  virtual ~ClientStream() = default;
  virtual asio::awaitable<base::Status> write(std::string message) = 0;  // waits for flow control
  virtual void half_close() = 0;
  // The next message; nullopt at the end with status ok; else the status from the trailers.
  virtual asio::awaitable<base::Result<std::optional<std::string>>> read() = 0;
  virtual void cancel() = 0;
};

class Channel {
 public:
  Channel(asio::io_context& loop, const base::Clock& clock, ChannelOptions options);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  using UnaryDone = std::function<void(base::Result<std::string>)>;
  // Calls `done` exactly once, from the loop. No coroutine inside: for load generators.
  void unary(std::string_view path, std::string request, CallOptions options, UnaryDone done);
  asio::awaitable<base::Result<std::string>> unary(std::string_view path, std::string request, CallOptions options);
  asio::awaitable<base::Result<std::unique_ptr<ClientStream>>> stream(std::string_view path, CallOptions options);

  // Opens the first connection now. kDeadlineExceeded after dial_timeout.
  asio::awaitable<base::Status> connect();
  void set_endpoints(std::vector<std::string> endpoints);
  void close();

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace rpc
