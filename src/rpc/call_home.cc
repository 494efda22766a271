// The home half of a call: unary answers, chunked answers, and the handler's stream.
#include "base/verify.h"
#include "net/spawn.h"
#include "rpc/call.h"
#include "rpc/server_stream.h"

namespace rpc {

using base::Code;
using base::Result;
using base::Status;
using Kind = CallMessage::Kind;

namespace detail {

void DropUnary::operator()(UnaryState* state) const { state->finish(Status(Code::kInternal, "rpc: the call was dropped")); }

}  // namespace detail

// --- Call, home half --------------------------------------------------------------------------------------------------------

void Call::receive_at_home(CallMessage message) {
  switch (message.kind) {
    case Kind::kUnary:
      begin_observed();
      method_->unary(UnaryCall(detail::UnaryHold(this)));
      break;
    case Kind::kStream:
      begin_observed();
      handle_ = std::make_shared<StreamHandle>(this, take_metadata());
      net::spawn(loop_->home().get_executor(), "rpc stream handler", handle_->serve(method_, core_));
      break;
    case Kind::kMessage:
      handle_->message(std::move(message.bytes), message.number);
      break;
    case Kind::kHalfClose:
      handle_->half_closed(std::move(message.status));
      break;
    case Kind::kDrained:
      handle_->sent(message.number);
      break;
    case Kind::kPull:
      pull(message.number);
      break;
    case Kind::kDead:
      if (handle_) {
        const std::shared_ptr<StreamHandle> handle = handle_;
        handle->dead(std::move(message.status));
        break;
      }
      source_dead_ = true;
      if (source_busy_) break;  // chunk_done() releases.
      source_.reset();
      send_to_owner(Kind::kReleased);
      break;
    default:
      VERIFY(false);
  }
}

void Call::finish(std::string message) {
  observe_end(Status(), message, nullptr);
  CallMessage out;
  out.call = this;
  out.kind = Kind::kReply;
  out.bytes = std::move(message);
  loop_->to_owner(std::move(out));
}

void Call::finish(Status status) {
  VERIFY(!status.ok());
  observe_end(status, {}, nullptr);
  CallMessage out;
  out.call = this;
  out.kind = Kind::kFailure;
  out.status = std::move(status);
  loop_->to_owner(std::move(out));
}

void Call::finish(std::unique_ptr<ChunkSource> source) {
  const uint64_t size = source->size();
  if (size > 0xffffffff) {
    return finish(Status(Code::kResourceExhausted,
                         "grpc: trying to send message larger than max (" + std::to_string(size) + " vs. 4294967295)"));
  }
  observe_end(Status(), {}, source.get());
  source_ = std::move(source);
  send_to_owner(Kind::kSource, size);
}

void Call::pull(size_t max) {
  if (source_dead_) return;
  source_busy_ = true;
  source_->next(max, [this](Result<std::string> chunk) { chunk_done(std::move(chunk)); });
}

void Call::chunk_done(Result<std::string> chunk) {
  VERIFY(source_busy_);
  source_busy_ = false;
  if (source_dead_) {
    source_.reset();
    return send_to_owner(Kind::kReleased);
  }
  CallMessage out;
  out.call = this;
  if (chunk.ok()) {
    out.kind = Kind::kChunk;
    out.bytes = std::move(*chunk);
  } else {
    out.kind = Kind::kChunkError;
    out.status = chunk.status();
  }
  loop_->to_owner(std::move(out));
}

void Call::begin_observed() {
  began_ = loop_->clock().now();
  if (core_->observer) core_->observer(method_->path, method_->stream != nullptr, std::nullopt, base::Duration(0));
}

void Call::observe_end(const Status& status, std::string_view response, const ChunkSource* source) {
  const base::Duration took = loop_->clock().now() - began_;
  if (core_->observer) core_->observer(method_->path, method_->stream != nullptr, status.code(), took);
  if (took > core_->slow_from) core_->slow_observer(FinishedUnary{context_, request_, response, source, status, took});
}

// --- UnaryCall --------------------------------------------------------------------------------------------------------------

namespace {
// Takes the state out of its holder: finishing it once is enough.
detail::UnaryState& release(detail::UnaryHold& state) {
  VERIFY(state != nullptr);
  return *state.release();
}
}  // namespace

UnaryCall::UnaryCall() = default;
UnaryCall::UnaryCall(detail::UnaryHold state) : state_(std::move(state)) {}
UnaryCall::UnaryCall(UnaryCall&&) noexcept = default;
UnaryCall& UnaryCall::operator=(UnaryCall&&) noexcept = default;
UnaryCall::~UnaryCall() = default;

const CallContext& UnaryCall::context() const { return state_->context(); }
std::string_view UnaryCall::request() const { return state_->request(); }
bool UnaryCall::cancelled() const { return state_->cancelled(); }

void UnaryCall::finish(std::string message) { release(state_).finish(std::move(message)); }
void UnaryCall::finish(Status status) { release(state_).finish(std::move(status)); }
void UnaryCall::finish(std::unique_ptr<ChunkSource> source) { release(state_).finish(std::move(source)); }

// --- StreamHandle
// -------------------------------------------------------------------------------------------------------------

StreamHandle::StreamHandle(Call* call, Metadata metadata)
    : call_(call),
      loop_(call->loop().shared_from_this()),
      context_(call->context()),
      metadata_(std::move(metadata)),
      peer_(context_.peer),
      tls_common_name_(context_.tls_common_name),
      readable_(loop_->home()),
      writable_(loop_->home()) {
  context_.metadata = &metadata_;
  context_.peer = peer_;
  context_.tls_common_name = tls_common_name_;
}

asio::awaitable<void> StreamHandle::serve(const Method* method, std::shared_ptr<ServerCore> core) {
  method_ = method;
  core_ = std::move(core);
  const base::Instant began = loop_->clock().now();
  const std::shared_ptr<StreamHandle> self = shared_from_this();
  std::shared_ptr<ServerStream> stream = self;
  Status status = co_await method->stream(std::move(stream));
  if (core_->observer) core_->observer(method->path, true, status.code(), loop_->clock().now() - began);
  returned_ = true;
  if (!dead_) {
    CallMessage out;
    out.call = call_;
    out.kind = Kind::kEnd;
    out.status = std::move(status);
    loop_->to_owner(std::move(out));
  }
  release_if_done();
}

void StreamHandle::release_if_done() {
  if (!dead_ || !returned_ || call_ == nullptr) return;
  Call* call = std::exchange(call_, nullptr);
  call->handle_.reset();
  call->send_to_owner(Kind::kReleased);
}

void StreamHandle::observe_read() {
  if (end_observed_) return;
  end_observed_ = closed_ || inbox_.empty();
  if (core_->message_observer) core_->message_observer(method_->path, true);
}

asio::awaitable<Result<std::optional<std::string>>> StreamHandle::read() {
  while (inbox_.empty() && !half_closed_ && !closed_) co_await readable_.wait();
  observe_read();
  if (closed_) co_return why_;
  if (!inbox_.empty()) {
    Inbound first = std::move(inbox_.front());
    inbox_.pop_front();
    call_->send_to_owner(Kind::kConsumed, first.owed);
    co_return std::optional<std::string>(std::move(first.bytes));
  }
  if (!why_.ok()) co_return why_;
  co_return std::optional<std::string>();
}

asio::awaitable<Status> StreamHandle::write(std::string message) {
  if (closed_) co_return why_;
  send(std::move(message), nullptr);
  while (!closed_ && queued_ > kStreamQueuedBytesMax) co_await writable_.wait();
  co_return closed_ ? why_ : Status();
}

bool StreamHandle::try_write(std::string prefix, std::shared_ptr<const std::string> shared) {
  if (closed_) return false;
  send(std::move(prefix), std::move(shared));
  return true;
}

void StreamHandle::send(std::string bytes, std::shared_ptr<const std::string> shared) {
  if (core_->message_observer) core_->message_observer(method_->path, false);
  queued_ += kMessagePrefixBytes + bytes.size() + (shared ? shared->size() : 0);
  if (queued_ > kStreamQueuedBytesMax) above_ = true;
  CallMessage out;
  out.call = call_;
  out.kind = Kind::kSend;
  out.bytes = std::move(bytes);
  out.shared = std::move(shared);
  loop_->to_owner(std::move(out));
}

void StreamHandle::on_closed(std::function<void()> callback) {
  if (closed_) {
    callback();
  } else {
    closed_callbacks_.push_back(std::move(callback));
  }
}

void StreamHandle::message(std::string bytes, uint64_t owed) {
  inbox_.push_back(Inbound{std::move(bytes), owed});
  readable_.notify();
}

void StreamHandle::half_closed(Status why) {
  half_closed_ = true;
  if (!closed_) why_ = std::move(why);
  readable_.notify();
}

void StreamHandle::sent(uint64_t bytes) {
  VERIFY(bytes <= queued_);
  queued_ -= bytes;
  if (queued_ <= kStreamQueuedBytesMax && writable_.waiting()) writable_.notify();
  if (above_ && queued_ <= kStreamQueuedBytesMax / 2) {
    above_ = false;
    if (drained_) drained_();
  }
}

void StreamHandle::end(Status why) {
  if (closed_) return;
  closed_ = true;
  why_ = std::move(why);
  inbox_.clear();
  readable_.notify();
  writable_.notify();
  drained_ = nullptr;
  const auto callbacks = std::exchange(closed_callbacks_, {});
  for (const auto& callback : callbacks) callback();
}

void StreamHandle::dead(Status why) {
  dead_ = true;
  end(std::move(why));
  release_if_done();
}

}  // namespace rpc
