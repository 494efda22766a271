// One request on an HTTP/2 connection that is no gRPC call: pages and the JSON gateway, which etcd serves over HTTP/2 where TLS
// lets client and server choose it. Its stream's Call hands everything on to it. Owner: the connection's loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "http2/session.h"
#include "rpc/http_exchange.h"

namespace rpc {

class GrpcConnection;

class Http2Request final : public http2::Body, public HttpCarrier, public std::enable_shared_from_this<Http2Request> {
 public:
  // `request`: all but its body. REQUIRES: core->http_handler.
  Http2Request(std::shared_ptr<NetLoop> loop, std::shared_ptr<ServerCore> core, GrpcConnection* connection, http2::StreamId id,
               HttpRequest request);
  ~Http2Request() override;

  void data(std::string_view bytes);
  void end_stream();
  // The stream is gone; the last call.
  void stream_closed();

  Ready ready() override;
  void take(char* to, size_t size) override;
  std::span<const http2::Header> trailers() override;

 private:
  void answer(HttpExchange* from, HttpResponse response) override;
  void answer_head(HttpExchange* from, int status, http1::Fields fields) override;
  void answer_chunk(HttpExchange* from, std::string chunk) override;
  void answer_end(HttpExchange* from) override;
  void answer_upgrade(HttpExchange* from, http1::Fields fields) override;
  void bytes_taken(HttpExchange* from) override;
  void answer_broken(HttpExchange* from) override;

  void refuse(int status, const std::string& text);
  void send_head(int status, const http1::Fields& fields, std::optional<size_t> length);
  void wake();

  const std::shared_ptr<NetLoop> loop_;
  const std::shared_ptr<ServerCore> core_;
  GrpcConnection* connection_;  // null once the stream is closed
  const http2::StreamId id_;
  HttpRequest request_;  // until it is handed over
  const bool head_only_;
  std::shared_ptr<HttpExchange> exchange_;
  std::string output_;
  size_t sent_ = 0;        // of output_
  size_t held_bytes_ = 0;  // of the body, counted in ServerCore::request_bytes
  bool answered_ = false;  // the head is out
  bool done_ = false;      // and nothing is added to output_
  bool deferred_ = false;  // the session waits for resume()
  http1::Fields trailer_texts_;
  std::vector<http2::Header> trailers_;
};

}  // namespace rpc
