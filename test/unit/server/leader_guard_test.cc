#include "server/leader_guard.h"

#include <doctest/doctest.h>

#include "server/errors.h"

namespace {

using namespace std::chrono_literals;

// A stream that only knows how it ended.
class Stream final : public rpc::ServerStream {
 public:
  const rpc::CallContext& context() const override { return context_; }
  asio::awaitable<base::Result<std::optional<std::string>>> read() override { co_return std::optional<std::string>(); }
  asio::awaitable<base::Status> write(std::string) override { co_return base::Status(); }
  bool try_write(std::string, std::shared_ptr<const std::string>) override { return !closed(); }
  size_t queued_bytes() const override { return 0; }
  void on_drained(std::function<void()>) override {}
  void on_closed(std::function<void()>) override {}
  bool closed() const override { return !why.ok(); }
  void end(base::Status status) override { why = std::move(status); }
  base::Status why;

 private:
  rpc::CallContext context_;
};

}  // namespace

TEST_CASE("leader guard: streams that want a leader end after three election timeouts without one") {
  server::LeaderGuard guard(1s);
  base::Instant now{100s};
  const auto stream = std::make_shared<Stream>();
  guard.add(stream);
  guard.tick(now, true);
  guard.tick(now += 2s, false);
  guard.tick(now += 2900ms, false);
  CHECK_FALSE(stream->closed());
  guard.tick(now += 1ms, true);  // One came: the time begins anew.
  guard.tick(now += 1s, false);
  guard.tick(now += 2999ms, false);
  CHECK_FALSE(stream->closed());
  guard.tick(now += 1ms, false);
  CHECK(stream->why == server::errors::no_leader());
}

TEST_CASE("leader guard: streams that are gone are forgotten") {
  server::LeaderGuard guard(1s);
  for (int i = 0; i < 10'000; ++i) guard.add(std::make_shared<Stream>());
  CHECK(guard.size() < 200);
}
