// The gateway over WebSocket: what grpc-websocket-proxy does for browsers. Two coroutines a socket: one reads frames, one
// writes answers; the socket lives as long as either.
#include <algorithm>

#include "http1/websocket.h"
#include "net/spawn.h"
#include "server/gateway.h"

namespace server {
namespace {

using base::Code;
using base::Status;
using http1::WebSocketOpcode;

Status cancelled() { return Status(Code::kCancelled, "context canceled"); }

// "Bearer, token" of Sec-WebSocket-Protocol, the only header that a browser lets a page set.
std::string token_of(std::string_view protocol) {
  constexpr std::string_view kBearer = "Bearer,";
  const size_t at = protocol.find(kBearer);
  if (at == std::string_view::npos) return {};
  std::string_view token = protocol.substr(at + kBearer.size());
  while (token.starts_with(' ')) token.remove_prefix(1);
  while (token.ends_with(' ')) token.remove_suffix(1);
  return "Bearer " + std::string(token);
}

std::string_view cookie(std::string_view header, std::string_view name) {
  while (!header.empty()) {
    const size_t end = header.find(';');
    std::string_view pair = header.substr(0, end);
    header = end == std::string_view::npos ? std::string_view() : header.substr(end + 1);
    while (pair.starts_with(' ')) pair.remove_prefix(1);
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') return pair.substr(name.size() + 1);
  }
  return {};
}

rpc::HttpRequest forwarded(const rpc::HttpRequest& from) {
  rpc::HttpRequest out;
  for (const std::string_view name : {"origin", "referer"}) {
    const std::string_view value = from.headers.find(name);
    if (!value.empty()) out.headers.add(std::string(name), std::string(value));
  }
  const std::string_view protocol = from.headers.find("sec-websocket-protocol");
  const std::string_view token = cookie(from.headers.find("cookie"), "token");
  if (!token.empty()) {
    out.headers.add("authorization", "Bearer " + std::string(token));
  } else if (!protocol.empty()) {
    out.headers.add("authorization", token_of(protocol));
  }
  out.peer = from.peer;
  out.tls_common_name = from.tls_common_name;
  return out;
}

class GatewaySocket : public std::enable_shared_from_this<GatewaySocket> {
 public:
  GatewaySocket(asio::any_io_executor executor, rpc::LocalCalls& calls, std::shared_ptr<const GatewayRoutes> routes,
                const GatewayRoute& route, std::shared_ptr<rpc::HttpCall> call, size_t message_bytes_max)
      : executor_(std::move(executor)),
        calls_(calls),
        routes_(std::move(routes)),
        route_(route),
        call_(std::move(call)),
        frames_(message_bytes_max),
        documents_(message_bytes_max) {}

  void start(rpc::LocalCaller caller) {
    caller_ = std::move(caller);
    if (route_.client_streams || route_.server_streams) {
      stream_ = calls_.open(route_.method, std::move(caller_));
      net::spawn(executor_, "gateway socket answers", write_answers(shared_from_this()));
    }
    net::spawn(executor_, "gateway socket", read_frames(shared_from_this()));
  }

 private:
  // Parameters, not `this`: they keep the socket until the coroutine ends.
  static asio::awaitable<void> read_frames(std::shared_ptr<GatewaySocket> self) {
    for (;;) {
      const std::optional<std::string> bytes = co_await self->call_->read();
      if (!bytes) break;
      std::string_view input = *bytes;
      bool open = true;
      while (open) {
        const http1::WebSocketParser::Event event = self->frames_.next(&input);
        if (event == http1::WebSocketParser::Event::kNeedMore) break;
        open = self->take(event);
        if (!open || event != http1::WebSocketParser::Event::kMessage) continue;
        open = co_await self->pass_documents();
      }
      if (!open) break;
    }
    if (self->stream_) self->stream_->cancel(cancelled());
    if (self->unary_) self->unary_->cancel();
    self->call_->end();
  }

  // False: the socket is done with.
  bool take(http1::WebSocketParser::Event event) {
    using Event = http1::WebSocketParser::Event;
    std::string out;
    switch (event) {
      case Event::kMessage:
        documents_.append(frames_.payload());
        documents_.append("\n");
        return true;
      case Event::kPing:
        http1::append_websocket_frame(WebSocketOpcode::kPong, frames_.payload(), &out);
        (void)call_->try_write(std::move(out));  // A client that takes nothing needs no pongs.
        return true;
      case Event::kClose:
        close(frames_.code(), "");
        return false;
      case Event::kError:
        close(frames_.code(), frames_.payload());
        return false;
      default:
        return true;
    }
  }

  // False: the socket is done with.
  asio::awaitable<bool> pass_documents() {
    std::string_view document;
    for (;;) {
      const wire::JsonDocuments::Got got = documents_.next(&document);
      if (got == wire::JsonDocuments::Got::kMore) co_return true;
      std::string message;
      Status read;
      if (got == wire::JsonDocuments::Got::kDocument) {
        if (half_closed_) continue;
        read = wire::json_to_message(document, *route_.request, &message);
      } else {
        read = Status(Code::kInvalidArgument, documents_.error());
      }
      if (half_closed_) co_return true;
      if (!read.ok() && !route_.client_streams) {
        fail(read);
        co_return false;
      }
      if (!read.ok()) {  // As over HTTP: the requests end here, what was asked before goes on.
        half_closed_ = true;
        stream_->close_send();
        co_return true;
      }
      if (stream_) {
        const Status sent = co_await stream_->send(std::move(message));
        if (!sent.ok() || !route_.client_streams) half_closed_ = true;
        if (half_closed_) stream_->close_send();
        continue;
      }
      half_closed_ = true;
      call_unary(std::move(message));
    }
  }

  void call_unary(std::string message) {
    unary_ = calls_.call(route_.method, std::move(caller_), std::move(message),
                         [self = shared_from_this()](rpc::LocalAnswer answer) {
                           if (!answer.status.ok()) return self->fail(answer.status);
                           net::spawn(self->executor_, "gateway socket answer", write_unary(self, std::move(answer)));
                         });
  }

  static asio::awaitable<void> write_unary(std::shared_ptr<GatewaySocket> self, rpc::LocalAnswer answer) {
    std::string message = std::move(answer.message);
    if (answer.source && answer.source->size() > kSocketAnswerBytesMax) {
      self->fail(Status(Code::kResourceExhausted, "the answer is too large for a WebSocket: ask in parts"));
      co_return;
    }
    while (answer.source && message.size() < answer.source->size()) {
      struct Wait {
        explicit Wait(const asio::any_io_executor& executor) : timer(executor, asio::steady_timer::time_point::max()) {}
        asio::steady_timer timer;
        std::optional<base::Result<std::string>> piece;
      };
      const auto wait = std::make_shared<Wait>(self->executor_);
      answer.source->next(answer.source->size() - message.size(), [wait](base::Result<std::string> piece) {
        wait->piece = std::move(piece);
        wait->timer.cancel();
      });
      while (!wait->piece) {
        asio::error_code ignored;
        co_await wait->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      }
      if (!wait->piece->ok()) {
        self->fail(wait->piece->status());
        co_return;
      }
      message += **wait->piece;
    }
    std::string json;
    const Status printed = wire::message_to_json(message, *self->route_.response, {}, &json);
    if (!printed.ok()) {
      self->fail(printed);
      co_return;
    }
    std::string frame;
    http1::append_websocket_frame(WebSocketOpcode::kText, json, &frame);
    const Status written = co_await self->call_->write(std::move(frame));
    if (written.ok()) self->close(http1::kWebSocketNormal, "");
  }

  static asio::awaitable<void> write_answers(std::shared_ptr<GatewaySocket> self) {
    wire::JsonStyle style;
    style.escape_html = true;
    for (;;) {
      const std::optional<std::string> message = co_await self->stream_->receive();
      if (!message) break;
      std::string json = "{\"result\":";
      const Status printed = wire::message_to_json(*message, *self->route_.response, style, &json);
      if (!printed.ok()) {
        self->stream_->cancel(printed);
        break;
      }
      json += '}';
      std::string frame;
      http1::append_websocket_frame(WebSocketOpcode::kText, json, &frame);
      const Status written = co_await self->call_->write(std::move(frame));
      if (!written.ok()) {
        self->stream_->cancel(cancelled());
        co_return;
      }
    }
    const Status& status = self->stream_->status();
    if (!status.ok()) {
      std::string json = "{\"error\":";
      if (append_status_json(status, style, &json)) self->send_text(json + '}');
    }
    self->close(http1::kWebSocketNormal, "");
  }

  void send_text(const std::string& json) {
    std::string frame;
    http1::append_websocket_frame(WebSocketOpcode::kText, json, &frame);
    (void)call_->try_write(std::move(frame));
  }

  void fail(const Status& status) {
    std::string json;
    if (append_status_json(status, {}, &json)) send_text(json);
    close(http1::kWebSocketNormal, "");
  }

  // Ends read_frames(), too: nothing more is read.
  void close(uint16_t code, std::string_view reason) {
    if (std::exchange(closed_, true)) return;
    std::string frame;
    http1::append_websocket_close(code, reason, &frame);
    (void)call_->try_write(std::move(frame));
    call_->end();
  }

  static constexpr uint64_t kSocketAnswerBytesMax = 64 * 1024 * 1024;  // of a unary method: it is one frame

  const asio::any_io_executor executor_;
  rpc::LocalCalls& calls_;
  const std::shared_ptr<const GatewayRoutes> routes_;  // route_ is theirs
  const GatewayRoute& route_;
  const std::shared_ptr<rpc::HttpCall> call_;
  rpc::LocalCaller caller_;
  http1::WebSocketParser frames_;
  wire::JsonDocuments documents_;
  std::shared_ptr<rpc::LocalStream> stream_;  // of a streaming method
  std::shared_ptr<rpc::LocalUnary> unary_;    // of another, while it is under way
  bool half_closed_ = false;                  // no more requests are wanted
  bool closed_ = false;
};

// gorilla/websocket's answer to a handshake that is none.
void refuse(rpc::HttpCall& call, int status) {
  rpc::HttpResponse response = plain_error(status, status == 405 ? "Method Not Allowed" : "Bad Request");
  response.headers.add("Sec-Websocket-Version", "13");
  call.finish(std::move(response));
}

}  // namespace

void serve_gateway_socket(asio::any_io_executor executor, rpc::LocalCalls& calls, std::shared_ptr<const GatewayRoutes> routes,
                          const GatewayRoute* route, std::shared_ptr<rpc::HttpCall> call, size_t message_bytes_max) {
  const rpc::HttpRequest& request = call->request();
  const std::optional<std::string> accept = http1::websocket_accept(request.headers.find("sec-websocket-key"));
  if (request.headers.find("sec-websocket-version") != "13" || !accept) return refuse(*call, 400);
  rpc::Metadata headers;
  headers.add("Upgrade", "websocket");
  headers.add("Connection", "Upgrade");
  headers.add("Sec-WebSocket-Accept", *accept);
  if (request.headers.find("sec-websocket-protocol").starts_with("Bearer")) headers.add("Sec-WebSocket-Protocol", "Bearer");
  call->upgrade(std::move(headers));
  base::Result<rpc::LocalCaller> caller = gateway_caller(forwarded(request));
  if (route == nullptr || !caller.ok()) {
    const Status why = route == nullptr ? Status(Code::kNotFound, "Not Found") : caller.status();
    std::string json, out;
    (void)append_status_json(why, {}, &json);
    http1::append_websocket_frame(WebSocketOpcode::kText, json, &out);
    http1::append_websocket_close(http1::kWebSocketNormal, "", &out);
    (void)call->try_write(std::move(out));
    return call->end();
  }
  const auto socket = std::make_shared<GatewaySocket>(std::move(executor), calls, std::move(routes), *route, std::move(call),
                                                      message_bytes_max);
  socket->start(std::move(*caller));
}

}  // namespace server
