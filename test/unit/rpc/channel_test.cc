// The client channel against our own server, and against scripted HTTP/2 peers that misbehave. Loopback ports chosen by the
// kernel.
#include "rpc/channel.h"

#include <doctest/doctest.h>

#include <functional>

#include "http2/session.h"
#include "net/listener.h"
#include "net/spawn.h"
#include "rpc/server.h"

namespace rpc {
namespace {

using base::Code;
using base::Result;
using base::Status;
using namespace std::chrono_literals;

constexpr auto kPatience = 10s;  // a test that takes longer has failed

// Runs the loop until `done`.
void run_until(asio::io_context& loop, const std::function<bool()>& done) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  loop.restart();
  while (!done() && std::chrono::steady_clock::now() < give_up) loop.run_one_for(100ms);
  REQUIRE(done());
}

template <class T>
asio::awaitable<void> keep(asio::awaitable<T> work, std::optional<T>* result) {
  *result = co_await std::move(work);
}

template <class T>
T wait_for(asio::io_context& loop, asio::awaitable<T> work) {
  std::optional<T> result;
  net::spawn(loop.get_executor(), "test", keep(std::move(work), &result));
  run_until(loop, [&] { return result.has_value(); });
  return std::move(*result);
}

asio::awaitable<Status> echo_stream(std::shared_ptr<ServerStream> stream) {
  for (;;) {
    auto message = co_await stream->read();
    if (!message.ok()) co_return message.status();
    if (!*message) co_return Status();
    if (**message == "stop") co_return Status(Code::kAborted, "stopped: 100%");
    Status written = co_await stream->write(std::move(**message));
    if (!written.ok()) co_return written;
  }
}

asio::awaitable<Status> flood_stream(std::shared_ptr<ServerStream> stream) {
  for (int i = 0; i < 40; ++i) {
    std::string message(100 * 1024, static_cast<char>('a' + i % 26));
    Status written = co_await stream->write(std::move(message));
    if (!written.ok()) co_return written;
  }
  co_return Status();
}

class Fixture {
 public:
  Fixture() : server(loop, {}, clock, server_options()) {
    server.add_unary("/t.T/Echo", [](UnaryCall call) { call.finish(std::string(call.request())); });
    server.add_unary("/t.T/Fail", [](UnaryCall call) { call.finish(Status(Code::kNotFound, "caf\xc3\xa9: 100%\n")); });
    server.add_unary("/t.T/Hang", [this](UnaryCall call) { hanging.push_back(std::move(call)); });
    server.add_unary("/t.T/Token", [](UnaryCall call) {
      call.finish(std::string(call.context().metadata->find("token")) + "/" +
                  std::string(call.context().metadata->find("x-bin")));
    });
    server.add_stream("/t.T/EchoStream", echo_stream);
    server.add_stream("/t.T/Flood", flood_stream);
    REQUIRE(server.listen_tcp("127.0.0.1", 0, server_options()).ok());
  }
  ~Fixture() {
    hanging.clear();
    (void)wait_for(loop, stop());
  }

  static ServerOptions server_options() {
    ServerOptions options;
    options.message_bytes_max = 8 * 1024 * 1024;
    return options;
  }
  asio::awaitable<bool> stop() {
    co_await server.stop(0s);
    co_return true;
  }
  ChannelOptions options() {
    ChannelOptions out;
    out.endpoints = {"127.0.0.1:" + std::to_string(server.local_port())};
    return out;
  }
  CallOptions within(base::Duration time) {
    CallOptions out;
    out.deadline = clock.now() + time;
    return out;
  }

  asio::io_context loop{1};
  base::RealClock clock;
  std::vector<UnaryCall> hanging;
  Server server;
};

TEST_CASE("channel: unary calls and their errors") {
  Fixture f;
  Channel channel(f.loop, f.clock, f.options());
  CHECK(wait_for(f.loop, channel.connect()).ok());
  CHECK(*wait_for(f.loop, channel.unary("/t.T/Echo", "hello", {})) == "hello");
  CHECK(wait_for(f.loop, channel.unary("/t.T/Echo", "", {}))->empty());
  const std::string big(1900000, 'x');
  CHECK(*wait_for(f.loop, channel.unary("/t.T/Echo", big, {})) == big);
  CHECK(wait_for(f.loop, channel.unary("/t.T/Fail", "", {})).status() == Status(Code::kNotFound, "caf\xc3\xa9: 100%\n"));
  CHECK(wait_for(f.loop, channel.unary("/t.T/Nope", "", {})).status() ==
        Status(Code::kUnimplemented, "unknown method Nope for service t.T"));
  CHECK(wait_for(f.loop, channel.unary("/t.T/Echo", std::string(3000000, 'x'), {})).status() ==
        Status(Code::kResourceExhausted, "trying to send message larger than max (3000000 vs. 2097152)"));
  CHECK(wait_for(f.loop, channel.unary("/t.T/Hang", "", f.within(30ms))).status() ==
        Status(Code::kDeadlineExceeded, "context deadline exceeded"));
  CHECK(wait_for(f.loop, channel.unary("/t.T/Echo", "", f.within(-1s))).status().code() == Code::kDeadlineExceeded);
  CallOptions with_token;
  with_token.metadata.add("token", "abc");
  with_token.metadata.add("x-bin", std::string("\0\xff", 2));
  CHECK(*wait_for(f.loop, channel.unary("/t.T/Token", "", with_token)) == std::string("abc/\0\xff", 6));
}

TEST_CASE("channel: a receive limit of the client") {
  Fixture f;
  ChannelOptions options = f.options();
  options.message_bytes_max = 1000;
  Channel channel(f.loop, f.clock, options);
  CHECK(wait_for(f.loop, channel.unary("/t.T/Echo", std::string(1001, 'x'), {})).status() ==
        Status(Code::kResourceExhausted, "grpc: received message larger than max (1001 vs. 1000)"));
  CHECK(wait_for(f.loop, channel.unary("/t.T/Echo", std::string(1000, 'x'), {})).ok());
}

TEST_CASE("channel: ten thousand calls at once, each answered once, in callbacks that start more") {
  Fixture f;
  Channel channel(f.loop, f.clock, f.options());
  constexpr int kCalls = 10000;
  int started = 0, answered = 0, wrong = 0;
  std::function<void()> start = [&] {
    const std::string request = std::to_string(started++);
    channel.unary("/t.T/Echo", request, {}, [&, request](Result<std::string> result) {
      ++answered;
      if (!result.ok() || *result != request) ++wrong;
      if (started < kCalls) start();
    });
  };
  for (int i = 0; i < 500; ++i) start();
  run_until(f.loop, [&] { return answered == kCalls; });
  CHECK(wrong == 0);
  CHECK(f.server.stats().connections == 1);
}

asio::awaitable<std::string> talk(Channel* channel) {
  CallOptions none;
  auto stream = co_await channel->stream("/t.T/EchoStream", none);
  if (!stream.ok()) co_return stream.status().to_string();
  std::string told;
  const std::string large(700000, 'x');  // beyond every window
  for (const std::string& message : {std::string("a"), large, std::string()}) {
    std::string copy = message;
    Status written = co_await (*stream)->write(std::move(copy));
    if (!written.ok()) co_return written.to_string();
    auto back = co_await (*stream)->read();
    if (!back.ok() || !*back || **back != message) co_return "wrong echo";
    told += std::to_string(message.size()) + " ";
  }
  std::string last = "stop";
  Status written = co_await (*stream)->write(std::move(last));
  if (!written.ok()) co_return written.to_string();
  auto end = co_await (*stream)->read();
  told += end.ok() ? "no status" : end.status().to_string();
  std::string more = "x";
  written = co_await (*stream)->write(std::move(more));
  co_return told + " then " + written.to_string();
}

asio::awaitable<size_t> read_slowly(Channel* channel) {
  CallOptions none;
  auto stream = co_await channel->stream("/t.T/Flood", none);
  if (!stream.ok()) co_return 0;
  (*stream)->half_close();
  size_t bytes = 0;
  for (;;) {
    auto message = co_await (*stream)->read();
    if (!message.ok() || !*message) co_return message.ok() ? bytes : 0;
    bytes += (*message)->size();
  }
}

asio::awaitable<std::string> cancel_and_read(Channel* channel) {
  CallOptions none;
  auto stream = co_await channel->stream("/t.T/EchoStream", none);
  if (!stream.ok()) co_return stream.status().to_string();
  (*stream)->cancel();
  auto end = co_await (*stream)->read();
  co_return end.ok() ? "no status" : end.status().to_string();
}

TEST_CASE("channel: streams") {
  Fixture f;
  Channel channel(f.loop, f.clock, f.options());
  CHECK(wait_for(f.loop, talk(&channel)) == "1 700000 0 Aborted: stopped: 100% then Aborted: stopped: 100%");
  CHECK(wait_for(f.loop, read_slowly(&channel)) == 40 * 100 * 1024);
  CHECK(wait_for(f.loop, cancel_and_read(&channel)) == "Canceled: context canceled");
}

TEST_CASE("channel: nobody listens") {
  asio::io_context loop{1};
  base::RealClock clock;
  ChannelOptions options;
  options.endpoints = {"127.0.0.1:1"};
  options.dial_timeout = 100ms;
  Channel channel(loop, clock, options);
  const std::string refused =
      "connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused\"";
  CHECK(wait_for(loop, channel.unary("/t.T/Echo", "", {})).status() == Status(Code::kUnavailable, refused));
  CallOptions patient;
  patient.wait_for_ready = true;
  patient.deadline = clock.now() + 50ms;
  CHECK(wait_for(loop, channel.unary("/t.T/Echo", "", patient)).status() ==
        Status(Code::kDeadlineExceeded, "latest balancer error: " + refused));
  CHECK(wait_for(loop, channel.connect()) == Status(Code::kDeadlineExceeded, "context deadline exceeded"));
  CHECK(wait_for(loop, channel.stream("/t.T/Echo", {})).status() == Status(Code::kUnavailable, refused));
}

TEST_CASE("channel: endpoints that cannot be") {
  asio::io_context loop{1};
  base::RealClock clock;
  ChannelOptions options;
  CHECK(wait_for(loop, Channel(loop, clock, options).unary("/t.T/Echo", "", {})).status().text() ==
        "etcdclient: no available endpoints");
  options.endpoints = {"localhost"};
  CHECK(wait_for(loop, Channel(loop, clock, options).unary("/t.T/Echo", "", {})).status().text() ==
        "connection error: desc = \"transport: Error while dialing: dial tcp: address localhost: missing port in address\"");
  options.endpoints = {"https://127.0.0.1:1"};
  CHECK(wait_for(loop, Channel(loop, clock, options).unary("/t.T/Echo", "", {})).status().text().find("TLS") !=
        std::string::npos);
}

TEST_CASE("channel: a dead endpoint among live ones costs nothing; changed endpoints are used") {
  Fixture f;
  Fixture g;
  ChannelOptions options = f.options();
  options.endpoints.insert(options.endpoints.begin(), "127.0.0.1:1");
  Channel channel(f.loop, f.clock, options);
  for (int i = 0; i < 10; ++i) CHECK(wait_for(f.loop, channel.unary("/t.T/Echo", "x", {})).ok());
  channel.set_endpoints({"127.0.0.1:2"});
  CHECK(wait_for(f.loop, channel.unary("/t.T/Echo", "x", {})).status().code() == Code::kUnavailable);
  channel.set_endpoints(f.options().endpoints);
  CHECK(wait_for(f.loop, channel.unary("/t.T/Echo", "x", {})).ok());
}

TEST_CASE("channel: close finishes what is under way, once") {
  Fixture f;
  auto channel = std::make_unique<Channel>(f.loop, f.clock, f.options());
  int done = 0;
  Status last;
  channel->unary("/t.T/Hang", "", {}, [&](Result<std::string> result) {
    ++done;
    last = result.status();
  });
  run_until(f.loop, [&] { return f.hanging.size() == 1; });
  channel.reset();
  run_until(f.loop, [&] { return done > 0; });
  CHECK(last == Status(Code::kCancelled, "grpc: the client connection is closing"));
  f.loop.restart();
  f.loop.poll();
  CHECK(done == 1);
}

// A peer that takes connections and does what its script says with each request.
class ScriptedServer final : public http2::Events {
 public:
  enum class Act { kAnswer, kRefuse, kReset, kGoaway, kCut, kForeign };

  explicit ScriptedServer(asio::io_context& loop) : loop_(loop) {
    auto made = net::Listener::tcp(loop, "127.0.0.1", 0);
    REQUIRE(made.ok());
    listener_ = std::move(*made);
    net::spawn(loop.get_executor(), "scripted server", serve());
  }
  uint16_t port() const { return listener_->port(); }
  void close() {
    listener_->close();
    if (stream_ != nullptr) stream_->close();
  }
  bool ended() const { return ended_; }

  std::vector<Act> script;  // one act a request; the last one is repeated
  int requests = 0;
  int connections = 0;

  void* on_stream_begin(http2::StreamId id) override {
    last_id_ = id;
    return this;
  }
  void on_header(void*, std::string_view, std::string_view) override {}
  void on_headers_end(void*, http2::HeadersKind, bool) override {}
  void on_data(void*, std::string_view data) override { session_->consumed(last_id_, data.size()); }
  void on_end_stream(void*) override {
    const Act act = script[std::min(static_cast<size_t>(requests++), script.size() - 1)];
    const http2::Header ok[] = {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "0"}};
    const http2::Header web[] = {{":status", "502"}};
    switch (act) {
      case Act::kAnswer:
        session_->submit_response(last_id_, ok, nullptr);
        break;
      case Act::kForeign:
        session_->submit_response(last_id_, web, nullptr);
        break;
      case Act::kRefuse:
        session_->reset(last_id_, http2::ErrorCode::kRefusedStream);
        break;
      case Act::kReset:
        session_->reset(last_id_, http2::ErrorCode::kInternalError);
        break;
      case Act::kGoaway:  // and the request is none of those that will be served
        session_->reset(last_id_, http2::ErrorCode::kRefusedStream);
        session_->goaway(http2::ErrorCode::kNoError, "bye");
        break;
      case Act::kCut:
        cut_ = true;
        break;
    }
  }
  void on_stream_close(void*, http2::ErrorCode) override {}

 private:
  asio::awaitable<void> serve() {
    for (;;) {
      auto accepted = co_await listener_->accept(loop_);
      if (!accepted.ok()) break;
      ++connections;
      stream_ = std::move(*accepted);
      co_await serve_one();
      stream_->close();
    }
    ended_ = true;
  }
  asio::awaitable<void> serve_one() {
    http2::SessionOptions options;
    session_ = std::make_unique<http2::Session>(http2::Role::kServer, *this, options);
    cut_ = false;
    char buffer[16384];
    for (;;) {
      std::string out;
      session_->drain(out, 1 << 20);
      Status written = co_await stream_->write_all(out);
      if (!written.ok() || session_->finished()) co_return;
      auto got = co_await stream_->read_some(buffer, sizeof buffer);
      if (!got.ok()) co_return;
      Status fed = session_->feed(std::string_view(buffer, *got), base::RealClock().now());
      if (!fed.ok() || cut_) co_return;
    }
  }

  asio::io_context& loop_;
  std::unique_ptr<net::Listener> listener_;
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<http2::Session> session_;
  http2::StreamId last_id_ = 0;
  bool cut_ = false;
  bool ended_ = false;
};

TEST_CASE("channel: peers that refuse, reset, leave and break") {
  using Act = ScriptedServer::Act;
  const char* const kNothing = "cardinality violation: received no response message from non-server-streaming RPC";
  struct Row {
    const char* rule;
    std::vector<Act> script;
    Code code;
    const char* text;
    int requests;
  };
  const Row rows[] = {
      {"answered without a message", {Act::kAnswer}, Code::kInternal, kNothing, 1},
      {"refused once: tried again", {Act::kRefuse, Act::kAnswer}, Code::kInternal, kNothing, 2},
      {"refused twice: told",
       {Act::kRefuse},
       Code::kUnavailable,
       "stream terminated by RST_STREAM with error code: REFUSED_STREAM",
       2},
      {"reset: told", {Act::kReset}, Code::kInternal, "stream terminated by RST_STREAM with error code: INTERNAL_ERROR", 1},
      {"goodbye: tried again on a new connection", {Act::kGoaway, Act::kAnswer}, Code::kInternal, kNothing, 2},
      {"cut: told, for the server may have worked on it", {Act::kCut}, Code::kUnavailable, "error reading from server: EOF", 1},
      {"a proxy",
       {Act::kForeign},
       Code::kUnavailable,
       "unexpected HTTP status code received from server: 502 (Bad Gateway); malformed header: missing HTTP content-type",
       1},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    asio::io_context loop{1};
    base::RealClock clock;
    ScriptedServer server(loop);
    server.script = row.script;
    ChannelOptions options;
    options.endpoints = {"127.0.0.1:" + std::to_string(server.port())};
    Channel channel(loop, clock, options);
    CallOptions patient;
    patient.wait_for_ready = true;
    CHECK(wait_for(loop, channel.unary("/t.T/X", "request", patient)).status() == Status(row.code, row.text));
    CHECK(server.requests == row.requests);
    channel.close();
    server.close();
    run_until(loop, [&] { return server.ended(); });
  }
}

}  // namespace
}  // namespace rpc
