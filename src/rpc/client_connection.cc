#include "rpc/client_connection.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/verify.h"
#include "net/spawn.h"
#include "net/tls.h"
#include "rpc/grpc_text.h"

namespace rpc {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr size_t kFixedFields = 7;
constexpr size_t kPathField = 2;

ClientCall& call_of(void* stream) { return *static_cast<ClientCall*>(stream); }

bool is_binary(std::string_view name) { return name.size() > 4 && name.substr(name.size() - 4) == "-bin"; }

// Go's client leaves the padding out.
std::string encode_binary(std::string_view value) {
  std::string text = base::base64_encode(value);
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

}  // namespace

Status connection_error(std::string_view what) { return Status(Code::kUnavailable, "connection error: desc = " + quote(what)); }

ClientConnection::ClientConnection(std::shared_ptr<ClientShared> shared, Endpoint endpoint, std::string authority,
                                   std::chrono::nanoseconds keepalive_time, Owner* owner)
    : shared_(std::move(shared)),
      endpoint_(std::move(endpoint)),
      authority_(std::move(authority)),
      keepalive_time_(keepalive_time),
      owner_(owner),
      writer_wake_(shared_->loop),
      dial_timer_([](void* self) { static_cast<ClientConnection*>(self)->dial_timed_out(); }, this),
      keepalive_timer_([](void* self) { static_cast<ClientConnection*>(self)->keepalive_due(); }, this) {}

ClientConnection::~ClientConnection() {
  shared_->timers->disarm(dial_timer_);
  shared_->timers->disarm(keepalive_timer_);
}

void ClientConnection::start(base::Duration timeout) {
  VERIFY(state_ == State::kIdle);
  state_ = State::kDialing;
  dial_deadline_ = shared_->clock.now() + timeout;
  shared_->timers->arm(dial_timer_, dial_deadline_);
  net::spawn(shared_->loop.get_executor(), "client connection", run());
}

asio::awaitable<void> ClientConnection::run() {
  const std::shared_ptr<ClientConnection> self = shared_from_this();
  std::string why = co_await open();
  if (why.empty()) {
    net::spawn(shared_->loop.get_executor(), "client connection writer", write_when_blocked());
    why = co_await serve();
  }
  end(std::move(why));
}

asio::awaitable<Result<std::unique_ptr<net::Stream>>> ClientConnection::dial() {
  if (endpoint_.unix_socket) co_return co_await net::connect_unix(shared_->loop, endpoint_.path, dial_deadline_);
  co_return co_await net::connect_tcp(shared_->loop, endpoint_.host, endpoint_.port, dial_deadline_);
}

// Empty when the connection is made: TCP, TLS, our first frames queued.
asio::awaitable<std::string> ClientConnection::open() {
  const ChannelOptions& options = shared_->options;
  const bool tls = endpoint_.tls == Endpoint::Tls::kAlways || (endpoint_.tls == Endpoint::Tls::kIfGiven && options.tls);
  if (state_ == State::kClosed) co_return close_reason_;
  if (tls && !options.tls) co_return "transport: authentication handshake failed: no TLS configuration for an https endpoint";
  Result<std::unique_ptr<net::Stream>> dialed = co_await dial();
  if (!dialed.ok()) co_return "transport: Error while dialing: " + std::string(dialed.status().text());
  stream_ = std::move(*dialed);
  if (state_ == State::kClosed) co_return close_reason_;
  if (tls) {
    const std::string& name = options.tls_server_name.empty() ? endpoint_.host : options.tls_server_name;
    stream_ = net::make_tls_client(std::move(stream_), *options.tls, name);
    Status shaken = co_await stream_->handshake();
    const bool too_late = state_ == State::kClosed;
    const std::string trouble = too_late ? "context deadline exceeded" : std::string(shaken.text());
    if (!shaken.ok() || too_late) co_return "transport: authentication handshake failed: " + trouble;
  }
  http2::SessionOptions session_options;
  session_ = std::make_unique<http2::Session>(http2::Role::kClient, *this, session_options);
  const bool path_has_host = !endpoint_.unix_socket && !authority_.empty();
  fields_ = {{":method", "POST", true},
             {":scheme", tls ? "https" : "http", true},
             {":path", ""},
             {":authority", path_has_host ? std::string_view(authority_) : std::string_view("localhost")},
             {"content-type", "application/grpc", true},
             {"user-agent", options.user_agent},
             {"te", "trailers", true}};
  VERIFY(fields_.size() == kFixedFields);
  co_return std::string();
}

// Reads until the connection ends; says why.
asio::awaitable<std::string> ClientConnection::serve() {
  std::string& buffer = shared_->read_buffer;
  const std::string prefix_before_settings = "error reading server preface: ";
  int reads = 0;
  flush();
  while (state_ != State::kClosed) {
    const net::IoResult got = stream_->try_read(buffer.data(), buffer.size());
    const std::string prefix = got_settings_ ? "error reading from server: " : prefix_before_settings;
    if (got.state == net::IoState::kEnd) co_return prefix + "EOF";
    if (got.state == net::IoState::kFailed) co_return prefix + std::string(stream_->error().text());
    if (got.state == net::IoState::kDone) {
      const std::string broken = feed(std::string_view(buffer.data(), got.bytes));
      flush();
      if (!broken.empty()) co_return prefix + broken;
      if (state_ == State::kDraining && calls_.empty()) co_return "received goaway and there are no active streams";
      if (++reads % kClientReadsPerTurn == 0) co_await asio::post(shared_->loop, asio::use_awaitable);
      continue;
    }
    Status waited = co_await stream_->readable();
    if (!waited.ok()) break;
  }
  co_return close_reason_.empty() ? "transport is closing" : close_reason_;
}

std::string ClientConnection::feed(std::string_view bytes) {
  last_read_ = shared_->clock.now();
  ping_sent_ = false;
  in_session_ = true;
  Status fed = session_->feed(bytes, last_read_);
  in_session_ = false;
  return fed.ok() ? std::string() : std::string(fed.text());
}

// Makes frames and gives them to the socket until nothing is left or it is full.
void ClientConnection::flush() {
  if (blocked_ || in_session_ || session_ == nullptr || state_ == State::kClosed) return;
  for (;;) {
    if (output_sent_ == output_.size()) {
      output_.clear();
      output_sent_ = 0;
      in_session_ = true;
      session_->drain(output_, kClientWriteBytes);
      in_session_ = false;
      if (output_.empty()) return;
    }
    const net::IoResult put = stream_->try_write(std::string_view(output_).substr(output_sent_));
    if (put.state == net::IoState::kDone) {
      output_sent_ += put.bytes;
      continue;
    }
    // A failure is told by the reading side, which knows what the server said before.
    if (put.state == net::IoState::kBlocked) {
      blocked_ = true;
      writer_wake_.notify();
    }
    return;
  }
}

asio::awaitable<void> ClientConnection::write_when_blocked() {
  const std::shared_ptr<ClientConnection> self = shared_from_this();
  while (state_ != State::kClosed) {
    if (!blocked_) {
      co_await writer_wake_.wait();
      continue;
    }
    Status waited = co_await stream_->writable();
    if (!waited.ok()) co_return;
    blocked_ = false;
    flush();
  }
}

// One send for all calls that start in this turn of the loop.
void ClientConnection::flush_later() {
  if (in_session_ || flush_posted_) return;
  flush_posted_ = true;
  asio::post(shared_->loop, [self = shared_from_this()] {
    self->flush_posted_ = false;
    self->flush();
  });
}

bool ClientConnection::start_call(const std::shared_ptr<ClientCall>& call) {
  if (state_ != State::kReady) return false;
  fields_.resize(kFixedFields);
  fields_[kPathField].value = call->path();
  std::string timeout;
  if (call->options().deadline) {
    timeout = format_timeout(*call->options().deadline - shared_->clock.now());
    fields_.push_back({"grpc-timeout", timeout});
  }
  std::vector<std::string> encoded;
  encoded.reserve(call->options().metadata.fields().size());
  for (const auto& [name, value] : call->options().metadata.fields()) {
    if (is_binary(name)) encoded.push_back(encode_binary(value));
    fields_.push_back({name, is_binary(name) ? std::string_view(encoded.back()) : std::string_view(value)});
  }
  const http2::StreamId id = session_->submit_request(fields_, call.get(), call.get());
  if (id < 0) {
    drain_away();
    return false;
  }
  call->stream_id = id;
  call->slot = calls_.size();
  call->set_place(this);
  calls_.push_back(call);
  if (CallPeer* peer = call->options().peer.get()) {
    const bool tls = endpoint_.tls != Endpoint::Tls::kNever && shared_->options.tls != nullptr;
    *peer = CallPeer{stream_->peer(), stream_->local(), tls};
  }
  if (keepalive_time_.count() > 0 && !keepalive_timer_.armed()) arm_keepalive();
  flush_later();
  call->on_stream_opened();
  return true;
}

void ClientConnection::abandon(ClientCall& call) {
  if (session_ == nullptr || state_ == State::kClosed) return;
  session_->reset(call.stream_id, http2::ErrorCode::kCancel);
  flush_later();
}

void ClientConnection::body_ready(ClientCall& call) {
  if (session_ == nullptr || state_ == State::kClosed) return;
  session_->resume(call.stream_id);
  flush_later();
}

void ClientConnection::consumed(ClientCall& call, size_t bytes) {
  if (session_ == nullptr || state_ == State::kClosed) return;
  session_->consumed(call.stream_id, bytes);
  flush_later();
}

void ClientConnection::on_header(void* stream, std::string_view name, std::string_view value) {
  call_of(stream).response().on_header(name, value);
}

void ClientConnection::on_headers_end(void* stream, http2::HeadersKind, bool end_stream) {
  ClientCall& call = call_of(stream);
  call.response().on_headers_end(end_stream);
  answered(call, end_stream);
}

void ClientConnection::on_data(void* stream, std::string_view data) {
  ClientCall& call = call_of(stream);
  call.on_data(data);
  answered(call, false);
}

void ClientConnection::on_end_stream(void* stream) {
  ClientCall& call = call_of(stream);
  call.response().on_end_stream();
  answered(call, true);
}

// After each thing the server said. A call that is over while one side still talks is cut.
void ClientConnection::answered(ClientCall& call, bool end_stream) {
  if (!call.response().finished()) return;
  call.finish(call.response().status());
  if (end_stream && call.body_sent()) return;
  session_->reset(call.stream_id, end_stream ? http2::ErrorCode::kNoError : http2::ErrorCode::kCancel);
}

void ClientConnection::on_stream_close(void* stream, http2::ErrorCode error) {
  ClientCall& called = call_of(stream);
  VERIFY(called.slot < calls_.size() && calls_[called.slot].get() == &called);
  std::shared_ptr<ClientCall> call = std::move(calls_[called.slot]);
  if (called.slot + 1 != calls_.size()) {
    calls_[called.slot] = std::move(calls_.back());
    calls_[called.slot]->slot = called.slot;
  }
  calls_.pop_back();
  call->set_place(nullptr);
  if (call->finished()) return;
  const bool untouched = error == http2::ErrorCode::kRefusedStream || !call->headers_sent();
  if (untouched && owner_ != nullptr && call->rewind()) {
    return owner_->call_refused(std::move(call));
  }
  if (untouched && state_ == State::kDraining) return call->finish(Status(Code::kUnavailable, "the connection is draining"));
  call->finish(status_of_reset(static_cast<uint32_t>(error)));
}

void ClientConnection::on_ping(std::string_view, bool) {}  // Any frame counts as a sign of life; see feed().

void ClientConnection::on_goaway(http2::StreamId, http2::ErrorCode error, std::string_view debug) {
  constexpr size_t kDebugBytesMax = 1024;
  debug = debug.substr(0, kDebugBytesMax);
  goaway_text_ = "code: " + http2_error_name(static_cast<uint32_t>(error));
  if (!debug.empty()) goaway_text_ += ", debug data: " + quote(debug);
  if (error == http2::ErrorCode::kEnhanceYourCalm && debug == "too_many_pings") too_many_pings_ = true;
  drain_away();
}

void ClientConnection::on_settings(uint32_t) {
  if (std::exchange(got_settings_, true) || state_ != State::kDialing) return;
  shared_->timers->disarm(dial_timer_);
  state_ = State::kReady;
  if (owner_ != nullptr) owner_->connection_ready(*this);
}

void ClientConnection::drain_away() {
  if (state_ != State::kReady) return;
  state_ = State::kDraining;
  if (owner_ != nullptr) owner_->connection_draining(*this);
}

void ClientConnection::drain() {
  drain_away();
  if (calls_.empty()) close(Status(Code::kUnavailable, "transport is closing"));
}

void ClientConnection::dial_timed_out() {
  close(Status(Code::kUnavailable, "error reading server preface: context deadline exceeded"));
}

void ClientConnection::close(const Status& why) {
  if (state_ == State::kClosed) return;
  close_reason_ = std::string(why.text());
  if (got_settings_ && !in_session_) {
    session_->terminate(http2::ErrorCode::kNoError, "client transport shutdown");
    flush();
  }
  state_ = State::kClosed;
  writer_wake_.notify();
  finish_calls(why);
  if (stream_ != nullptr) stream_->close();
}

// The last act, in run(): nobody is inside the session.
void ClientConnection::end(std::string why) {
  if (!goaway_text_.empty()) why = "closing transport due to: " + why + ", received prior goaway: " + goaway_text_;
  state_ = State::kClosed;
  shared_->timers->disarm(dial_timer_);
  shared_->timers->disarm(keepalive_timer_);
  if (stream_ != nullptr) stream_->close();
  writer_wake_.notify();
  // The owner first, so that calls made by the finished ones go elsewhere.
  if (Owner* owner = std::exchange(owner_, nullptr)) {
    owner->connection_lost(*this, got_settings_ ? Status(Code::kUnavailable, why) : connection_error(why));
  }
  finish_calls(Status(Code::kUnavailable, why));
  session_.reset();
  calls_.clear();
}

void ClientConnection::finish_calls(const Status& why) {
  // Users may start and cancel calls meanwhile; the list itself changes only with streams, which do not move now.
  for (size_t i = 0; i < calls_.size(); ++i) {
    const std::shared_ptr<ClientCall> call = calls_[i];
    call->set_place(nullptr);
    call->finish(why);
  }
}

void ClientConnection::arm_keepalive() {
  const base::Duration every = std::max<base::Duration>(keepalive_time_, kKeepaliveTimeMin);
  shared_->timers->arm(keepalive_timer_, std::max(last_read_, shared_->clock.now() - every) + every);
}

// Pings only while calls are open: servers punish others.
void ClientConnection::keepalive_due() {
  if (state_ != State::kReady && state_ != State::kDraining) return;
  if (ping_sent_) return close(Status(Code::kUnavailable, "keepalive ping failed to receive ACK within timeout"));
  const base::Instant now = shared_->clock.now();
  if (calls_.empty()) return;
  if (now - last_read_ < std::max<base::Duration>(keepalive_time_, kKeepaliveTimeMin)) return arm_keepalive();
  ping_sent_ = true;
  session_->ping("etcdping");
  flush();
  shared_->timers->arm(keepalive_timer_, now + shared_->options.keepalive_timeout);
}

}  // namespace rpc
