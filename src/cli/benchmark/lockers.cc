#include "cli/benchmark/lockers.h"

#include "base/bytes.h"
#include "cli/ctl/requests.h"
#include "net/spawn.h"
#include "rpc.pb.h"
#include "rpc/channel.h"
#include "v3lock.pb.h"

namespace cli::benchmark {
namespace {

using base::Code;
using base::Result;
using base::Status;

constexpr int64_t kTtlSeconds = 60;
constexpr base::Duration kRenewInterval = std::chrono::seconds(kTtlSeconds) / 3;
const std::string kName = "stmlock";

class NoLock final : public Locker {
 public:
  asio::awaitable<Status> open() override { co_return Status(); }
  asio::awaitable<Status> lock() override { co_return Status(); }
  asio::awaitable<Status> unlock() override { co_return Status(); }
};

// A lease that is renewed as long as the program runs.
class Session {
 public:
  Session(Load& load, rpc::Channel& channel) : load_(load), channel_(channel) {}

  asio::awaitable<Status> open() {
    etcdserverpb::LeaseGrantRequest request;
    request.set_ttl(kTtlSeconds);
    etcdserverpb::LeaseGrantResponse response;
    const Status granted = co_await call("/etcdserverpb.Lease/LeaseGrant", request.SerializeAsString(), &response);
    if (!granted.ok()) co_return granted;
    lease_ = response.id();
    net::spawn(load_.loop().get_executor(), "lock session", renew(load_, channel_, lease_));
    co_return Status();
  }

  int64_t lease() const { return lease_; }
  Load& load() { return load_; }
  rpc::Channel& channel() { return channel_; }

  asio::awaitable<Status> call(std::string_view method, std::string request, google::protobuf::MessageLite* response) {
    rpc::CallOptions options = load_.call_options();
    const Result<std::string> answer = co_await channel_.unary(method, std::move(request), std::move(options));
    if (!answer.ok()) co_return answer.status();
    if (response->ParseFromString(*answer)) co_return Status();
    co_return Status(Code::kInternal, "grpc: failed to unmarshal the received message");
  }

 private:
  static asio::awaitable<void> renew(Load& load, rpc::Channel& channel, int64_t lease) {
    etcdserverpb::LeaseKeepAliveRequest request;
    request.set_id(lease);
    asio::steady_timer timer(load.loop());
    for (;;) {
      timer.expires_after(kRenewInterval);
      co_await timer.async_wait(asio::use_awaitable);
      Result<std::unique_ptr<rpc::ClientStream>> stream =
          co_await channel.stream("/etcdserverpb.Lease/LeaseKeepAlive", load.call_options());
      if (!stream.ok()) continue;
      std::string bytes = request.SerializeAsString();
      const Status written = co_await (*stream)->write(std::move(bytes));
      if (written.ok()) (void)co_await (*stream)->read();
    }
  }

  Load& load_;
  rpc::Channel& channel_;
  int64_t lease_ = 0;
};

// A key under the name for each who wants the lock, in the order of their creation; one waits for those before it.
class ClientLock final : public Locker {
 public:
  ClientLock(Load& load, rpc::Channel& channel) : session_(load, channel) {}

  asio::awaitable<Status> open() override {
    const Status opened = co_await session_.open();
    key_ = kName + "/" + base::hex(static_cast<uint64_t>(session_.lease()));
    co_return opened;
  }

  asio::awaitable<Status> lock() override {
    etcdserverpb::TxnResponse response;
    Status status = co_await session_.call("/etcdserverpb.KV/Txn", queue_request().SerializeAsString(), &response);
    if (!status.ok()) co_return status;
    if (response.responses_size() != 2) co_return Status(Code::kInternal, "bad answer to a transaction");
    int64_t mine = response.header().revision();
    if (!response.succeeded() && response.responses(0).response_range().kvs_size() > 0) {
      mine = response.responses(0).response_range().kvs(0).create_revision();
    }
    const etcdserverpb::RangeResponse& owner = response.responses(1).response_range();
    if (owner.kvs_size() == 0 || owner.kvs(0).create_revision() == mine) co_return Status();
    status = co_await wait_for_those_before(mine);
    co_return status;
  }

  asio::awaitable<Status> unlock() override {
    etcdserverpb::DeleteRangeRequest request;
    request.set_key(key_);
    etcdserverpb::DeleteRangeResponse response;
    const Status status = co_await session_.call("/etcdserverpb.KV/DeleteRange", request.SerializeAsString(), &response);
    co_return status;
  }

 private:
  // The keys below the name, by when they were made, only the first of them.
  static void set_first(etcdserverpb::RangeRequest& range, etcdserverpb::RangeRequest::SortOrder order) {
    range.set_key(kName + "/");
    range.set_range_end(ctl::prefix_range_end(range.key()));
    range.set_sort_target(etcdserverpb::RangeRequest::CREATE);
    range.set_sort_order(order);
    range.set_limit(1);
  }

  etcdserverpb::TxnRequest queue_request() const {
    etcdserverpb::TxnRequest request;
    etcdserverpb::Compare& compare = *request.add_compare();
    compare.set_key(key_);
    compare.set_target(etcdserverpb::Compare::CREATE);
    compare.set_result(etcdserverpb::Compare::EQUAL);
    compare.set_create_revision(0);
    etcdserverpb::PutRequest& put = *request.add_success()->mutable_request_put();
    put.set_key(key_);
    put.set_lease(session_.lease());
    set_first(*request.add_success()->mutable_request_range(), etcdserverpb::RangeRequest::ASCEND);
    request.add_failure()->mutable_request_range()->set_key(key_);
    set_first(*request.add_failure()->mutable_request_range(), etcdserverpb::RangeRequest::ASCEND);
    return request;
  }

  asio::awaitable<Status> wait_for_those_before(int64_t mine) {
    for (;;) {
      etcdserverpb::RangeRequest request;
      set_first(request, etcdserverpb::RangeRequest::DESCEND);
      request.set_max_create_revision(mine - 1);
      etcdserverpb::RangeResponse response;
      Status status = co_await session_.call("/etcdserverpb.KV/Range", request.SerializeAsString(), &response);
      if (!status.ok() || response.kvs_size() == 0) co_return status;
      status = co_await wait_for_delete(response.kvs(0).key(), response.header().revision());
      if (!status.ok()) co_return status;
    }
  }

  asio::awaitable<Status> wait_for_delete(std::string key, int64_t revision) {
    Result<std::unique_ptr<rpc::ClientStream>> stream =
        co_await session_.channel().stream("/etcdserverpb.Watch/Watch", session_.load().call_options());
    if (!stream.ok()) co_return stream.status();
    etcdserverpb::WatchRequest request;
    request.mutable_create_request()->set_key(std::move(key));
    request.mutable_create_request()->set_start_revision(revision);
    std::string bytes = request.SerializeAsString();
    Status status = co_await (*stream)->write(std::move(bytes));
    while (status.ok()) {
      Result<std::optional<std::string>> message = co_await (*stream)->read();
      if (!message.ok()) co_return message.status();
      etcdserverpb::WatchResponse response;
      if (!message->has_value() || !response.ParseFromString(**message) || response.canceled()) {
        status = Status(Code::kUnavailable, "lost watcher waiting for delete");
      }
      for (const mvccpb::Event& event : response.events()) {
        if (event.type() == mvccpb::Event::DELETE) co_return Status();
      }
    }
    co_return status;
  }

  Session session_;
  std::string key_;
};

class ServiceLock final : public Locker {
 public:
  ServiceLock(Load& load, rpc::Channel& channel) : session_(load, channel) {}
  asio::awaitable<Status> open() override {
    const Status opened = co_await session_.open();
    co_return opened;
  }
  asio::awaitable<Status> lock() override {
    v3lockpb::LockRequest request;
    request.set_name(kName);
    request.set_lease(session_.lease());
    v3lockpb::LockResponse response;
    const Status status = co_await session_.call("/v3lockpb.Lock/Lock", request.SerializeAsString(), &response);
    key_ = response.key();
    co_return status;
  }
  asio::awaitable<Status> unlock() override {
    v3lockpb::UnlockRequest request;
    request.set_key(key_);
    v3lockpb::UnlockResponse response;
    const Status status = co_await session_.call("/v3lockpb.Lock/Unlock", request.SerializeAsString(), &response);
    co_return status;
  }

 private:
  Session session_;
  std::string key_;
};

}  // namespace

std::unique_ptr<Locker> make_locker(std::string_view name, Load& load, rpc::Channel& channel) {
  if (name == "stm") return std::make_unique<NoLock>();
  if (name == "lock-client") return std::make_unique<ClientLock>(load, channel);
  if (name == "lock-rpc") return std::make_unique<ServiceLock>(load, channel);
  return nullptr;
}

}  // namespace cli::benchmark
