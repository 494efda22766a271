// How connections to other members are opened: where they listen, with which certificates, from which address of ours.
// Owner: one loop. Source: etcd client/pkg/transport (NewTransport, TLSInfo.ClientConfig).
#pragma once

#include <asio.hpp>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "net/stream.h"
#include "net/tls_policy.h"
#include "peer/handshake.h"

namespace peer {

inline constexpr auto kHandshakeTimeout = std::chrono::seconds(10);  // TLS

struct DialOptions {
  std::shared_ptr<net::TlsPolicy> tls;  // null: https fails. Its files are looked at for each connection
  std::string local_address;            // a number; empty: the kernel chooses. Not for unix sockets
};

class Dialer {
 public:
  virtual ~Dialer() = default;
  // Connected, but TLS has still to be shaken hands on: Stream::handshake(). Errors as Go words them.
  virtual asio::awaitable<base::Result<std::unique_ptr<net::Stream>>> dial(PeerUrl url, base::Instant deadline) = 0;
};
// `loop` outlives it.
std::unique_ptr<Dialer> make_dialer(asio::io_context& loop, DialOptions options);

}  // namespace peer
