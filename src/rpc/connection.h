// What gRPC and HTTP/1.1 connections have in common, and the core of a server that they see. A connection lives by
// shared_from_this of its coroutine, on its loop's thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "net/spawn.h"
#include "net/stream.h"
#include "rpc/net_loop.h"
#include "rpc/registry.h"
#include "rpc/server.h"

namespace rpc {

inline constexpr auto kHandshakeTimeout = std::chrono::seconds(10);  // TLS
inline constexpr size_t kOpeningsMax = 2048;  // of a loop, in a handshake or before their first bytes: then the oldest goes
inline constexpr auto kFirstBytesTimeout = std::chrono::seconds(60);  // the first request bytes
inline constexpr auto kWriteStallTimeout = std::chrono::seconds(60);  // a peer that takes nothing
inline constexpr auto kLingerTimeout = std::chrono::seconds(1);       // after our last byte, for the peer to close first
inline constexpr auto kDrainPingTimeout = std::chrono::seconds(5);    // between the two GOAWAYs
inline constexpr size_t kServerRequestBytesMax = 512 * 1024 * 1024;   // request bytes held by all calls of a server

// What streaming calls end with when the server stops.
inline const base::Status& server_stopped() {
  static const base::Status status(base::Code::kUnavailable, "etcdserver: server stopped");
  return status;
}

// Read-only for net loops but for the atomics.
struct ServerCore {
  Registry registry;
  HttpHandler http_handler;
  Server::CallObserver observer;                     // home only
  Server::MessageObserver message_observer;          // home only
  Server::SlowObserver slow_observer;                // home only
  base::Duration slow_from = base::Duration::max();  // home only; the time from which on slow_observer is called
  std::atomic<size_t> request_bytes{0};              // held by calls now
  std::atomic<bool> stopping{false};

  // Counts `bytes` of a request instead of the `held` ones of before. False: that takes the server over kServerRequestBytesMax
  // (and is counted all the same, until less is held).
  bool hold_request_bytes(size_t bytes, size_t& held) {
    const size_t more = bytes - held;  // modulo 2^64: fewer work too
    const size_t before = request_bytes.fetch_add(more, std::memory_order_relaxed);
    const bool over = bytes > held && before + more > kServerRequestBytesMax;
    held = bytes;
    return !over;
  }
};

// What all calls of a connection share; counted by the calls, so that it outlives the connection if they do. Owner thread.
struct PeerInfo {
  std::string address;
  std::string tls_common_name;
  size_t users = 1;

  static void release(PeerInfo* info) {
    if (info != nullptr && --info->users == 0) delete info;
  }
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  virtual ~Connection() = default;
  // Sends what is pending. Called at the end of a turn.
  virtual void flush() = 0;
  // Finish what is under way, take nothing new, then close.
  virtual void drain() = 0;
  // Close now.
  virtual void abort() = 0;

  bool dirty = false;  // in the loop's list
};

// Serves one accepted connection until it ends: TLS handshake, first bytes, then the right protocol. `tls` may be null.
asio::awaitable<void> serve_connection(std::shared_ptr<NetLoop> loop, std::shared_ptr<ServerCore> core,
                                       std::shared_ptr<const ServerOptions> options, std::unique_ptr<net::Stream> stream);

}  // namespace rpc
