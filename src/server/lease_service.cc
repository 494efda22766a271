// etcdserverpb.Lease: LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive, LeaseLeases. Grants and revokes go through the
// log; the other calls are questions for the primary. Source: feature map 3.8; etcd v3rpc/lease.go.
#include <algorithm>

#include "base/log.h"
#include "server/errors.h"
#include "server/leases.h"
#include "server/metrics.h"
#include "server/proto_call.h"
#include "server/range_source.h"
#include "server/services.h"

namespace server {
namespace {

using base::Code;
using base::LeaseId;
using base::Result;
using base::Status;

// More leases than this are sorted and encoded off the core loop.
constexpr size_t kListedInPlaceMax = 2000;

class LeaseWaiter final : public Waiter {
 public:
  LeaseWaiter(Node& node, rpc::UnaryCall call) : node_(node), call_(std::move(call)) {}
  void done(Outcome outcome) override {
    if (!outcome.status.ok()) return call_.finish(std::move(outcome.status));
    call_.finish(with_header(node_.header(outcome.revision), outcome.fields));
  }

 private:
  Node& node_;
  rpc::UnaryCall call_;
};

void grant(Node& node, rpc::UnaryCall call) {
  etcdserverpb::LeaseGrantRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  // Every member must come to the same id: it is chosen here.
  if (request.id() == 0) request.set_id(node.new_lease_id().value());
  node.propose(wire::Op::kLeaseGrant, request.SerializeAsString(), std::make_unique<LeaseWaiter>(node, std::move(call)));
}

void revoke(Node& node, rpc::UnaryCall call) {
  etcdserverpb::LeaseRevokeRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  node.propose(wire::Op::kLeaseRevoke, request.SerializeAsString(), std::make_unique<LeaseWaiter>(node, std::move(call)));
}

void time_to_live(Node& node, rpc::UnaryCall call) {
  etcdserverpb::LeaseTimeToLiveRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  auto shared = std::make_shared<rpc::UnaryCall>(std::move(call));
  node.leases().find(LeaseId(request.id()), request.keys(), [&node, shared, id = request.id()](Result<Leases::Found> found) {
    if (!found.ok() && found.status().code() != Code::kNotFound) return shared->finish(found.status());
    etcdserverpb::LeaseTimeToLiveResponse response;
    fill_header(node, node.store().current_revision(), response.mutable_header());
    response.set_id(id);
    response.set_ttl(found.ok() ? found->remaining_s : -1);
    if (found.ok()) {
      response.set_grantedttl(found->granted_ttl_s);
      for (std::string& key : found->keys) response.add_keys(std::move(key));
    }
    shared->finish(response.SerializeAsString());
  });
}

// Each lease is a message of its id alone: `leases` is field 2 of the answer.
std::string encode_list(const wire::ResponseHeader& header, const std::vector<lease::Info>& leases) {
  etcdserverpb::LeaseLeasesResponse response;
  for (const lease::Info& info : leases) response.add_leases()->set_id(info.id.value());
  return with_header(header, response.SerializeAsString());
}

void list(Node& node, rpc::UnaryCall call) {
  etcdserverpb::LeaseLeasesRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  const lease::Lessor& lessor = node.leases().lessor();
  const base::Instant now = node.environment().loop.clock().now();
  if (lessor.size() <= kListedInPlaceMax) return call.finish(encode_list(node.header(), lessor.list(now)));
  struct Job {
    rpc::UnaryCall call;
    wire::ResponseHeader header;
    std::vector<lease::Info> leases;
    std::string answer;
  };
  if (node.big_reads >= kBigReadsMax) return call.finish(errors::too_many_requests());
  ++node.big_reads;
  auto job = std::make_shared<Job>(Job{std::move(call), node.header(), lessor.unsorted(now), {}});
  node.environment().helper.submit(
      [job] {
        lease::sort_by_end(job->leases);
        job->answer = encode_list(job->header, job->leases);
      },
      [&node, job] {
        --node.big_reads;
        job->call.finish(std::move(job->answer));
      });
}

// --- LeaseKeepAlive ---------------------------------------------------------------------------------------------------------

// A renewal that must wait, for the coroutine of its stream.
struct Renewal {
  explicit Renewal(asio::any_io_executor executor) : timer(std::move(executor), asio::steady_timer::time_point::max()) {}
  asio::steady_timer timer;
  std::optional<Result<int64_t>> ttl;
};

asio::awaitable<Result<int64_t>> wait_for_renewal(Node& node, std::shared_ptr<rpc::ServerStream> stream,
                                                  std::shared_ptr<Renewal> renewal, LeaseId id) {
  renewal->ttl.reset();
  renewal->timer.expires_at(asio::steady_timer::time_point::max());
  node.leases().renew(id, [weak = std::weak_ptr<Renewal>(renewal)](Result<int64_t> ttl) {
    const std::shared_ptr<Renewal> waiting = weak.lock();
    if (waiting == nullptr) return;
    waiting->ttl = std::move(ttl);
    waiting->timer.cancel();
  });
  asio::error_code ignored;
  if (!renewal->ttl && !stream->closed()) {
    co_await renewal->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  if (renewal->ttl) co_return *renewal->ttl;
  co_return Status(Code::kCancelled, "context canceled");
}

Status receive_failed(Node& node, const Status& status) {
  base::log::warn("failed to receive lease keepalive request from gRPC stream", {{"error", status}});
  node.metrics().stream_failures.with({"receive", "lease-keepalive"}).add();
  return status;
}

std::string encode_renewal(const wire::ResponseHeader& header, int64_t id, int64_t ttl) {
  std::string out;
  wire::append_range_head(header, out);
  const auto number = [&out](char tag, uint64_t value) {
    if (value == 0) return;
    out += tag;
    for (; value > 0x7f; value >>= 7) out += static_cast<char>(value | 0x80);
    out += static_cast<char>(value);
  };
  number(2 << 3, static_cast<uint64_t>(id));
  number(3 << 3, static_cast<uint64_t>(ttl));
  return out;
}

// Each request is answered before the next is read, as in etcd; answers go out together where the client sends many.
asio::awaitable<Status> keep_alive(Node& node, std::shared_ptr<rpc::ServerStream> stream) {
  Status admitted = admit_stream(node, stream, OnLearner::kRefused);
  if (!admitted.ok()) co_return admitted;
  std::shared_ptr<Renewal> renewal;
  for (;;) {
    Result<std::optional<std::string>> message = co_await stream->read();
    if (!message.ok()) {
      if (message.status().code() == Code::kCancelled || message.status().code() == Code::kDeadlineExceeded) {
        co_return message.status();
      }
      co_return receive_failed(node, message.status());
    }
    if (!message->has_value()) co_return Status();
    etcdserverpb::LeaseKeepAliveRequest request;
    if (!request.ParseFromString(**message)) co_return receive_failed(node, unmarshal_error());
    // The revision is of before: a client must not see a keepalive succeed at a revision that already revoked its lease.
    const wire::ResponseHeader header = node.header();
    const LeaseId id(request.id());
    std::optional<Result<int64_t>> ttl = node.leases().renew_now(id);
    if (!ttl) {
      if (renewal == nullptr) {
        renewal = std::make_shared<Renewal>(co_await asio::this_coro::executor);
        stream->on_closed([renewal] { renewal->timer.cancel(); });
      }
      ttl = co_await wait_for_renewal(node, stream, renewal, id);
    }
    int64_t seconds = 0;
    if (ttl->ok()) {
      seconds = **ttl;
    } else if (ttl->status().code() != Code::kNotFound) {
      co_return ttl->status();
    }
    Status written = co_await stream->write(encode_renewal(header, request.id(), seconds));
    if (!written.ok()) co_return written;
  }
}

}  // namespace

void add_lease_service(rpc::Server& server, Node& node) {
  server.add_unary("/etcdserverpb.Lease/LeaseGrant", [&node](rpc::UnaryCall call) { grant(node, std::move(call)); });
  server.add_unary("/etcdserverpb.Lease/LeaseRevoke", [&node](rpc::UnaryCall call) { revoke(node, std::move(call)); });
  server.add_unary("/etcdserverpb.Lease/LeaseTimeToLive",
                   [&node](rpc::UnaryCall call) { time_to_live(node, std::move(call)); });
  server.add_unary("/etcdserverpb.Lease/LeaseLeases", [&node](rpc::UnaryCall call) { list(node, std::move(call)); });
  server.add_stream("/etcdserverpb.Lease/LeaseKeepAlive",
                    [&node](std::shared_ptr<rpc::ServerStream> stream) { return keep_alive(node, std::move(stream)); });
}

}  // namespace server
