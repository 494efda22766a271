// The owner half: HTTP/2 stream to request, answer to HTTP/2 stream. The home half is in call_home.cc.
#include "rpc/call.h"

#include <algorithm>
#include <array>

#include "base/verify.h"
#include "rpc/grpc_connection.h"
#include "rpc/grpc_text.h"
#include "rpc/http2_request.h"

namespace rpc {

using base::Code;
using base::Status;
using http2::ErrorCode;
using http2::Header;

namespace {

constexpr Header kStatus200 = {":status", "200", true};
constexpr Header kPlainContentType = {"content-type", "application/grpc", true};
constexpr std::array<Header, 1> kOkTrailers = {{{"grpc-status", "0", true}}};
constexpr size_t kHoldStepBytes = 16 * 1024;  // request bytes are counted against the server in steps of this

void shrink(std::string& buffer) {
  if (buffer.capacity() > kPooledBufferBytesMax) std::string().swap(buffer);
  buffer.clear();
}

}  // namespace

Call::Call(std::shared_ptr<NetLoop> loop, std::shared_ptr<ServerCore> core)
    : loop_(std::move(loop)),
      deadline_([](void* self) { static_cast<Call*>(self)->fire_deadline(); }, this),
      core_(std::move(core)) {}

Call::~Call() { PeerInfo::release(peer_); }

void Call::clear() {
  VERIFY(connection_ == nullptr && !home_active_ && !source_ && !handle_);
  PeerInfo::release(std::exchange(peer_, nullptr));
  phase_ = Phase::kHeaders;
  method_ = nullptr;
  told_dead_ = remote_ended_ = half_close_told_ = headers_sent_ = ended_ = has_source_ = pulling_ = granted_ = false;
  deferred_ = request_broken_ = is_grpc_ = malformed_connection_ = false;
  source_busy_ = source_dead_ = false;
  for (std::string* text :
       {&path_, &authority_, &verb_, &bad_content_type_, &subtype_, &encoding_, &content_type_, &status_text_}) {
    text->clear();
  }
  bad_header_ = status_ = close_why_ = Status();
  timeout_.reset();
  shrink(reader_.message());
  shrink(backlog_);
  shrink(request_);
  inbox_messages_ = owed_bytes_ = 0;
  reserved_bytes_ = 0;
  pieces_.clear();
  first_piece_ = piece_offset_ = queued_ = 0;
  source_left_ = 0;
  http_.reset();
  context_ = CallContext();
  metadata_.clear();
  cancelled_.store(false, std::memory_order_relaxed);
}

// --- headers ------------------------------------------------------------------------------------------------------------

void Call::begin(GrpcConnection* connection, http2::StreamId id, PeerInfo* peer) {
  connection_ = connection;
  id_ = id;
  peer_ = peer;
  ++peer_->users;
}

void Call::header(std::string_view name, std::string_view value) {
  if (phase_ != Phase::kHeaders) return;  // Trailers of a request mean nothing to gRPC.
  if (name[0] == ':') {
    if (name == ":path") path_.append(value);  // Both came empty, and a malformed block has none twice.
    if (name == ":authority") authority_.append(value);
    if (name == ":method" && value != "POST") verb_.assign(value);
    return;
  }
  if (name == "te" || name == "host") return;
  if (name == "content-type") {
    if (value == kPlainContentType.value) {
      is_grpc_ = true;
    } else if (auto subtype = content_subtype(value)) {
      subtype_ = std::move(*subtype);
      is_grpc_ = true;
    } else {
      bad_content_type_.assign(value);
    }
    return;
  }
  if (name.starts_with("grpc-")) return grpc_header(name, value);
  if (name == "connection") {
    malformed_connection_ = true;
    return;
  }
  if (!name.ends_with("-bin")) {
    metadata_.append(name, value);
    return;
  }
  size_t bad_at = 0;
  if (const auto decoded = decode_binary(value, &bad_at)) {
    metadata_.append(name, *decoded);
  } else {
    bad_header_ = Status(Code::kInternal, "malformed binary metadata " + quote(value) + " in header " + quote(name) +
                                              ": illegal base64 data at input byte " + std::to_string(bad_at));
  }
}

void Call::grpc_header(std::string_view name, std::string_view value) {
  if (name == "grpc-timeout") {
    const auto timeout = parse_timeout(value);
    if (timeout.ok()) {
      timeout_ = *timeout;
    } else {
      timeout_ = base::Duration(0);
      bad_header_ = Status(Code::kInternal, "malformed grpc-timeout: " + std::string(timeout.status().text()));
    }
  } else if (name == "grpc-encoding") {
    encoding_.assign(value);
  }
}

// The checks in grpc-go's order. True: an answer is on its way.
bool Call::refuse_headers() {
  if (malformed_connection_) {
    connection_->session().reset(id_, ErrorCode::kProtocolError);
    phase_ = Phase::kAnswered;
    ended_ = true;
    return true;
  }
  if (!is_grpc_) {
    early_abort(415, Status(Code::kInvalidArgument, "invalid gRPC request content-type " + quote(bad_content_type_)));
  } else if (!bad_header_.ok()) {
    early_abort(400, bad_header_);
  } else if (!verb_.empty()) {
    early_abort(405,
                Status(Code::kInternal, "Received a HEADERS frame with :method " + quote(verb_) + " which should be POST"));
  } else if (timeout_ && timeout_->count() <= 0) {
    early_abort(200, Status(Code::kDeadlineExceeded, "context deadline exceeded"));
  } else {
    return false;
  }
  return true;
}

void Call::headers_end(bool end_stream) {
  if (phase_ != Phase::kHeaders) {
    if (end_stream) this->end_stream();  // Trailers.
    return;
  }
  if (!is_call()) {
    begin_http();
  } else {
    phase_ = Phase::kAnswered;
    if (!refuse_headers()) dispatch();
  }
  if (end_stream) this->end_stream();
}

// A port that serves both tells by the content type, but only where TLS has led to HTTP/2: in clear text it is for gRPC alone.
bool Call::is_call() const {
  const ServerOptions& options = connection_->options();
  if (!options.serve_http || !connection_->is_tls() || core_->http_handler == nullptr) return true;
  return options.serve_grpc && (is_grpc_ || bad_content_type_.find(kPlainContentType.value) != std::string::npos);
}

void Call::begin_http() {
  phase_ = Phase::kHttp;
  HttpRequest request;
  request.method = verb_.empty() ? "POST" : verb_;
  request.target = path_;
  request.headers = take_metadata();
  request.headers.add("host", authority_);
  const std::string_view content_type = is_grpc_ ? kPlainContentType.value : std::string_view(bad_content_type_);
  if (!content_type.empty()) request.headers.add("content-type", std::string(content_type));
  request.peer = peer_->address;
  request.tls_common_name = peer_->tls_common_name;
  request.secure = true;
  http_ = std::make_shared<Http2Request>(loop_, core_, connection_, id_, std::move(request));
}

void Call::dispatch() {
  loop_->counters.streams.fetch_add(1, std::memory_order_relaxed);
  method_ = connection_->find_method(path_);
  if (method_ == nullptr) {
    end_with(Status(Code::kUnimplemented, connection_->core().registry.unknown_text(path_)));
    return;
  }
  if (!encoding_.empty() && encoding_ != "identity" && encoding_ != "gzip") {
    end_with(Status(Code::kUnimplemented, "grpc: Decompressor is not installed for grpc-encoding " + quote(encoding_)));
    return;
  }
  reader_.reset(connection_->options().message_bytes_max);
  context_.path = method_->path;
  context_.metadata = &metadata_;
  context_.peer = peer_->address;
  context_.tls_common_name = peer_->tls_common_name;
  if (timeout_) {
    const base::Instant now = loop_->clock().now();
    const bool far = *timeout_ > base::Instant::max() - now;
    context_.deadline = far ? base::Instant::max() : now + *timeout_;
    if (!far) loop_->timers().arm(deadline_, *context_.deadline);
  }
  if (method_->stream) {
    phase_ = Phase::kStreaming;
    home_active_ = true;
    tell_home(CallMessage::Kind::kStream);
  } else {
    phase_ = Phase::kRequest;
  }
}

void Call::fire_deadline() {
  if (connection_ == nullptr || (ended_ && queued_ == 0)) return;
  close_why_ = Status(Code::kDeadlineExceeded, "context deadline exceeded");
  cancelled_.store(true, std::memory_order_relaxed);
  phase_ = Phase::kAnswered;
  ended_ = true;
  connection_->session().reset(id_, ErrorCode::kCancel);
  connection_->mark_dirty();
}

// --- request ------------------------------------------------------------------------------------------------------------

void Call::data(std::string_view bytes) {
  if (phase_ == Phase::kHttp) return http_->data(bytes);
  if (phase_ == Phase::kRequest) {
    read_unary(bytes);
  } else if (phase_ == Phase::kStreaming && !request_broken_ && !ended_) {
    owed_bytes_ += bytes.size();
    backlog_.append(bytes);
    hold_request_bytes(backlog_.size() + reader_.buffered_bytes());
    read_messages();
  }
  // Otherwise nobody wants it: no credit is given back, so little more can come.
}

void Call::read_unary(std::string_view bytes) {
  owed_bytes_ += bytes.size();
  for (;;) {
    switch (reader_.next(&bytes)) {
      case MessageReader::Got::kMore:
        if (granted_) connection_->session().consumed(id_, std::exchange(owed_bytes_, 0));
        hold_request_bytes(reader_.buffered_bytes());
        return;
      case MessageReader::Got::kPrefix:
        prefix_known();
        break;
      case MessageReader::Got::kTooLarge:
        request_broken(Status(Code::kResourceExhausted, reader_.error_text()));
        return;
      case MessageReader::Got::kMessage: {
        Status unpacked = unpack(reader_.message());
        if (!unpacked.ok()) return request_broken(std::move(unpacked));
        request_.swap(reader_.message());
        return dispatch_unary();  // What follows the message is ignored, as grpc-go does.
      }
    }
  }
}

// A message that does not fit into the stream's window needs credit before it is complete.
void Call::prefix_known() {
  if (reserved_bytes_ == 0 && reader_.size() + kMessagePrefixBytes > http2::kStreamWindowBytes) {
    reserved_bytes_ = reader_.size();
    connection_->reserve(this);
  }
}

void Call::grant() {
  granted_ = true;
  connection_->session().consumed(id_, std::exchange(owed_bytes_, 0));
  connection_->mark_dirty();
}

void Call::give_back_reservation() {
  if (reserved_bytes_ == 0) return;
  if (connection_ != nullptr) connection_->unreserve(this);
  reserved_bytes_ = 0;
  granted_ = false;
}

// The whole server holds at most kServerRequestBytesMax of unfinished requests; who would go over it is refused.
void Call::hold_request_bytes(size_t bytes) {
  if (bytes < held_bytes_ + kHoldStepBytes && bytes >= held_bytes_) return;
  if (connection_->core().hold_request_bytes(bytes, held_bytes_)) return;
  request_broken(Status(Code::kResourceExhausted, "grpc: the server holds too many request bytes"));
}

Status Call::unpack(std::string& message) {
  if (reader_.format() == 0) return Status();
  if (reader_.format() != 1) {
    return Status(Code::kInternal, "grpc: received unexpected payload format " + std::to_string(reader_.format()));
  }
  if (encoding_.empty() || encoding_ == "identity") {
    return Status(Code::kInternal, "grpc: compressed flag set with identity or empty encoding");
  }
  auto plain = gunzip(message, connection_->options().message_bytes_max);
  if (!plain.ok()) return plain.status();
  message = std::move(*plain);
  return Status();
}

// The request cannot be read on. A unary call is answered; a stream's handler learns it from read().
void Call::request_broken(Status why) {
  give_back_reservation();
  if (phase_ == Phase::kRequest) {
    end_with(std::move(why));
    return;
  }
  if (std::exchange(request_broken_, true)) return;
  CallMessage message;
  message.call = this;
  message.kind = CallMessage::Kind::kHalfClose;
  message.status = std::move(why);
  loop_->to_home(std::move(message));
}

void Call::dispatch_unary() {
  phase_ = Phase::kAnswered;
  home_active_ = true;
  tell_home(CallMessage::Kind::kUnary);
}

// Streams: cuts the backlog into messages while the handler's inbox has room.
void Call::read_messages() {
  std::string_view input = backlog_;
  while (!request_broken_ && connection_ != nullptr && inbox_messages_ < kInboxMessagesMax) {
    const MessageReader::Got got = reader_.next(&input);
    if (got == MessageReader::Got::kMore) {
      if (granted_) connection_->session().consumed(id_, std::exchange(owed_bytes_, 0));
      break;
    }
    if (got == MessageReader::Got::kPrefix) {
      prefix_known();
    } else if (got == MessageReader::Got::kTooLarge) {
      request_broken(Status(Code::kResourceExhausted, reader_.error_text()));
    } else {
      Status unpacked = unpack(reader_.message());
      if (!unpacked.ok()) {
        request_broken(std::move(unpacked));
        break;
      }
      CallMessage message;
      message.call = this;
      message.kind = CallMessage::Kind::kMessage;
      message.number = std::min<size_t>(owed_bytes_, reader_.size() + kMessagePrefixBytes);
      message.bytes = std::move(reader_.message());
      owed_bytes_ -= message.number;
      ++inbox_messages_;
      give_back_reservation();
      loop_->to_home(std::move(message));
    }
  }
  if (connection_ == nullptr) return;
  backlog_.erase(0, backlog_.size() - input.size());
  if (remote_ended_ && backlog_.empty() && !request_broken_ && !half_close_told_ && inbox_messages_ < kInboxMessagesMax) {
    half_close_told_ = true;
    if (reader_.mid_message()) return request_broken(Status(Code::kInternal, "unexpected EOF"));
    tell_home(CallMessage::Kind::kHalfClose);
  }
}

void Call::end_stream() {
  remote_ended_ = true;
  if (phase_ == Phase::kHttp) return http_->end_stream();
  if (phase_ == Phase::kRequest) {
    request_broken(Status(Code::kUnknown, reader_.mid_message() ? "unexpected EOF" : "EOF"));
  } else if (phase_ == Phase::kStreaming && !ended_) {
    read_messages();
  }
}

// --- answer -------------------------------------------------------------------------------------------------------------

void Call::queue(Piece piece) {
  queued_ += piece.size();
  pieces_.push_back(std::move(piece));
  if (!headers_sent_) {
    send_headers(/*only=*/false);
  } else {
    wake_sender();
  }
}

void Call::queue_message(std::string bytes, std::shared_ptr<const std::string> shared) {
  Piece piece;
  store_message_prefix(piece.prefix, false, static_cast<uint32_t>(bytes.size() + (shared ? shared->size() : 0)));
  piece.prefix_bytes = kMessagePrefixBytes;
  piece.own = std::move(bytes);
  piece.shared = std::move(shared);
  queue(std::move(piece));
}

void Call::wake_sender() {
  if (deferred_) {
    deferred_ = false;
    connection_->session().resume(id_);
  }
  connection_->mark_dirty();
}

// `only`: nothing but a status follows, so it goes with the headers ("trailers-only").
void Call::send_headers(bool only) {
  headers_sent_ = true;
  std::array<Header, 4> fields = {kStatus200, kPlainContentType};
  size_t n = 2;
  if (!subtype_.empty()) {
    content_type_ = content_type(subtype_);
    fields[1] = {"content-type", content_type_};
  }
  if (only) {
    for (const Header& field : trailers()) fields[n++] = field;
  }
  const bool sent =
      connection_->session().submit_response(id_, std::span<const Header>(fields.data(), n), only ? nullptr : this);
  if (!sent) connection_->session().reset(id_, ErrorCode::kInternalError);
  connection_->mark_dirty();
}

// The status is final; it goes out after what is queued.
void Call::end_with(Status status) {
  if (ended_) return;
  ended_ = true;
  phase_ = Phase::kAnswered;
  status_ = std::move(status);
  loop_->timers().disarm(deadline_);
  if (headers_sent_) {
    wake_sender();
  } else {
    send_headers(/*only=*/true);
  }
}

// An answer that is not from a handler; its HTTP status may tell more than 200.
void Call::early_abort(int http_status, Status status) {
  ended_ = true;
  headers_sent_ = true;
  status_ = std::move(status);
  const std::string number = std::to_string(http_status);
  content_type_ = content_type(subtype_);
  std::array<Header, 4> fields;
  fields[0] = {":status", number};
  fields[1] = {"content-type", content_type_};
  size_t n = 2;
  for (const Header& field : trailers()) fields[n++] = field;
  const bool sent = connection_->session().submit_response(id_, std::span<const Header>(fields.data(), n), nullptr);
  if (!sent) connection_->session().reset(id_, ErrorCode::kInternalError);
  connection_->mark_dirty();
}

std::span<const Header> Call::trailers() {
  if (status_.ok()) return kOkTrailers;
  status_number_ = std::to_string(static_cast<int>(status_.code()));
  status_text_ = encode_message(status_.text());
  // The text travels in a header block, which is bounded.
  constexpr size_t kStatusTextBytesMax = 32 * 1024;
  if (status_text_.size() > kStatusTextBytesMax) status_text_.resize(kStatusTextBytesMax);
  trailer_fields_[0] = {"grpc-status", status_number_};
  trailer_fields_[1] = {"grpc-message", status_text_};
  return trailer_fields_;
}

http2::Body::Ready Call::ready() {
  if (!ended_ && source_left_ > 0 && !pulling_ && queued_ < http2::kFrameBytesMax) {
    pulling_ = true;
    tell_home(CallMessage::Kind::kPull, std::min<uint64_t>(kChunkBytesMax, source_left_));
  }
  Ready now;
  now.bytes = queued_;
  now.end = ended_;
  deferred_ = now.bytes == 0 && !now.end;
  return now;
}

void Call::take(char* to, size_t size) {
  VERIFY(size <= queued_);
  queued_ -= size;
  size_t left = size;
  const auto copy = [&](std::string_view part, size_t before) {
    if (left == 0 || piece_offset_ >= before + part.size()) return;
    const size_t from = piece_offset_ - before;
    const size_t n = std::min(left, part.size() - from);
    part.copy(to, n, from);
    to += n;
    left -= n;
    piece_offset_ += n;
  };
  while (left > 0) {
    Piece& piece = pieces_[first_piece_];
    copy({piece.prefix, piece.prefix_bytes}, 0);
    copy(piece.own, piece.prefix_bytes);
    if (piece.shared) copy(*piece.shared, piece.prefix_bytes + piece.own.size());
    if (piece_offset_ < piece.size()) continue;
    piece_offset_ = 0;
    piece.shared.reset();
    if (piece.own.capacity() > kPooledBufferBytesMax) std::string().swap(piece.own);
    ++first_piece_;
  }
  if (first_piece_ == pieces_.size()) {
    pieces_.clear();
    first_piece_ = 0;
  } else if (first_piece_ > 64 && first_piece_ > pieces_.size() / 2) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(first_piece_));
    first_piece_ = 0;
  }
  if (method_ != nullptr && method_->stream && !told_dead_) tell_home(CallMessage::Kind::kDrained, size);
}

// --- the end --------------------------------------------------------------------------------------------------------------

void Call::stop(const Status& why) {
  if (method_ == nullptr || !method_->stream || ended_ || connection_ == nullptr) return;
  close_why_ = why;
  end_with(why);
}

void Call::stream_closed(const Status& why) {
  if (http_ != nullptr) http_->stream_closed();
  give_back_reservation();
  if (held_bytes_ > 0) (void)connection_->core().hold_request_bytes(0, held_bytes_);
  connection_ = nullptr;
  loop_->timers().disarm(deadline_);
  pieces_.clear();
  first_piece_ = piece_offset_ = queued_ = 0;
  if (!home_active_) return settle();
  cancelled_.store(true, std::memory_order_relaxed);
  if (has_source_ || method_->stream) tell_dead(close_why_.ok() ? why : close_why_);
}

void Call::tell_home(CallMessage::Kind kind, uint64_t number) {
  CallMessage message;
  message.call = this;
  message.kind = kind;
  message.number = number;
  loop_->to_home(std::move(message));
}

// Nothing of this call may be touched after it: the home half may give the call back at once.
void Call::tell_dead(Status why) {
  VERIFY(!told_dead_);
  told_dead_ = true;
  CallMessage message;
  message.call = this;
  message.kind = CallMessage::Kind::kDead;
  message.status = std::move(why);
  loop_->to_home(std::move(message));
}

void Call::settle() {
  if (connection_ == nullptr && !home_active_) loop_->recycle(this);
}

void Call::receive_at_owner(CallMessage message) {
  using Kind = CallMessage::Kind;
  const bool open = connection_ != nullptr && !ended_;
  switch (message.kind) {
    case Kind::kReply:
      home_active_ = false;
      if (open) {
        queue_message(std::move(message.bytes), nullptr);
        end_with(Status());
      }
      settle();
      break;
    case Kind::kFailure:
      home_active_ = false;
      if (open) end_with(std::move(message.status));
      settle();
      break;
    case Kind::kSource:
      has_source_ = true;
      if (connection_ == nullptr) return tell_dead(Status(Code::kCancelled, "context canceled"));
      if (!open) break;  // Reset already; kDead follows when the stream closes.
      source_left_ = message.number;
      queue([&] {
        Piece piece;
        store_message_prefix(piece.prefix, false, static_cast<uint32_t>(message.number));
        piece.prefix_bytes = kMessagePrefixBytes;
        return piece;
      }());
      if (source_left_ == 0) end_with(Status());
      break;
    case Kind::kChunk: {
      pulling_ = false;
      if (!open) break;
      VERIFY(!message.bytes.empty() && message.bytes.size() <= source_left_);
      source_left_ -= message.bytes.size();
      Piece piece;
      piece.prefix_bytes = 0;
      piece.own = std::move(message.bytes);
      queue(std::move(piece));
      if (source_left_ == 0) end_with(Status());
      break;
    }
    case Kind::kChunkError:
    case Kind::kEnd:
      pulling_ = false;
      if (open) end_with(std::move(message.status));
      break;
    case Kind::kSend:
      if (open) {
        queue_message(std::move(message.bytes), std::move(message.shared));
      } else if (!told_dead_) {
        tell_home(Kind::kDrained, kMessagePrefixBytes + message.bytes.size() + (message.shared ? message.shared->size() : 0));
      }
      break;
    case Kind::kConsumed:
      --inbox_messages_;
      if (connection_ == nullptr) break;
      connection_->session().consumed(id_, message.number);
      connection_->mark_dirty();
      if (!ended_) read_messages();
      break;
    case Kind::kReleased:
      home_active_ = false;
      settle();
      break;
    default:
      VERIFY(false);
  }
}

}  // namespace rpc
