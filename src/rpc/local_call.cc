#include "rpc/local_call.h"

#include "base/verify.h"
#include "net/spawn.h"
#include "rpc/connection.h"
#include "rpc/registry.h"

namespace rpc {

using base::Code;
using base::Result;
using base::Status;

namespace {

Status too_large(size_t bytes, size_t bytes_max) {
  return Status(Code::kResourceExhausted,
                "grpc: received message larger than max (" + std::to_string(bytes) + " vs. " + std::to_string(bytes_max) + ")");
}

Status deadline_exceeded() { return Status(Code::kDeadlineExceeded, "context deadline exceeded"); }

// So short a time has passed before anything can begin.
constexpr base::Duration kTimeoutMin = std::chrono::microseconds(1);
// A timer further away than this is none: it would overflow the clock.
constexpr base::Duration kTimeoutMax = std::chrono::hours(24 * 365 * 100);

bool is_bounded(const std::optional<base::Duration>& timeout) { return timeout && *timeout < kTimeoutMax; }

void fill_context(const Method& method, const LocalCaller& caller, base::Instant now, CallContext& context) {
  context.path = method.path;
  context.metadata = &caller.metadata;
  if (is_bounded(caller.timeout)) context.deadline = now + *caller.timeout;
  context.peer = caller.peer;
  context.tls_common_name = caller.tls_common_name;
}

// Belongs to its handler until that has finished it; the caller's handle may live longer.
class LocalUnaryCall final : public detail::UnaryState, public LocalUnary, public std::enable_shared_from_this<LocalUnaryCall> {
 public:
  LocalUnaryCall(asio::io_context& home, const base::Clock& clock, std::shared_ptr<ServerCore> core, const Method& method,
                 LocalCaller caller, std::string request, LocalCalls::Done done)
      : clock_(clock),
        core_(std::move(core)),
        method_(method),
        caller_(std::move(caller)),
        request_(std::move(request)),
        done_(std::move(done)),
        deadline_(home) {
    began_ = clock_.now();
    fill_context(method_, caller_, began_, context_);
  }

  // True: answered already.
  bool start() {
    self_ = shared_from_this();
    if (is_bounded(caller_.timeout)) {
      deadline_.expires_after(*caller_.timeout);
      deadline_.async_wait([self = weak_from_this()](const asio::error_code& error) {
        if (error) return;
        if (const auto call = self.lock()) call->expire();
      });
    }
    if (core_->observer) core_->observer(method_.path, false, std::nullopt, base::Duration(0));
    method_.unary(UnaryCall(detail::UnaryHold(this)));
    return self_ == nullptr;
  }

  const CallContext& context() const override { return context_; }
  std::string_view request() const override { return request_; }
  bool cancelled() const override { return cancelled_; }

  void finish(std::string message) override { end(LocalAnswer{Status(), std::move(message), nullptr}); }
  void finish(Status status) override {
    VERIFY(!status.ok());
    end(LocalAnswer{std::move(status), std::string(), nullptr});
  }
  void finish(std::unique_ptr<ChunkSource> source) override { end(LocalAnswer{Status(), std::string(), std::move(source)}); }

  void cancel() override {
    cancelled_ = true;
    done_ = nullptr;
  }

 private:
  void end(LocalAnswer answer) {
    const std::shared_ptr<LocalUnaryCall> self = std::move(self_);
    self_ = nullptr;
    deadline_.cancel();
    const base::Duration took = clock_.now() - began_;
    if (core_->observer) core_->observer(method_.path, false, answer.status.code(), took);
    if (took > core_->slow_from) {
      core_->slow_observer(FinishedUnary{context_, request_, answer.message, answer.source.get(), answer.status, took});
    }
    tell(std::move(answer));
  }

  void expire() {
    cancelled_ = true;
    tell(LocalAnswer{deadline_exceeded(), std::string(), nullptr});
  }

  void tell(LocalAnswer answer) {
    if (const auto done = std::exchange(done_, nullptr)) done(std::move(answer));
  }

  const base::Clock& clock_;
  const std::shared_ptr<ServerCore> core_;
  const Method& method_;  // core_'s
  const LocalCaller caller_;
  const std::string request_;
  LocalCalls::Done done_;
  asio::steady_timer deadline_;
  CallContext context_;
  base::Instant began_{};
  bool cancelled_ = false;
  std::shared_ptr<LocalUnaryCall> self_;  // until finished
};

}  // namespace

// --- LocalStream ------------------------------------------------------------------------------------------------------------

LocalStream::LocalStream(asio::io_context& home, std::shared_ptr<ServerCore> core, const Method* method, LocalCaller caller,
                         size_t message_bytes_max)
    : core_(std::move(core)),
      method_(method),
      caller_(std::move(caller)),
      message_bytes_max_(message_bytes_max),
      deadline_(home),
      readable_(home),
      inbox_room_(home),
      writable_(home),
      answered_(home) {}

asio::awaitable<Status> LocalStream::send(std::string message) {
  if (message.size() > message_bytes_max_) {
    Status why = too_large(message.size(), message_bytes_max_);
    close_send(why);
    co_return why;
  }
  while (inbox_.size() >= kLocalInboxMessagesMax && !closed_ && !ended_) co_await inbox_room_.wait();
  if (closed_ || ended_ || send_closed_) co_return Status(Code::kUnavailable, "EOF");
  inbox_.push_back(std::move(message));
  readable_.notify();
  co_return Status();
}

void LocalStream::send_one(std::string message) {
  if (message.size() > message_bytes_max_) return close_send(too_large(message.size(), message_bytes_max_));
  if (!closed_ && !send_closed_) inbox_.push_back(std::move(message));
  close_send();
}

void LocalStream::close_send(Status why) {
  if (std::exchange(send_closed_, true)) return;
  if (!closed_) why_ = std::move(why);
  readable_.notify();
}

asio::awaitable<std::optional<std::string>> LocalStream::receive() {
  while (outbox_.empty() && !ended_) co_await answered_.wait();
  if (outbox_.empty()) co_return std::nullopt;
  Outbound first = std::move(outbox_.front());
  outbox_.pop_front();
  queued_ -= first.size();
  std::string message = std::move(first.own);
  if (first.shared) message += *first.shared;
  if (queued_ <= kStreamQueuedBytesMax && writable_.waiting()) writable_.notify();
  if (above_ && queued_ <= kStreamQueuedBytesMax / 2) {
    above_ = false;
    if (drained_) drained_();
  }
  co_return std::optional<std::string>(std::move(message));
}

void LocalStream::cancel(Status why) {
  if (ended_ && outbox_.empty()) return;
  status_ = why;
  ended_ = true;
  why_ = std::move(why);
  outbox_.clear();
  queued_ = 0;
  close();
  answered_.notify();
}

void LocalStream::end(Status why) {
  if (closed_ || ended_) return;
  why_ = std::move(why);
  close();
}

void LocalStream::observe_read() {
  if (end_observed_) return;
  end_observed_ = closed_ || inbox_.empty();
  if (core_->message_observer) core_->message_observer(method_->path, true);
}

asio::awaitable<Result<std::optional<std::string>>> LocalStream::read() {
  while (inbox_.empty() && !send_closed_ && !closed_) co_await readable_.wait();
  observe_read();
  if (closed_) co_return why_;
  if (!inbox_.empty()) {
    std::string first = std::move(inbox_.front());
    inbox_.pop_front();
    if (inbox_room_.waiting()) inbox_room_.notify();
    co_return std::optional<std::string>(std::move(first));
  }
  if (!why_.ok()) co_return why_;
  co_return std::optional<std::string>();
}

asio::awaitable<Status> LocalStream::write(std::string message) {
  if (closed_) co_return why_;
  queue(std::move(message), nullptr);
  while (!closed_ && queued_ > kStreamQueuedBytesMax) co_await writable_.wait();
  co_return closed_ ? why_ : Status();
}

bool LocalStream::try_write(std::string prefix, std::shared_ptr<const std::string> shared) {
  if (closed_) return false;
  queue(std::move(prefix), std::move(shared));
  return true;
}

void LocalStream::queue(std::string bytes, std::shared_ptr<const std::string> shared) {
  if (core_->message_observer) core_->message_observer(method_->path, false);
  Outbound out{std::move(bytes), std::move(shared)};
  queued_ += out.size();
  if (queued_ > kStreamQueuedBytesMax) above_ = true;
  outbox_.push_back(std::move(out));
  answered_.notify();
}

void LocalStream::on_closed(std::function<void()> callback) {
  if (closed_) {
    callback();
  } else {
    closed_callbacks_.push_back(std::move(callback));
  }
}

void LocalStream::returned(Status status) {
  if (!ended_) status_ = std::move(status);
  ended_ = true;
  if (!closed_) why_ = Status(Code::kCancelled, "context canceled");
  close();
  answered_.notify();
}

void LocalStream::close() {
  if (std::exchange(closed_, true)) return;
  deadline_.cancel();
  inbox_.clear();
  drained_ = nullptr;
  readable_.notify();
  writable_.notify();
  inbox_room_.notify();
  const auto callbacks = std::exchange(closed_callbacks_, {});
  for (const auto& callback : callbacks) callback();
}

// --- LocalCalls -------------------------------------------------------------------------------------------------------------

LocalCalls::LocalCalls(asio::io_context& home, const base::Clock& clock, std::shared_ptr<ServerCore> core,
                       size_t message_bytes_max)
    : home_(home),
      clock_(clock),
      core_(std::move(core)),
      message_bytes_max_(message_bytes_max),
      running_(std::make_shared<Streams>()) {}

LocalCalls::~LocalCalls() = default;

std::shared_ptr<LocalUnary> LocalCalls::call(std::string_view path, LocalCaller caller, std::string request, Done done) {
  const Method* method = core_->registry.find(path);
  Status refused;
  if (method == nullptr || !method->unary) {
    refused = Status(Code::kUnimplemented, core_->registry.unknown_text(path));
  } else if (caller.timeout && *caller.timeout <= kTimeoutMin) {
    refused = deadline_exceeded();
  } else if (request.size() > message_bytes_max_) {
    refused = too_large(request.size(), message_bytes_max_);
  }
  if (!refused.ok()) {
    done(LocalAnswer{std::move(refused), std::string(), nullptr});
    return nullptr;
  }
  const auto unary =
      std::make_shared<LocalUnaryCall>(home_, clock_, core_, *method, std::move(caller), std::move(request), std::move(done));
  if (unary->start()) return nullptr;
  return unary;
}

std::shared_ptr<LocalStream> LocalCalls::open(std::string_view path, LocalCaller caller) {
  const Method* method = core_->registry.find(path);
  const auto stream = std::make_shared<LocalStream>(home_, core_, method, std::move(caller), message_bytes_max_);
  const std::optional<base::Duration>& timeout = stream->caller_.timeout;
  if (method == nullptr || !method->stream) {
    stream->cancel(Status(Code::kUnimplemented, core_->registry.unknown_text(path)));
  } else if (core_->stopping.load(std::memory_order_relaxed)) {
    stream->cancel(server_stopped());
  } else if (timeout && *timeout <= kTimeoutMin) {
    stream->cancel(deadline_exceeded());
  } else {
    fill_context(*method, stream->caller_, clock_.now(), stream->context_);
    if (is_bounded(timeout)) {
      stream->deadline_.expires_after(*timeout);
      stream->deadline_.async_wait([weak = stream->weak_from_this()](const asio::error_code& error) {
        if (error) return;
        if (const auto late = weak.lock()) late->cancel(deadline_exceeded());
      });
    }
    running_->insert(stream.get());
    net::spawn(home_.get_executor(), "local stream handler", serve(stream, running_, core_, clock_));
  }
  return stream;
}

asio::awaitable<void> LocalCalls::serve(std::shared_ptr<LocalStream> stream, std::shared_ptr<Streams> running,
                                        std::shared_ptr<ServerCore> core, const base::Clock& clock) {
  const Method& method = *stream->method_;
  const base::Instant began = clock.now();
  if (core->observer) core->observer(method.path, true, std::nullopt, base::Duration(0));
  std::shared_ptr<ServerStream> handlers = stream;
  Status status = co_await method.stream(std::move(handlers));
  running->erase(stream.get());
  if (core->observer) core->observer(method.path, true, status.code(), clock.now() - began);
  stream->returned(std::move(status));
}

void LocalCalls::stop(const Status& why) {
  const std::vector<LocalStream*> streams(running_->begin(), running_->end());
  for (LocalStream* stream : streams) stream->cancel(why);
}

}  // namespace rpc
