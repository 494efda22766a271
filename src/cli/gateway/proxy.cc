#include "cli/gateway/proxy.h"

#include <algorithm>

#include "base/log.h"
#include "net/stream.h"
#include "net/sys.h"
#include "net/tls.h"

namespace cli::gateway {

using base::Code;
using base::Result;
using base::Status;

std::string Backend::address() const { return net::join_host_port(host, port); }

asio::awaitable<Result<net::Socket>> dial(asio::io_context& loop, net::Dns& dns, std::string host, uint16_t port,
                                          base::Instant deadline) {
  Result<std::vector<std::string>> addresses = co_await dns.host(host);
  if (!addresses.ok()) co_return Status(Code::kUnavailable, "dial tcp: " + std::string(addresses.status().text()));
  Status last;
  for (const std::string& address : *addresses) {
    Result<net::Socket> socket = co_await net::connect_socket(loop, address, port, deadline);
    if (socket.ok() || socket.status().code() == Code::kResourceExhausted) co_return std::move(socket);
    last = socket.status();
  }
  co_return last;
}

// --- Verifier ---------------------------------------------------------------------------------------------------------------

Verifier::Verifier(asio::io_context& loop, net::Dns& dns, std::shared_ptr<net::TlsPolicy> policy, std::string server_name)
    : loop_(loop), dns_(dns), policy_(std::move(policy)), server_name_(std::move(server_name)) {}

asio::awaitable<Status> Verifier::check(std::string host, uint16_t port) const {
  asio::steady_timer limit(loop_, kDialTimeout);
  Result<net::Socket> socket = co_await dial(loop_, dns_, host, port, limit.expiry());
  if (!socket.ok()) co_return socket.status();
  std::unique_ptr<net::Stream> below = net::make_socket_stream(loop_, socket->release(), host);
  const std::shared_ptr<const net::TlsMaterial> material = policy_->current();
  const std::shared_ptr<net::Stream> stream = net::make_tls_client(std::move(below), material->client(), server_name_);
  limit.async_wait([stream](const asio::error_code& error) {
    if (!error) stream->close();
  });
  Status shaken = co_await stream->handshake();
  limit.cancel();
  if (shaken.code() == Code::kCancelled) shaken = Status(Code::kUnavailable, "tls: handshake: i/o timeout");
  if (shaken.ok()) stream->shutdown_write();
  stream->close();
  co_return shaken;
}

// --- Proxy ------------------------------------------------------------------------------------------------------------------

namespace {

std::vector<Rank> ranks_of(const std::vector<Backend>& backends) {
  std::vector<Rank> ranks;
  for (const Backend& backend : backends) ranks.push_back(backend.rank);
  return ranks;
}

}  // namespace

Proxy::Proxy(asio::io_context& loop, const base::Clock& clock, net::Dns& dns, const Verifier& verifier,
             std::vector<Backend> backends, base::Duration retry_delay, uint64_t seed)
    : loop_(loop),
      clock_(clock),
      dns_(dns),
      verifier_(verifier),
      backends_(std::move(backends)),
      interval_(retry_delay == base::Duration::zero() ? kRetryDelayDefault : retry_delay),
      balancer_(ranks_of(backends_), seed),
      verified_at_(backends_.size()),
      relay_(loop, clock),
      dials_(loop),
      room_(loop),
      retry_timer_(loop),
      drain_timer_(loop) {}

void Proxy::start(std::unique_ptr<net::Listener> listener) {
  listener_ = std::move(listener);
  std::vector<std::string> addresses;
  for (const Backend& backend : backends_) addresses.push_back(backend.address());
  base::log::info("ready to proxy client requests", {{"endpoints", addresses}});
  net::spawn(loop_.get_executor(), "gateway accept", accept());
  net::spawn(loop_.get_executor(), "gateway monitor", monitor());
}

asio::awaitable<void> Proxy::accept() {
  for (;;) {
    while (dials_.inside() >= kDialsMax) co_await room_.wait();
    auto accepted = co_await listener_->accept_socket();
    if (!accepted.ok()) co_return;
    dials_.spawn(loop_.get_executor(), "gateway dial", serve(std::move(accepted->socket)));
  }
}

asio::awaitable<void> Proxy::serve(net::Socket client) {
  while (const std::optional<size_t> backend = balancer_.pick()) {
    Result<net::Socket> socket = co_await reach(*backend);
    if (socket.ok()) {
      const Status joined = relay_.join(std::move(client), std::move(*socket));
      if (!joined.ok()) base::log::warn("failed to proxy a connection", {{"error", joined}});
      break;
    }
    if (socket.status().code() == Code::kResourceExhausted) {  // Not the backend's fault.
      base::log::warn("failed to proxy a connection", {{"error", socket.status()}});
      break;
    }
    if (!balancer_.active(*backend)) continue;
    balancer_.set_active(*backend, false);
    base::log::warn("deactivated endpoint", {{"address", backends_[*backend].address()},
                                             base::log::Field::duration("interval", interval_.count()),
                                             {"error", socket.status()}});
  }
  room_.notify();
}

asio::awaitable<Result<net::Socket>> Proxy::reach(size_t backend) {
  const Backend& to = backends_[backend];
  const std::optional<base::Instant> verified_at = verified_at_[backend];
  if (verifier_.needed() && (!verified_at || clock_.now() - *verified_at > kVerifiedFor)) {
    const Status verified = co_await verifier_.check(to.host, to.port);
    if (!verified.ok()) co_return verified;
    verified_at_[backend] = clock_.now();
  }
  Result<net::Socket> socket = co_await dial(loop_, dns_, to.host, to.port, clock_.now() + kDialTimeout);
  co_return std::move(socket);
}

asio::awaitable<void> Proxy::monitor() {
  for (;;) {
    retry_timer_.expires_after(std::max<base::Duration>(interval_, kRetryDelayMin));
    const auto [stopped] = co_await retry_timer_.async_wait(net::kAwait);
    if (stopped || dials_.closed()) co_return;
    for (size_t i = 0; i < backends_.size(); ++i) {
      if (balancer_.active(i)) continue;
      co_await retry(i);
    }
  }
}

asio::awaitable<void> Proxy::retry(size_t backend) {
  const std::string address = backends_[backend].address();
  verified_at_[backend].reset();
  Result<net::Socket> socket = co_await reach(backend);
  if (socket.ok()) {
    balancer_.set_active(backend, true);
    base::log::info("activated", {{"address", address}});
  } else {
    base::log::warn(
        "failed to activate endpoint (stay inactive for another interval)",
        {{"address", address}, base::log::Field::duration("interval", interval_.count()), {"error", socket.status()}});
  }
}

asio::awaitable<void> Proxy::drain() {
  listener_->close();
  retry_timer_.cancel();
  dials_.close();
  const base::Instant begin = clock_.now();
  while (relay_.pairs() + dials_.inside() > 0 && clock_.now() - begin < kDrainMax) {
    drain_timer_.expires_after(kDrainQuiet / 4);
    (void)co_await drain_timer_.async_wait(net::kAwait);
    relay_.close_quiet(clock_.now() - kDrainQuiet);
  }
  if (relay_.pairs() > 0) {
    base::log::warn("connections that did not end in time are closed", {{"connections", relay_.pairs()}});
    relay_.close_quiet(base::Instant::max());
  }
}

}  // namespace cli::gateway
