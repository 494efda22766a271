#include "server/member_pages.h"

#include <strings.h>

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/bytes.h"
#include "base/log.h"
#include "server/errors.h"
#include "server/http_access.h"
#include "server/maintainer.h"
#include "server/node.h"
#include "server/reconfiguration.h"

namespace server {
namespace {

using base::Code;
using base::Status;
using Call = std::shared_ptr<rpc::HttpCall>;

constexpr std::string_view kPromotePrefix = "/members/promote/";

// Every answer but a refused method and a refused hash names the cluster.
void answer(Node& node, rpc::HttpCall& call, int status, std::string_view type, std::string body) {
  rpc::HttpResponse response;
  response.status = status;
  response.headers.add("Content-Type", std::string(type));
  if (status >= 400) response.headers.add("X-Content-Type-Options", "nosniff");
  response.headers.add("X-Etcd-Cluster-ID", base::hex(node.membership().cluster_id()));
  response.body = std::move(body);
  call.finish(std::move(response));
}

void refuse(Node& node, rpc::HttpCall& call, int status, std::string_view text) {
  answer(node, call, status, "text/plain; charset=utf-8", std::string(text) + "\n");
}

void refuse_plainly(rpc::HttpCall& call, int status, std::string_view text) {
  call.finish(plain_error(status, std::string(text)));
}

// As Go's: before anything else is looked at.
bool allow_only(const rpc::HttpCall& call, std::string_view method, rpc::HttpCall& answered) {
  if (call.request().method == method) return true;
  answered.finish(method_not_allowed(std::string(method)));
  return false;
}

std::string members_json(const Node& node) {
  std::string out = "[";
  for (const auto& [id, member] : node.membership().members()) out += (out.size() > 1 ? "," : "") + member_json(member);
  return out + "]\n";
}

void serve_members(Node& node, const Call& call) {
  if (!allow_only(*call, "GET", *call)) return;
  answer(node, *call, 200, "application/json", members_json(node));
}

void serve_promotion(Node& node, const Call& call, std::string_view id_text) {
  if (!allow_only(*call, "POST", *call)) return;
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(id_text.data(), id_text.data() + id_text.size(), id);
  if (error != std::errc() || end != id_text.data() + id_text.size() || id_text.empty()) {
    return refuse(node, *call, 404, "member " + std::string(id_text) + " not found in cluster");
  }
  // Who is no leader any more asks the one who is, as for its own clients.
  const std::string token(call->request().headers.find("authorization"));
  node.reconfiguration().promote(base::NodeId(id), token, [&node, call, id](const Status& done) {
    if (done.ok()) return answer(node, *call, 200, "application/json", members_json(node));
    base::log::warn("failed to promote a member", {{"member-id", base::hex(id)}, {"error", done}});
    if (done == errors::member_not_found()) return refuse(node, *call, 404, "membership: ID not found");
    if (done == errors::member_not_learner()) return refuse(node, *call, 412, errors::member_not_learner_inside().text());
    if (done == errors::learner_not_ready()) return refuse(node, *call, 412, done.text());
    if (done == errors::timeout()) return refuse(node, *call, 408, done.text());
    answer(node, *call, 500, "application/json", "{\"message\":\"Internal Server Error\"}");
  });
}

// {"revision": n} as Go's encoding/json reads it: nothing and null are 0, names are compared without case. nullopt: it
// cannot be read so.
std::optional<int64_t> asked_revision(const nlohmann::json& asked) {
  if (asked.is_null()) return 0;
  if (!asked.is_object()) return std::nullopt;
  int64_t revision = 0;
  for (const auto& [name, value] : asked.items()) {
    if (strcasecmp(name.c_str(), "revision") != 0 || value.is_null()) continue;
    if (!value.is_number_integer()) return std::nullopt;
    if (value.is_number_unsigned() && value.get<uint64_t>() > std::numeric_limits<int64_t>::max()) return std::nullopt;
    revision = value.get<int64_t>();
  }
  return revision;
}

void serve_hash(Node& node, const Call& call) {
  if (!allow_only(*call, "GET", *call)) return;
  const rpc::HttpRequest& request = call->request();
  const std::string_view cluster = request.headers.find("x-etcd-cluster-id");
  if (!cluster.empty() && cluster != base::hex(node.membership().cluster_id())) {
    return refuse_plainly(*call, 412, "cluster ID mismatch");
  }
  const nlohmann::json asked = nlohmann::json::parse(request.body, nullptr, false);
  const std::optional<int64_t> revision = asked_revision(asked);
  if (!revision) return refuse_plainly(*call, 400, "error unmarshalling request");
  node.maintainer().hash_kv(*revision, [&node, call](const base::Result<HashAnswer>& hash) {
    if (!hash.ok()) {
      // Members know the texts without the prefix that clients see.
      std::string text(hash.status().text());
      if (text.starts_with("etcdserver: mvcc:")) text = text.substr(std::string_view("etcdserver: ").size());
      base::log::warn("failed to get hashKV", {{"error", text}});
      return refuse_plainly(*call, 400, text);
    }
    nlohmann::ordered_json json;
    json["header"] = {{"revision", hash->current_revision}};
    if (hash->hash != 0) json["hash"] = hash->hash;
    if (hash->compact_revision != 0) json["compact_revision"] = hash->compact_revision;
    if (hash->revision != 0) json["hash_revision"] = hash->revision;
    answer(node, *call, 200, "application/json", json.dump());
  });
}

void serve_downgrade(Node& node, const Call& call) {
  if (!allow_only(*call, "GET", *call)) return;
  node.linearizable_barrier([&node, call](const Status& read) {
    if (!read.ok()) return refuse(node, *call, 500, "failed linearized read: " + std::string(read.text()));
    answer(node, *call, 200, "text/plain", node.membership().downgrade_target().empty() ? "false" : "true");
  });
}

}  // namespace

bool serve_member_page(Node& node, const Call& call, const std::string& path) {
  if (path == "/members") {
    serve_members(node, call);
  } else if (path == "/members/hashkv") {
    serve_hash(node, call);
  } else if (path.starts_with(kPromotePrefix)) {
    serve_promotion(node, call, std::string_view(path).substr(kPromotePrefix.size()));
  } else if (path == "/downgrade/enabled") {
    serve_downgrade(node, call);
  } else {
    return false;
  }
  return true;
}

}  // namespace server
