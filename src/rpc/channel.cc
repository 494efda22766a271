// Picks a connection for each call, as grpc-go's round_robin does: in turn over the endpoints that are ready. While one is
// still being dialled calls wait; when all have failed, calls that do not ask to wait fail with the last dial error.
#include "rpc/channel.h"

#include <algorithm>
#include <asio/ssl/context.hpp>
#include <list>
#include <utility>

#include "base/rng.h"
#include "base/verify.h"
#include "net/spawn.h"
#include "net/timer_queue.h"
#include "net/tls.h"
#include "net/wake.h"
#include "rpc/client_call.h"
#include "rpc/client_connection.h"
#include "rpc/endpoint.h"

namespace rpc {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr base::Duration kBackoffBase = std::chrono::seconds(1);
constexpr base::Duration kBackoffMax = std::chrono::seconds(120);
constexpr double kBackoffFactor = 1.6;
constexpr double kBackoffJitter = 0.2;
constexpr int kBackoffSteps = 16;                               // 1.6^11 is beyond the maximum
constexpr base::Duration kSoundLife = std::chrono::seconds(1);  // a connection that lasted so long was none of the failures
constexpr size_t kPendingCallsMax = 65536;

base::Duration backoff_after(int failures, base::Rng& rng) {
  double wait = static_cast<double>(kBackoffBase.count());
  if (failures <= 1) return kBackoffBase;
  for (int i = 1; i < std::min(failures, kBackoffSteps); ++i) wait *= kBackoffFactor;
  wait = std::min(wait, static_cast<double>(kBackoffMax.count()));
  constexpr uint64_t kGrain = 1000000;
  const double random = static_cast<double>(rng.below(kGrain)) / kGrain;  // [0, 1)
  return base::Duration(static_cast<int64_t>(wait * (1 + kBackoffJitter * (random * 2 - 1))));
}

Status closing() { return Status(Code::kCancelled, "grpc: the client connection is closing"); }

}  // namespace

class Channel::Impl final : public ClientConnection::Owner,
                            public ClientCallPlace,
                            public std::enable_shared_from_this<Channel::Impl> {
 public:
  Impl(asio::io_context& loop, const base::Clock& clock, ChannelOptions options)
      : shared_(std::make_shared<ClientShared>(loop, clock, std::move(options))),
        rng_(static_cast<uint64_t>(clock.unix_ns())),
        keepalive_time_(shared_->options.keepalive_time) {
    if (asio::ssl::context* tls = shared_->options.tls.get()) {
      tls->set_verify_mode(shared_->options.tls_insecure_skip_verify ? asio::ssl::verify_none : asio::ssl::verify_peer);
      net::set_alpn_client(*tls);  // etcd's servers hang up on clients that do not offer h2.
    }
    set_endpoints(shared_->options.endpoints);
  }

  ClientShared& shared() { return *shared_; }

  void start_unary(std::string_view path, std::string request, CallOptions options, UnaryDone done);
  // These keep the implementation while they run, also when the channel goes.
  static asio::awaitable<Result<std::unique_ptr<ClientStream>>> open_stream(std::shared_ptr<Impl> self, std::string path,
                                                                            CallOptions options);
  static asio::awaitable<Status> connect(std::shared_ptr<Impl> self);
  void set_endpoints(std::vector<std::string> endpoints);
  void close();

  // ClientConnection::Owner
  void connection_ready(ClientConnection& connection) override;
  void connection_draining(ClientConnection& connection) override;
  void connection_lost(ClientConnection& connection, const Status& why) override;
  void call_refused(std::shared_ptr<ClientCall> call) override;

  // ClientCallPlace: the queue of calls that wait for a connection.
  void abandon(ClientCall& call) override;
  void body_ready(ClientCall&) override {}
  void consumed(ClientCall&, size_t) override {}

 private:
  enum class State { kIdle, kDialing, kReady, kFailed };
  struct Slot {
    Slot(Impl* i, std::string t) : impl(i), text(std::move(t)), retry(&Slot::retry_due, this) {}
    static void retry_due(void* self) {
      auto& slot = *static_cast<Slot*>(self);
      slot.impl->dial(slot);
    }

    Impl* const impl;
    const std::string text;
    Endpoint endpoint;
    State state = State::kIdle;
    bool usable = true;  // the text could be read
    int failures = 0;
    Status last_error;
    base::Instant ready_since{};
    std::shared_ptr<ClientConnection> connection;
    net::Timer retry;
  };
  struct ConnectWait {
    explicit ConnectWait(asio::io_context& loop) : wake(loop), timer(&ConnectWait::due, this) {}
    static void due(void* self) {
      auto& wait = *static_cast<ConnectWait*>(self);
      wait.late = true;
      wait.wake.notify();
    }
    net::Wake wake;
    net::Timer timer;
    bool late = false;
  };

  void start(std::shared_ptr<ClientCall> call);
  void fail_later(std::shared_ptr<ClientCall> call, Status why);
  void dial_idle();
  void dial(Slot& slot);
  void slot_failed(Slot& slot, const Status& why);
  void release(Slot& slot);
  Slot* slot_of(ClientConnection& connection);
  std::shared_ptr<ClientConnection> pick();
  bool any_dialing() const;
  Status why_failed() const;
  void retry_pending();
  void wake_connect_waiters();

  const std::shared_ptr<ClientShared> shared_;
  base::Rng rng_;
  std::chrono::nanoseconds keepalive_time_;
  std::string authority_;
  std::vector<std::unique_ptr<Slot>> slots_;
  size_t next_slot_ = 0;
  std::vector<std::shared_ptr<ClientConnection>> draining_;
  std::list<std::shared_ptr<ClientCall>> pending_;
  std::vector<std::shared_ptr<ConnectWait>> connect_waiters_;
  bool closed_ = false;
};

// --- calls --------------------------------------------------------------------------------------------------------------

void Channel::Impl::start_unary(std::string_view path, std::string request, CallOptions options, UnaryDone done) {
  const size_t size = request.size();
  const size_t size_max = shared_->options.send_bytes_max;
  auto call = std::make_shared<UnaryClientCall>(shared_->timers, path, std::move(request), std::move(options),
                                                shared_->options.message_bytes_max, std::move(done));
  if (size > size_max) {
    return fail_later(std::move(call), too_large_to_send(size, size_max));
  }
  call->arm_deadline();
  start(std::move(call));
}

asio::awaitable<Result<std::unique_ptr<ClientStream>>> Channel::Impl::open_stream(std::shared_ptr<Impl> self, std::string path,
                                                                                  CallOptions options) {
  const ClientShared& shared = *self->shared_;
  auto call = std::make_shared<StreamClientCall>(shared.loop, shared.timers, path, std::move(options),
                                                 shared.options.message_bytes_max, shared.options.send_bytes_max);
  call->arm_deadline();
  self->start(call);
  Status opened = co_await call->opened();
  if (!opened.ok()) co_return opened;
  co_return make_client_stream(std::move(call));
}

void Channel::Impl::start(std::shared_ptr<ClientCall> call) {
  if (call->finished()) return;
  if (closed_) return fail_later(std::move(call), closing());
  for (size_t tries = slots_.size(); tries > 0; --tries) {
    const std::shared_ptr<ClientConnection> connection = pick();
    if (connection == nullptr) break;
    if (connection->start_call(call)) return;
  }
  dial_idle();
  if (!any_dialing()) {
    Status why = why_failed();
    if (!call->options().wait_for_ready) return fail_later(std::move(call), std::move(why));
    call->set_waiting_because(std::move(why));
  }
  if (pending_.size() >= kPendingCallsMax) {
    return fail_later(std::move(call), Status(Code::kResourceExhausted, "too many calls wait for a connection"));
  }
  call->set_place(this);
  pending_.push_back(std::move(call));
}

// Never inside the function that started the call: whoever answers with another call would recurse.
void Channel::Impl::fail_later(std::shared_ptr<ClientCall> call, Status why) {
  asio::post(shared_->loop, [call = std::move(call), why = std::move(why)] { call->finish(why); });
}

void Channel::Impl::abandon(ClientCall& call) {
  const auto at = std::find_if(pending_.begin(), pending_.end(), [&](const auto& p) { return p.get() == &call; });
  if (at != pending_.end()) pending_.erase(at);
  call.set_place(nullptr);
}

void Channel::Impl::call_refused(std::shared_ptr<ClientCall> call) {
  asio::post(shared_->loop, [self = shared_from_this(), call = std::move(call)]() mutable { self->start(std::move(call)); });
}

// Once more for all that wait: something about the connections has changed.
void Channel::Impl::retry_pending() {
  std::list<std::shared_ptr<ClientCall>> waiting = std::move(pending_);
  pending_.clear();
  for (std::shared_ptr<ClientCall>& call : waiting) {
    call->set_place(nullptr);
    start(std::move(call));
  }
}

// --- endpoints ----------------------------------------------------------------------------------------------------------

void Channel::Impl::set_endpoints(std::vector<std::string> endpoints) {
  std::vector<std::unique_ptr<Slot>> old = std::move(slots_);
  slots_.clear();
  for (std::string& text : endpoints) {
    const auto same = [&](const std::unique_ptr<Slot>& slot) { return slot != nullptr && slot->text == text; };
    if (std::any_of(slots_.begin(), slots_.end(), same)) continue;
    const auto kept = std::find_if(old.begin(), old.end(), same);
    if (kept != old.end()) {
      slots_.push_back(std::move(*kept));
      continue;
    }
    auto slot = std::make_unique<Slot>(this, std::move(text));
    Result<Endpoint> parsed = parse_endpoint(slot->text);
    if (parsed.ok()) {
      slot->endpoint = std::move(*parsed);
    } else {
      slot->usable = false;
      slot->state = State::kFailed;
      slot->last_error = connection_error("transport: Error while dialing: dial tcp: " + std::string(parsed.status().text()));
    }
    slots_.push_back(std::move(slot));
  }
  for (const std::unique_ptr<Slot>& slot : old) {
    if (slot != nullptr) release(*slot);
  }
  authority_ = slots_.empty() ? std::string() : slots_.front()->endpoint.authority;
  next_slot_ = 0;
  if (!pending_.empty()) retry_pending();
}

void Channel::Impl::release(Slot& slot) {
  shared_->timers->disarm(slot.retry);
  if (slot.connection == nullptr) return;
  draining_.push_back(std::move(slot.connection));
  const std::shared_ptr<ClientConnection> connection = draining_.back();
  if (connection->ready()) return connection->drain();
  connection->close(Status(Code::kUnavailable, "transport is closing"));
}

Channel::Impl::Slot* Channel::Impl::slot_of(ClientConnection& connection) {
  for (const std::unique_ptr<Slot>& slot : slots_) {
    if (slot->connection.get() == &connection) return slot.get();
  }
  return nullptr;
}

std::shared_ptr<ClientConnection> Channel::Impl::pick() {
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = *slots_[next_slot_++ % slots_.size()];
    if (slot.connection != nullptr && slot.connection->ready()) return slot.connection;
  }
  return nullptr;
}

bool Channel::Impl::any_dialing() const {
  // A connection that has just broken is about to be told; its slot still says ready.
  return std::any_of(slots_.begin(), slots_.end(), [](const auto& slot) { return slot->state != State::kFailed; });
}

Status Channel::Impl::why_failed() const {
  if (slots_.empty()) return Status(Code::kUnavailable, "etcdclient: no available endpoints");
  return slots_.front()->last_error;
}

// --- connections --------------------------------------------------------------------------------------------------------

void Channel::Impl::dial_idle() {
  for (const std::unique_ptr<Slot>& slot : slots_) {
    if (slot->state == State::kIdle) dial(*slot);
  }
}

void Channel::Impl::dial(Slot& slot) {
  // While it failed before, it counts as failed until it is ready: calls need not wait for another attempt.
  if (slot.state != State::kFailed) slot.state = State::kDialing;
  slot.connection = std::make_shared<ClientConnection>(shared_, slot.endpoint, authority_, keepalive_time_, this);
  slot.connection->start(shared_->options.dial_timeout);
}

void Channel::Impl::connection_ready(ClientConnection& connection) {
  Slot* slot = slot_of(connection);
  if (slot == nullptr) return;
  slot->state = State::kReady;
  slot->ready_since = shared_->clock.now();
  wake_connect_waiters();
  retry_pending();
}

void Channel::Impl::connection_draining(ClientConnection& connection) {
  if (connection.told_too_many_pings()) keepalive_time_ *= 2;
  Slot* slot = slot_of(connection);
  if (slot == nullptr) return;
  draining_.push_back(std::move(slot->connection));
  slot_failed(*slot, Status(Code::kUnavailable, "the connection is draining"));
}

void Channel::Impl::connection_lost(ClientConnection& connection, const Status& why) {
  const auto leaving = std::find_if(draining_.begin(), draining_.end(), [&](const auto& c) { return c.get() == &connection; });
  if (leaving != draining_.end()) {
    draining_.erase(leaving);
    return;
  }
  Slot* slot = slot_of(connection);
  if (slot == nullptr) return;
  slot->connection.reset();
  slot_failed(*slot, why);
}

// Dials again: at once after a connection that had worked, else after the backoff. Connections that break right after they were
// made count as failures from the second one on.
void Channel::Impl::slot_failed(Slot& slot, const Status& why) {
  const base::Instant now = shared_->clock.now();
  const bool had_worked = slot.state == State::kReady;
  if (had_worked && now - slot.ready_since >= kSoundLife) slot.failures = 0;
  if (slot.failures++ == 0 && had_worked) {
    slot.state = State::kIdle;
    return dial(slot);
  }
  slot.state = State::kFailed;
  slot.last_error = why;
  shared_->timers->arm(slot.retry, now + backoff_after(slot.failures, rng_));
  if (!any_dialing()) retry_pending();
}

asio::awaitable<Status> Channel::Impl::connect(std::shared_ptr<Impl> self) {
  const ClientShared& shared = *self->shared_;
  const auto wait = std::make_shared<ConnectWait>(shared.loop);
  shared.timers->arm(wait->timer, shared.clock.now() + shared.options.dial_timeout);
  self->connect_waiters_.push_back(wait);
  self->dial_idle();
  while (self->pick() == nullptr && !self->closed_ && !wait->late) co_await wait->wake.wait();
  shared.timers->disarm(wait->timer);
  std::erase(self->connect_waiters_, wait);
  if (self->closed_) co_return closing();
  if (self->pick() == nullptr) co_return Status(Code::kDeadlineExceeded, "context deadline exceeded");
  co_return Status();
}

void Channel::Impl::wake_connect_waiters() {
  for (const std::shared_ptr<ConnectWait>& wait : connect_waiters_) wait->wake.notify();
}

void Channel::Impl::close() {
  if (std::exchange(closed_, true)) return;
  wake_connect_waiters();
  std::vector<std::shared_ptr<ClientConnection>> connections = std::move(draining_);
  draining_.clear();
  for (const std::unique_ptr<Slot>& slot : slots_) {
    shared_->timers->disarm(slot->retry);
    if (slot->connection != nullptr) connections.push_back(std::move(slot->connection));
  }
  slots_.clear();
  for (const std::shared_ptr<ClientConnection>& connection : connections) {
    connection->detach();
    connection->close(closing());
  }
  std::list<std::shared_ptr<ClientCall>> waiting = std::move(pending_);
  pending_.clear();
  for (const std::shared_ptr<ClientCall>& call : waiting) {
    call->set_place(nullptr);
    call->finish(closing());
  }
}

// --- the face -----------------------------------------------------------------------------------------------------------

namespace {

struct UnaryWait {
  explicit UnaryWait(asio::io_context& loop) : wake(loop) {}
  net::Wake wake;
  std::optional<Result<std::string>> result;
};

Channel::UnaryDone tell(std::shared_ptr<UnaryWait> wait) {
  return [wait = std::move(wait)](Result<std::string> result) {
    wait->result = std::move(result);
    wait->wake.notify();
  };
}

asio::awaitable<Result<std::string>> result_of(std::shared_ptr<UnaryWait> wait) {
  while (!wait->result) co_await wait->wake.wait();
  co_return std::move(*wait->result);
}

}  // namespace

Channel::Channel(asio::io_context& loop, const base::Clock& clock, ChannelOptions options)
    : impl_(std::make_shared<Impl>(loop, clock, std::move(options))) {}

Channel::~Channel() { impl_->close(); }

void Channel::unary(std::string_view path, std::string request, CallOptions options, UnaryDone done) {
  impl_->start_unary(path, std::move(request), std::move(options), std::move(done));
}

// Begins at once; the coroutine only waits, so `path` need not outlive this call.
asio::awaitable<Result<std::string>> Channel::unary(std::string_view path, std::string request, CallOptions options) {
  auto wait = std::make_shared<UnaryWait>(impl_->shared().loop);
  impl_->start_unary(path, std::move(request), std::move(options), tell(wait));
  return result_of(std::move(wait));
}

asio::awaitable<Result<std::unique_ptr<ClientStream>>> Channel::stream(std::string_view path, CallOptions options) {
  return Impl::open_stream(impl_, std::string(path), std::move(options));
}

asio::awaitable<Status> Channel::connect() { return Impl::connect(impl_); }

void Channel::set_endpoints(std::vector<std::string> endpoints) { impl_->set_endpoints(std::move(endpoints)); }

void Channel::close() { impl_->close(); }

}  // namespace rpc
