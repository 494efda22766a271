#include "server/bootstrap.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/log.h"

namespace server {
namespace {

using base::Code;
using base::NodeId;
using base::Result;
using base::Status;

constexpr MinorVersion kClusterVersionMin{3, 0};

Status invalid(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

const Member* find_by_name(const std::vector<Member>& members, const std::string& name) {
  const auto found = std::find_if(members.begin(), members.end(), [&](const Member& member) { return member.name == name; });
  return found == members.end() ? nullptr : &*found;
}

// What --initial-cluster says, ascending by the ids that a new cluster of them would have.
Result<std::vector<Member>> configured_members(const Config& config, const ResolveHost& resolve) {
  Result<UrlsMap> by_name = initial_members(config, resolve);
  if (!by_name.ok()) return by_name.status();
  return founding_members(*by_name, config.initial_cluster_token);
}

// Peer URLs of all but ourselves, sorted as text.
std::vector<std::string> others_urls(const std::vector<Member>& members, const std::string& own_name) {
  std::vector<std::string> urls;
  for (const Member& member : members) {
    if (member.name != own_name) urls.insert(urls.end(), member.peer_urls.begin(), member.peer_urls.end());
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

Result<peer::Answer> ask_text_url(const AskPeer& ask, const std::string& url, const std::string& path, base::Duration timeout) {
  Result<Url> parsed = parse_url(url);
  if (!parsed.ok()) return parsed.status();
  return ask(*parsed, path, timeout);
}

// The first that answers decides.
Result<ClusterAnswer> ask_members(const AskPeer& ask, const std::vector<std::string>& urls, base::Duration timeout,
                                  bool log_errors) {
  for (const std::string& url : urls) {
    const std::string address = url + "/members";
    Result<peer::Answer> answer = ask_text_url(ask, url, "/members", timeout);
    if (!answer.ok()) {
      const std::string why = "Get \"" + address + "\": " + std::string(answer.status().text());
      if (log_errors) base::log::warn("failed to get cluster response", {{"address", address}, {"error", why}});
      continue;
    }
    Result<ClusterAnswer> cluster = parse_members_answer(*answer);
    if (!cluster.ok()) {
      if (log_errors) {
        base::log::warn("failed to unmarshal cluster response", {{"address", address}, {"error", cluster.status()}});
      }
      continue;
    }
    if (cluster->members.empty()) return invalid("failed to get raft cluster member(s) from the given URLs");
    return cluster;
  }
  return invalid("could not retrieve cluster information from the given URLs");
}

std::string cluster_text(const ClusterAnswer& cluster) {
  std::string out = "{ClusterID:" + base::hex(cluster.cluster_id) + " Members:[";
  for (size_t i = 0; i < cluster.members.size(); ++i) out += (i > 0 ? " &" : "&") + go_text(cluster.members[i]);
  return out + "] RemovedMemberIDs:[]}";
}

// Gives our own list the ids that the running members have. Ours stay the names.
Status assign_ids(const ClusterAnswer& existing, std::vector<Member>* ours, const ResolveHost& resolve) {
  if (existing.members.size() != ours->size()) return invalid("member count is unequal");
  for (const Member& theirs : existing.members) {
    std::string why = "<nil>";
    bool matched = false;
    for (Member& own : *ours) {
      Result<Urls> left = parse_urls(theirs.peer_urls);
      Result<Urls> right = parse_urls(own.peer_urls);
      if (!left.ok() || !right.ok()) {
        why = std::string((left.ok() ? right : left).status().text());
        continue;
      }
      const Result<std::string> differs = urls_difference(*left, *right, resolve);
      if (differs.ok() && differs->empty()) {
        own.id = theirs.id;
        own.is_learner = theirs.is_learner;
        matched = true;
        break;
      }
      why = differs.ok() ? *differs : std::string(differs.status().text());
    }
    if (!matched) {
      std::string urls;
      for (const std::string& url : theirs.peer_urls) urls += (urls.empty() ? "" : " ") + url;
      return invalid("PeerURLs: no match found for existing member (" + base::hex(theirs.id.value()) + ", [" + urls +
                     "]), last resolver error (" + why + ")");
    }
  }
  return {};
}

// The first peer URL of a member that gives a good answer to `path`.
template <class Parse>
auto ask_member(const AskPeer& ask, const Member& member, const std::string& path, base::Duration timeout, Parse parse)
    -> decltype(parse(peer::Answer())) {
  Status last(Code::kUnavailable, "the member has no peer URL");
  for (const std::string& url : member.peer_urls) {
    Result<peer::Answer> answer = ask_text_url(ask, url, path, timeout);
    if (!answer.ok()) {
      last = Status(Code::kUnavailable, "Get \"" + url + path + "\": " + std::string(answer.status().text()));
      base::log::warn("failed to reach the peer URL",
                      {{"address", url + path}, {"remote-member-id", base::hex(member.id.value())}, {"error", last}});
      continue;
    }
    auto parsed = parse(*answer);
    if (parsed.ok()) return parsed;
    last = parsed.status();
    base::log::warn("failed to unmarshal response",
                    {{"address", url + path}, {"remote-member-id", base::hex(member.id.value())}, {"error", last}});
  }
  return last;
}

bool downgrade_enabled(const AskPeer& ask, const std::vector<Member>& members, NodeId self, base::Duration timeout) {
  const auto parse = [](const peer::Answer& answer) -> Result<bool> {
    if (answer.body == "true" || answer.body == "false") return answer.body == "true";
    return Status(Code::kInvalidArgument, "strconv.ParseBool: parsing \"" + answer.body + "\": invalid syntax");
  };
  for (const Member& member : members) {
    if (member.id == self) continue;
    Result<bool> enabled = ask_member(ask, member, "/downgrade/enabled", timeout, parse);
    if (enabled.ok()) return *enabled;
    base::log::warn("failed to get downgrade enabled status",
                    {{"remote-member-id", base::hex(member.id.value())}, {"error", enabled.status()}});
  }
  return false;
}

// At least one other member tells a cluster version that we can serve, and none tells one that we cannot.
bool is_compatible(const AskPeer& ask, const std::vector<Member>& members, NodeId self, base::Duration timeout) {
  std::vector<std::pair<NodeId, std::string>> versions;
  for (const Member& member : members) {
    if (member.id == self) continue;
    Result<PeerVersions> told = ask_member(ask, member, "/version", timeout, parse_version_answer);
    if (told.ok()) {
      versions.emplace_back(member.id, told->cluster);
    } else {
      base::log::warn("failed to get version", {{"remote-member-id", base::hex(member.id.value())}, {"error", told.status()}});
    }
  }
  MinorVersion highest = *parse_minor_version(kVersion);
  MinorVersion lowest = kClusterVersionMin;
  if (downgrade_enabled(ask, members, self, timeout)) lowest = highest = {highest.major, highest.minor + 1};
  bool good = false;
  for (const auto& [id, text] : versions) {
    const std::optional<MinorVersion> version = parse_minor_version(text);
    const std::string member = base::hex(id.value());
    if (!version) {
      base::log::warn("failed to parse cluster version of remote member",
                      {{"remote-member-id", member}, {"remote-member-cluster-version", text}});
      continue;
    }
    if (*version < lowest) {
      base::log::warn("cluster version of remote member is not compatible; too low",
                      {{"remote-member-id", member},
                       {"remote-member-cluster-version", version->text()},
                       {"minimum-cluster-version-supported", lowest.text()}});
      return false;
    }
    if (highest < *version) {
      base::log::warn("cluster version of remote member is not compatible; too high",
                      {{"remote-member-id", member},
                       {"remote-member-cluster-version", version->text()},
                       {"maximum-cluster-version-supported", highest.text()}});
      return false;
    }
    good = true;
  }
  return good;
}

Result<Bootstrap> found_cluster(const Config& config, std::vector<Member> members, const AskPeer& ask) {
  Bootstrap out;
  std::vector<NodeId> ids;
  for (const Member& member : members) {
    ids.push_back(member.id);
    if (member.name == config.name) out.self = member.id;
  }
  VERIFY(out.self != base::kNoNode);  // initial_members() looked for it
  out.cluster_id = cluster_id(ids);
  Result<ClusterAnswer> known = ask_members(ask, others_urls(members, config.name), kBootstrapAskTimeout, false);
  if (known.ok()) {
    for (const Member& member : known->members) {
      if (member.id == out.self && !member.client_urls.empty()) {
        return invalid("member " + base::hex(out.self.value()) + " has already been bootstrapped");
      }
    }
  }
  out.founders = std::move(members);
  return out;
}

Result<Bootstrap> join_cluster(const Config& config, std::vector<Member> members, const AskPeer& ask,
                               const ResolveHost& resolve) {
  Result<ClusterAnswer> existing = ask_members(ask, others_urls(members, config.name), kJoinAskTimeout, true);
  if (!existing.ok()) {
    return invalid("cannot fetch cluster info from peer urls: " + std::string(existing.status().text()));
  }
  Status assigned = assign_ids(*existing, &members, resolve);
  if (!assigned.ok()) {
    return invalid("error validating peerURLs " + cluster_text(*existing) + ": " + std::string(assigned.text()));
  }
  const Member* self = find_by_name(members, config.name);
  VERIFY(self != nullptr);
  const base::Duration timeout = std::chrono::seconds(5) + 2 * std::chrono::milliseconds(config.election_ms);
  if (!is_compatible(ask, members, self->id, timeout)) return invalid("incompatible with current running cluster");
  const auto learners =
      std::count_if(existing->members.begin(), existing->members.end(), [](const Member& member) { return member.is_learner; });
  if (learners > config.max_learners) return invalid("membership: too many learner members in cluster");
  Bootstrap out;
  out.self = self->id;
  out.cluster_id = existing->cluster_id;
  out.existing = std::move(existing->members);
  return out;
}

}  // namespace

AskPeer ask_over_http(peer::DialOptions how) {
  return [how = std::move(how)](const Url& url, const std::string& path, base::Duration timeout) -> Result<peer::Answer> {
    std::optional<peer::PeerUrl> where = peer::parse_peer_url(url.text);
    if (!where) return invalid("no URL of a member: " + url.text);
    peer::Question question;
    question.address = std::move(*where);
    question.target = path;
    return peer::fetch_blocking(how, std::move(question), timeout);
  };
}

Result<Bootstrap> bootstrap(const Config& config, const AskPeer& ask, const ResolveHost& resolve) {
  Result<std::vector<Member>> members = configured_members(config, resolve);
  if (!members.ok()) return members.status();
  return config.existing_cluster ? join_cluster(config, std::move(*members), ask, resolve)
                                 : found_cluster(config, std::move(*members), ask);
}

Result<ClusterAnswer> parse_members_answer(const peer::Answer& answer) {
  const nlohmann::json list = nlohmann::json::parse(answer.body, nullptr, false);
  if (!list.is_array()) return invalid("the answer is not a list of members: " + answer.body.substr(0, 200));
  ClusterAnswer out;
  for (const nlohmann::json& item : list) {
    Result<ConfChangeContext> member = parse_conf_change_context(item.dump());
    if (!member.ok()) return member.status();
    out.members.push_back(std::move(member->member));
  }
  const std::optional<uint64_t> id = base::parse_hex(answer.find("x-etcd-cluster-id"));
  if (!id) {
    return invalid("strconv.ParseUint: parsing \"" + std::string(answer.find("x-etcd-cluster-id")) + "\": invalid syntax");
  }
  out.cluster_id = *id;
  std::sort(out.members.begin(), out.members.end(), [](const Member& a, const Member& b) { return a.id < b.id; });
  return out;
}

std::optional<MinorVersion> parse_minor_version(std::string_view text) {
  int parts[3] = {0, 0, 0};
  size_t part = 0, digits = 0;
  for (const char c : text) {
    if (c == '.') {
      if (digits == 0 || ++part == 3) return std::nullopt;
      digits = 0;
    } else if (c >= '0' && c <= '9') {
      if (++digits > 6) return std::nullopt;
      parts[part] = parts[part] * 10 + (c - '0');
    } else if ((c == '-' || c == '+') && part == 2 && digits > 0) {
      break;  // "3.7.0-rc.1": what follows does not count
    } else {
      return std::nullopt;
    }
  }
  if (part != 2 || digits == 0) return std::nullopt;
  return MinorVersion{parts[0], parts[1]};
}

Result<PeerVersions> parse_version_answer(const peer::Answer& answer) {
  const nlohmann::json object = nlohmann::json::parse(answer.body, nullptr, false);
  const auto text = [&](const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  if (!object.is_object()) return invalid("the answer is not a version: " + answer.body.substr(0, 200));
  return PeerVersions{text("etcdserver"), text("etcdcluster")};
}

}  // namespace server
