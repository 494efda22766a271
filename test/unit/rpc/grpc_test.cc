// gRPC on the server: calls, refusals, framing, deadlines, streams, limits, the end. Each runs on one loop and on two.
#include <doctest/doctest.h>
#include <zlib.h>

#include "net/spawn.h"
#include "net/wake.h"
#include "rpc/grpc_text.h"
#include "unit/rpc/test_client.h"

using rpc_test::Client;
using rpc_test::framed;
using rpc_test::Reply;
using rpc_test::World;

namespace {

std::string gzip(const std::string& text) {
  z_stream z{};
  deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

void add_echo(rpc::Server& server) {
  server.add_unary("/t.T/Echo", [](rpc::UnaryCall call) { call.finish(std::string(call.request())); });
}

// Answers `size` bytes; counts what it has produced.
class Counting final : public rpc::ChunkSource {
 public:
  Counting(uint64_t size, uint64_t* produced, uint64_t fail_at = UINT64_MAX)
      : size_(size), produced_(produced), fail_at_(fail_at) {}
  uint64_t size() const override { return size_; }
  void next(size_t max, Done done) override {
    if (*produced_ >= fail_at_) return done(base::Status(base::Code::kDataLoss, "source broke"));
    const auto n = static_cast<size_t>(std::min<uint64_t>(max, size_ - *produced_));
    *produced_ += n;
    done(std::string(n, 'c'));
  }

 private:
  uint64_t size_;
  uint64_t* produced_;
  uint64_t fail_at_;
};

asio::awaitable<base::Status> echo_stream(std::shared_ptr<rpc::ServerStream> stream) {
  for (;;) {
    auto message = co_await stream->read();
    if (!message.ok()) co_return message.status();
    if (!message->has_value()) co_return base::Status();
    base::Status written = co_await stream->write(std::move(**message));
    if (!written.ok()) co_return written;
  }
}

}  // namespace

TEST_CASE("rpc: a unary call carries request, metadata, deadline and answer") {
  for (const bool split : {false, true}) {
    CAPTURE(split);
    World world(split);
    auto server = world.make_server();
    std::vector<std::pair<std::string, std::string>> seen;
    std::optional<base::Instant> deadline;
    std::string path, peer;
    server->add_unary("/t.T/Echo", [&](rpc::UnaryCall call) {
      seen = call.context().metadata->copy();
      deadline = call.context().deadline;
      path = call.context().path;
      peer = call.context().peer;
      call.finish("re: " + std::string(call.request()));
    });
    std::vector<std::string> observed;
    server->set_call_observer([&](std::string_view p, bool streaming, std::optional<base::Code> ended, base::Duration took) {
      CHECK((ended ? took.count() > 0 : took.count() == 0));
      observed.push_back(std::string(p) + (streaming ? " stream" : " unary") +
                         (ended ? " " + std::string(base::code_name(*ended)) : ""));
    });
    auto client = Client::connect(world, *server);
    Reply& reply =
        client->finish("/t.T/Echo", framed("hello"),
                       {{"token", "secret"}, {"x-bin", "Zm9vMQ"}, {"grpc-timeout", "30S"}, {"grpc-trace-bin", "AA"}});
    CHECK(reply.messages == std::vector<std::string>{"re: hello"});
    CHECK(reply.field(":status") == "200");
    CHECK(reply.field("content-type") == "application/grpc");
    CHECK(reply.field("grpc-status") == "0");
    CHECK(reply.error == http2::ErrorCode::kNoError);
    const std::vector<std::pair<std::string, std::string>> expected = {
        {"user-agent", "test/1"}, {"token", "secret"}, {"x-bin", "foo1"}};
    CHECK(seen == expected);
    CHECK(path == "/t.T/Echo");
    CHECK(peer == "memory");
    REQUIRE(deadline.has_value());
    CHECK(*deadline - world.clock.now() > std::chrono::seconds(25));
    CHECK(observed == std::vector<std::string>{"/t.T/Echo unary", "/t.T/Echo unary OK"});
    CHECK(server->stats().streams == 1);
    CHECK(client->finish("/t.T/Echo", framed("")).messages.size() == 1);  // An empty message is a message.
  }
}

TEST_CASE("rpc: many calls on one connection are answered each with its own, whatever the order") {
  for (const bool split : {false, true}) {
    World world(split);
    auto server = world.make_server();
    std::vector<rpc::UnaryCall> waiting;
    server->add_unary("/t.T/Wait", [&](rpc::UnaryCall call) { waiting.push_back(std::move(call)); });
    auto client = Client::connect(world, *server);
    std::vector<http2::StreamId> ids;
    for (int round = 0; round < 3; ++round) {
      ids.clear();
      for (int i = 0; i < 300; ++i) ids.push_back(client->call("/t.T/Wait", framed("r" + std::to_string(i))));
      REQUIRE(client->pump([&] { return waiting.size() == 300; }));
      while (!waiting.empty()) {  // Last first.
        std::string answer(waiting.back().request());
        waiting.back().finish(std::move(answer));
        waiting.pop_back();
      }
      REQUIRE(client->pump([&] { return client->reply(ids.front()).closed && client->reply(ids.back()).closed; }));
      for (int i = 0; i < 300; ++i) {
        REQUIRE(client->reply(ids[i]).messages.size() == 1);
        CHECK(client->reply(ids[i]).messages[0] == "r" + std::to_string(i));
      }
    }
  }
}

TEST_CASE("rpc: refusals before a handler runs are grpc-go's, word for word") {
  struct Row {
    const char* what;
    std::string path;
    std::string body;
    Client::Fields fields;
    const char *status, *code, *text;
  };
  World world;
  auto server = world.make_server();
  add_echo(*server);
  auto client = Client::connect(world, *server);
  const std::string ok = framed("x"), path = "/t.T/Echo";
  for (const Row& row : std::vector<Row>{
           {"content type",
            path,
            ok,
            {{"content-type", "text/plain"}},
            "415",
            "3",
            "invalid gRPC request content-type \"text/plain\""},
           {"no content type", path, ok, {{"content-type", "(omit)"}}, "415", "3", "invalid gRPC request content-type \"\""},
           {"nearly",
            path,
            ok,
            {{"content-type", "application/grpcx"}},
            "415",
            "3",
            "invalid gRPC request content-type \"application/grpcx\""},
           {"GET",
            path,
            ok,
            {{":method", "GET"}},
            "405",
            "13",
            "Received a HEADERS frame with :method \"GET\" which should be POST"},
           {"timeout unit",
            path,
            ok,
            {{"grpc-timeout", "5x"}},
            "400",
            "13",
            "malformed grpc-timeout: transport: timeout unit is not recognized: \"5x\""},
           {"timeout short",
            path,
            ok,
            {{"grpc-timeout", "5"}},
            "400",
            "13",
            "malformed grpc-timeout: transport: timeout string is too short: \"5\""},
           {"timeout long",
            path,
            ok,
            {{"grpc-timeout", "123456789S"}},
            "400",
            "13",
            "malformed grpc-timeout: transport: timeout string is too long: \"123456789S\""},
           {"timeout number",
            path,
            ok,
            {{"grpc-timeout", "-1S"}},
            "400",
            "13",
            "malformed grpc-timeout: strconv.ParseUint: parsing \"-1\": invalid syntax"},
           {"timeout zero", path, ok, {{"grpc-timeout", "0n"}}, "200", "4", "context deadline exceeded"},
           {"binary",
            path,
            ok,
            {{"a-bin", "ab*"}},
            "400",
            "13",
            "malformed binary metadata \"ab*\" in header \"a-bin\": illegal base64 data at input byte 2"},
           {"service", "/a.B/C", ok, {}, "200", "12", "unknown service a.B"},
           {"method", "/t.T/Nope", ok, {}, "200", "12", "unknown method Nope for service t.T"},
           {"malformed", "/nope", ok, {}, "200", "12", "malformed method name: \"/nope\""},
           {"encoding",
            path,
            ok,
            {{"grpc-encoding", "snappy"}},
            "200",
            "12",
            "grpc: Decompressor is not installed for grpc-encoding \"snappy\""},
           {"no message", path, "", {}, "200", "2", "EOF"},
           {"cut prefix", path, ok.substr(0, 3), {}, "200", "2", "EOF"},
           {"cut message", path, framed("12345").substr(0, 7), {}, "200", "2", "unexpected EOF"},
           {"too large",
            path,
            std::string("\0\0\x20\0\1", 5),
            {},
            "200",
            "8",
            "grpc: received message larger than max (2097153 vs. 2097152)"},
           {"flag without encoding",
            path,
            framed("x", true),
            {},
            "200",
            "13",
            "grpc: compressed flag set with identity or empty encoding"},
           {"strange flag", path, std::string("\7\0\0\0\0", 5), {}, "200", "13", "grpc: received unexpected payload format 7"},
           {"not gzip",
            path,
            framed("0123456789abc", true),
            {{"grpc-encoding", "gzip"}},
            "200",
            "13",
            "grpc: failed to decompress the message: gzip: invalid header"},
           {"cut gzip",
            path,
            framed(gzip("hello").substr(0, 15), true),
            {{"grpc-encoding", "gzip"}},
            "200",
            "13",
            "grpc: failed to read decompressed data: unexpected EOF"},
           {"gzip bomb",
            path,
            framed(gzip(std::string(3000000, 'a')), true),
            {{"grpc-encoding", "gzip"}},
            "200",
            "8",
            "grpc: received message after decompression larger than max 2097152"},
       }) {
    CAPTURE(row.what);
    const Reply& reply = client->finish(row.path, row.body, row.fields);
    CHECK(reply.field(":status") == row.status);
    CHECK(reply.field("grpc-status") == row.code);
    CHECK(reply.field("grpc-message") == row.text);
    CHECK(reply.field("content-type") == "application/grpc");
    CHECK(reply.blocks == 1);
  }
  // And what is let through although odd.
  CHECK(client->finish(path, ok + ok).messages.size() == 1);
  CHECK(client->finish(path, framed(gzip("hello"), true), {{"grpc-encoding", "gzip"}}).messages ==
        std::vector<std::string>{"hello"});
  CHECK(client->finish(path, ok, {{"content-type", "application/grpc;charset=utf-8"}}).field("content-type") ==
        "application/grpc+charset=utf-8");
  CHECK(client->finish(path, ok, {{"content-type", "Application/GRPC+proto"}}).field("content-type") ==
        "application/grpc+proto");
}

TEST_CASE("rpc: errors travel as trailers-only with their text encoded; a dropped call is an error") {
  for (const bool split : {false, true}) {
    World world(split);
    auto server = world.make_server();
    server->add_unary("/t.T/Fail",
                      [](rpc::UnaryCall call) { call.finish(base::Status(base::Code::kOutOfRange, "100% \xc3\xa9\n\xff")); });
    server->add_unary("/t.T/Drop", [](rpc::UnaryCall) {});
    auto client = Client::connect(world, *server);
    const Reply& fail = client->finish("/t.T/Fail", framed("x"));
    CHECK(fail.blocks == 1);
    CHECK(fail.field("grpc-status") == "11");
    CHECK(fail.field("grpc-message") == "100%25 %C3%A9%0A%EF%BF%BD");
    CHECK(client->finish("/t.T/Drop", framed("x")).field("grpc-status") == "13");
  }
}

TEST_CASE("rpc: a unary handler runs when its message is complete, before the client half-closes") {
  World world;
  auto server = world.make_server();
  add_echo(*server);
  auto client = Client::connect(world, *server);
  const auto id = client->call("/t.T/Echo", framed("now"), {}, /*open=*/true);
  REQUIRE(client->pump([&] { return client->reply(id).closed; }));
  CHECK(client->reply(id).messages == std::vector<std::string>{"now"});
  CHECK(client->reply(id).field("grpc-status") == "0");
  CHECK(client->reply(id).error == http2::ErrorCode::kNoError);
}

TEST_CASE("rpc: a passed deadline and a reset end the call, and the late answer goes nowhere") {
  for (const bool split : {false, true}) {
    CAPTURE(split);
    World world(split);
    auto server = world.make_server();
    std::vector<rpc::UnaryCall> waiting;
    server->add_unary("/t.T/Wait", [&](rpc::UnaryCall call) { waiting.push_back(std::move(call)); });
    auto client = Client::connect(world, *server);
    const auto late = client->call("/t.T/Wait", framed("a"), {{"grpc-timeout", "30m"}});
    const auto gone = client->call("/t.T/Wait", framed("b"));
    REQUIRE(client->pump([&] { return waiting.size() == 2; }));
    CHECK_FALSE(waiting[1].cancelled());
    client->session().reset(gone, http2::ErrorCode::kCancel);
    REQUIRE(client->pump([&] { return client->reply(late).closed && waiting[1].cancelled(); }));
    CHECK(client->reply(late).error == http2::ErrorCode::kCancel);
    CHECK(waiting[0].cancelled());
    CHECK(waiting[0].request() == "a");  // Still there for its handler.
    for (auto& call : waiting) call.finish(std::string("too late"));
    waiting.clear();
    const auto next = client->call("/t.T/Wait", framed("c"));
    REQUIRE(client->pump([&] { return waiting.size() == 1; }));
    CHECK_FALSE(waiting[0].cancelled());
    waiting[0].finish(std::string("in time"));
    REQUIRE(client->pump([&] { return client->reply(next).closed; }));
    CHECK(client->reply(next).messages == std::vector<std::string>{"in time"});
    CHECK(client->reply(late).messages.empty());
  }
}

TEST_CASE("rpc: a big answer is produced only as the client takes it") {
  for (const bool split : {false, true}) {
    CAPTURE(split);
    World world(split);
    auto server = world.make_server();
    constexpr uint64_t kSize = 20000000;
    uint64_t produced = 0, fail_at = UINT64_MAX;
    server->add_unary("/t.T/Big", [&](rpc::UnaryCall call) {
      call.finish(std::unique_ptr<rpc::ChunkSource>(std::make_unique<Counting>(kSize, &produced, fail_at)));
    });
    auto client = Client::connect(world, *server);
    SUBCASE("whole") {
      const Reply& reply = client->finish("/t.T/Big", framed("x"));
      REQUIRE(reply.messages.size() == 1);
      CHECK(reply.messages[0].size() == kSize);
      CHECK(reply.field("grpc-status") == "0");
    }
    SUBCASE("a client that stops reading holds back the source; its end releases it") {
      client->give_credit = false;
      const auto id = client->call("/t.T/Big", framed("x"));
      REQUIRE(client->pump([&] { return client->reply(id).data_bytes >= http2::kStreamWindowBytes; }));
      for (int i = 0; i < 100; ++i) client->turn();
      CHECK(produced < 1000000);
      client.reset();
      world.pump([&] { return server->stats().connections == 0; });
      CHECK(server->stats().connections == 0);
    }
    SUBCASE("an error in the middle ends the stream with its status") {
      fail_at = 1000000;
      const Reply& reply = client->finish("/t.T/Big", framed("x"));
      CHECK(reply.messages.empty());
      CHECK(reply.field("grpc-status") == "15");
      CHECK(reply.field("grpc-message") == "source broke");
    }
  }
}

TEST_CASE("rpc: messages go both ways on a stream, large ones too, until the client half-closes") {
  for (const bool split : {false, true}) {
    CAPTURE(split);
    World world(split);
    auto server = world.make_server();
    server->add_stream("/t.T/Chat", echo_stream);
    auto client = Client::connect(world, *server);
    const std::string large(1900000, 'L');
    const auto id = client->call("/t.T/Chat", framed("one") + framed(""), {}, true);
    REQUIRE(client->pump([&] { return client->reply(id).messages.size() == 2; }));
    client->send(id, framed(large));
    REQUIRE(client->pump([&] { return client->reply(id).messages.size() == 3; }));
    CHECK(client->reply(id).messages == std::vector<std::string>{"one", "", large});
    std::string many;
    for (int i = 0; i < 2000; ++i) many += framed("m" + std::to_string(i));
    client->send(id, many, /*open=*/false);
    REQUIRE(client->pump([&] { return client->reply(id).closed; }));
    CHECK(client->reply(id).messages.size() == 2003);
    CHECK(client->reply(id).messages.back() == "m1999");
    CHECK(client->reply(id).field("grpc-status") == "0");
  }
}

TEST_CASE("rpc: a stream's writer waits for a slow client, and learns when it drains or goes") {
  for (const bool split : {false, true}) {
    CAPTURE(split);
    World world(split);
    auto server = world.make_server();
    std::shared_ptr<rpc::ServerStream> stream;
    size_t written = 0;
    base::Status last;
    bool returned = false;
    server->add_stream("/t.T/Push", [&](std::shared_ptr<rpc::ServerStream> s) -> asio::awaitable<base::Status> {
      stream = s;
      for (;;) {
        last = co_await s->write(std::string(10000, 'p'));
        if (!last.ok()) break;
        ++written;
      }
      returned = true;
      co_return last;
    });
    auto client = Client::connect(world, *server);
    client->give_credit = false;
    const auto id = client->call("/t.T/Push", "", {}, true);
    REQUIRE(client->pump([&] { return client->reply(id).data_bytes >= http2::kStreamWindowBytes; }));
    for (int i = 0; i < 200; ++i) client->turn();
    const size_t stalled = written;
    CHECK(stalled * 10000 < http2::kStreamWindowBytes + rpc::kStreamQueuedBytesMax + 300000);
    CHECK(stream->queued_bytes() > rpc::kStreamQueuedBytesMax);
    bool drained = false, closed = false;
    stream->on_drained([&] { drained = true; });
    stream->on_closed([&] { closed = true; });
    client->session().consumed(id, http2::kStreamWindowBytes);
    REQUIRE(client->pump([&] { return written > stalled; }));
    SUBCASE("reset") { client->session().reset(id, http2::ErrorCode::kCancel); }
    SUBCASE("lost") { client.reset(); }
    REQUIRE(world.pump([&] {
      if (client) client->turn();
      return returned;
    }));
    CHECK(last.code() == base::Code::kCancelled);
    CHECK(closed);
    CHECK(stream->closed());
    CHECK_FALSE(stream->try_write("x", nullptr));
    bool at_once = false;
    stream->on_closed([&] { at_once = true; });
    CHECK(at_once);
    (void)drained;
    stream.reset();
    world.turn();
  }
}

TEST_CASE("rpc: one message is shared by many streams") {
  World world;
  auto server = world.make_server();
  std::vector<std::shared_ptr<rpc::ServerStream>> streams;
  server->add_stream("/t.T/Watch", [&](std::shared_ptr<rpc::ServerStream> s) -> asio::awaitable<base::Status> {
    streams.push_back(s);
    auto end = co_await s->read();
    co_return end.ok() ? base::Status() : end.status();
  });
  auto client = Client::connect(world, *server);
  std::vector<http2::StreamId> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(client->call("/t.T/Watch", "", {}, true));
  REQUIRE(client->pump([&] { return streams.size() == 10; }));
  const auto shared = std::make_shared<const std::string>(50000, 's');
  bool drained = false;
  streams[0]->on_drained([&] { drained = true; });
  for (int round = 0; round < 8; ++round) {
    for (auto& stream : streams) CHECK(stream->try_write("id" + std::to_string(round), shared));
  }
  CHECK(streams[0]->queued_bytes() > rpc::kStreamQueuedBytesMax);
  REQUIRE(
      client->pump([&] { return client->reply(ids[9]).messages.size() == 8 && client->reply(ids[0]).messages.size() == 8; }));
  for (const auto id : ids) CHECK(client->reply(id).messages[7] == "id7" + *shared);
  CHECK(drained);
  CHECK(streams[0]->queued_bytes() == 0);
  CHECK(shared.use_count() == 1);
  for (const auto id : ids) client->send(id, "", false);
  REQUIRE(client->pump([&] { return client->reply(ids[9]).closed; }));
  CHECK(client->reply(ids[9]).field("grpc-status") == "0");
}

TEST_CASE("rpc: a handler that does not read holds the client at the stream's window") {
  World world;
  auto server = world.make_server();
  std::shared_ptr<rpc::ServerStream> stream;
  net::Wake go(world.home);
  size_t messages = 0;
  server->add_stream("/t.T/Slow", [&](std::shared_ptr<rpc::ServerStream> s) -> asio::awaitable<base::Status> {
    co_await go.wait();
    for (;;) {
      auto message = co_await s->read();
      if (!message.ok()) co_return message.status();
      if (!message->has_value()) co_return base::Status();
      ++messages;
    }
  });
  auto client = Client::connect(world, *server);
  std::string many;
  for (int i = 0; i < 2000; ++i) many += framed(std::string(1000, 'u'));
  const auto id = client->call("/t.T/Slow", many);
  for (int i = 0; i < 500; ++i) client->turn();
  CHECK(server->stats().bytes_received < http2::kStreamWindowBytes + 10000);
  go.notify();
  REQUIRE(client->pump([&] { return client->reply(id).closed; }));
  CHECK(messages == 2000);
  CHECK(client->reply(id).field("grpc-status") == "0");
}

TEST_CASE("rpc: more large requests than may be held at once are served one after the other") {
  World world;
  auto server = world.make_server();
  size_t served = 0;
  server->add_unary("/t.T/Len", [&](rpc::UnaryCall call) {
    ++served;
    call.finish(std::to_string(call.request().size()));
  });
  auto client = Client::connect(world, *server);
  std::vector<http2::StreamId> ids;
  for (int i = 0; i < 60; ++i) ids.push_back(client->call("/t.T/Len", framed(std::string(2000000, 'q'))));
  REQUIRE(client->pump([&] { return served == 60; }, std::chrono::seconds(60)));
  REQUIRE(client->pump([&] { return client->reply(ids.back()).closed; }));
  for (const auto id : ids) CHECK(client->reply(id).messages == std::vector<std::string>{"2000000"});
}

TEST_CASE("rpc: requests that end half way give back what they held and waited for") {
  World world;
  auto server = world.make_server();
  server->add_unary("/t.T/Len", [&](rpc::UnaryCall call) { call.finish(std::to_string(call.request().size())); });
  auto client = Client::connect(world, *server);
  const std::string whole = framed(std::string(1900000, 'q'));
  // More than a connection gives credit for.
  std::vector<http2::StreamId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(client->call("/t.T/Len", whole.substr(0, whole.size() - 1), {}, true));
  REQUIRE(client->pump([&] { return server->stats().request_bytes >= 60'000'000; }));
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) client->session().reset(*id, http2::ErrorCode::kCancel);
  REQUIRE(client->pump([&] { return server->stats().request_bytes == 0; }));
  for (int i = 0; i < 5; ++i) CHECK(client->finish("/t.T/Len", whole).messages == std::vector<std::string>{"1900000"});
}

TEST_CASE("rpc: the deadline of a call that was reset is nobody else's") {
  World world;
  auto server = world.make_server();
  std::vector<rpc::UnaryCall> waiting;
  server->add_unary("/t.T/Wait", [&](rpc::UnaryCall call) { waiting.push_back(std::move(call)); });
  auto client = Client::connect(world, *server);
  const auto first = client->call("/t.T/Wait", framed("x"), {{"grpc-timeout", "300m"}});
  REQUIRE(client->pump([&] { return waiting.size() == 1; }));
  client->session().reset(first, http2::ErrorCode::kCancel);
  REQUIRE(client->pump([&] { return waiting[0].cancelled(); }));
  waiting[0].finish(std::string("late"));
  waiting.clear();
  const auto second = client->call("/t.T/Wait", framed("y"));
  REQUIRE(client->pump([&] { return waiting.size() == 1; }));
  (void)client->pump([&] { return client->reply(second).closed; }, std::chrono::milliseconds(400));
  CHECK_FALSE(waiting[0].cancelled());
  waiting[0].finish(std::string("there"));
  REQUIRE(client->pump([&] { return client->reply(second).closed; }));
  CHECK(client->reply(second).messages == std::vector<std::string>{"there"});
}

TEST_CASE("rpc: a stream of many small messages never runs out of credit") {
  World world;
  auto server = world.make_server();
  size_t messages = 0;
  server->add_stream("/t.T/Count", [&](std::shared_ptr<rpc::ServerStream> s) -> asio::awaitable<base::Status> {
    for (;;) {
      auto message = co_await s->read();
      if (!message.ok()) co_return message.status();
      if (!message->has_value()) co_return base::Status();
      ++messages;
    }
  });
  auto client = Client::connect(world, *server);
  constexpr size_t kMessages = http2::kStreamWindowBytes / rpc::kMessagePrefixBytes + 1000;
  std::string many;
  for (size_t i = 0; i < kMessages; ++i) many += framed("");
  const auto id = client->call("/t.T/Count", many);
  REQUIRE(client->pump([&] { return client->reply(id).closed; }, std::chrono::seconds(30)));
  CHECK(messages == kMessages);
}

TEST_CASE("rpc: a stream that ends inside of a message is an error for its handler") {
  World world;
  auto server = world.make_server();
  server->add_stream("/t.T/Chat", echo_stream);
  auto client = Client::connect(world, *server);
  const Reply& reply = client->finish("/t.T/Chat", framed("whole") + framed("half").substr(0, 7));
  CHECK(reply.messages == std::vector<std::string>{"whole"});
  CHECK(reply.field("grpc-status") == "13");
  CHECK(reply.field("grpc-message") == "unexpected EOF");
}

TEST_CASE("rpc: the text of an error is cut to what a header block holds") {
  World world;
  auto server = world.make_server();
  server->add_unary("/t.T/Fail", [&](rpc::UnaryCall call) {
    call.finish(base::Status(base::Code::kUnavailable, std::string(200000, 'e')));
  });
  auto client = Client::connect(world, *server);
  const Reply& reply = client->finish("/t.T/Fail", framed("x"));
  CHECK(reply.field("grpc-status") == "14");
  CHECK(reply.field("grpc-message") == std::string(32 * 1024, 'e'));
}

TEST_CASE("rpc: pings are answered, and too many of them end the connection") {
  World world;
  auto server = world.make_server();
  add_echo(*server);
  auto client = Client::connect(world, *server);
  client->finish("/t.T/Echo", framed("x"));
  for (int i = 0; i < 6 && !client->ended; ++i) {
    client->session().ping("abcdefgh");
    for (int turn = 0; turn < 5; ++turn) client->turn();
  }
  REQUIRE(client->pump([&] { return client->ended; }));
  CHECK(client->goaway == "too_many_pings");
}

TEST_CASE("rpc: pings between answers are forgiven") {
  World world;
  auto server = world.make_server();
  add_echo(*server);
  auto client = Client::connect(world, *server);
  for (int i = 0; i < 10; ++i) {
    client->session().ping("abcdefgh");
    client->finish("/t.T/Echo", framed("x"));
  }
  CHECK(client->goaways == 0);
  // An answer forgives what was before, too.
  for (int i = 0; i < 10; ++i) {
    for (int ping = 0; ping < 2; ++ping) {
      client->session().ping("abcdefgh");
      for (int turn = 0; turn < 5; ++turn) client->turn();
    }
    client->finish("/t.T/Echo", framed("x"));
  }
  CHECK(client->goaways == 0);
}

TEST_CASE("rpc: with a call under way pings may come as often as is configured, without one they are too many") {
  World world;
  auto server = world.make_server();
  add_echo(*server);
  server->add_stream("/t.T/Chat", echo_stream);
  rpc::ServerOptions options;
  options.keepalive_min_time = std::chrono::milliseconds(2);
  for (const bool busy : {true, false}) {
    CAPTURE(busy);
    auto client = Client::connect(world, *server, options);
    client->finish("/t.T/Echo", framed("x"));
    if (busy) (void)client->call("/t.T/Chat", "", {}, true);
    for (int i = 0; i < 10 && !client->ended; ++i) {
      client->session().ping("abcdefgh");
      for (int turn = 0; turn < 5; ++turn) client->turn();  // It has come; from here on the next one is 5 ms away.
      (void)client->pump([&] { return client->ended; }, std::chrono::milliseconds(5));
    }
    CHECK(client->goaways == (busy ? 0 : 1));
  }
}

TEST_CASE("rpc: the server's own ping finds a dead client") {
  World world;
  auto server = world.make_server();
  add_echo(*server);
  rpc::ServerOptions options;
  options.keepalive_interval = std::chrono::milliseconds(30);
  options.keepalive_timeout = std::chrono::milliseconds(30);
  auto client = Client::connect(world, *server, options);
  client->finish("/t.T/Echo", framed("x"));
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
  while (std::chrono::steady_clock::now() < until) client->turn();  // Answers pings.
  CHECK(server->stats().connections == 1);
  client->reading = false;
  CHECK(client->pump([&] { return server->stats().connections == 0; }));
}

TEST_CASE("rpc: a stop lets unary calls finish, ends streams, and cuts what is left") {
  for (const bool split : {false, true}) {
    CAPTURE(split);
    World world(split);
    auto server = world.make_server();
    std::vector<rpc::UnaryCall> waiting;
    base::Status stream_said;
    server->add_unary("/t.T/Wait", [&](rpc::UnaryCall call) { waiting.push_back(std::move(call)); });
    server->add_stream("/t.T/Watch", [&](std::shared_ptr<rpc::ServerStream> s) -> asio::awaitable<base::Status> {
      auto end = co_await s->read();
      stream_said = end.ok() ? base::Status() : end.status();
      co_return stream_said;
    });
    auto client = Client::connect(world, *server);
    const auto unary = client->call("/t.T/Wait", framed("x"));
    const auto stream = client->call("/t.T/Watch", "", {}, true);
    REQUIRE(client->pump([&] { return waiting.size() == 1; }));
    for (int i = 0; i < 5; ++i) client->turn();
    bool stopped = false;
    auto stop = [](rpc::Server& s, std::chrono::nanoseconds patience, bool* out) -> asio::awaitable<void> {
      co_await s.stop(patience);
      *out = true;
    };
    SUBCASE("in peace") {
      net::spawn(world.home.get_executor(), "stop", stop(*server, std::chrono::seconds(5), &stopped));
      REQUIRE(client->pump([&] { return client->goaways == 2 && client->reply(stream).closed; }));
      CHECK(client->reply(stream).field("grpc-status") == "14");
      CHECK(client->reply(stream).field("grpc-message") == "etcdserver: server stopped");
      CHECK_FALSE(stopped);
      waiting[0].finish(std::string("last"));
      REQUIRE(client->pump([&] { return stopped && client->reply(unary).closed; }));
      CHECK(client->reply(unary).messages == std::vector<std::string>{"last"});
    }
    SUBCASE("out of patience") {
      net::spawn(world.home.get_executor(), "stop", stop(*server, std::chrono::milliseconds(50), &stopped));
      REQUIRE(client->pump([&] { return stopped; }));
      CHECK(waiting[0].cancelled());
      waiting.clear();  // The handler gives up later: nothing may break.
    }
    CHECK(stream_said.code() == base::Code::kUnavailable);
    world.turn();
  }
}

TEST_CASE("rpc: hostile bytes end their own connection only") {
  World world;
  auto server = world.make_server();
  add_echo(*server);
  auto good = Client::connect(world, *server);
  uint64_t seed = 1234567;
  const auto random = [&] { return seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17; };
  for (int round = 0; round < 300; ++round) {
    auto [left, right] = net::make_memory_pair(world.home, 1 << 20);
    server->serve(std::move(left), rpc::ServerOptions());
    std::string bytes(round % 3 == 0 ? "" : http2::kClientPreface);
    if (round % 3 != 0) bytes += std::string("\0\0\0\4\0\0\0\0\0", 9);
    for (int frame = 0; frame < 20; ++frame) {  // Frames with sane lengths and random everything else.
      const size_t size = random() % 40;
      bytes += std::string("\0\0", 2) + static_cast<char>(size) + static_cast<char>(random() % 11) +
               static_cast<char>(random()) + std::string("\0\0\0", 3) + static_cast<char>(random() % 8);
      for (size_t i = 0; i < size; ++i) bytes += static_cast<char>(random());
    }
    (void)right->try_write(bytes);
    for (int i = 0; i < 5; ++i) world.turn();
  }
  CHECK(good->finish("/t.T/Echo", framed("alive")).messages == std::vector<std::string>{"alive"});
  CHECK(world.pump([&] { return server->stats().connections == 1; }));
}

TEST_CASE("rpc: texts of timeouts and messages survive both ways") {
  for (const int64_t ns : {int64_t{1}, int64_t{99999999}, int64_t{100000000}, int64_t{1500000000}, int64_t{3600000000000000}}) {
    const auto text = rpc::format_timeout(base::Duration(ns));
    CHECK(text.size() <= 9);
    const auto back = rpc::parse_timeout(text);
    REQUIRE(back.ok());
    CHECK(back->count() >= ns);
    CHECK(back->count() <= ns + ns / 1000000);
  }
  for (const std::string text : {"", "plain", "50%", "caf\xc3\xa9", "a\nb", "\xf0\x9f\x98\x80"}) {
    CHECK(rpc::decode_message(rpc::encode_message(text)) == text);
  }
  CHECK(rpc::decode_message("%zz%4") == "%zz%4");
}
