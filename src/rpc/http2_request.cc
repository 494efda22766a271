#include "rpc/http2_request.h"

#include <cstring>

#include "rpc/connection.h"
#include "rpc/grpc_connection.h"

namespace rpc {

using http2::ErrorCode;
using http2::Header;

namespace {

// Names on the wire are lower case; what is about the connection does not exist in HTTP/2, and values are lines.
http1::Fields wire_fields(const http1::Fields& fields) {
  http1::Fields out;
  for (const auto& [name, value] : fields) {
    std::string lower(name), line(value);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    for (char& c : line) c = c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
    if (lower == "connection" || lower == "transfer-encoding" || lower == "keep-alive" || lower == "upgrade") continue;
    out.emplace_back(std::move(lower), std::move(line));
  }
  return out;
}

std::vector<Header> headers_of(const http1::Fields& fields) {
  std::vector<Header> out;
  for (const auto& [name, value] : fields) out.push_back({name, value});
  return out;
}

}  // namespace

Http2Request::Http2Request(std::shared_ptr<NetLoop> loop, std::shared_ptr<ServerCore> core, GrpcConnection* connection,
                           http2::StreamId id, HttpRequest request)
    : loop_(std::move(loop)),
      core_(std::move(core)),
      connection_(connection),
      id_(id),
      request_(std::move(request)),
      head_only_(request_.method == "HEAD") {}

Http2Request::~Http2Request() { (void)core_->hold_request_bytes(0, held_bytes_); }

// --- request ----------------------------------------------------------------------------------------------------------------

void Http2Request::data(std::string_view bytes) {
  if (answered_ || exchange_ != nullptr) return;  // Without credit, little more can come.
  if (request_.body.size() + bytes.size() > connection_->options().http_body_bytes_max) {
    return refuse(413, "the body is larger than " + std::to_string(connection_->options().http_body_bytes_max) + " bytes");
  }
  request_.body.append(bytes);
  if (!core_->hold_request_bytes(request_.body.size(), held_bytes_))
    return refuse(503, "the server holds too many request bytes");
  connection_->session().consumed(id_, bytes.size());
  connection_->mark_dirty();
}

void Http2Request::end_stream() {
  if (answered_ || exchange_ != nullptr) return;
  std::shared_ptr<HttpCarrier> self = shared_from_this();
  exchange_ = std::make_shared<HttpExchange>(loop_, std::move(self), std::move(request_));
  hand_over(*loop_, core_, exchange_);
}

void Http2Request::stream_closed() {
  connection_ = nullptr;
  (void)core_->hold_request_bytes(0, held_bytes_);
  if (exchange_ == nullptr) return;
  const bool whole = done_ && sent_ == output_.size();
  loop_->on_home([exchange = std::move(exchange_), whole] {
    if (!whole) exchange->peer_gone();
    exchange->over();
  });
}

void Http2Request::refuse(int status, const std::string& text) {
  http1::Fields fields;
  fields.emplace_back("content-type", "text/plain; charset=utf-8");
  output_ = text + "\n";
  done_ = true;
  send_head(status, fields, output_.size());
}

// --- answer -----------------------------------------------------------------------------------------------------------------

void Http2Request::send_head(int status, const http1::Fields& fields, std::optional<size_t> length) {
  answered_ = true;
  http1::Fields all;
  all.emplace_back(":status", std::to_string(status));
  for (auto& field : wire_fields(fields)) all.push_back(std::move(field));
  if (length) all.emplace_back("content-length", std::to_string(*length));
  all.emplace_back("date", http1::http_date(loop_->clock().unix_ns() / 1000000000));
  const std::vector<Header> headers = headers_of(all);
  const bool body = may_have_body(status) && !head_only_ && !(done_ && output_.empty() && trailers_.empty());
  if (!body) done_ = true;
  if (!connection_->session().submit_response(id_, headers, body ? this : nullptr)) {
    connection_->session().reset(id_, ErrorCode::kInternalError);
  }
  connection_->mark_dirty();
}

void Http2Request::answer(HttpExchange* from, HttpResponse response) {
  if (from != exchange_.get() || connection_ == nullptr || answered_) return;
  done_ = true;
  const bool body = may_have_body(response.status);
  std::optional<size_t> length;
  if (body && !response.chunked) length = response.body.size();
  if (body && !head_only_) {
    output_ = std::move(response.body);
    if (response.chunked) trailer_texts_ = wire_fields(response.trailers.copy());
    trailers_ = headers_of(trailer_texts_);
  }
  send_head(response.status, response.headers.copy(), length);
}

void Http2Request::answer_head(HttpExchange* from, int status, http1::Fields fields) {
  if (from == exchange_.get() && connection_ != nullptr && !answered_) send_head(status, fields, std::nullopt);
}

void Http2Request::answer_chunk(HttpExchange* from, std::string chunk) {
  if (from != exchange_.get() || connection_ == nullptr || !answered_ || done_) return;
  output_ += chunk;
  wake();
}

void Http2Request::answer_end(HttpExchange* from) {
  if (from != exchange_.get() || connection_ == nullptr || done_) return;
  done_ = true;
  wake();
}

void Http2Request::answer_upgrade(HttpExchange*, http1::Fields) { VERIFY(false); }  // No request here asks for it.
void Http2Request::bytes_taken(HttpExchange*) { VERIFY(false); }                    // Bodies are handed over whole.

void Http2Request::answer_broken(HttpExchange* from) {
  if (from != exchange_.get() || connection_ == nullptr) return;
  connection_->session().reset(id_, ErrorCode::kInternalError);
  connection_->mark_dirty();
}

void Http2Request::wake() {
  if (deferred_) {
    deferred_ = false;
    connection_->session().resume(id_);
  }
  connection_->mark_dirty();
}

http2::Body::Ready Http2Request::ready() {
  const size_t left = output_.size() - sent_;
  deferred_ = left == 0 && !done_;
  return {left, done_};
}

void Http2Request::take(char* to, size_t size) {
  std::memcpy(to, output_.data() + sent_, size);
  sent_ += size;
  if (sent_ == output_.size() && !done_) {
    output_.clear();
    sent_ = 0;
  }
  if (exchange_ != nullptr) loop_->on_home([exchange = exchange_, size] { exchange->sent(size); });
}

std::span<const Header> Http2Request::trailers() { return trailers_; }

}  // namespace rpc
