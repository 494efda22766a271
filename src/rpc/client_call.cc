#include "rpc/client_call.h"

#include <algorithm>
#include <utility>

#include "base/verify.h"

namespace rpc {

using base::Code;
using base::Result;
using base::Status;

Status too_large_to_send(size_t bytes, size_t bytes_max) {
  return Status(Code::kResourceExhausted,
                "trying to send message larger than max (" + std::to_string(bytes) + " vs. " + std::to_string(bytes_max) + ")");
}

ClientCall::ClientCall(std::shared_ptr<net::TimerQueue> timers, std::string_view path, CallOptions options,
                       size_t message_bytes_max)
    : timers_(std::move(timers)),
      path_(path),
      options_(std::move(options)),
      message_bytes_max_(message_bytes_max),
      response_(message_bytes_max),
      deadline_(&ClientCall::deadline_passed, this) {}

ClientCall::~ClientCall() { timers_->disarm(deadline_); }

void ClientCall::finish(Status status) {
  if (std::exchange(finished_, true)) return;
  timers_->disarm(deadline_);
  on_finished(std::move(status));
}

void ClientCall::abort(Status status) {
  if (finished_) return;
  const std::shared_ptr<ClientCall> keep = shared_from_this();
  if (place_ != nullptr) place_->abandon(*this);
  finish(std::move(status));
}

void ClientCall::arm_deadline() {
  if (!options_.deadline || finished_) return;
  if (*options_.deadline <= timers_->clock().now()) return deadline_passed(this);
  timers_->arm(deadline_, *options_.deadline);
}

void ClientCall::deadline_passed(void* self) {
  auto& call = *static_cast<ClientCall*>(self);
  std::string text = "context deadline exceeded";
  if (!call.waiting_because_.ok()) text = "latest balancer error: " + std::string(call.waiting_because_.text());
  call.abort(Status(Code::kDeadlineExceeded, std::move(text)));
}

bool ClientCall::rewind() {
  if (finished_ || response_.begun() || std::exchange(rewound_, true) || !rewind_body()) return false;
  response_.reset(message_bytes_max_);
  place_ = nullptr;
  stream_id = 0;
  headers_sent_ = false;
  return true;
}

void ClientCall::on_data(std::string_view data) {
  const size_t size = data.size();
  std::string message;
  while (!finished_ && response_.next(&data, &message) == ClientResponse::Got::kMessage) on_message(std::move(message));
  give_back(finished_ ? size : credit_now(size));
}

// --- unary --------------------------------------------------------------------------------------------------------------

UnaryClientCall::UnaryClientCall(std::shared_ptr<net::TimerQueue> timers, std::string_view path, std::string request,
                                 CallOptions options, size_t message_bytes_max, Channel::UnaryDone done)
    : ClientCall(std::move(timers), path, std::move(options), message_bytes_max),
      request_(std::move(request)),
      done_(std::move(done)) {
  store_message_prefix(prefix_, false, static_cast<uint32_t>(request_.size()));
}

void UnaryClientCall::take(char* to, size_t size) {
  if (sent_bytes_ < kMessagePrefixBytes) {
    const size_t part = std::min(size, kMessagePrefixBytes - sent_bytes_);
    std::copy_n(prefix_ + sent_bytes_, part, to);
    sent_bytes_ += part;
    to += part;
    size -= part;
  }
  if (size == 0) return;
  request_.copy(to, size, sent_bytes_ - kMessagePrefixBytes);
  sent_bytes_ += size;
}

void UnaryClientCall::on_message(std::string message) {
  if (answer_) {
    return abort(Status(Code::kInternal,
                        "cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message"));
  }
  answer_ = std::move(message);
}

void UnaryClientCall::on_finished(Status status) {
  const Channel::UnaryDone done = std::move(done_);
  done_ = nullptr;
  if (!status.ok()) return done(std::move(status));
  if (!answer_) {
    return done(Status(Code::kInternal, "cardinality violation: received no response message from non-server-streaming RPC"));
  }
  done(std::move(*answer_));
}

bool UnaryClientCall::rewind_body() {
  sent_bytes_ = 0;
  return true;
}

// --- streams ------------------------------------------------------------------------------------------------------------

StreamClientCall::StreamClientCall(asio::io_context& loop, std::shared_ptr<net::TimerQueue> timers, std::string_view path,
                                   CallOptions options, size_t message_bytes_max, size_t send_bytes_max)
    : ClientCall(std::move(timers), path, std::move(options), message_bytes_max),
      send_bytes_max_(send_bytes_max),
      opened_wake_(loop),
      write_wake_(loop),
      read_wake_(loop) {}

asio::awaitable<Status> StreamClientCall::opened() {
  while (!opened_ && !final_) co_await opened_wake_.wait();
  if (!opened_ && !final_->ok()) co_return *final_;
  co_return Status();
}

asio::awaitable<Status> StreamClientCall::write(std::string message) {
  if (message.size() > send_bytes_max_) co_return too_large_to_send(message.size(), send_bytes_max_);
  if (!final_) {
    VERIFY(!half_closed_);
    std::string framed(kMessagePrefixBytes, '\0');
    store_message_prefix(framed.data(), false, static_cast<uint32_t>(message.size()));
    framed += message;
    queued_bytes_ += framed.size();
    outgoing_.push_back(std::move(framed));
    wake_body();
  }
  while (!final_ && queued_bytes_ > kClientQueuedBytesMax) co_await write_wake_.wait();
  if (!final_) co_return Status();
  co_return final_->ok() ? Status(Code::kOutOfRange, "EOF") : *final_;
}

void StreamClientCall::half_close() {
  half_closed_ = true;
  wake_body();
}

asio::awaitable<Result<std::optional<std::string>>> StreamClientCall::read() {
  while (incoming_.empty() && !final_) co_await read_wake_.wait();
  if (!incoming_.empty()) {
    std::string message = std::move(incoming_.front());
    incoming_.pop_front();
    if (incoming_.empty()) give_back(std::exchange(withheld_bytes_, 0));
    co_return std::optional<std::string>(std::move(message));
  }
  if (!final_->ok()) co_return *final_;
  co_return std::optional<std::string>();
}

void StreamClientCall::take(char* to, size_t size) {
  queued_bytes_ -= size;
  while (size > 0) {
    std::string& message = outgoing_[sent_messages_];
    const size_t part = std::min(size, message.size() - sent_of_next_);
    message.copy(to, part, sent_of_next_);
    sent_of_next_ += part;
    to += part;
    size -= part;
    if (sent_of_next_ < message.size()) break;
    replay_bytes_ += message.size();
    sent_of_next_ = 0;
    ++sent_messages_;
  }
  if (response().begun() || replay_lost_ || replay_bytes_ > kReplayBytesMax) drop_sent();
  if (queued_bytes_ <= kClientQueuedBytesMax) write_wake_.notify();
}

void StreamClientCall::drop_sent() {
  if (sent_messages_ > 0) replay_lost_ = true;
  outgoing_.erase(outgoing_.begin(), outgoing_.begin() + static_cast<ptrdiff_t>(sent_messages_));
  sent_messages_ = 0;
  replay_bytes_ = 0;
}

bool StreamClientCall::rewind_body() {
  if (replay_lost_) return false;
  sent_messages_ = 0;
  sent_of_next_ = 0;
  replay_bytes_ = 0;
  queued_bytes_ = 0;
  for (const std::string& message : outgoing_) queued_bytes_ += message.size();
  return true;
}

void StreamClientCall::on_stream_opened() {
  opened_ = true;
  opened_wake_.notify();
}

void StreamClientCall::on_message(std::string message) {
  incoming_.push_back(std::move(message));
  read_wake_.notify();
}

// The window opens again when the reader has taken everything; a message longer than the window must not starve it, so what
// belongs to an unfinished message is given back while nothing else waits.
size_t StreamClientCall::credit_now(size_t bytes) {
  withheld_bytes_ += bytes;
  return incoming_.empty() ? std::exchange(withheld_bytes_, 0) : 0;
}

void StreamClientCall::on_finished(Status status) {
  final_ = std::move(status);  // What is queued stays: a frame may have been begun.
  opened_wake_.notify();
  write_wake_.notify();
  read_wake_.notify();
}

namespace {

// These two keep the call while they wait, also when the handle goes.
asio::awaitable<Status> write_to(std::shared_ptr<StreamClientCall> call, std::string message) {
  co_return co_await call->write(std::move(message));
}
asio::awaitable<Result<std::optional<std::string>>> read_from(std::shared_ptr<StreamClientCall> call) {
  co_return co_await call->read();
}

class StreamHandle final : public ClientStream {
 public:
  explicit StreamHandle(std::shared_ptr<StreamClientCall> call) : call_(std::move(call)) {}
  ~StreamHandle() override { cancel(); }

  asio::awaitable<Status> write(std::string message) override { return write_to(call_, std::move(message)); }
  void half_close() override { call_->half_close(); }
  asio::awaitable<Result<std::optional<std::string>>> read() override { return read_from(call_); }
  void cancel() override { call_->abort(Status(Code::kCancelled, "context canceled")); }

 private:
  const std::shared_ptr<StreamClientCall> call_;
};

}  // namespace

std::unique_ptr<ClientStream> make_client_stream(std::shared_ptr<StreamClientCall> call) {
  return std::make_unique<StreamHandle>(std::move(call));
}

}  // namespace rpc
