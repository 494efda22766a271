// Calls from within the process: the same handlers, bounds and ends as from a connection.
#include "rpc/local_call.h"

#include <doctest/doctest.h>

#include "net/spawn.h"
#include "net/wake.h"
#include "unit/rpc/test_client.h"

using rpc_test::World;

namespace {

asio::awaitable<void> send_many(std::shared_ptr<rpc::LocalStream> stream, int count, int* sent) {
  for (int i = 0; i < count; ++i) {
    const base::Status status = co_await stream->send(std::to_string(i));
    if (!status.ok()) co_return;
    ++*sent;
  }
  stream->close_send();
}

asio::awaitable<void> receive_all(std::shared_ptr<rpc::LocalStream> stream, int count_max, std::vector<std::string>* out) {
  for (int i = 0; i < count_max; ++i) {
    std::optional<std::string> message = co_await stream->receive();
    if (!message) co_return;
    out->push_back(std::move(*message));
  }
}

// Held until `go`, then reads to the end.
struct Slow {
  explicit Slow(asio::io_context& home) : go(home) {}
  net::Wake go;
  std::vector<std::string> read;
  base::Status end;
  bool ended = false;
  asio::awaitable<base::Status> serve(std::shared_ptr<rpc::ServerStream> stream) {
    co_await go.wait();
    for (;;) {
      auto message = co_await stream->read();
      if (!message.ok()) {
        end = message.status();
        ended = true;
        co_return end;
      }
      if (!message->has_value()) break;
      read.push_back(std::move(**message));
    }
    ended = true;
    co_return base::Status();
  }
};

}  // namespace

TEST_CASE("local calls: who sends to a handler that does not read waits, and all comes in order") {
  World world;
  auto server = world.make_server();
  Slow slow(world.home);
  server->add_stream("/t.T/Slow", [&](std::shared_ptr<rpc::ServerStream> s) { return slow.serve(std::move(s)); });
  const auto stream = server->local().open("/t.T/Slow", {});
  int sent = 0;
  net::spawn(world.home.get_executor(), "sender", send_many(stream, 500, &sent));
  for (int i = 0; i < 1000; ++i) world.turn();
  CHECK(sent == static_cast<int>(rpc::kLocalInboxMessagesMax));
  slow.go.notify();
  REQUIRE(world.pump([&] { return slow.ended; }));
  CHECK(sent == 500);
  REQUIRE(slow.read.size() == 500);
  for (int i = 0; i < 500; ++i) CHECK(slow.read[static_cast<size_t>(i)] == std::to_string(i));
  CHECK(slow.end.ok());
}

TEST_CASE("local calls: a stream says when it has drained, each time anew") {
  World world;
  auto server = world.make_server();
  std::shared_ptr<rpc::ServerStream> handlers;
  int drained = 0;
  server->add_stream("/t.T/Push", [&](std::shared_ptr<rpc::ServerStream> s) -> asio::awaitable<base::Status> {
    handlers = s;
    s->on_drained([&] { ++drained; });
    auto end = co_await s->read();
    co_return end.ok() ? base::Status() : end.status();
  });
  const auto stream = server->local().open("/t.T/Push", {});
  REQUIRE(world.pump([&] { return handlers != nullptr; }));
  const auto shared = std::make_shared<const std::string>(50000, 's');
  std::vector<std::string> got;
  for (int round = 1; round <= 2; ++round) {
    for (int i = 0; i < 8; ++i) CHECK(handlers->try_write("p", shared));
    CHECK(handlers->queued_bytes() == 8 * 50001);
    net::spawn(world.home.get_executor(), "receiver", receive_all(stream, 4, &got));
    REQUIRE(world.pump([&] { return got.size() == static_cast<size_t>(8 * round - 4); }));
    CHECK(drained == round - 1);  // More than half of the limit is queued.
    net::spawn(world.home.get_executor(), "receiver", receive_all(stream, 4, &got));
    REQUIRE(world.pump([&] { return got.size() == static_cast<size_t>(8 * round); }));
    CHECK(drained == round);
    CHECK(handlers->queued_bytes() == 0);
  }
  CHECK(got[15] == "p" + *shared);
  stream->close_send();
  world.turn();
  handlers.reset();
}

TEST_CASE("local calls: a passed deadline answers, and tells the handler that nobody waits") {
  World world;
  auto server = world.make_server();
  std::vector<rpc::UnaryCall> waiting;
  server->add_unary("/t.T/Wait", [&](rpc::UnaryCall call) { waiting.push_back(std::move(call)); });
  rpc::LocalCaller caller;
  caller.timeout = std::chrono::milliseconds(20);
  std::vector<std::string> said;
  const auto done = [&](rpc::LocalAnswer answer) {
    said.push_back(answer.status.ok() ? answer.message : std::string(answer.status.text()));
  };
  const auto late = server->local().call("/t.T/Wait", caller, "x", done);
  REQUIRE(waiting.size() == 1);
  CHECK_FALSE(waiting[0].cancelled());
  REQUIRE(world.pump([&] { return !said.empty(); }));
  CHECK(said == std::vector<std::string>{"context deadline exceeded"});
  CHECK(waiting[0].cancelled());
  waiting[0].finish(std::string("late"));
  world.turn();
  CHECK(said.size() == 1);

  const auto unwanted = server->local().call("/t.T/Wait", {}, "y", done);
  unwanted->cancel();
  CHECK(waiting[1].cancelled());
  waiting[1].finish(std::string("unwanted"));
  CHECK(said.size() == 1);
}

TEST_CASE("local calls: what is not served, too large or over is refused at once") {
  World world;
  auto server = world.make_server();
  server->add_unary("/t.T/Echo", [](rpc::UnaryCall call) { call.finish(std::string(call.request())); });
  rpc::LocalCaller none_left;
  none_left.timeout = base::Duration(0);
  base::Status said;
  const auto done = [&](rpc::LocalAnswer answer) { said = answer.status; };
  CHECK(server->local().call("/t.T/None", {}, "x", done) == nullptr);
  CHECK(said.code() == base::Code::kUnimplemented);
  CHECK(server->local().call("/t.T/Echo", none_left, "x", done) == nullptr);
  CHECK(said.code() == base::Code::kDeadlineExceeded);
  CHECK(server->local().call("/t.T/Echo", {}, std::string(100 << 20, 'x'), done) == nullptr);
  CHECK(said.code() == base::Code::kResourceExhausted);
  CHECK(server->local().call("/t.T/Echo", {}, "x", done) == nullptr);
  CHECK(said.ok());
}
