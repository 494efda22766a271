// The relay between real sockets on the loopback, driven by hand: no threads, no sleeping.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/rng.h"
#include "net/dns.h"
#include "net/relay.h"

namespace {

struct Clock final : base::Clock {
  base::Instant now() const override { return at; }
  int64_t unix_ns() const override { return 0; }
  base::Instant at{std::chrono::hours(1)};
};

// Both ends of a TCP connection.
std::pair<net::Socket, net::Socket> connection() {
  const net::Socket listener(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(listener.fd(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::listen(listener.fd(), 1) == 0);
  REQUIRE(::getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  net::Socket near(::socket(AF_INET, SOCK_STREAM, 0));
  REQUIRE(::connect(near.fd(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  net::Socket far(::accept(listener.fd(), nullptr, nullptr));
  for (const int fd : {near.fd(), far.fd()}) REQUIRE(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  return {std::move(near), std::move(far)};
}

struct Setup {
  Setup() {
    auto [client_end, client_far] = connection();
    auto [backend_end, backend_far] = connection();
    client = std::move(client_end);
    backend = std::move(backend_end);
    REQUIRE(relay.join(std::move(client_far), std::move(backend_far)).ok());
  }
  void turn() {
    loop.restart();
    loop.poll();
  }

  Clock clock;
  asio::io_context loop{1};
  net::Relay relay{loop, clock};
  net::Socket client, backend;
};

// Sends from one end and takes at the other until all has passed; the end is passed, too. What arrived.
std::string pass(Setup& setup, int from, int to, const std::string& bytes) {
  std::string got;
  size_t sent = 0;
  std::vector<char> buffer(200000);
  for (int idle = 0; idle < 100000; ++idle) {
    if (sent < bytes.size()) {
      const ssize_t n = ::send(from, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n > 0) sent += static_cast<size_t>(n);
      if (sent == bytes.size()) ::shutdown(from, SHUT_WR);
    }
    setup.turn();
    const ssize_t n = ::recv(to, buffer.data(), buffer.size(), 0);
    if (n == 0) return got;
    if (n > 0) got.append(buffer.data(), static_cast<size_t>(n));
  }
  return got + " and no end";
}

std::string noise(size_t size, uint64_t seed) {
  base::Rng rng(seed);
  std::string bytes(size, 0);
  for (char& c : bytes) c = static_cast<char>(rng.next());
  return bytes;
}

bool ended(int fd) {
  char byte = 0;
  const ssize_t n = ::recv(fd, &byte, 1, 0);
  return n == 0 || (n < 0 && errno != EAGAIN);
}

}  // namespace

TEST_CASE("relay: a little and a lot arrive whole, one way after the other ended") {
  for (const size_t size : {size_t{1}, size_t{65536}, size_t{20} << 20}) {
    CAPTURE(size);
    Setup setup;
    const std::string question = noise(size, 1), answer = noise(size, 2);
    CHECK(pass(setup, setup.client.fd(), setup.backend.fd(), question) == question);
    CHECK(setup.relay.pairs() == 1);
    CHECK(pass(setup, setup.backend.fd(), setup.client.fd(), answer) == answer);
    setup.turn();
    CHECK(setup.relay.pairs() == 0);
    CHECK(setup.relay.bytes_moved() == 2 * size);
    CHECK((setup.relay.bytes_spliced() > 0) == (size > (1 << 20)));
  }
}

TEST_CASE("relay: what nobody takes is not read") {
  Setup setup;
  const std::string piece(100000, 'x');
  size_t taken = 0;
  int refused = 0;
  while (refused < 100) {
    const ssize_t n = ::send(setup.client.fd(), piece.data(), piece.size(), MSG_NOSIGNAL);
    refused = n > 0 ? 0 : refused + 1;
    if (n > 0) taken += static_cast<size_t>(n);
    setup.turn();
  }
  CHECK(taken < (64u << 20));  // the kernel's buffers
  CHECK(setup.relay.pairs() == 1);
  setup.backend.close();
  for (int i = 0; i < 100 && setup.relay.pairs() > 0; ++i) setup.turn();
  CHECK(setup.relay.pairs() == 0);
  CHECK(ended(setup.client.fd()));
}

TEST_CASE("relay: a reset on one side ends the other") {
  Setup setup;
  const linger reset{1, 0};
  REQUIRE(::setsockopt(setup.backend.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
  setup.backend.close();
  for (int i = 0; i < 100 && setup.relay.pairs() > 0; ++i) setup.turn();
  CHECK(setup.relay.pairs() == 0);
  CHECK(ended(setup.client.fd()));
}

TEST_CASE("relay: the silent ones end when asked for") {
  Setup setup;
  int empty = 0;
  setup.relay.on_empty([&] { ++empty; });
  setup.turn();
  setup.clock.at += std::chrono::seconds(10);
  REQUIRE(::send(setup.client.fd(), "x", 1, 0) == 1);
  setup.turn();
  setup.relay.close_quiet(setup.clock.at - std::chrono::seconds(1));
  CHECK(setup.relay.pairs() == 1);
  setup.clock.at += std::chrono::seconds(10);
  setup.relay.close_quiet(setup.clock.at - std::chrono::seconds(1));
  CHECK(setup.relay.pairs() == 0);
  CHECK(empty == 1);
  CHECK(ended(setup.client.fd()));
  char byte = 0;
  CHECK(::recv(setup.backend.fd(), &byte, 1, 0) == 1);
  CHECK(ended(setup.backend.fd()));
}

TEST_CASE("dns: priorities in order, weights decide who is first how often") {
  base::Rng rng(5);
  int heavy_first = 0;
  for (int i = 0; i < 1000; ++i) {
    std::vector<net::SrvRecord> records{
        {"c.", 1, 9, 0}, {"heavy.", 1, 2, 90}, {"light.", 1, 2, 10}, {"a.", 1, 0, 0}, {"none.", 1, 2, 0}};
    net::order_by_priority(records, rng);
    REQUIRE(records.size() == 5);
    CHECK(records[0].target == "a.");
    CHECK(records[4].target == "c.");
    CHECK(records[3].target == "none.");
    heavy_first += records[1].target == "heavy.";
  }
  CHECK(heavy_first > 850);
  CHECK(heavy_first < 950);
  std::vector<net::SrvRecord> nothing;
  net::order_by_priority(nothing, rng);
  CHECK(nothing.empty());
}
