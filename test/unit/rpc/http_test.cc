// HTTP/1.1 beside gRPC on the same port, over pairs in memory; on one loop and on two.
#include <doctest/doctest.h>

#include <set>

#include "net/spawn.h"
#include "unit/rpc/test_client.h"

using rpc_test::World;

namespace {

// A client that speaks raw bytes.
struct Raw {
  Raw(World& w, rpc::Server& server, rpc::ServerOptions options = rpc::ServerOptions()) : world(w) {
    auto [left, right] = net::make_memory_pair(world.net_io(), 200000);
    server.serve(std::move(left), std::move(options));
    stream = std::move(right);
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const net::IoResult put = stream->try_write(bytes);
      if (put.state == net::IoState::kDone) bytes.remove_prefix(put.bytes);
      if (put.state == net::IoState::kFailed) return;
      turn();
    }
  }
  void turn() {
    world.turn();
    char buffer[65536];
    for (;;) {
      const net::IoResult got = stream->try_read(buffer, sizeof buffer);
      if (got.state == net::IoState::kEnd || got.state == net::IoState::kFailed) ended = true;
      if (got.state != net::IoState::kDone) return;
      received.append(buffer, got.bytes);
    }
  }
  template <class Until>
  bool pump(Until until) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!until()) {
      if (std::chrono::steady_clock::now() > end) return false;
      turn();
    }
    return true;
  }
  // Waits for `text`; what was received up to its end.
  bool expect(const std::string& text) {
    return pump([&] { return received.find(text) != std::string::npos; });
  }

  World& world;
  std::unique_ptr<net::Stream> stream;
  std::string received;
  bool ended = false;
};

void echo(const std::shared_ptr<rpc::HttpCall>& call) {
  rpc::HttpResponse response;
  response.headers.add("Content-Type", "text/plain");
  response.body = call->request().method + " " + call->request().target + " [" + call->request().body + "]";
  call->finish(std::move(response));
}

}  // namespace

TEST_CASE("http: requests on one connection, pipelined and chunked, are answered in order") {
  for (const bool split : {false, true}) {
    CAPTURE(split);
    World world(split);
    auto server = world.make_server();
    server->set_http_handler(echo);
    Raw raw(world, *server);
    raw.send(
        "GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyPOST /c HTTP/1.1\r\n"
        "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    REQUIRE(raw.expect("POST /c [abcde]"));
    const size_t a = raw.received.find("GET /a []"), b = raw.received.find("POST /b?c=d [body]");
    CHECK(a < b);
    CHECK(b < raw.received.size());
    CHECK(raw.received.find("Content-Length: 18\r\n") != std::string::npos);
    CHECK(raw.received.find("\r\nDate: ") != std::string::npos);
    CHECK_FALSE(raw.ended);
    raw.received.clear();
    raw.send("HEAD /h HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    REQUIRE(raw.pump([&] { return raw.ended; }));
    CHECK(raw.received.find("Content-Length: 10\r\n") != std::string::npos);
    CHECK(raw.received.substr(raw.received.size() - 4) == "\r\n\r\n");
    CHECK(world.pump([&] { return server->stats().connections == 0; }));
  }
}

TEST_CASE("http: a single byte at a time, and 100-continue") {
  World world;
  auto server = world.make_server();
  server->set_http_handler(echo);
  Raw raw(world, *server);
  const std::string head = "POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
  for (char c : head) {
    raw.send({&c, 1});
    raw.turn();
  }
  REQUIRE(raw.expect("HTTP/1.1 100 Continue\r\n\r\n"));
  raw.send("yes");
  REQUIRE(raw.expect("POST /x [yes]"));
}

TEST_CASE("http: a streamed answer comes in chunks, one write each, and waits for a slow client") {
  for (const bool split : {false, true}) {
    CAPTURE(split);
    World world(split);
    auto server = world.make_server();
    size_t written = 0;
    bool gone = false;
    auto stream = [](std::shared_ptr<rpc::HttpCall> call, size_t* count) -> asio::awaitable<void> {
      rpc::Metadata headers;
      headers.add("Content-Type", "application/json");
      call->begin(200, std::move(headers));
      for (int i = 0; i < 100; ++i) {
        const base::Status status = co_await call->write(std::string(20000, 'w'));
        if (!status.ok()) co_return;
        ++*count;
      }
      call->end();
    };
    server->set_http_handler([&](std::shared_ptr<rpc::HttpCall> call) {
      call->on_closed([&] { gone = true; });
      net::spawn(world.home.get_executor(), "stream", stream(std::move(call), &written));
    });
    Raw raw(world, *server);
    raw.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 200; ++i) world.turn();  // Not reading.
    CHECK(written < 50);
    SUBCASE("read to the end") {
      REQUIRE(raw.expect("0\r\n\r\n"));
      CHECK(written == 100);
      CHECK(raw.received.find("Transfer-Encoding: chunked") != std::string::npos);
      size_t chunks = 0;
      for (size_t at = 0; (at = raw.received.find("\r\n4e20\r\n", at)) != std::string::npos; ++at) ++chunks;
      CHECK(chunks == 100);
      raw.received.clear();
      raw.send("GET /s HTTP/1.1\r\nHost: x\r\n\r\n");
      CHECK(raw.expect("HTTP/1.1 200 OK"));  // The connection goes on.
    }
    SUBCASE("the client goes") {
      raw.stream->close();
      CHECK(world.pump([&] { return gone; }));
      CHECK(world.pump([&] { return server->stats().connections == 0; }));
      CHECK(written < 100);
    }
    world.turn();
  }
}

TEST_CASE("http: malformed and oversized requests get their status and a close") {
  struct Row {
    const char* what;
    std::string bytes;
    const char* status;
  };
  World world;
  auto server = world.make_server();
  server->set_http_handler(echo);
  rpc::ServerOptions options;
  options.http_body_bytes_max = 1000;
  const std::string long_line(70000, 'a');
  for (const Row& row : {Row{"garbage", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"},
                         Row{"length and chunked",
                             "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
                         Row{"body too large", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", "413"},
                         Row{"head too large", "GET / HTTP/1.1\r\nHost: x\r\nA: " + long_line + "\r\n\r\n", "431"}}) {
    CAPTURE(row.what);
    Raw raw(world, *server, options);
    raw.send(row.bytes);
    REQUIRE(raw.pump([&] { return raw.ended; }));
    CHECK(raw.received.substr(0, 12) == "HTTP/1.1 " + std::string(row.status));
  }
  CHECK(world.pump([&] { return server->stats().connections == 0; }));
}

TEST_CASE("http: a port may serve one protocol only; an unanswered call gets 500") {
  World world;
  auto server = world.make_server();
  server->add_unary("/t.T/Echo", [](rpc::UnaryCall call) { call.finish(std::string(call.request())); });
  server->set_http_handler([](const std::shared_ptr<rpc::HttpCall>&) {});
  rpc::ServerOptions grpc_only, http_only;
  grpc_only.serve_http = false;
  http_only.serve_grpc = false;
  Raw refused(world, *server, grpc_only);
  refused.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(refused.pump([&] { return refused.ended; }));
  CHECK(refused.received.empty());
  Raw no_grpc(world, *server, http_only);
  no_grpc.send(http2::kClientPreface);
  CHECK(no_grpc.pump([&] { return no_grpc.ended; }));
  Raw dropped(world, *server);
  dropped.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(dropped.expect("HTTP/1.1 500 "));
}

TEST_CASE("http: a stop lets the request under way finish and closes idle connections") {
  World world;
  auto server = world.make_server();
  std::shared_ptr<rpc::HttpCall> waiting;
  server->set_http_handler([&](std::shared_ptr<rpc::HttpCall> call) { waiting = std::move(call); });
  Raw idle(world, *server), busy(world, *server), silent(world, *server);
  busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE(busy.pump([&] { return waiting != nullptr; }));
  bool stopped = false;
  auto stop = [](rpc::Server& s, bool* out) -> asio::awaitable<void> {
    co_await s.stop(std::chrono::seconds(5));
    *out = true;
  };
  net::spawn(world.home.get_executor(), "stop", stop(*server, &stopped));
  CHECK(idle.pump([&] { return idle.ended; }));
  CHECK(silent.pump([&] { return silent.ended; }));
  CHECK_FALSE(stopped);
  rpc::HttpResponse response;
  response.body = "bye";
  waiting->finish(std::move(response));
  waiting.reset();
  CHECK(busy.expect("bye"));
  CHECK(busy.received.find("Connection: close") != std::string::npos);
  CHECK(busy.pump([&] { return stopped && busy.ended; }));
}
