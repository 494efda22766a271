#include "server/pages.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "lease.pb.h"
#include "server/errors.h"
#include "server/gateway.h"
#include "server/leases.h"
#include "server/member_pages.h"
#include "server/metrics.h"
#include "server/node.h"

namespace server {
namespace {

using base::Status;
using rpc::HttpCall;
using rpc::HttpResponse;

constexpr size_t kLeaseBodyBytesMax = 64 << 10;

// A check that reads counts as a Range, as etcd's do.
void count_read(const Node& node, base::Instant began, bool good) {
  const base::Duration took = node.environment().loop.clock().now() - began;
  node.metrics().record_request("Range", good, took);
  if (!good) return;
  ++node.store().counters().ranges;
  node.metrics().record_range(true, took);
}

std::function<void(const Status&)> counted(const Node& node, base::Instant began, std::function<void(const Status&)> done) {
  return [&node, began, done = std::move(done)](const Status& read) {
    count_read(node, began, read.ok());
    done(read);
  };
}

std::string version_json(const Node& node) {
  nlohmann::ordered_json json;
  json["etcdserver"] = kVersion;
  json["etcdcluster"] = node.cluster_version().empty() ? "not_decided" : node.cluster_version();
  json["storage"] = node.storage_version().empty() ? "unknown" : node.storage_version();
  return json.dump();
}

std::string health_json(bool healthy, const std::string& reason) {
  nlohmann::ordered_json json;
  json["health"] = healthy ? "true" : "false";
  json["reason"] = reason;
  return json.dump();
}

struct Check {
  const char* name;
  enum Kind { kDataCorruption, kSerializableRead, kLinearizableRead, kNonLearner } kind;
};
constexpr Check kLivezChecks[] = {{"serializable_read", Check::kSerializableRead}};
constexpr Check kReadyzChecks[] = {{"data_corruption", Check::kDataCorruption},
                                   {"serializable_read", Check::kSerializableRead},
                                   {"linearizable_read", Check::kLinearizableRead},
                                   {"non_learner", Check::kNonLearner}};

Status run_local_check(const Node& node, Check::Kind kind) {
  if (kind == Check::kDataCorruption && node.alarms().any(AlarmType::kCorrupt)) {
    return Status(base::Code::kUnknown, "alarm activated: CORRUPT");
  }
  if (kind == Check::kNonLearner && node.is_learner()) return Status(base::Code::kUnknown, "not supported for learner");
  if (kind == Check::kSerializableRead) return node.serializable_read_check();
  return {};
}

}  // namespace

// What must hold before a client's request is looked at (etcd's access controller). The mux's clean paths are part of it.
bool Pages::admit_http(bool gateway, Visit& visit) const {
  const rpc::HttpRequest& request = visit.call->request();
  for (const std::string_view old : {"/v3beta/", "/v3alpha/"}) {  // 3.3's and 3.2's names of the gateway
    if (visit.target.path.starts_with(old)) visit.target.path.replace(0, old.size(), "/v3/");
  }
  const std::string host = host_name(request.headers.find("host"));
  if (!request.secure && !host_allowed(config_.host_whitelist, host)) {
    base::log::warn("rejecting HTTP request to prevent DNS rebinding attacks", {{"host", host}});
    visit.finish(plain_error(421, refused_host_text(host)));
    return false;
  }
  visit.cors = cors_headers(config_.cors, request.headers.find("origin"));
  if (request.method == "OPTIONS") {
    visit.finish(HttpResponse());
    return false;
  }
  const std::string& path = visit.target.path;
  return !send_to_clean_path(visit, (path == "/v3" && gateway) || (path == "/debug/pprof" && profiles_enabled(config_)));
}

// Go's ServeMux: a path with detours, or one that is the name of a folder without its slash. False: neither.
bool Pages::send_to_clean_path(const Visit& visit, bool is_folder) {
  const std::string& path = visit.target.path;
  const std::string& method = visit.call->request().method;
  const std::string clean = is_folder ? path + "/" : method == "CONNECT" ? path : clean_path(path);
  if (clean == path) return false;
  std::string location = escape_path(clean);
  if (!visit.target.raw_query.empty()) location += "?" + visit.target.raw_query;
  visit.finish(redirect(method, location));
  return true;
}

void Pages::serve(Port port, Gateway* gateway, std::shared_ptr<HttpCall> call) {
  Visit visit{std::move(call), {}, {}};
  const rpc::HttpRequest& request = visit.call->request();
  visit.target = parse_target(request.target);
  if (visit.target.bad_escape) return visit.finish(bad_request("400 Bad Request"));
  if (request.version_minor > 0 && request.headers.find("host").data() == nullptr) {
    return visit.finish(bad_request("400 Bad Request: missing required Host header"));
  }
  if (request.target == "*") {  // as Go's net/http: a question to the server as a whole, or nonsense
    HttpResponse response;
    response.status = request.method == "OPTIONS" ? 200 : 400;
    response.closes = response.status == 400;
    return visit.finish(std::move(response));
  }
  const std::string& path = visit.target.path;
  if (port == Port::kClient) return serve_client(gateway, std::move(visit));
  if (port == Port::kMetrics) return serve_checked_pages(visit);
  if (send_to_clean_path(visit, path == "/members/promote" || path == "/raft/stream")) return;
  if (path == "/version") {
    return visit.finish(visit.is_get() ? with_body("application/json", version_json(node_)) : method_not_allowed("GET"));
  }
  if (path == "/leases" || path == "/leases/internal") return serve_leases(std::move(visit.call), path == "/leases");
  if (!serve_member_page(node_, visit.call, path)) visit.finish(not_found());
}

void Pages::serve_client(Gateway* gateway, Visit visit) {
  if (!admit_http(gateway != nullptr, visit)) return;
  const std::string& path = visit.target.path;
  if (gateway != nullptr && path.starts_with("/v3/")) {
    return gateway->serve(std::move(visit.call), visit.target, std::move(visit.cors));
  }
  if (path == "/version") {
    return visit.finish(visit.is_get() ? with_body("application/json", version_json(node_)) : method_not_allowed("GET"));
  }
  if (path.starts_with("/debug/")) return serve_debug(visit);
  serve_checked_pages(visit);
}

// What followers ask the leader on behalf of their clients: to renew a lease, or how it stands (wire-and-disk 3.8).
void Pages::serve_leases(std::shared_ptr<HttpCall> call, bool renew) {
  if (renew) {
    FAILPOINT(beforeServeHTTPLeaseRenew);
  } else {
    FAILPOINT(beforeLookupWhenForwardLeaseTimeToLive);
  }
  const rpc::HttpRequest& request = call->request();
  if (request.method != "POST") return call->finish(plain_error(405, "Method Not Allowed"));
  if (request.body.size() > kLeaseBodyBytesMax) {
    HttpResponse response = plain_error(413, "request body too large");
    response.closes = true;
    return call->finish(std::move(response));
  }
  const auto refuse = [call](const Status& status, int otherwise) {
    if (status.code() == base::Code::kNotFound) return call->finish(plain_error(404, "lease not found"));
    if (status == errors::timeout_waiting_applied()) {
      return call->finish(plain_error(408, "waiting for node to catch up its applied index has timed out"));
    }
    call->finish(plain_error(otherwise, std::string(status.text())));
  };
  const auto answer = [call](const google::protobuf::MessageLite& message) {
    call->finish(with_body("application/protobuf", message.SerializeAsString()));
  };
  if (renew) {
    etcdserverpb::LeaseKeepAliveRequest asked;
    if (!asked.ParseFromString(request.body)) return call->finish(plain_error(400, "error unmarshalling request"));
    return node_.leases().renew_here(base::LeaseId(asked.id()), [answer, refuse, id = asked.id()](base::Result<int64_t> ttl) {
      if (!ttl.ok()) return refuse(ttl.status(), 400);
      etcdserverpb::LeaseKeepAliveResponse response;
      response.set_id(id);
      response.set_ttl(*ttl);
      answer(response);
    });
  }
  leasepb::LeaseInternalRequest asked;
  if (!asked.ParseFromString(request.body)) return call->finish(plain_error(400, "error unmarshalling request"));
  const etcdserverpb::LeaseTimeToLiveRequest& inner = asked.leasetimetoliverequest();
  const auto tell = [answer, refuse, id = inner.id()](base::Result<Leases::Found> found) {
    if (!found.ok()) return refuse(found.status(), 500);
    leasepb::LeaseInternalResponse out;
    etcdserverpb::LeaseTimeToLiveResponse& response = *out.mutable_leasetimetoliveresponse();
    response.mutable_header();
    response.set_id(id);
    response.set_ttl(found->remaining_s);
    response.set_grantedttl(found->granted_ttl_s);
    for (std::string& key : found->keys) response.add_keys(std::move(key));
    answer(out);
  };
  node_.leases().find_here(base::LeaseId(inner.id()), inner.keys(), tell);
}

void Pages::serve_checked_pages(const Visit& visit) {
  const std::string& path = visit.target.path;
  if (path == "/metrics") {
    return visit.finish(with_body("text/plain; version=0.0.4; charset=utf-8; escaping=underscores", node_.metrics_text()));
  }
  if (path == "/health") return serve_health(visit);
  for (const std::string_view root : {"/livez", "/readyz"}) {
    if (path == root || (path.starts_with(root) && path[root.size()] == '/')) return serve_checks(visit, root);
  }
  visit.finish(not_found());
}

void Pages::serve_debug(const Visit& visit) {
  const std::string& path = visit.target.path;
  if (path == "/debug/vars") {
    return visit.finish(with_body("application/json; charset=utf-8", variables_json(node_.raft_status_json())));
  }
  constexpr std::string_view kProfiles = "/debug/pprof/";
  if (profiles_enabled(config_) && path.starts_with(kProfiles)) {
    return profiles_.serve(visit.call, visit.target, path.substr(kProfiles.size()), visit.cors);
  }
  visit.finish(not_found());
}

void Pages::serve_health(const Visit& visit) {
  const Target& target = visit.target;
  if (!visit.is_get()) {
    base::log::warn("/health error", {{"status-code", 405}});
    return visit.finish(method_not_allowed("GET"));
  }
  bool serializable = false, seen_serializable = false;
  const auto excluded = [&](AlarmType type) {
    return std::any_of(target.query.begin(), target.query.end(),
                       [&](const auto& pair) { return pair.first == "exclude" && pair.second == alarm_name(type); });
  };
  for (const auto& [name, value] : target.query) {
    if (name == "serializable" && !seen_serializable) serializable = value == "true", seen_serializable = true;
  }
  const auto answer = [this, visit](const std::string& reason) {
    const bool healthy = reason.empty();
    std::string json = health_json(healthy, reason);
    (healthy ? node_.metrics().health_success : node_.metrics().health_failures).add();
    if (healthy) return visit.finish(with_body("text/plain; charset=utf-8", std::move(json)));
    base::log::warn("/health error", {{"output", json}, {"status-code", 503}});
    visit.finish(plain_error(503, std::move(json)));
  };
  for (const Alarm& alarm : node_.alarms().all()) {
    if (excluded(alarm.type)) continue;
    base::log::warn("serving /health false due to an alarm", {{"alarm", "memberID:" + std::to_string(alarm.member.value()) +
                                                                            " alarm:" + std::string(alarm_name(alarm.type))}});
    return answer("ALARM " + std::string(alarm_name(alarm.type)));
  }
  if (!serializable && node_.leader() == base::kNoNode) {
    base::log::warn("serving /health false; no leader");
    return answer("RAFT NO LEADER");
  }
  const auto on_read = [answer](const Status& read) {
    if (read.ok()) return answer("");
    base::log::warn("serving /health false; Range fails", {{"error", read}});
    answer("RANGE ERROR:" + std::string(read.text()));
  };
  const base::Instant began = node_.environment().loop.clock().now();
  if (!serializable) return node_.linearizable_barrier(counted(node_, began, on_read));
  counted(node_, began, on_read)(node_.serializable_read_check());
}

void Pages::serve_checks(const Visit& visit, std::string_view root) {
  const Target& target = visit.target;
  std::vector<Check> checks;
  if (root == "/livez")
    checks.assign(std::begin(kLivezChecks), std::end(kLivezChecks));
  else
    checks.assign(std::begin(kReadyzChecks), std::end(kReadyzChecks));
  if (target.path != root) {
    const std::string_view name = std::string_view(target.path).substr(root.size() + 1);
    std::erase_if(checks, [&](const Check& check) { return check.name != name; });
    if (checks.empty()) return visit.finish(not_found());
  } else {
    std::string unknown;
    for (const auto& [key, value] : target.query) {
      if (key != "exclude" || value.empty()) continue;
      if (std::erase_if(checks, [&](const Check& check) { return check.name == value; }) == 0) {
        unknown += (unknown.empty() ? "\"" : ",\"") + value + "\"";
      }
    }
    if (!unknown.empty()) base::log::warn("some health checks cannot be excluded", {{"missing-health-checks", unknown}});
  }
  if (!visit.is_get()) {
    base::log::warn("Health request error", {{"path", target.path}, {"status-code", 405}});
    return visit.finish(method_not_allowed("GET"));
  }
  const auto answer = [this, visit, checks, path = target.path, verbose = target.has("verbose"),
                       type = std::string(root.substr(1))](const Status& linearizable) {
    std::string lines;
    bool healthy = true;
    for (const Check& check : checks) {
      const base::Instant began = node_.environment().loop.clock().now();
      const Status result = check.kind == Check::kLinearizableRead ? linearizable : run_local_check(node_, check.kind);
      if (check.kind == Check::kSerializableRead) count_read(node_, began, result.ok());
      lines += result.ok() ? "[+]" + std::string(check.name) + " ok\n"
                           : "[-]" + std::string(check.name) + " failed: " + std::string(result.text()) + "\n";
      healthy = healthy && result.ok();
      node_.metrics().record_health_check(type, check.name, result.ok());
    }
    if (!healthy) {
      base::log::error("Health check error", {{"path", path}, {"reason", lines}, {"status-code", 503}});
      return visit.finish(plain_error(503, std::move(lines)));
    }
    HttpResponse response = with_body("text/plain; charset=utf-8", (verbose ? lines : std::string()) + "ok\n");
    response.headers.add("X-Content-Type-Options", "nosniff");
    visit.finish(std::move(response));
  };
  const bool wants_read =
      std::any_of(checks.begin(), checks.end(), [](const Check& check) { return check.kind == Check::kLinearizableRead; });
  if (wants_read) return node_.linearizable_barrier(counted(node_, node_.environment().loop.clock().now(), answer));
  answer(Status());
}

}  // namespace server
