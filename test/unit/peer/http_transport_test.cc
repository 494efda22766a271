#include "peer/http_transport.h"

#include <doctest/doctest.h>

#include <map>

#include "base/bytes.h"
#include "base/log.h"

namespace peer {
namespace {

using base::NodeId;
using base::Status;
using wire::RaftMessage;
using wire::RaftMessageType;

const NodeId kSelf{0xa}, kOther{0xb}, kThird{0xc};

class RefusingDialer final : public Dialer {
 public:
  explicit RefusingDialer(asio::io_context& loop) : loop_(loop) {}
  asio::awaitable<base::Result<std::unique_ptr<net::Stream>>> dial(PeerUrl url, base::Instant) override {
    ++dials;
    if (takes_nothing) {
      auto [ours, theirs] = net::make_memory_pair(loop_, 1000);
      (void)theirs->try_write(greeting);
      ends_.push_back(std::move(theirs));
      co_return std::move(ours);
    }
    if (url.port == silent_port) co_return Status(base::Code::kDeadlineExceeded, "dial tcp 127.0.0.1:3: i/o timeout");
    co_return Status(base::Code::kUnavailable, "dial tcp 127.0.0.1:1: connect: connection refused");
  }
  int dials = 0;
  uint16_t silent_port = 0;    // where nobody answers
  bool takes_nothing = false;  // connects, and nobody reads
  std::string greeting;        // what comes nevertheless

 private:
  asio::io_context& loop_;
  std::vector<std::unique_ptr<net::Stream>> ends_;
};

// A database without an end.
class EndlessBody final : public SnapshotBody {
 public:
  void open(std::function<void(base::Result<uint64_t>)> done) override { done(uint64_t{1} << 40); }
  void next(Done done) override { done(std::string(1u << 20, 'd')); }
};

// Takes bytes until it is told to stall.
class FakeOutlet final : public Outlet {
 public:
  explicit FakeOutlet(asio::io_context& loop) : wake_(loop) {}
  asio::awaitable<Status> write(std::string bytes) override {
    while (stalled && !was_cut) co_await wake_.wait();
    if (was_cut) co_return Status(base::Code::kCancelled, "context canceled");
    written += bytes;
    co_return Status();
  }
  void end() override { was_ended = true; }
  void cut() override {
    was_cut = true;
    wake_.notify();
  }
  void on_closed(std::function<void()> callback) override { closed = std::move(callback); }
  std::string written;
  bool stalled = false, was_ended = false, was_cut = false;
  std::function<void()> closed;

 private:
  net::Wake wake_;
};

struct Heard final : Events {
  void on_messages(std::vector<RaftMessage> messages) override {
    for (RaftMessage& message : messages) got.push_back(std::move(message));
  }
  void on_unreachable(NodeId) override { ++unreachable; }
  void on_snapshot_sent(NodeId, bool sent) override { (sent ? snapshots_sent : snapshots_failed)++; }
  void on_gone(NodeId) override { ++gone; }
  void on_self_removed() override {}
  std::vector<RaftMessage> got;
  int unreachable = 0, snapshots_sent = 0, snapshots_failed = 0, gone = 0;
};

Identity us() {
  Identity identity;
  identity.self = kSelf;
  identity.cluster_id = 0xcafe;
  identity.version = "3.7.1";
  identity.peer_urls = {"http://127.0.0.1:1"};
  return identity;
}

struct World {
  explicit World(Timeouts timeouts = Timeouts()) : timeouts_(timeouts) {
    base::log::set_level(base::log::Level::kFatal);
    transport.start(heard);
    transport.add_peer(kOther, {"http://127.0.0.1:2"});
  }
  ~World() {
    bool stopped = false;
    transport.stop([&] { stopped = true; });
    for (int i = 0; i < 1000 && !stopped; ++i) settle();
    CHECK(stopped);
  }
  // Lets time pass until streams were asked for again, `times` times at least.
  void redial(int times) {
    for (const int until = dialer.dials + times; dialer.dials < until;) {
      loop.restart();
      loop.run_one();
    }
    settle();
  }
  // Runs what is ready; timers do not count.
  void settle() {
    loop.restart();
    for (int i = 0; i < 20'000 && loop.poll_one() > 0; ++i) {
    }
  }
  RaftMessage message(RaftMessageType type, size_t bytes = 0) const {
    RaftMessage m;
    m.type = type;
    m.from = kSelf;
    m.to = kOther;
    m.term = base::Term(3);
    if (bytes > 0) {
      m.entries.push_back({0, base::Term(3), base::Index(1), std::make_shared<const std::string>(std::string(bytes, 'x'))});
    }
    return m;
  }
  void send(RaftMessage m) {
    std::vector<RaftMessage> messages;
    messages.push_back(std::move(m));
    transport.send(std::move(messages));
  }
  std::shared_ptr<FakeOutlet> open(Channel channel, NodeId from = kOther) {
    auto outlet = std::make_shared<FakeOutlet>(loop);
    transport.open_stream(from, channel, outlet);
    settle();
    return outlet;
  }

  const Timeouts timeouts_;
  asio::io_context loop{1};
  base::RealClock clock;
  base::metrics::Registry registry;
  Metrics metrics{registry};
  RefusingDialer dialer{loop};
  Heard heard;
  HttpTransport transport{loop, clock, dialer, metrics, us(), timeouts_};
};

std::vector<RaftMessage> read_all(Channel channel, const std::string& bytes) {
  std::vector<RaftMessage> out;
  FrameReader reader(channel, kOther, kSelf);
  CHECK(reader.feed(bytes, out).ok());
  return out;
}

}  // namespace

TEST_CASE("transport: appends take their own stream, all else the other; without one appends take the other too") {
  World world;
  const auto messages = world.open(Channel::kMessage);
  world.send(world.message(RaftMessageType::kApp, 5));
  world.settle();
  CHECK(read_all(Channel::kMessage, messages->written).size() == 1);
  messages->written.clear();
  const auto appends = world.open(Channel::kAppend);
  world.send(world.message(RaftMessageType::kApp, 5));
  world.send(world.message(RaftMessageType::kVote));
  world.settle();
  CHECK(read_all(Channel::kAppend, appends->written).size() == 1);
  REQUIRE(read_all(Channel::kMessage, messages->written).size() == 1);
  CHECK(read_all(Channel::kMessage, messages->written)[0].type == RaftMessageType::kVote);
  CHECK(world.transport.active_peers() == 1);
}

TEST_CASE("transport: a member that takes nothing costs a bounded queue, and raft hears of what is dropped") {
  World world;
  const auto appends = world.open(Channel::kAppend);
  const auto messages = world.open(Channel::kMessage);
  world.settle();
  const int before = world.heard.unreachable;
  appends->stalled = true;
  for (size_t i = 0; i < kStreamQueueMessagesMax + 100; ++i) world.send(world.message(RaftMessageType::kApp, 1));
  world.settle();
  CHECK(world.heard.unreachable > before);
  // Heartbeats are not held up.
  world.send(world.message(RaftMessageType::kHeartbeat));
  world.settle();
  CHECK(read_all(Channel::kMessage, messages->written).size() == 1);
  appends->stalled = false;
  appends->cut();
  world.settle();

  const auto again = world.open(Channel::kAppend);
  again->stalled = true;
  for (int i = 0; i < 100; ++i) world.send(world.message(RaftMessageType::kApp, 1u << 20));
  again->stalled = false;
  world.settle();
  CHECK(again->written.size() <= kStreamQueueBytesMax + (2u << 20));
  CHECK(again->written.size() > kStreamQueueBytesMax / 2);
}

TEST_CASE("transport: a stream that another replaces ends as HTTP does, one whose write is stuck is cut") {
  World world;
  const auto idle = world.open(Channel::kMessage);
  const auto stuck = world.open(Channel::kAppend);
  stuck->stalled = true;
  world.send(world.message(RaftMessageType::kApp, 1));
  world.settle();
  world.open(Channel::kMessage);
  world.open(Channel::kAppend);
  CHECK(idle->was_ended);
  CHECK_FALSE(idle->was_cut);
  CHECK(stuck->was_cut);
  CHECK_FALSE(stuck->was_ended);
}

TEST_CASE("transport: who is removed still gets what was sent before, and then the end of the stream") {
  World world;
  const auto messages = world.open(Channel::kMessage);
  world.send(world.message(RaftMessageType::kHeartbeat));
  world.transport.remove_peer(kOther, true);
  world.settle();
  CHECK(read_all(Channel::kMessage, messages->written).size() == 1);
  CHECK(messages->was_ended);
}

TEST_CASE("transport: of several answers to appends the last is sent, refusals all") {
  World world;
  const auto messages = world.open(Channel::kMessage);
  std::vector<RaftMessage> batch;
  for (const uint64_t index : {1, 2, 3}) {
    batch.push_back(world.message(RaftMessageType::kAppResp));
    batch.back().index = base::Index(index);
  }
  batch.push_back(world.message(RaftMessageType::kAppResp));
  batch.back().reject = true;
  world.transport.send(std::move(batch));
  world.settle();
  const std::vector<RaftMessage> sent = read_all(Channel::kMessage, messages->written);
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].index == base::Index(3));
  CHECK(sent[1].reject);
}

TEST_CASE("transport: a new stream takes the place of the old; a closed one makes the member gone if its port refuses") {
  World world;
  const auto old = world.open(Channel::kMessage);
  const auto fresh = world.open(Channel::kMessage);
  CHECK(old->was_ended);
  CHECK_FALSE(fresh->was_ended);
  CHECK(world.heard.gone == 0);
  world.send(world.message(RaftMessageType::kVote));
  world.settle();
  CHECK(read_all(Channel::kMessage, fresh->written).size() == 1);
}

TEST_CASE("transport: a member is gone when its connections broke and nobody listens at any of its addresses; told once") {
  World world;
  world.transport.update_peer(kOther, {"http://127.0.0.1:2", "http://127.0.0.1:3"});
  world.redial(8);
  CHECK(world.heard.gone == 0);  // It was never there.
  SUBCASE("its port is closed, and the connections it opened live") {
    const auto stream = world.open(Channel::kMessage);
    world.redial(8);
    CHECK(world.heard.gone == 0);
  }
  SUBCASE("they break as well") {
    const auto appends = world.open(Channel::kAppend), messages = world.open(Channel::kMessage);
    world.redial(8);
    appends->closed();
    world.settle();
    CHECK(world.heard.gone == 0);
    messages->closed();
    world.settle();
    CHECK(world.heard.gone == 1);
    world.redial(8);
    CHECK(world.heard.gone == 1);
  }
  SUBCASE("they break, and one of its addresses is silent: it may be there") {
    world.dialer.silent_port = 3;
    const auto messages = world.open(Channel::kMessage);
    world.redial(8);
    messages->closed();
    world.redial(8);
    CHECK(world.heard.gone == 0);
  }
}

// etcd's tests cut members off with proxies that swallow bytes: who closed such a stream got the other to answer by POST, past
// the proxy, and nobody fell behind.
TEST_CASE("transport: a stream that carries nothing is kept while its connection lives") {
  using namespace std::chrono_literals;
  Timeouts timeouts;
  timeouts.read = 20ms;
  World world(timeouts);
  world.dialer.greeting = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  world.dialer.takes_nothing = true;
  const int before = world.dialer.dials;
  world.redial(2);
  const base::Instant end = world.clock.now() + 30 * timeouts.read;
  while (world.clock.now() < end) {
    world.loop.restart();
    world.loop.run_for(timeouts.read);
  }
  CHECK(world.dialer.dials <= before + 3);  // two streams and the probe; they are asked for again every 100 ms
}

TEST_CASE("transport: a write that is stuck for longer than the timeout cuts its stream, and no other") {
  using namespace std::chrono_literals;
  for (const bool is_short : {true, false}) {
    CAPTURE(is_short);
    Timeouts timeouts;
    timeouts.write = is_short ? base::Duration(20ms) : base::Duration(1h);
    World world(timeouts);
    const auto stuck = world.open(Channel::kAppend), well = world.open(Channel::kMessage);
    stuck->stalled = true;
    world.send(world.message(RaftMessageType::kApp, 1));
    const base::Instant begin = world.clock.now(), end = begin + (is_short ? 30s : 100ms);
    while (world.clock.now() < end && !stuck->was_cut) {
      world.loop.restart();
      world.loop.run_for(10ms);
    }
    CHECK(stuck->was_cut == is_short);
    if (is_short) CHECK(world.clock.now() - begin >= timeouts.write);
    CHECK_FALSE(well->was_cut);
    stuck->stalled = false;
  }
}

TEST_CASE("transport: a member that takes nothing holds up nobody else") {
  World world;
  world.transport.add_peer(kThird, {"http://127.0.0.1:4"});
  const auto slow = world.open(Channel::kAppend), fast = world.open(Channel::kAppend, kThird);
  slow->stalled = true;
  for (int i = 0; i < 200; ++i) {
    world.send(world.message(RaftMessageType::kApp, 1u << 20));
    RaftMessage m = world.message(RaftMessageType::kApp, 1u << 20);
    m.to = kThird;
    world.send(std::move(m));
    world.settle();
  }
  CHECK(slow->written.empty());
  CHECK(fast->written.size() > 200u << 20);
}

TEST_CASE("transport: appends and heartbeats pass a database that is stuck") {
  World world;
  const auto appends = world.open(Channel::kAppend), messages = world.open(Channel::kMessage);
  world.dialer.takes_nothing = true;
  RaftMessage snapshot = world.message(RaftMessageType::kSnap);
  auto described = std::make_shared<wire::RaftSnapshot>();
  described->index = base::Index(7);
  snapshot.snapshot = std::move(described);
  world.transport.send_snapshot(std::move(snapshot), std::make_unique<EndlessBody>());
  world.settle();
  for (int i = 0; i < 100; ++i) {
    world.send(world.message(RaftMessageType::kApp, 1000));
    world.send(world.message(RaftMessageType::kHeartbeat));
    world.settle();
  }
  CHECK(read_all(Channel::kAppend, appends->written).size() == 100);
  CHECK(read_all(Channel::kMessage, messages->written).size() == 100);
  CHECK(world.heard.snapshots_sent + world.heard.snapshots_failed == 0);  // It is still on its way.
}

TEST_CASE("transport: without a stream messages go by POST, and a refused one is told") {
  World world;
  world.settle();
  const int before = world.heard.unreachable, dials = world.dialer.dials;
  world.send(world.message(RaftMessageType::kVote));
  world.settle();
  CHECK(world.dialer.dials > dials);
  CHECK(world.heard.unreachable > before);
  CHECK_FALSE(world.transport.active_since(kOther).has_value());
}

TEST_CASE("transport: requests of strangers, of removed members, and for others") {
  World world;
  std::map<std::string, std::string, std::less<>> fields{{"x-server-version", "3.7.1"},
                                                         {"x-min-cluster-version", "3.0.0"},
                                                         {"x-etcd-cluster-id", "cafe"},
                                                         {"x-raft-to", base::hex(kSelf.value())}};
  Request request;
  request.method = "GET";
  request.header = [&](std::string_view name) {
    const auto found = fields.find(name);
    return found == fields.end() ? std::string_view() : std::string_view(found->second);
  };
  const auto answer = [&](std::string_view path) {
    Channel channel{};
    NodeId from;
    request.path = path;
    const std::optional<Refusal> refusal = world.transport.admit_stream(request, &channel, &from);
    return refusal ? std::to_string(refusal->status) + " " + refusal->text : std::string("200");
  };
  CHECK(answer("/raft/stream/msgapp/b") == "200");
  CHECK(answer("/raft/stream/msgapp/c") == "404 error sender not found");
  fields["x-raft-to"] = "d";
  CHECK(answer("/raft/stream/msgapp/b") == "412 to field mismatch");
  world.transport.remove_peer(kOther, true);
  CHECK(answer("/raft/stream/msgapp/b") == "410 removed member");

  RaftMessage m = world.message(RaftMessageType::kHeartbeat);
  const auto post = [&] {
    std::string body;
    wire::append_message(m, body);
    const std::optional<Refusal> refusal = world.transport.take_message(body);
    return refusal ? refusal->status : 204;
  };
  m.to = kSelf;
  m.from = NodeId(0xe);
  CHECK(post() == 204);
  CHECK(world.heard.got.size() == 1);
  m.to = NodeId(0xf);
  CHECK(post() == 500);
  m.to = kSelf;
  m.from = kOther;
  CHECK(post() == 500);
  CHECK(world.heard.got.size() == 1);
}

}  // namespace peer
