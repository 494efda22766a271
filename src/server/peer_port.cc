#include "server/peer_port.h"

#include <ctime>

#include "base/bytes.h"
#include "net/spawn.h"
#include "server/http_access.h"
#include "server/snapshot_receiver.h"

namespace server {
namespace {

using base::Status;
using rpc::HttpCall;

constexpr std::string_view kMessagePath = "/raft", kSnapshotPath = "/raft/snapshot", kProbePath = "/raft/probing";

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

// The answer to a stream: open until the transport or the other side ends it. Letting go of the call cuts it.
class HttpOutlet final : public peer::Outlet {
 public:
  explicit HttpOutlet(std::shared_ptr<HttpCall> call) : call_(std::move(call)) {}
  asio::awaitable<Status> write(std::string bytes) override {
    if (call_ == nullptr) co_return Status(base::Code::kCancelled, "context canceled");
    co_return co_await call_->write(std::move(bytes));
  }
  void end() override {
    if (call_ != nullptr) call_->end();
    call_.reset();
  }
  void cut() override { call_.reset(); }
  void on_closed(std::function<void()> callback) override {
    if (call_ != nullptr) call_->on_closed(std::move(callback));
  }

 private:
  std::shared_ptr<HttpCall> call_;
};

// RFC 3339 with nanoseconds, UTC.
std::string time_text(int64_t unix_ns) {
  const std::time_t seconds = unix_ns / 1'000'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  const int size =
      std::snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                    parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(unix_ns % 1'000'000'000));
  return std::string(text, static_cast<size_t>(size));
}

}  // namespace

bool PeerPort::streams_body(std::string_view method, std::string_view target) {
  return method == "POST" && path_of(target) == kSnapshotPath;
}

bool PeerPort::serve(const std::shared_ptr<HttpCall>& call) {
  const rpc::HttpRequest& http = call->request();
  peer::Request request;
  request.method = http.method;
  request.path = path_of(http.target);
  request.header = [&http](std::string_view name) { return http.headers.find(name); };
  if (clean_path(request.path) != request.path) return false;  // whoever asks is sent to the clean path
  if (request.path == kMessagePath) {
    serve_message(*call, request);
  } else if (request.path.starts_with(peer::kStreamPrefix)) {
    serve_stream(call, request);
  } else if (request.path == kSnapshotPath) {
    serve_snapshot(call, request);
  } else if (request.path == kProbePath) {
    serve_probe(*call);
  } else {
    return false;
  }
  return true;
}

rpc::Metadata PeerPort::headers() const {
  rpc::Metadata headers;
  headers.append("X-Etcd-Cluster-ID", base::hex(transport_.us().cluster_id));
  return headers;
}

// Without a version in the answer etcd's members take us for one that knows no such streams, and never see why they are
// refused.
rpc::Metadata PeerPort::stream_headers() const {
  rpc::Metadata fields = headers();
  fields.append("X-Server-Version", transport_.us().version);
  return fields;
}

void PeerPort::refuse(HttpCall& call, const peer::Refusal& refusal, bool stream) {
  rpc::HttpResponse response;
  response.status = refusal.status;
  // A wrong method is refused before anything is said of the cluster.
  if (refusal.allow.empty()) {
    response.headers = stream ? stream_headers() : headers();
  } else {
    response.headers.append("Allow", refusal.allow);
  }
  response.headers.append("Content-Type", "text/plain; charset=utf-8");
  response.headers.append("X-Content-Type-Options", "nosniff");
  response.body = refusal.text + "\n";
  call.finish(std::move(response));
}

void PeerPort::serve_stream(std::shared_ptr<HttpCall> call, const peer::Request& request) {
  peer::Channel channel{};
  base::NodeId from;
  if (const std::optional<peer::Refusal> refusal = transport_.admit_stream(request, &channel, &from)) {
    return refuse(*call, *refusal, true);
  }
  call->begin(200, stream_headers());
  transport_.open_stream(from, channel, std::make_shared<HttpOutlet>(std::move(call)));
}

void PeerPort::serve_message(HttpCall& call, const peer::Request& request) {
  std::optional<peer::Refusal> refusal = transport_.admit_post(request);
  if (!refusal) refusal = transport_.take_message(call.request().body);
  if (refusal) return refuse(call, *refusal);
  rpc::HttpResponse response;
  response.status = 204;
  response.headers = headers();
  call.finish(std::move(response));
}

void PeerPort::serve_snapshot(std::shared_ptr<HttpCall> call, const peer::Request& request) {
  std::optional<peer::Refusal> refusal = transport_.admit_post(request);
  if (!refusal && receiver_ == nullptr) refusal = peer::Refusal{500, "failed to save KV snapshot (no store)", {}, {}};
  if (refusal) return refuse(*call, *refusal);
  receiver_->receive(std::move(call), headers());
}

void PeerPort::serve_probe(HttpCall& call) {
  rpc::HttpResponse response;
  response.headers.append("Content-Type", "text/plain; charset=utf-8");
  response.body = "{\"OK\":true,\"Now\":\"" + time_text(clock_.unix_ns()) + "\"}\n";
  call.finish(std::move(response));
}

}  // namespace server
