// The room that watch streams may take together, with clients that do not read and then do.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "server/watch_session.h"
#include "sim/three.h"

namespace {

using base::Duration;
using base::Status;
using sim::Machine;
using wire::Op;
using namespace std::chrono_literals;

constexpr size_t kValueBytes = 200'000;

// A client that is sent responses and reads them when it is told to. Only their size is kept.
class Unread final : public rpc::ServerStream {
 public:
  const rpc::CallContext& context() const override { return context_; }
  asio::awaitable<base::Result<std::optional<std::string>>> read() override { co_return std::nullopt; }
  asio::awaitable<Status> write(std::string) override { co_return Status(); }
  bool try_write(std::string prefix, std::shared_ptr<const std::string> shared) override {
    const size_t bytes = prefix.size() + (shared == nullptr ? 0 : shared->size());
    queued_ += bytes;
    values_ += bytes / kValueBytes;
    return true;
  }
  size_t queued_bytes() const override { return queued_; }
  void on_drained(std::function<void()>) override {}
  void on_closed(std::function<void()>) override {}
  bool closed() const override { return false; }
  void end(Status) override {}

  // True: there was so much that the stream says that it has drained.
  bool read_all() { return std::exchange(queued_, 0) > rpc::kStreamQueuedBytesMax; }
  size_t values() const { return values_; }

 private:
  rpc::CallContext context_;
  size_t queued_ = 0, values_ = 0;
};

struct Crowd : sim::Three {
  struct One {
    std::shared_ptr<Unread> stream;
    std::shared_ptr<server::WatchSession> session;
  };
  explicit Crowd(size_t count) : leader(*cluster.leader()) {
    etcdserverpb::WatchRequest request;
    request.mutable_create_request()->set_key("key");
    at(leader, [&, bytes = request.SerializeAsString()](server::Node& node) {
      for (size_t i = 0; i < count; ++i) {
        const auto stream = std::make_shared<Unread>();
        const auto session = std::make_shared<server::WatchSession>(node, stream, nullptr);
        REQUIRE(session->handle(bytes).ok());
        all.push_back({stream, session});
      }
    });
  }
  ~Crowd() {
    for (const One& one : all) one.session->close();
  }
  void put(int count) {
    etcdserverpb::PutRequest put;
    put.set_key("key");
    put.set_value(std::string(kValueBytes, 'v'));
    for (int i = 0; i < count; ++i) REQUIRE(propose(Op::kPut, put).empty());
  }
  // Everybody reads what there is, again and again.
  void read_for(Duration span) {
    for (Duration spent{}; spent < span; spent += 50ms) {
      at(leader, [this](server::Node&) {
        for (const One& one : all) {
          if (one.stream->read_all()) one.session->drained();
        }
      });
    }
  }
  size_t queued() const {
    size_t bytes = 0;
    for (const One& one : all) bytes += one.stream->queued_bytes();
    return bytes;
  }
  bool everybody_has(size_t values) const {
    return std::ranges::all_of(all, [values](const One& one) { return one.stream->values() == values; });
  }

  Machine& leader;
  std::vector<One> all;
};

}  // namespace

TEST_CASE("watch rules: streams nobody reads share what room there is; who reads again gets all, then as much as before") {
  constexpr int kMany = 12;  // more than a stream's room
  constexpr size_t kCount = server::kWatchQueuedBytesTotalMax / server::kWatchQueuedBytesMax * 3 / 2;
  Crowd crowd(kCount);
  crowd.put(kMany);
  crowd.cluster.world().run_for(2s);
  CHECK(crowd.queued() > server::kWatchQueuedBytesTotalMax / 2);
  CHECK(crowd.queued() <= server::kWatchQueuedBytesTotalMax + kCount * kValueBytes);
  CHECK(crowd.queued() < kCount * server::kWatchQueuedBytesMax);
  crowd.read_for(10s);
  CHECK(crowd.everybody_has(kMany));
  // The room of each is its own again.
  constexpr int kFew = 3;  // for all together, too
  static_assert(kFew * kValueBytes < server::kWatchQueuedBytesMax);
  static_assert(kFew * kValueBytes * kCount < server::kWatchQueuedBytesTotalMax);
  crowd.put(kFew);
  crowd.cluster.world().run_for(100ms);
  CHECK(crowd.everybody_has(kMany + kFew));
}
