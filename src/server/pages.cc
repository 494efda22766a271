#include "server/pages.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/log.h"
#include "server/metrics.h"
#include "server/node.h"

namespace server {
namespace {

using base::Status;
using rpc::HttpCall;
using rpc::HttpResponse;

constexpr size_t kQueryPairsMax = 256;

rpc::HttpResponse plain_error(int status, std::string text) {  // as Go's http.Error
  HttpResponse response;
  response.status = status;
  response.headers.add("Content-Type", "text/plain; charset=utf-8");
  response.headers.add("X-Content-Type-Options", "nosniff");
  response.body = std::move(text) + "\n";
  return response;
}

HttpResponse not_found() { return plain_error(404, "404 page not found"); }

HttpResponse method_not_allowed(std::string allowed) {
  HttpResponse response = plain_error(405, "Method Not Allowed");
  response.headers.add("Allow", std::move(allowed));
  return response;
}

HttpResponse with_body(std::string type, std::string body) {
  HttpResponse response;
  response.headers.add("Content-Type", std::move(type));
  response.body = std::move(body);
  return response;
}

// Decodes %XX and '+'; false when an escape is malformed.
bool query_unescape(std::string_view text, std::string* out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      *out += ' ';
    } else if (text[i] == '%') {
      const std::optional<uint64_t> byte = i + 2 < text.size() ? base::parse_hex(text.substr(i + 1, 2)) : std::nullopt;
      if (!byte) return false;
      *out += static_cast<char>(*byte);
      i += 2;
    } else {
      *out += text[i];
    }
  }
  return true;
}

std::string version_json(const Node& node) {
  nlohmann::ordered_json json;
  json["etcdserver"] = kVersion;
  json["etcdcluster"] = node.cluster_version().empty() ? "not_decided" : node.cluster_version();
  json["storage"] = node.storage_version().empty() ? "unknown" : node.storage_version();
  return json.dump();
}

std::string members_json(const Node& node) {
  std::string out = "[";
  for (const auto& [id, member] : node.membership().members()) {
    if (out.size() > 1) out += ',';
    out += member_json(member);
  }
  return out + "]\n";
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

bool Target::has(std::string_view name) const {
  return std::any_of(query.begin(), query.end(), [&](const auto& pair) { return pair.first == name; });
}

Target parse_target(std::string_view target) {
  Target out;
  const size_t mark = target.find('?');
  out.path = target.substr(0, mark);
  std::string_view rest = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  while (!rest.empty() && out.query.size() < kQueryPairsMax) {
    const size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const size_t equals = pair.find('=');
    std::string name, value;
    if (pair.empty() || !query_unescape(pair.substr(0, equals), &name)) continue;
    if (equals != std::string_view::npos && !query_unescape(pair.substr(equals + 1), &value)) continue;
    out.query.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

void Pages::finish(Port port, HttpCall& call, HttpResponse response) const {
  if (port == Port::kClient && config_.cors.contains("*")) {
    response.headers.add("Access-Control-Allow-Headers", "accept, content-type, authorization");
    response.headers.add("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE");
    response.headers.add("Access-Control-Allow-Origin", "*");
  }
  call.finish(std::move(response));
}

void Pages::serve(Port port, std::shared_ptr<HttpCall> call) {
  const Target target = parse_target(call->request().target);
  const std::string& path = target.path;
  const bool is_get = call->request().method == "GET";
  if (path == "/version" && port != Port::kMetrics) {
    return finish(port, *call, is_get ? with_body("application/json", version_json(node_)) : method_not_allowed("GET"));
  }
  if (port == Port::kPeer) {
    if (path != "/members") return finish(port, *call, not_found());
    HttpResponse response = is_get ? with_body("application/json", members_json(node_)) : method_not_allowed("GET");
    response.headers.add("X-Etcd-Cluster-ID", base::hex(node_.membership().cluster_id()));
    return finish(port, *call, std::move(response));
  }
  if (path == "/metrics") {
    return finish(port, *call,
                  with_body("text/plain; version=0.0.4; charset=utf-8; escaping=underscores", node_.metrics_text()));
  }
  if (path == "/health") return serve_health(std::move(call), target);
  for (const std::string_view root : {"/livez", "/readyz"}) {
    if (path == root || (path.starts_with(root) && path[root.size()] == '/'))
      return serve_checks(std::move(call), target, root);
  }
  finish(port, *call, not_found());
}

void Pages::serve_health(std::shared_ptr<HttpCall> call, const Target& target) {
  if (call->request().method != "GET") {
    base::log::warn("/health error", {{"status-code", 405}});
    return finish(Port::kClient, *call, method_not_allowed("GET"));
  }
  bool serializable = false, seen_serializable = false;
  const auto excluded = [&](AlarmType type) {
    return std::any_of(target.query.begin(), target.query.end(),
                       [&](const auto& pair) { return pair.first == "exclude" && pair.second == alarm_name(type); });
  };
  for (const auto& [name, value] : target.query) {
    if (name == "serializable" && !seen_serializable) serializable = value == "true", seen_serializable = true;
  }
  const auto answer = [this, call](const std::string& reason) {
    const bool healthy = reason.empty();
    std::string json = health_json(healthy, reason);
    (healthy ? node_.metrics().health_success : node_.metrics().health_failures).add();
    if (healthy) return finish(Port::kClient, *call, with_body("text/plain; charset=utf-8", std::move(json)));
    base::log::warn("/health error", {{"output", json}, {"status-code", 503}});
    finish(Port::kClient, *call, plain_error(503, std::move(json)));
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
  if (serializable) return on_read(node_.serializable_read_check());
  node_.linearizable_barrier(on_read);
}

void Pages::serve_checks(std::shared_ptr<HttpCall> call, const Target& target, std::string_view root) {
  std::vector<Check> checks;
  if (root == "/livez")
    checks.assign(std::begin(kLivezChecks), std::end(kLivezChecks));
  else
    checks.assign(std::begin(kReadyzChecks), std::end(kReadyzChecks));
  if (target.path != root) {
    const std::string_view name = std::string_view(target.path).substr(root.size() + 1);
    std::erase_if(checks, [&](const Check& check) { return check.name != name; });
    if (checks.empty()) return finish(Port::kClient, *call, not_found());
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
  if (call->request().method != "GET") {
    base::log::warn("Health request error", {{"path", target.path}, {"status-code", 405}});
    return finish(Port::kClient, *call, method_not_allowed("GET"));
  }
  const auto answer = [this, call, checks, path = target.path, verbose = target.has("verbose"),
                       type = std::string(root.substr(1))](const Status& linearizable) {
    std::string lines;
    bool healthy = true;
    for (const Check& check : checks) {
      const Status result = check.kind == Check::kLinearizableRead ? linearizable : run_local_check(node_, check.kind);
      lines += result.ok() ? "[+]" + std::string(check.name) + " ok\n"
                           : "[-]" + std::string(check.name) + " failed: " + std::string(result.text()) + "\n";
      healthy = healthy && result.ok();
      node_.metrics().record_health_check(type, check.name, result.ok());
    }
    if (!healthy) {
      base::log::error("Health check error", {{"path", path}, {"reason", lines}, {"status-code", 503}});
      return finish(Port::kClient, *call, plain_error(503, std::move(lines)));
    }
    HttpResponse response = with_body("text/plain; charset=utf-8", (verbose ? lines : std::string()) + "ok\n");
    response.headers.add("X-Content-Type-Options", "nosniff");
    finish(Port::kClient, *call, std::move(response));
  };
  const bool wants_read =
      std::any_of(checks.begin(), checks.end(), [](const Check& check) { return check.kind == Check::kLinearizableRead; });
  if (wants_read) return node_.linearizable_barrier(answer);
  answer(Status());
}

}  // namespace server
