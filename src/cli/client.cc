#include "cli/client.h"

#include <algorithm>
#include <array>
#include <asio.hpp>
#include <cstdio>

#include "base/log.h"
#include "base/rng.h"
#include "base/verify.h"
#include "net/spawn.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr int kAttemptsMax = 100;
constexpr std::chrono::milliseconds kBackoff(25);
constexpr int kBackoffJitterDivisor = 10;  // up to a tenth more or less
constexpr std::chrono::seconds kKeepaliveMin(10);  // gRPC's lower bound for a client
constexpr std::string_view kApiVersion = "3.7";
constexpr std::string_view kAuthenticate = "/etcdserverpb.Auth/Authenticate";
constexpr size_t kReceiveBytesMax = 0x7fffffff;

// After "etcdserver: ". What is not here reaches the user as `rpc error: ...`, whatever it begins with.
constexpr auto kCatalogue = std::to_array<std::string_view>({
    "key is not provided",
    "key not found",
    "value is provided",
    "lease is provided",
    "too many operations in txn request",
    "duplicate key given in txn request",
    "invalid sort option",
    "mvcc: required revision has been compacted",
    "mvcc: required revision is a future revision",
    "mvcc: database space exceeded",
    "requested lease not found",
    "lease already exists",
    "too large lease TTL",
    "member ID already exist",
    "Peer URLs already exists",
    "re-configuration failed due to not enough started members",
    "given member URLs are invalid",
    "member not found",
    "can only promote a learner member",
    "can only promote a learner member which is in sync with leader",
    "too many learner members in cluster",
    "cluster ID mismatch",
    "request is too large",
    "too many requests",
    "root user does not exist",
    "root user does not have root role",
    "user name already exists",
    "user name is empty",
    "user name not found",
    "role name already exists",
    "role name not found",
    "role name is empty",
    "authentication failed, invalid user ID or password",
    "permission denied",
    "role is not granted to the user",
    "permission is not granted to the role",
    "authentication is not enabled",
    "invalid auth token",
    "invalid auth management",
    "revision of auth store is old",
    "no leader",
    "not leader",
    "leader changed",
    "not capable",
    "server stopped",
    "request timed out",
    "request timed out, possibly due to previous leader failure",
    "request timed out, possibly due to connection lost",
    "unhealthy cluster",
    "corrupt cluster",
    "rpc not supported for learner",
    "bad leader transferee",
    "wrong downgrade target version format",
    "invalid downgrade target version",
    "cluster version not found during downgrade",
    "cluster has a downgrade job in progress",
    "no inflight downgrade job",
});

bool is_context_error(Code code) { return code == Code::kDeadlineExceeded || code == Code::kCancelled; }

std::string rpc_error_text(const Status& status) {
  return "rpc error: code = " + std::string(base::code_name(status.code())) + " desc = " + std::string(status.text());
}

std::string peer_text(const rpc::CallPeer& peer) {
  if (peer.remote.empty()) return "Peer{Addr: <nil>, LocalAddr: <nil>, AuthInfo: <nil>}";
  return "Peer{Addr: '" + peer.remote + "', LocalAddr: '" + peer.local + "', AuthInfo: '" + (peer.tls ? "tls" : "insecure") +
         "'}";
}

std::string_view authority_of(std::string_view endpoint) {
  if (const size_t scheme = endpoint.find("://"); scheme != std::string_view::npos) return endpoint.substr(scheme + 3);
  for (const std::string_view prefix : {"unix:", "unixs:"}) {
    if (endpoint.starts_with(prefix)) return endpoint.substr(prefix.size());
  }
  return endpoint;
}

rpc::ChannelOptions channel_options(const ClientConfig& config, std::shared_ptr<asio::ssl::context> tls) {
  rpc::ChannelOptions options;
  options.endpoints = with_scheme(config.endpoints, tls != nullptr);
  if (config.keepalive_time.count() > 0) {
    options.keepalive_time = std::max<base::Duration>(config.keepalive_time, kKeepaliveMin);
  }
  if (config.keepalive_timeout.count() > 0) options.keepalive_timeout = config.keepalive_timeout;
  options.message_bytes_max = config.receive_bytes_max > 0 ? config.receive_bytes_max : kReceiveBytesMax;
  if (config.send_bytes_max > 0) options.send_bytes_max = config.send_bytes_max;
  options.tls = std::move(tls);
  options.tls_server_name = config.tls.server_name;
  options.tls_insecure_skip_verify = config.tls.insecure_skip_verify;
  return options;
}

}  // namespace

bool is_catalogued(std::string_view text) {
  constexpr std::string_view kPrefix = "etcdserver: ";
  if (!text.starts_with(kPrefix)) return false;
  return std::find(kCatalogue.begin(), kCatalogue.end(), text.substr(kPrefix.size())) != kCatalogue.end();
}

Status in_words(const Status& status, bool deadline_passed) {
  if (status.ok() || is_catalogued(status.text())) return status;
  if (is_context_error(status.code()) && deadline_passed) return Status(status.code(), "context deadline exceeded");
  return Status(status.code(), rpc_error_text(status));
}

// One call and its attempts live in a Call, which keeps the Impl alive.
class Client::Impl : public std::enable_shared_from_this<Client::Impl> {
 public:
  Impl(asio::io_context& loop, const base::Clock& clock, ClientConfig config, std::shared_ptr<asio::ssl::context> tls)
      : loop_(loop),
        clock_(clock),
        config_(std::move(config)),
        channel_(loop, clock, channel_options(config_, std::move(tls))),
        random_(static_cast<uint64_t>(clock.unix_ns())) {
    char address[24];
    std::snprintf(address, sizeof address, "%p", static_cast<const void*>(this));
    target_ = std::string("etcd-endpoints://") + address + "/" + std::string(authority_of(config_.endpoints[0]));
    token_ = config_.token;
  }
  ~Impl() { channel_.close(); }

  void start(std::string_view method, std::string request, Retry retry, Deadline deadline, Done done) {
    auto call = std::make_shared<Call>(Call{std::string(method), std::move(request), retry, deadline, std::move(done)});
    attempt(std::move(call));
  }

  void login(Done done) {
    etcdserverpb::AuthenticateRequest request;
    request.set_name(config_.user);
    request.set_password(config_.password);
    Deadline deadline;
    if (config_.dial_timeout.count() > 0) deadline = clock_.now() + config_.dial_timeout;
    auto then = [self = shared_from_this(), done = std::move(done)](Result<std::string> answer) {
      if (!answer.ok() && answer.status().text() == "etcdserver: authentication is not enabled") {
        self->token_.clear();
        return done(std::string());
      }
      etcdserverpb::AuthenticateResponse response;
      if (answer.ok() && !response.ParseFromString(*answer)) answer = Status(Code::kInternal, "bad answer to Authenticate");
      if (answer.ok()) self->token_ = response.token();
      done(std::move(answer));
    };
    start(kAuthenticate, request.SerializeAsString(), Retry::kWrite, deadline, std::move(then));
  }

  bool has_password() const { return config_.token.empty() && !config_.user.empty() && !config_.password.empty(); }
  bool logs_in() const { return token_.empty() && has_password(); }

  rpc::CallOptions call_options(Deadline deadline) const {
    rpc::CallOptions options;
    options.deadline = deadline;
    options.wait_for_ready = true;
    options.metadata.add("client-api-version", std::string(kApiVersion));
    if (!token_.empty()) options.metadata.add("token", token_);
    return options;
  }

  bool passed(Deadline deadline) const { return deadline && clock_.now() >= *deadline; }

  asio::io_context& loop() { return loop_; }
  rpc::Channel& channel() { return channel_; }
  const std::string& token() const { return token_; }

 private:
  struct Call {
    std::string method, request;
    Retry retry;
    Deadline deadline;
    Done done;
    int attempts = 0;
    std::shared_ptr<rpc::CallPeer> peer = std::make_shared<rpc::CallPeer>();
  };

  void attempt(std::shared_ptr<Call> call) {
    rpc::CallOptions options = call_options(call->deadline);
    options.peer = call->peer;
    auto done = [self = shared_from_this(), call](Result<std::string> answer) { self->answered(call, std::move(answer)); };
    channel_.unary(call->method, call->request, std::move(options), std::move(done));
  }

  void answered(const std::shared_ptr<Call>& call, Result<std::string> answer) {
    if (answer.ok()) return call->done(std::move(answer));
    const Status failure = answer.status();
    if (!config_.quiet) log_failure(*call, failure);
    ++call->attempts;
    if (is_context_error(failure.code())) {
      // gRPC's own timer may ring a little before ours.
      return call->done(in_words(failure, call->deadline.has_value()));
    }
    const bool again = call->attempts < kAttemptsMax;
    if (again && wants_new_token(*call, failure)) {
      return login([self = shared_from_this(), call](Result<std::string> in) {
        if (!in.ok()) return call->done(in.status());
        self->back_off(call);
      });
    }
    if (again && is_safe_to_repeat(*call, failure)) return back_off(call);
    call->done(in_words(failure, false));
  }

  void log_failure(const Call& call, const Status& failure) {
    base::log::write_named(config_.logger, base::log::Level::kWarn, "retrying of unary invoker failed",
                           {{"target", target_},
                            {"peer", peer_text(*call.peer)},
                            {"method", call.method},
                            {"attempt", call.attempts},
                            {"error", rpc_error_text(failure)}});
  }

  bool wants_new_token(const Call& call, const Status& failure) const {
    if (!has_password() || call.method == kAuthenticate) return false;
    const std::string_view text = failure.text();
    return text == "etcdserver: invalid auth token" || text == "etcdserver: revision of auth store is old" ||
           text == "etcdserver: user name is empty";
  }

  bool is_safe_to_repeat(const Call& call, const Status& failure) const {
    if (failure.text() == "etcdserver: rpc not supported for learner" && config_.endpoints.size() > 1) return true;
    if (failure.code() != Code::kUnavailable) return false;
    return call.retry == Retry::kRead || failure.text() == "there is no address available" ||
           failure.text() == "there is no connection available";
  }

  // A pause after each round over a quorum of the endpoints, none in between.
  void back_off(const std::shared_ptr<Call>& call) {
    const size_t quorum = config_.endpoints.size() / 2 + 1;
    std::chrono::nanoseconds pause(0);
    if (static_cast<size_t>(call->attempts) % quorum == 0) {
      const base::Duration spread = 2 * std::chrono::nanoseconds(kBackoff) / kBackoffJitterDivisor;
      pause = kBackoff - spread / 2 + std::chrono::nanoseconds(random_.below(static_cast<uint64_t>(spread.count())));
    }
    if (call->deadline && clock_.now() + pause >= *call->deadline) pause = std::max(*call->deadline - clock_.now(), pause * 0);
    auto timer = std::make_shared<asio::steady_timer>(loop_, pause);
    timer->async_wait([self = shared_from_this(), call, timer](const std::error_code&) {
      if (self->passed(call->deadline)) {
        return call->done(Status(Code::kDeadlineExceeded, "context deadline exceeded"));
      }
      self->attempt(call);
    });
  }

  asio::io_context& loop_;
  const base::Clock& clock_;
  const ClientConfig config_;
  rpc::Channel channel_;
  std::string target_, token_;
  base::Rng random_;
};

Client::Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

rpc::CallOptions Client::stream_options(bool need_leader) const {
  rpc::CallOptions options = impl_->call_options(std::nullopt);
  if (need_leader) options.metadata.add("hasleader", "true");
  return options;
}

void Client::renew_token(std::function<void()> done) {
  if (!impl_->has_password()) return asio::post(impl_->loop(), std::move(done));
  impl_->login([done = std::move(done)](const Result<std::string>&) { done(); });
}

rpc::Channel& Client::channel() { return impl_->channel(); }
const std::string& Client::token() const { return impl_->token(); }

namespace {

// Runs the loop until `done` is set.
void run_until(asio::io_context& loop, const bool& done) {
  while (!done) {
    if (loop.stopped()) loop.restart();
    loop.run_one();
  }
}

}  // namespace

Result<std::unique_ptr<Client>> Client::open(asio::io_context& loop, const base::Clock& clock, ClientConfig config) {
  VERIFY(!config.endpoints.empty());
  Result<std::shared_ptr<asio::ssl::context>> tls = make_tls_context(config.tls, config.endpoints[0]);
  if (!tls.ok()) return tls.status();
  auto impl = std::make_shared<Impl>(loop, clock, std::move(config), std::move(*tls));
  if (impl->logs_in()) {
    bool answered = false;
    Status login;
    impl->login([&](Result<std::string> answer) {
      answered = true;
      login = answer.status();
    });
    run_until(loop, answered);
    // Codes other than kInvalidArgument tell the caller that the files were right.
    if (!login.ok()) return Status(Code::kUnavailable, std::string(login.text()));
  }
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

void Client::unary(std::string_view method, std::string request, Retry retry, Deadline deadline, Done done) {
  impl_->start(method, std::move(request), retry, deadline, std::move(done));
}

Result<std::string> Client::call(std::string_view method, std::string request, Retry retry, Deadline deadline) {
  bool answered = false;
  Result<std::string> result = std::string();
  unary(method, std::move(request), retry, deadline, [&](Result<std::string> answer) {
    answered = true;
    result = std::move(answer);
  });
  run_until(impl_->loop(), answered);
  return result;
}

Status Client::call(std::string_view method, const google::protobuf::MessageLite& request, Retry retry, Deadline deadline,
                    google::protobuf::MessageLite& response) {
  Result<std::string> answer = call(method, request.SerializeAsString(), retry, deadline);
  if (!answer.ok()) return answer.status();
  if (response.ParseFromString(*answer)) return Status();
  return in_words(Status(Code::kInternal, "grpc: failed to unmarshal the received message"), false);
}

namespace {

asio::awaitable<void> pump(rpc::Channel& channel, std::string method, std::string request, rpc::CallOptions options,
                           std::function<Status(std::string)> on_message, Status& result, bool& finished) {
  Result<std::unique_ptr<rpc::ClientStream>> stream = co_await channel.stream(method, std::move(options));
  result = stream.status();
  if (stream.ok()) {
    result = co_await (*stream)->write(std::move(request));
    (*stream)->half_close();
    while (result.ok()) {
      Result<std::optional<std::string>> message = co_await (*stream)->read();
      result = message.status();
      if (!result.ok() || !message->has_value()) break;
      result = on_message(std::move(**message));
    }
  }
  finished = true;
}

}  // namespace

Status Client::read_stream(std::string_view method, const google::protobuf::MessageLite& request, Deadline deadline,
                           std::function<Status(std::string)> on_message) {
  bool finished = false;
  Status result;
  net::spawn(impl_->loop().get_executor(), "ctl stream",
             pump(impl_->channel(), std::string(method), request.SerializeAsString(), impl_->call_options(deadline),
                  std::move(on_message), result, finished));
  run_until(impl_->loop(), finished);
  return in_words(result, deadline.has_value());
}

}  // namespace cli
