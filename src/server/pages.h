// The HTTP pages of the client, metrics and peer ports: /health /livez /readyz /version /metrics, /members. Everything else is
// answered as Go's mux does. Feature map 5.1, 5.3, 5.4. Owner: core loop.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "rpc/server.h"
#include "server/config.h"

namespace server {

class Node;

// One target: path and the decoded query pairs in order.
struct Target {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
  bool has(std::string_view name) const;
};
// Go's net/url for a request line: percent-decoding, '+' as space; pairs that do not decode are left out.
Target parse_target(std::string_view target);

enum class Port { kClient, kMetrics, kPeer };

class Pages {
 public:
  Pages(Node& node, const Config& config) : node_(node), config_(config) {}
  void serve(Port port, std::shared_ptr<rpc::HttpCall> call);

 private:
  void serve_health(std::shared_ptr<rpc::HttpCall> call, const Target& target);
  void serve_checks(std::shared_ptr<rpc::HttpCall> call, const Target& target, std::string_view root);
  void finish(Port port, rpc::HttpCall& call, rpc::HttpResponse response) const;

  Node& node_;
  const Config& config_;
};

}  // namespace server
