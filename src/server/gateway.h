// The JSON gateway: /v3/... as grpc-gateway serves etcd's API over HTTP/1.1 and WebSocket (feature map 5.2). A request's JSON
// becomes the message of a call inside this process, which reaches the handlers that gRPC calls reach; the answer goes back as
// JSON: one document, or for a stream one document a chunk (or frame). A method nobody serves yet answers 501 by itself.
// Owner: core loop. Source: grpc-gateway v2 runtime, grpc-websocket-proxy, as etcd server/embed/serve.go puts them together.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "rpc/local_call.h"
#include "rpc/server.h"
#include "server/http_access.h"
#include "wire/json.h"

namespace server {

struct GatewayRoute {
  std::string method;  // "/etcdserverpb.KV/Range"
  const wire::JsonType* request = nullptr;
  const wire::JsonType* response = nullptr;
  bool client_streams = false;
  bool server_streams = false;
};

// The tables, for as long as calls may be under way.
class GatewayRoutes {
 public:
  GatewayRoutes();
  // Null: no such route. `path` begins with "/v3/".
  const GatewayRoute* find(std::string_view path) const;

 private:
  wire::JsonTypes types_;
  std::unordered_map<std::string, GatewayRoute> routes_;
};

class Gateway {
 public:
  // `calls`: where the services are. Bodies and frames are bounded by `body_bytes_max` (bodies by the HTTP connection).
  Gateway(asio::any_io_executor executor, rpc::LocalCalls& calls, size_t body_bytes_max);

  // Answers a request for a path below /v3/; `cors` goes on every answer.
  void serve(std::shared_ptr<rpc::HttpCall> call, const Target& target, rpc::Metadata cors);

 private:
  const asio::any_io_executor executor_;
  rpc::LocalCalls& calls_;
  const size_t body_bytes_max_;
  const std::shared_ptr<const GatewayRoutes> routes_;
};

// The HTTP status of a gRPC code.
int http_status(base::Code code);
// `{"code":3,"message":"..."}`; false when the text is not UTF-8.
bool append_status_json(const base::Status& status, wire::JsonStyle style, std::string* json);
// What a call is told of a request: metadata from headers, deadline, who asks. kInvalidArgument with grpc-gateway's texts.
base::Result<rpc::LocalCaller> gateway_caller(const rpc::HttpRequest& request);

// A WebSocket of a client: frames to documents of `route` (null: answered with Not Found) and answers to frames, until either
// side is done. REQUIRES: request().upgrade.
void serve_gateway_socket(asio::any_io_executor executor, rpc::LocalCalls& calls, std::shared_ptr<const GatewayRoutes> routes,
                          const GatewayRoute* route, std::shared_ptr<rpc::HttpCall> call, size_t message_bytes_max);

}  // namespace server
