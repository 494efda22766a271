// etcdserverpb.Watch: one coroutine a stream reads requests; events reach the stream from the hub, past the coroutine.
// Source: etcd v3rpc/watch.go.
#include "base/log.h"
#include "server/errors.h"
#include "server/metrics.h"
#include "server/services.h"
#include "server/watch_session.h"

namespace server {
namespace {

using base::Code;
using base::Result;
using base::Status;

// The client sends no more requests; its watchers go on until the stream is dead.
asio::awaitable<void> wait_for_end(std::shared_ptr<rpc::ServerStream> stream) {
  auto end = std::make_shared<asio::steady_timer>(co_await asio::this_coro::executor, asio::steady_timer::time_point::max());
  stream->on_closed([end] { end->cancel(); });
  asio::error_code ignored;
  if (!stream->closed()) co_await end->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

// Requests, one after the other, until the stream ends; why it did.
asio::awaitable<Status> serve(Node& node, std::shared_ptr<WatchSession> session, std::shared_ptr<rpc::ServerStream> stream) {
  for (;;) {
    Result<std::optional<std::string>> message = co_await stream->read();
    if (!message.ok()) co_return message.status();
    if (!message->has_value()) {
      co_await wait_for_end(stream);
      Result<std::optional<std::string>> end = co_await stream->read();
      co_return end.status();
    }
    Result<std::string> answer = session->handle(**message);
    if (!answer.ok()) {
      base::log::warn("failed to receive watch request from gRPC stream", {{"error", answer.status()}});
      node.metrics().stream_failures.with({"receive", "watch"}).add();
      co_return answer.status();
    }
    if (answer->empty()) continue;
    // Waits while the client does not take what is queued: so requests cannot pile up answers.
    Status written = co_await stream->write(std::move(*answer));
    if (!written.ok()) co_return written;
  }
}

asio::awaitable<Status> serve_watch(Node& node, std::shared_ptr<rpc::ServerStream> stream) {
  Status admitted = admit_stream(node, stream, OnLearner::kRefused);
  if (!admitted.ok()) co_return admitted;
  auto session = std::make_shared<WatchSession>(node, stream, WatchCheck());
  // By a post: the hub may be in the middle of writing to the stream.
  stream->on_drained([&loop = node.environment().loop, weak = std::weak_ptr<WatchSession>(session)] {
    loop.post([weak] {
      if (const auto alive = weak.lock()) alive->drained();
    });
  });
  Status ended = co_await serve(node, session, stream);
  session->close();
  if (ended.code() == Code::kCancelled) co_return Status(Code::kCancelled, "etcdserver: watch canceled");
  co_return ended;
}

}  // namespace

void add_watch_service(rpc::Server& server, Node& node) {
  server.add_stream("/etcdserverpb.Watch/Watch",
                    [&node](std::shared_ptr<rpc::ServerStream> stream) { return serve_watch(node, std::move(stream)); });
}

}  // namespace server
