#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/rng.h"
#include "net/listener.h"
#include "net/resolve.h"
#include "net/spawn.h"
#include "net/stream.h"
#include "net/timer_queue.h"
#include "net/tls.h"
#include "net/wake.h"

namespace {

using StreamPtr = std::unique_ptr<net::Stream>;

asio::awaitable<void> echo(StreamPtr stream) {
  const base::Status shaken = co_await stream->handshake();
  CHECK(shaken.ok());
  char buffer[40000];
  for (;;) {
    const auto got = co_await stream->read_some(buffer, sizeof buffer);
    if (!got.ok()) break;
    const std::string_view piece(buffer, *got);
    const base::Status written = co_await stream->write_all(piece);
    CHECK(written.ok());
  }
  stream->shutdown_write();
  stream->close();
}

asio::awaitable<void> send_all(net::Stream& stream, const std::string& text) {
  const base::Status written = co_await stream.write_all(text);
  CHECK(written.ok());
  stream.shutdown_write();
}

// Sends `text` while reading it back.
asio::awaitable<void> expect_echo(asio::io_context& io, StreamPtr stream, std::string text, bool* done) {
  const base::Status shaken = co_await stream->handshake();
  CHECK_MESSAGE(shaken.ok(), shaken.to_string());
  net::Gate gate(io);
  gate.spawn(io.get_executor(), "sender", send_all(*stream, text));
  std::string back;
  char buffer[10000];
  for (;;) {
    const auto got = co_await stream->read_some(buffer, sizeof buffer);
    if (!got.ok()) break;
    back.append(buffer, *got);
  }
  gate.close();
  co_await gate.wait();
  CHECK(back == text);
  *done = true;
}

std::string noise(size_t size) {
  std::string out(size, '\0');
  uint64_t x = 88172645463325252ull;
  for (char& c : out) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    c = static_cast<char>(x);
  }
  return out;
}

// A key and a certificate for "localhost", signed by itself; `names`: its alternative names, none if empty.
void make_certificate(asio::ssl::context& server, asio::ssl::context& client, const std::string& names = "DNS:localhost") {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  if (!names.empty()) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(certificate, key, EVP_sha256());
  SSL_CTX_use_certificate(server.native_handle(), certificate);
  SSL_CTX_use_PrivateKey(server.native_handle(), key);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(client.native_handle()), certificate);
  client.set_verify_mode(asio::ssl::verify_peer);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

struct TestClock final : base::Clock {
  base::Instant now() const override { return at; }
  int64_t unix_ns() const override { return 0; }
  base::Instant at{};
};

}  // namespace

TEST_CASE("net: bytes come back whole through memory, TCP, a unix socket and TLS") {
  asio::io_context io;
  const std::string text = noise(700000);
  bool done = false;
  SUBCASE("memory") {
    auto [left, right] = net::make_memory_pair(io, 1000);
    net::spawn(io.get_executor(), "echo", echo(std::move(left)));
    net::spawn(io.get_executor(), "client", expect_echo(io, std::move(right), text, &done));
    io.run();
  }
  SUBCASE("TLS over memory") {
    asio::ssl::context server(asio::ssl::context::tls_server), client(asio::ssl::context::tls_client);
    make_certificate(server, client);
    net::set_alpn_server(server, false);
    net::set_alpn_client(client);
    auto [left, right] = net::make_memory_pair(io, 3000);
    net::spawn(io.get_executor(), "echo", echo(net::make_tls_server(std::move(left), server)));
    StreamPtr tls = net::make_tls_client(std::move(right), client, "localhost");
    net::Stream* raw = tls.get();
    net::spawn(io.get_executor(), "client", expect_echo(io, std::move(tls), text, &done));
    while (!done && raw->alpn().empty()) io.run_one();
    if (!done) {
      CHECK(raw->alpn() == "h2");
      CHECK(raw->tls_common_name() == "localhost");
    }
    io.run();
  }
  SUBCASE("sockets") {
    for (const bool unix_socket : {false, true}) {
      const std::string path = "/tmp/net_test_" + std::to_string(getpid()) + ".sock";
      auto listener = unix_socket ? net::Listener::unix_socket(io, path) : net::Listener::tcp(io, "localhost", 0);
      REQUIRE(listener.ok());
      net::Listener& listening = **listener;
      auto serve = [](asio::io_context& loop, net::Listener& from) -> asio::awaitable<void> {
        auto accepted = co_await from.accept(loop);
        if (!accepted.ok()) co_return;
        co_await echo(std::move(*accepted));
      };
      auto dial = [](asio::io_context& loop, uint16_t port, std::string where, std::string what,
                     bool* end) -> asio::awaitable<void> {
        const base::Instant deadline = base::RealClock().now() + std::chrono::seconds(5);
        StreamPtr connected;
        if (where.empty()) {
          auto stream = co_await net::connect_tcp(loop, "localhost", port, deadline);
          if (stream.ok()) connected = std::move(*stream);
        } else {
          auto stream = co_await net::connect_unix(loop, where, deadline);
          if (stream.ok()) connected = std::move(*stream);
        }
        CHECK(connected);
        if (connected) co_await expect_echo(loop, std::move(connected), what, end);
      };
      done = false;
      net::spawn(io.get_executor(), "server", serve(io, listening));
      net::spawn(io.get_executor(), "client", dial(io, listening.port(), unix_socket ? path : "", text, &done));
      io.restart();
      io.run();
      CHECK(done);
    }
  }
  CHECK(done);
}

TEST_CASE("net: a certificate for another name is refused, and the client says why as Go does") {
  struct Row {
    const char* names;
    const char* asked;
    const char* said;  // null: let in
  };
  for (const Row& row :
       {Row{"DNS:localhost", "localhost", nullptr}, Row{"IP:127.0.0.1", "127.0.0.1", nullptr},
        Row{"DNS:*.example.org", "a.example.org", nullptr},
        Row{"DNS:a.org,DNS:b.org", "elsewhere", "x509: certificate is valid for a.org, b.org, not elsewhere"},
        Row{"DNS:a*.example.org", "ab.example.org", "x509: certificate is valid for a*.example.org, not ab.example.org"},
        Row{"IP:127.0.0.1,IP:::1", "192.0.2.1", "x509: certificate is valid for 127.0.0.1, ::1, not 192.0.2.1"},
        Row{"DNS:localhost", "192.0.2.1",
            "x509: cannot validate certificate for 192.0.2.1 because it doesn't contain any IP SANs"},
        Row{"", "localhost", "x509: certificate relies on legacy Common Name field, use SANs instead"},
        Row{"", "elsewhere", "x509: certificate is not valid for any names, but wanted to match elsewhere"}}) {
    CAPTURE(row.names);
    CAPTURE(row.asked);
    asio::io_context io;
    asio::ssl::context server(asio::ssl::context::tls_server), client(asio::ssl::context::tls_client);
    make_certificate(server, client, row.names);
    auto [left, right] = net::make_memory_pair(io, 3000);
    base::Status server_said, client_said;
    auto shake = [](StreamPtr stream, base::Status* said) -> asio::awaitable<void> {
      *said = co_await stream->handshake();
      stream->close();
    };
    net::spawn(io.get_executor(), "server", shake(net::make_tls_server(std::move(left), server), &server_said));
    net::spawn(io.get_executor(), "client", shake(net::make_tls_client(std::move(right), client, row.asked), &client_said));
    io.run();
    CHECK(client_said.ok() == (row.said == nullptr));
    if (row.said == nullptr) continue;
    CHECK_FALSE(server_said.ok());
    CHECK(client_said.text() == "tls: failed to verify certificate: " + std::string(row.said));
  }
}

TEST_CASE("net: refused connections and taken ports say what Go says") {
  asio::io_context io;
  auto first = net::Listener::tcp(io, "127.0.0.1", 0);
  REQUIRE(first.ok());
  const std::string port = std::to_string((*first)->port());
  const auto second = net::Listener::tcp(io, "127.0.0.1", (*first)->port());
  REQUIRE_FALSE(second.ok());
  CHECK(second.status().text() == "listen tcp 127.0.0.1:" + port + ": bind: address already in use");
  const uint16_t free_port = (*first)->port();
  (*first)->close();
  base::Status said;
  auto dial = [](asio::io_context& loop, uint16_t to, base::Status* out) -> asio::awaitable<void> {
    auto stream = co_await net::connect_tcp(loop, "127.0.0.1", to, base::RealClock().now() + std::chrono::seconds(5));
    *out = stream.ok() ? base::Status() : stream.status();
  };
  net::spawn(io.get_executor(), "dial", dial(io, free_port, &said));
  io.run();
  CHECK(said.text() == "dial tcp 127.0.0.1:" + port + ": connect: connection refused");
}

TEST_CASE("net: out of descriptors, the listener pauses and takes the connection later") {
  asio::io_context io;
  auto listener = net::Listener::tcp(io, "127.0.0.1", 0);
  REQUIRE(listener.ok());
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  asio::ip::tcp::endpoint to(asio::ip::address_v4::loopback(), (*listener)->port());
  REQUIRE(::connect(client, to.data(), static_cast<socklen_t>(to.size())) == 0);
  rlimit old{};
  getrlimit(RLIMIT_NOFILE, &old);
  rlimit none = old;
  none.rlim_cur = 0;
  bool accepted = false;
  auto accept = [](asio::io_context& loop, net::Listener& from, bool* out) -> asio::awaitable<void> {
    auto stream = co_await from.accept(loop);
    *out = stream.ok();
  };
  net::spawn(io.get_executor(), "accept", accept(io, **listener, &accepted));
  setrlimit(RLIMIT_NOFILE, &none);
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
  size_t turns = 0;
  while (std::chrono::steady_clock::now() < until) turns += io.run_one_for(std::chrono::milliseconds(50));
  CHECK_FALSE(accepted);
  CHECK(turns < 20);  // No spinning.
  setrlimit(RLIMIT_NOFILE, &old);
  io.run_for(std::chrono::seconds(1));
  CHECK(accepted);
  ::close(client);
}

TEST_CASE("net: what comes between a short read and the wait for more is seen by the wait") {
  asio::io_context io;
  auto listener = net::Listener::tcp(io, "127.0.0.1", 0);
  REQUIRE(listener.ok());
  auto talk = [](asio::io_context& loop, net::Listener& from, std::string* said) -> asio::awaitable<void> {
    auto client = co_await net::connect_tcp(loop, "127.0.0.1", from.port(), base::Instant::max());
    auto server = co_await from.accept(loop);
    REQUIRE(client.ok());
    REQUIRE(server.ok());
    char buffer[100];
    for (const std::string_view text : {"one ", "two ", "three"}) {
      CHECK((*client)->try_write(text).state == net::IoState::kDone);
      if (text == "three") (*client)->close();
      auto got = (*server)->try_read(buffer, sizeof buffer);
      while (got.state == net::IoState::kBlocked) {
        const base::Status ready = co_await (*server)->readable();
        REQUIRE(ready.ok());
        got = (*server)->try_read(buffer, sizeof buffer);
      }
      REQUIRE(got.state == net::IoState::kDone);
      said->append(buffer, got.bytes);
    }
    const base::Status ready = co_await (*server)->readable();
    CHECK(ready.ok());
    CHECK((*server)->try_read(buffer, sizeof buffer).state == net::IoState::kEnd);
  };
  std::string said;
  net::spawn(io.get_executor(), "talk", talk(io, **listener, &said));
  io.run_for(std::chrono::seconds(20));
  CHECK(said == "one two three");
}

TEST_CASE("net: closing a stream ends its waits") {
  asio::io_context io;
  auto [left, right] = net::make_memory_pair(io, 10);
  base::Status said;
  auto wait = [](net::Stream& stream, base::Status* out) -> asio::awaitable<void> { *out = co_await stream.readable(); };
  net::spawn(io.get_executor(), "wait", wait(*left, &said));
  io.poll();
  left->close();
  io.restart();
  io.poll();
  CHECK(said.code() == base::Code::kCancelled);
  CHECK(right->try_write("x").state == net::IoState::kFailed);
  char c;
  CHECK(right->try_read(&c, 1).state == net::IoState::kEnd);
}

TEST_CASE("net: timers fire in order, can be moved and taken back") {
  asio::io_context io;
  TestClock clock;
  net::TimerQueue queue(io, clock);
  static std::vector<int> fired;
  fired.clear();
  struct Entry {
    explicit Entry(int n) : number(n), timer([](void* self) { fired.push_back(static_cast<Entry*>(self)->number); }, this) {}
    int number;
    net::Timer timer;
  };
  std::vector<std::unique_ptr<Entry>> entries;
  std::vector<int> expected;
  for (int i = 0; i < 200; ++i) {
    entries.push_back(std::make_unique<Entry>(i));
    queue.arm(entries.back()->timer, base::Instant(std::chrono::seconds(1 + (i * 7919) % 211)));
  }
  for (int i = 0; i < 200; i += 3) queue.disarm(entries[i]->timer);
  for (int i = 0; i < 200; i += 5) queue.arm(entries[i]->timer, base::Instant(std::chrono::seconds(300 + i)));
  for (int second = 0; second < 600; ++second) {
    for (int i = 0; i < 200; ++i) {
      const int when = i % 5 == 0 ? 300 + i : 1 + (i * 7919) % 211;
      if (when == second && (i % 5 == 0 || i % 3 != 0)) expected.push_back(i);
    }
    clock.at = base::Instant(std::chrono::seconds(second));
    queue.run_due();
    CHECK(fired.size() == expected.size());
  }
  CHECK(fired == expected);
  CHECK(queue.size() == 0);
}

TEST_CASE("net: a wake-up before the wait is remembered, and a gate waits for all inside") {
  asio::io_context io;
  net::Wake wake(io);
  net::Gate gate(io);
  int passed = 0;
  auto sleeper = [](net::Wake& w, int* count) -> asio::awaitable<void> {
    co_await w.wait();
    ++*count;
    co_await w.wait();
    ++*count;
  };
  wake.notify();
  CHECK(gate.spawn(io.get_executor(), "sleeper", sleeper(wake, &passed)));
  io.poll();
  CHECK(passed == 1);
  gate.close();
  CHECK_FALSE(gate.spawn(io.get_executor(), "late", sleeper(wake, &passed)));
  bool open = false;
  auto waiter = [](net::Gate& g, bool* out) -> asio::awaitable<void> {
    co_await g.wait();
    *out = true;
  };
  net::spawn(io.get_executor(), "waiter", waiter(gate, &open));
  io.poll();
  CHECK_FALSE(open);
  wake.notify();
  io.poll();
  CHECK(passed == 2);
  CHECK(open);
}
