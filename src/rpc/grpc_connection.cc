#include "rpc/grpc_connection.h"

#include <algorithm>

#include "base/verify.h"

namespace rpc {

using base::Code;
using base::Status;
using http2::ErrorCode;

namespace {

// The ping between the two GOAWAYs of a drain carries the same bytes as grpc-go's, so that traces look alike.
constexpr std::string_view kDrainPing("\x01\x06\x01\x08\x00\x03\x03\x09", 8);
constexpr std::string_view kAlivePing("\0\0\0\0\0\0\0\0", 8);

const Status& cancelled() {
  static const Status status(Code::kCancelled, "context canceled");
  return status;
}

http2::SessionOptions session_options(const ServerOptions& options) {
  http2::SessionOptions out;
  out.streams_max_advertised = options.concurrent_streams_max;
  out.streams_max = std::min<size_t>(options.concurrent_streams_max, http2::kStreamsPerConnectionMax);
  return out;
}

}  // namespace

GrpcConnection::GrpcConnection(std::shared_ptr<NetLoop> loop, std::shared_ptr<ServerCore> core,
                               std::shared_ptr<const ServerOptions> options, std::unique_ptr<net::Stream> stream)
    : loop_(std::move(loop)),
      core_(std::move(core)),
      options_(std::move(options)),
      stream_(std::move(stream)),
      peer_(new PeerInfo{stream_->peer(), stream_->tls_common_name()}),
      session_(http2::Role::kServer, *this, session_options(*options_)),
      unblocked_(loop_->io()),
      timer_([](void* self) { static_cast<GrpcConnection*>(self)->fire_timer(); }, this),
      stall_timer_([](void* self) { static_cast<GrpcConnection*>(self)->fire_stall(); }, this) {}

GrpcConnection::~GrpcConnection() {
  VERIFY(calls_.empty());
  loop_->timers().disarm(timer_);
  loop_->timers().disarm(stall_timer_);
  PeerInfo::release(peer_);
}

// --- turns ----------------------------------------------------------------------------------------------------------------

asio::awaitable<void> GrpcConnection::run(std::string first) {
  const auto self = shared_from_this();
  loop_->add(this);
  stream_->set_unacked_timeout(options_->keepalive_timeout);
  loop_->timers().arm(timer_, loop_->clock().now() + kFirstBytesTimeout);
  if (core_->stopping.load(std::memory_order_relaxed)) drain();
  bool reading = feed(first);
  flush();
  while (reading && !closed_ && !session_.finished()) {
    if (blocked_ && read_while_blocked_ > kReadWhileBlockedBytesMax) {
      co_await unblocked_.wait();
      continue;
    }
    const Status waited = co_await stream_->readable();
    if (!waited.ok() || closed_) break;
    const net::IoResult got = stream_->try_read(loop_->read_buffer(), kReadBufferBytes);
    if (got.state == net::IoState::kBlocked) continue;
    if (got.state != net::IoState::kDone) break;
    if (blocked_) read_while_blocked_ += got.bytes;
    reading = feed({loop_->read_buffer(), got.bytes});
    flush();
  }
  close_all(cancelled());
  if (!closed_) co_await linger();
  abort();
  loop_->remove(this);
}

bool GrpcConnection::feed(std::string_view bytes) {
  loop_->counters.bytes_received.fetch_add(bytes.size(), std::memory_order_relaxed);
  last_read_ = loop_->clock().now();
  ping_unanswered_ = false;
  in_turn_ = true;
  const Status fed = session_.feed(bytes, last_read_);
  in_turn_ = false;
  return fed.ok();
}

void GrpcConnection::mark_dirty() {
  if (closed_ || in_turn_) return;  // The turn ends with a flush.
  loop_->mark_dirty(shared_from_this());
}

void GrpcConnection::flush() {
  if (closed_ || blocked_ || over_) return;
  VERIFY(!in_turn_);
  std::string& out = loop_->out_buffer();
  size_t sent = 0;
  for (;;) {
    out.clear();
    in_turn_ = true;
    session_.drain(out, kDrainBytes);
    in_turn_ = false;
    if (out.empty() || !send(out)) break;
    sent += out.size();
    if (sent >= kSendBytesPerTurnMax) {
      mark_dirty();
      break;
    }
  }
}

// Gives `bytes` to the socket; what it does not take is kept until it does. False: do not go on.
bool GrpcConnection::send(std::string_view bytes) {
  const net::IoResult put = stream_->try_write(bytes);
  const size_t taken = put.state == net::IoState::kDone ? put.bytes : 0;
  loop_->counters.bytes_sent.fetch_add(taken, std::memory_order_relaxed);
  if (taken == bytes.size()) return true;
  if (put.state == net::IoState::kFailed || put.state == net::IoState::kEnd) {
    abort();
    return false;
  }
  rest_.assign(bytes.substr(taken));
  rest_sent_ = 0;
  blocked_ = true;
  read_while_blocked_ = 0;
  loop_->timers().arm(stall_timer_, loop_->clock().now() + kWriteStallTimeout);
  net::spawn(loop_->io().get_executor(), "rpc connection writer", send_rest());
  return false;
}

asio::awaitable<void> GrpcConnection::send_rest() {
  const auto self = shared_from_this();
  while (!closed_ && rest_sent_ < rest_.size()) {
    const Status waited = co_await stream_->writable();
    if (!waited.ok() || closed_) break;
    const net::IoResult put = stream_->try_write(std::string_view(rest_).substr(rest_sent_));
    if (put.state == net::IoState::kBlocked) continue;
    if (put.state != net::IoState::kDone) {
      abort();
      break;
    }
    rest_sent_ += put.bytes;
    loop_->counters.bytes_sent.fetch_add(put.bytes, std::memory_order_relaxed);
    loop_->timers().arm(stall_timer_, loop_->clock().now() + kWriteStallTimeout);
  }
  loop_->timers().disarm(stall_timer_);
  std::string().swap(rest_);
  blocked_ = false;
  unblocked_.notify();
  flush();
}

// Our last bytes are out: lets the peer read them before the socket goes, or the kernel would reset the connection.
asio::awaitable<void> GrpcConnection::linger() {
  stage_ = Stage::kLingering;
  loop_->timers().arm(timer_, loop_->clock().now() + kLingerTimeout);
  while (blocked_ && !closed_) co_await unblocked_.wait();
  if (closed_) co_return;
  stream_->shutdown_write();
  for (;;) {
    const Status waited = co_await stream_->readable();
    if (!waited.ok() || closed_) co_return;
    const net::IoState state = stream_->try_read(loop_->read_buffer(), kReadBufferBytes).state;
    if (state == net::IoState::kEnd || state == net::IoState::kFailed) co_return;
  }
}

void GrpcConnection::abort() {
  if (std::exchange(closed_, true)) return;
  stream_->close();
  loop_->timers().disarm(timer_);
  loop_->timers().disarm(stall_timer_);
  unblocked_.notify();
}

// The session still knows the calls, which are others' after this: nothing may come out of it any more.
void GrpcConnection::close_all(const Status& why) {
  over_ = true;
  while (!calls_.empty()) {
    Call* call = calls_.back();
    calls_.pop_back();
    call->stream_closed(why);
  }
}

// --- what the peer did ----------------------------------------------------------------------------------------------------

void* GrpcConnection::on_stream_begin(http2::StreamId id) {
  Call* call = loop_->take_call();
  call->begin(this, id, peer_);
  call->list_slot = calls_.size();
  calls_.push_back(call);
  return call;
}

void GrpcConnection::on_header(void* stream, std::string_view name, std::string_view value) {
  static_cast<Call*>(stream)->header(name, value);
}

void GrpcConnection::on_headers_end(void* stream, http2::HeadersKind, bool end_stream) {
  static_cast<Call*>(stream)->headers_end(end_stream);
}

void GrpcConnection::on_data(void* stream, std::string_view data) { static_cast<Call*>(stream)->data(data); }

void GrpcConnection::on_end_stream(void* stream) { static_cast<Call*>(stream)->end_stream(); }

void GrpcConnection::on_stream_close(void* stream, ErrorCode) {
  auto* call = static_cast<Call*>(stream);
  Call* last = calls_.back();
  calls_[call->list_slot] = last;
  last->list_slot = call->list_slot;
  calls_.pop_back();
  call->stream_closed(cancelled());
}

void GrpcConnection::on_settings(uint32_t) {
  if (stage_ != Stage::kOpening) return;
  stage_ = Stage::kOpen;
  loop_->timers().arm(timer_, loop_->clock().now() + options_->keepalive_interval);
}

void GrpcConnection::on_ping(std::string_view eight_bytes, bool ack) {
  if (ack) {
    if (stage_ == Stage::kDraining && eight_bytes == kDrainPing) second_goaway();
    return;
  }
  const base::Instant before = std::exchange(last_ping_, last_read_);
  if (std::exchange(forgive_pings_, false)) {
    ping_strikes_ = 0;
    return;
  }
  const bool first = before == base::Instant{};
  const base::Duration least = calls_.empty() ? base::Duration(kIdlePingInterval) : options_->keepalive_min_time;
  if (!first && last_read_ - before < least) ++ping_strikes_;
  if (ping_strikes_ > kPingStrikesMax) session_.terminate(ErrorCode::kEnhanceYourCalm, "too_many_pings");
}

// --- large requests -------------------------------------------------------------------------------------------------------

void GrpcConnection::reserve(Call* call) {
  if (wait_credit_.empty() && (reserved_bytes_ == 0 || reserved_bytes_ + call->reserved_bytes() <= kReservedBytesMax)) {
    reserved_bytes_ += call->reserved_bytes();
    call->grant();
  } else {
    wait_credit_.push_back(call);
  }
}

void GrpcConnection::unreserve(Call* call) {
  if (!call->granted()) {
    std::erase(wait_credit_, call);
    return;
  }
  reserved_bytes_ -= call->reserved_bytes();
  while (!wait_credit_.empty()) {
    Call* next = wait_credit_.front();
    if (reserved_bytes_ > 0 && reserved_bytes_ + next->reserved_bytes() > kReservedBytesMax) break;
    wait_credit_.pop_front();
    reserved_bytes_ += next->reserved_bytes();
    next->grant();
  }
}

// --- time and the end -----------------------------------------------------------------------------------------------------

void GrpcConnection::fire_timer() {
  const base::Instant now = loop_->clock().now();
  switch (stage_) {
    case Stage::kOpening:
    case Stage::kDrained:
    case Stage::kLingering:
      abort();
      break;
    case Stage::kDraining:
      second_goaway();
      flush();
      break;
    case Stage::kOpen:
      if (ping_unanswered_) return abort();
      if (now - last_read_ < options_->keepalive_interval) {
        loop_->timers().arm(timer_, last_read_ + options_->keepalive_interval);
        break;
      }
      ping_unanswered_ = true;
      session_.ping(kAlivePing);
      loop_->timers().arm(timer_, now + options_->keepalive_timeout);
      flush();
  }
}

void GrpcConnection::fire_stall() { abort(); }

void GrpcConnection::drain() {
  if (stage_ >= Stage::kDraining || closed_) return;
  stage_ = Stage::kDraining;
  session_.goaway_notice();
  session_.ping(kDrainPing);
  loop_->timers().arm(timer_, loop_->clock().now() + kDrainPingTimeout);
  for (Call* call : std::vector<Call*>(calls_)) call->stop(server_stopped());
  mark_dirty();
}

void GrpcConnection::second_goaway() {
  stage_ = Stage::kDrained;  // From here on the end is the server's patience, or the last stream.
  loop_->timers().disarm(timer_);
  session_.goaway(ErrorCode::kNoError, "graceful_stop");
  for (Call* call : std::vector<Call*>(calls_)) call->stop(server_stopped());
}

}  // namespace rpc
