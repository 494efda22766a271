// What the client, metrics and peer ports answer over HTTP: who may ask, then the JSON gateway below /v3/ or one of the pages
// /health /livez /readyz /version /metrics /debug/..., /members. Everything else is answered as Go's mux does. Feature map 5.1,
// 5.3, 5.4. Owner: core loop.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "rpc/server.h"
#include "server/config.h"
#include "server/http_access.h"
#include "server/profiles.h"

namespace server {

class Gateway;
class Node;

enum class Port { kClient, kMetrics, kPeer };

class Pages {
 public:
  Pages(asio::io_context& home, Node& node, const Config& config) : node_(node), config_(config), profiles_(home) {}
  // `gateway`: of the port the call came in on; null: none.
  void serve(Port port, Gateway* gateway, std::shared_ptr<rpc::HttpCall> call);

 private:
  // A request that may be answered; `cors` goes on the answer.
  struct Visit {
    std::shared_ptr<rpc::HttpCall> call;
    Target target;
    rpc::Metadata cors;
    void finish(rpc::HttpResponse response) const { finish_with(*call, cors, std::move(response)); }
    bool is_get() const { return call->request().method == "GET"; }
  };
  // False: answered.
  bool admit_http(bool gateway, Visit& visit) const;
  // True: answered.
  static bool send_to_clean_path(const Visit& visit, bool is_folder);
  void serve_client(Gateway* gateway, Visit visit);
  void serve_checked_pages(const Visit& visit);
  void serve_health(const Visit& visit);
  void serve_checks(const Visit& visit, std::string_view root);
  void serve_debug(const Visit& visit);
  void serve_leases(std::shared_ptr<rpc::HttpCall> call, bool renew);

  Node& node_;
  const Config& config_;
  Profiles profiles_;
};

}  // namespace server
