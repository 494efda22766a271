// The gateway at work: takes connections, finds each a backend that answers, hands both to the relay; looks after backends that
// did not answer; lets connections end when it is told to stop. Owner: the loop's thread. Source of behaviour: etcd
// server/proxy/tcpproxy, whose log lines these are.
#pragma once

#include <asio.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/gateway/balancer.h"
#include "net/dns.h"
#include "net/listener.h"
#include "net/relay.h"
#include "net/spawn.h"
#include "net/tls_policy.h"

namespace cli::gateway {

inline constexpr auto kDialTimeout = std::chrono::seconds(5);  // of a backend, name and TLS check included
inline constexpr size_t kDialsMax = 1024;                      // at once; more clients wait to be accepted
inline constexpr auto kRetryDelayDefault = std::chrono::minutes(5);
inline constexpr auto kRetryDelayMin = std::chrono::milliseconds(10);
inline constexpr auto kDrainQuiet = std::chrono::seconds(1);  // after the signal silent connections end
inline constexpr auto kDrainMax = std::chrono::seconds(10);   // and then all
inline constexpr auto kVerifiedFor = std::chrono::seconds(1);

struct Backend {
  std::string host;
  uint16_t port = 0;
  Rank rank;

  std::string address() const;  // "host:port"
};

// What a backend's certificate must be; checked on a connection of our own, since what clients say passes unread.
class Verifier {
 public:
  // Null policy: no check.
  Verifier(asio::io_context& loop, net::Dns& dns, std::shared_ptr<net::TlsPolicy> policy, std::string server_name);
  // Connects and shakes hands. Errors, in Go's words: of dialing ("dial tcp 1.2.3.4:5: connect: connection refused"), of TLS.
  asio::awaitable<base::Status> check(std::string host, uint16_t port) const;
  bool needed() const { return policy_ != nullptr; }

 private:
  asio::io_context& loop_;
  net::Dns& dns_;
  const std::shared_ptr<net::TlsPolicy> policy_;
  const std::string server_name_;
};

// Tries each address of the host.
asio::awaitable<base::Result<net::Socket>> dial(asio::io_context& loop, net::Dns& dns, std::string host, uint16_t port,
                                                base::Instant deadline);

class Proxy {
 public:
  // The references must outlive it, and it the loop's run.
  Proxy(asio::io_context& loop, const base::Clock& clock, net::Dns& dns, const Verifier& verifier,
        std::vector<Backend> backends, base::Duration retry_delay, uint64_t seed);

  void start(std::unique_ptr<net::Listener> listener);
  // Takes no more connections; returns when those there are have ended (kDrainQuiet, kDrainMax).
  asio::awaitable<void> drain();
  const net::Relay& relay() const { return relay_; }

 private:
  asio::awaitable<void> accept();
  asio::awaitable<void> serve(net::Socket client);
  asio::awaitable<base::Result<net::Socket>> reach(size_t backend);
  asio::awaitable<void> monitor();
  asio::awaitable<void> retry(size_t backend);

  asio::io_context& loop_;
  const base::Clock& clock_;
  net::Dns& dns_;
  const Verifier& verifier_;
  const std::vector<Backend> backends_;
  const base::Duration interval_;  // as the log has it
  Balancer balancer_;
  std::vector<std::optional<base::Instant>> verified_at_;
  net::Relay relay_;
  std::unique_ptr<net::Listener> listener_;
  net::Gate dials_;
  net::Wake room_;  // for one more dial
  asio::steady_timer retry_timer_, drain_timer_;
};

}  // namespace cli::gateway
