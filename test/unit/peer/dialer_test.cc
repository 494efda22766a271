#include "peer/dialer.h"

#include <doctest/doctest.h>

#include "net/listener.h"
#include "net/spawn.h"

namespace {

using base::Status;

asio::awaitable<void> dial(peer::Dialer& dialer, std::string url, std::string* ours, Status* said) {
  const base::Instant deadline = base::RealClock().now() + std::chrono::seconds(30);
  std::optional<peer::PeerUrl> to = peer::parse_peer_url(url);
  auto stream = co_await dialer.dial(std::move(*to), deadline);
  if (stream.ok())
    *ours = (*stream)->local();
  else
    *said = stream.status();
}

asio::awaitable<void> accept(net::Listener& listener, asio::io_context& loop, std::string* theirs) {
  auto stream = co_await listener.accept(loop);
  if (stream.ok()) *theirs = (*stream)->peer();
}

}  // namespace

TEST_CASE("dialler: connections leave from the address that was set") {
  for (const std::string address : {"", "127.0.0.1", "127.0.0.77"}) {
    CAPTURE(address);
    asio::io_context io;
    auto listener = net::Listener::tcp(io, "127.0.0.1", 0);
    REQUIRE(listener.ok());
    peer::DialOptions options;
    options.local_address = address;
    const auto dialer = peer::make_dialer(io, std::move(options));
    std::string ours, theirs;
    Status said;
    net::spawn(io.get_executor(), "accept", accept(**listener, io, &theirs));
    net::spawn(io.get_executor(), "dial", dial(*dialer, "http://" + (*listener)->address(), &ours, &said));
    io.run();
    CHECK(said.ok());
    CHECK(ours == theirs);
    CHECK(theirs.starts_with((address.empty() ? "127.0.0.1" : address) + ":"));
  }
}

TEST_CASE("dialler: an address that is not ours is named") {
  asio::io_context io;
  peer::DialOptions options;
  options.local_address = "192.0.2.1";
  const auto dialer = peer::make_dialer(io, std::move(options));
  std::string ours;
  Status said;
  net::spawn(io.get_executor(), "dial", dial(*dialer, "http://127.0.0.1:1", &ours, &said));
  io.run();
  CHECK(said.text() == "dial tcp 192.0.2.1:0->127.0.0.1:1: bind: cannot assign requested address");
}
