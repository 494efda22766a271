#include "server/membership.h"

#include <openssl/evp.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/log.h"
#include "server/config.h"
#include "storage/keyspace.h"

namespace server {
namespace {

using base::Code;
using base::NodeId;
using base::Status;
using storage::Bucket;

constexpr size_t kSha1Bytes = 20;
constexpr std::string_view kDowngradeRow = "downgrade";

uint64_t sha1_prefix(std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  VERIFY(EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr) == 1 && size == kSha1Bytes);
  return base::load_be64(reinterpret_cast<const char*>(digest));
}

// Go's encoding/json writes <, >, & and the two line separators as \u escapes; readers take both forms, hashes of the backend
// do not.
std::string go_json_string(std::string_view text) {
  const std::string plain = nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string out;
  for (size_t i = 0; i < plain.size(); ++i) {
    const std::string_view rest = std::string_view(plain).substr(i);
    if (plain[i] == '<') {
      out += "\\u003c";
    } else if (plain[i] == '>') {
      out += "\\u003e";
    } else if (plain[i] == '&') {
      out += "\\u0026";
    } else if (rest.starts_with("\u2028") || rest.starts_with("\u2029")) {
      out += rest[2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      out += plain[i];
    }
  }
  return out;
}

std::string json_list(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) {
    if (out.size() > 1) out += ',';
    out += go_json_string(text);
  }
  return out + "]";
}

// A JSON array of strings, or null, or absent.
bool read_strings(const nlohmann::json& object, const char* key, std::vector<std::string>* out) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return true;
  if (!found->is_array()) return false;
  for (const auto& item : *found) {
    if (!item.is_string()) return false;
    out->push_back(item.get<std::string>());
  }
  return true;
}

bool read_bool(const nlohmann::json& object, const char* key, bool* out) {
  const auto found = object.find(key);
  if (found == object.end()) return true;
  if (!found->is_boolean()) return false;
  *out = found->get<bool>();
  return true;
}

bool read_string(const nlohmann::json& object, const char* key, std::string* out) {
  const auto found = object.find(key);
  if (found == object.end()) return true;
  if (!found->is_string()) return false;
  *out = found->get<std::string>();
  return true;
}

}  // namespace

NodeId member_id(std::vector<std::string> peer_urls, std::string_view token, std::optional<int64_t> unix_seconds) {
  std::sort(peer_urls.begin(), peer_urls.end());
  std::string text;
  for (const std::string& url : peer_urls) text += url;
  text += token;
  if (unix_seconds) text += std::to_string(*unix_seconds);
  return NodeId(sha1_prefix(text));
}

uint64_t cluster_id(std::vector<NodeId> ids) {
  std::sort(ids.begin(), ids.end());
  std::string text;
  for (NodeId id : ids) base::append_be64(text, id.value());
  return sha1_prefix(text);
}

base::Result<std::vector<Member>> founding_members(const UrlsMap& by_name, std::string_view token) {
  std::vector<Member> members;
  std::set<NodeId> ids;
  for (const auto& [name, urls] : by_name) {
    Member member;
    member.name = name;
    member.peer_urls = texts(urls);
    member.id = member_id(member.peer_urls, token);
    if (!ids.insert(member.id).second) {
      return Status(Code::kInvalidArgument, "member exists with identical ID &" + go_text(member));
    }
    members.push_back(std::move(member));
  }
  std::sort(members.begin(), members.end(), [](const Member& a, const Member& b) { return a.id < b.id; });
  return members;
}

std::string member_json(const Member& member) {
  std::string out = "{\"id\":" + std::to_string(member.id.value()) + ",\"peerURLs\":";
  out += member.peer_urls.empty() ? "null" : json_list(member.peer_urls);
  if (member.is_learner) out += ",\"isLearner\":true";
  if (!member.name.empty()) out += ",\"name\":" + go_json_string(member.name);
  if (!member.client_urls.empty()) out += ",\"clientURLs\":" + json_list(member.client_urls);
  return out + "}";
}

std::string go_text(const Member& member) {
  const auto list = [](const std::vector<std::string>& texts) {
    std::string out = "[";
    for (const std::string& text : texts) out += (out.size() > 1 ? " " : "") + text;
    return out + "]";
  };
  return "{ID:" + base::hex(member.id.value()) + " RaftAttributes:{PeerURLs:" + list(member.peer_urls) +
         " IsLearner:" + (member.is_learner ? "true" : "false") + "} Attributes:{Name:" + member.name +
         " ClientURLs:" + list(member.client_urls) + "}}";
}

base::Result<ConfChangeContext> parse_conf_change_context(std::string_view json) {
  const nlohmann::json object = nlohmann::json::parse(json, nullptr, false);
  ConfChangeContext context;
  Member& member = context.member;
  if (object.is_object()) {
    const auto id = object.find("id");
    const bool id_ok = id == object.end() || id->is_number_unsigned();
    if (id_ok && id != object.end()) member.id = NodeId(id->get<uint64_t>());
    if (id_ok && read_strings(object, "peerURLs", &member.peer_urls) &&
        read_strings(object, "clientURLs", &member.client_urls) && read_bool(object, "isLearner", &member.is_learner) &&
        read_string(object, "name", &member.name) && read_bool(object, "isPromote", &context.is_promote)) {
      return context;
    }
  }
  return Status(Code::kDataLoss, "membership: member context is not the JSON of a member: " + std::string(json.substr(0, 200)));
}

base::Result<Member> parse_attributes(std::string_view json) {
  base::Result<ConfChangeContext> context = parse_conf_change_context(json);
  if (!context.ok()) return context.status();
  return std::move(context->member);
}

Membership::Membership(storage::Backend& backend, NodeId self, uint64_t cluster, size_t learners_max)
    : backend_(backend), self_(self), cluster_id_(cluster), learners_max_(learners_max) {}

Status Membership::recover() {
  members_.clear();
  removed_.clear();
  std::string problem;
  Status read = storage::for_each_row(backend_, Bucket::kMembers, [&](std::string_view key, std::string_view value) {
    const std::optional<uint64_t> id = base::parse_hex(key);
    base::Result<ConfChangeContext> row = parse_conf_change_context(value);
    if (!id || !row.ok() || row->member.id.value() != *id)
      problem = "members/" + std::string(key);
    else
      members_[NodeId(*id)] = std::move(row->member);
  });
  if (!read.ok()) return read;
  read = storage::for_each_row(backend_, Bucket::kMembersRemoved, [&](std::string_view key, std::string_view) {
    const std::optional<uint64_t> id = base::parse_hex(key);
    if (!id)
      problem = "members_removed/" + std::string(key);
    else
      removed_.insert(NodeId(*id));
  });
  if (!read.ok()) return read;
  if (!problem.empty()) return Status(Code::kDataLoss, "membership: backend row " + problem + " is damaged");
  base::Result<std::optional<std::string>> version = storage::read_row(backend_, Bucket::kCluster, "clusterVersion");
  if (!version.ok()) return version.status();
  cluster_version_ = version->value_or("");
  base::Result<std::optional<std::string>> downgrade = storage::read_row(backend_, Bucket::kCluster, kDowngradeRow);
  if (!downgrade.ok()) return downgrade.status();
  const nlohmann::json row = nlohmann::json::parse(downgrade->value_or("{}"), nullptr, false);
  bool enabled = false;
  std::string target;
  if (!row.is_object() || !read_bool(row, "enabled", &enabled) || !read_string(row, "target-version", &target)) {
    return Status(Code::kDataLoss, "membership: backend row cluster/" + std::string(kDowngradeRow) + " is damaged");
  }
  downgrade_target_ = enabled ? target : "";
  if (!enabled) return {};
  base::log::info("cluster is downgrading to target version",
                  {{"target-cluster-version", target}, {"current-server-version", std::string(kVersion)}});
  return {};
}

const Member* Membership::find(NodeId id) const {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

bool Membership::is_learner(NodeId id) const {
  const Member* member = find(id);
  return member != nullptr && member->is_learner;
}

size_t Membership::voter_count() const {
  return static_cast<size_t>(
      std::count_if(members_.begin(), members_.end(), [](const auto& m) { return !m.second.is_learner; }));
}

Status Membership::validate(const raft::ConfChange& change) const {
  const NodeId id = change.node_id;
  if (is_removed(id)) return Status(Code::kFailedPrecondition, "membership: ID removed");
  const Member* known = find(id);
  const auto url_taken = [&](const std::vector<std::string>& urls, NodeId except) {
    return std::any_of(members_.begin(), members_.end(), [&](const auto& entry) {
      if (entry.first == except) return false;
      const auto& have = entry.second.peer_urls;
      return std::any_of(urls.begin(), urls.end(),
                         [&](const std::string& url) { return std::count(have.begin(), have.end(), url) > 0; });
    });
  };
  if (change.type == raft::ConfChangeType::kRemoveNode) {
    return known != nullptr ? Status() : Status(Code::kNotFound, "membership: ID not found");
  }
  base::Result<ConfChangeContext> context = parse_conf_change_context(change.context);
  if (!context.ok()) return context.status();
  if (context->member.id != id) return Status(Code::kInvalidArgument, "membership: conf change names two different members");
  switch (change.type) {
    case raft::ConfChangeType::kAddNode:
    case raft::ConfChangeType::kAddLearnerNode: {
      if (context->is_promote) {
        if (known == nullptr) return Status(Code::kNotFound, "membership: ID not found");
        if (!known->is_learner) return Status(Code::kFailedPrecondition, "membership: can only promote a learner member");
        return {};
      }
      if (known != nullptr) return Status(Code::kFailedPrecondition, "membership: ID exists");
      if (url_taken(context->member.peer_urls, base::kNoNode))
        return Status(Code::kFailedPrecondition, "membership: peerURL exists");
      const size_t learners = members_.size() - voter_count();
      if (context->member.is_learner && learners + 1 > learners_max_) {
        return Status(Code::kFailedPrecondition, "membership: too many learner members in cluster");
      }
      return {};
    }
    case raft::ConfChangeType::kUpdateNode:
      if (known == nullptr) return Status(Code::kNotFound, "membership: ID not found");
      if (url_taken(context->member.peer_urls, id)) return Status(Code::kFailedPrecondition, "membership: peerURL exists");
      return {};
    default:
      return Status(Code::kInvalidArgument, "membership: unknown conf change type");
  }
}

void Membership::apply(const raft::ConfChange& change) {
  const NodeId id = change.node_id;
  if (change.type == raft::ConfChangeType::kRemoveNode) {
    const Member gone = members_[id];
    members_.erase(id);
    removed_.insert(id);
    storage::erase_row(backend_, Bucket::kMembers, base::hex(id.value()));
    storage::put_row(backend_, Bucket::kMembersRemoved, base::hex(id.value()), "removed");
    base::log::info("removed member", {{"cluster-id", base::hex(cluster_id_)},
                                       {"local-member-id", base::hex(self_.value())},
                                       {"removed-remote-peer-id", base::hex(id.value())},
                                       {"removed-remote-peer-urls", gone.peer_urls},
                                       {"removed-remote-peer-is-learner", gone.is_learner}});
    return;
  }
  base::Result<ConfChangeContext> context = parse_conf_change_context(change.context);
  VERIFY(context.ok());
  if (change.type == raft::ConfChangeType::kUpdateNode) {
    members_[id].peer_urls = context->member.peer_urls;
    base::log::info("updated member", {{"cluster-id", base::hex(cluster_id_)},
                                       {"local-member-id", base::hex(self_.value())},
                                       {"updated-remote-peer-id", base::hex(id.value())},
                                       {"updated-remote-peer-urls", context->member.peer_urls}});
  } else if (context->is_promote) {
    members_[id].is_learner = false;
    base::log::info("promote member", {{"cluster-id", base::hex(cluster_id_)},
                                       {"local-member-id", base::hex(self_.value())},
                                       {"promoted-member-id", base::hex(id.value())}});
  } else {
    members_[id] = context->member;
    base::log::info("added member", {{"cluster-id", base::hex(cluster_id_)},
                                     {"local-member-id", base::hex(self_.value())},
                                     {"added-peer-id", base::hex(id.value())},
                                     {"added-peer-peer-urls", context->member.peer_urls},
                                     {"added-peer-is-learner", context->member.is_learner}});
  }
  write(members_[id]);
}

bool Membership::set_attributes(NodeId id, std::string name, std::vector<std::string> client_urls) {
  const auto found = members_.find(id);
  if (found == members_.end()) return false;
  found->second.name = std::move(name);
  found->second.client_urls = std::move(client_urls);
  write(found->second);
  return true;
}

void Membership::set_cluster_version(std::string version) {
  cluster_version_ = std::move(version);
  storage::put_row(backend_, Bucket::kCluster, "clusterVersion", cluster_version_);
}

void Membership::set_downgrade_target(std::string target) {
  downgrade_target_ = std::move(target);
  const char* enabled = downgrade_target_.empty() ? "false" : "true";
  storage::put_row(backend_, Bucket::kCluster, kDowngradeRow,
                   "{\"target-version\":" + go_json_string(downgrade_target_) + ",\"enabled\":" + enabled + "}");
}

void Membership::write(const Member& member) {
  storage::put_row(backend_, Bucket::kMembers, base::hex(member.id.value()), member_json(member));
}

}  // namespace server
