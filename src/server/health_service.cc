// grpc.health.v1: Check, List, Watch, as grpc-go's health server answers them.
#include "health.pb.h"
#include "server/errors.h"
#include "server/health.h"
#include "server/proto_call.h"
#include "server/services.h"

namespace server {
namespace {

using base::Code;
using base::Result;
using base::Status;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

HealthCheckResponse::ServingStatus status_of(const Health& health) {
  return health.serving() ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void answer_check(Node& node, rpc::UnaryCall call) {
  HealthCheckRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  if (!request.service().empty()) return call.finish(Status(Code::kNotFound, "unknown service"));
  HealthCheckResponse response;
  response.set_status(status_of(node.health()));
  call.finish(response.SerializeAsString());
}

void answer_list(Node& node, rpc::UnaryCall call) {
  grpc::health::v1::HealthListRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  grpc::health::v1::HealthListResponse response;
  (*response.mutable_statuses())[""].set_status(status_of(node.health()));
  call.finish(response.SerializeAsString());
}

// Wakes the stream's coroutine when the status changes or the stream dies.
class Subscription {
 public:
  Subscription(Health& health, asio::any_io_executor executor)
      : health_(health), timer_(std::move(executor), asio::steady_timer::time_point::max()) {
    id_ = health_.subscribe([this] { timer_.cancel(); });
  }
  ~Subscription() { health_.unsubscribe(id_); }
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;
  asio::steady_timer& timer() { return timer_; }

 private:
  Health& health_;
  asio::steady_timer timer_;
  uint64_t id_;
};

asio::awaitable<Status> serve_watch(Node& node, std::shared_ptr<rpc::ServerStream> stream) {
  Status admitted = admit_stream(node, stream, OnLearner::kRefused);
  if (!admitted.ok()) co_return admitted;
  const Result<std::optional<std::string>> first = co_await stream->read();
  if (!first.ok()) co_return first.status();
  if (!first->has_value()) co_return Status(Code::kUnknown, "EOF");
  HealthCheckRequest request;
  if (!request.ParseFromString(**first)) co_return unmarshal_error();
  asio::any_io_executor executor = co_await asio::this_coro::executor;
  const auto subscription = std::make_shared<Subscription>(node.health(), std::move(executor));
  stream->on_closed([weak = std::weak_ptr<Subscription>(subscription)] {
    if (const auto alive = weak.lock()) alive->timer().cancel();
  });
  // A service that nobody has may come: its stream stays open, and says nothing more.
  const bool known = request.service().empty();
  std::optional<HealthCheckResponse::ServingStatus> sent;
  while (!stream->closed()) {
    const auto now = known ? status_of(node.health()) : HealthCheckResponse::SERVICE_UNKNOWN;
    if (sent != now) {
      HealthCheckResponse response;
      response.set_status(now);
      std::string message = response.SerializeAsString();
      sent = now;
      const Status written = co_await stream->write(std::move(message));
      if (!written.ok()) break;
      continue;  // The world may have changed meanwhile.
    }
    asio::error_code ignored;
    co_await subscription->timer().async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_return Status(Code::kCancelled, "Stream has ended.");
}

}  // namespace

void add_health_service(rpc::Server& server, Node& node) {
  node.health().start_serving();
  server.add_unary("/grpc.health.v1.Health/Check", [&node](rpc::UnaryCall call) { answer_check(node, std::move(call)); });
  server.add_unary("/grpc.health.v1.Health/List", [&node](rpc::UnaryCall call) { answer_list(node, std::move(call)); });
  server.add_stream("/grpc.health.v1.Health/Watch",
                    [&node](std::shared_ptr<rpc::ServerStream> stream) { return serve_watch(node, std::move(stream)); });
}

}  // namespace server
