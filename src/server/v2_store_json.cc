#include "server/v2_store_json.h"

#include <nlohmann/json.hpp>

#include "base/bytes.h"

namespace server {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kEventHistoryCapacity = 1000;  // etcd's; readers allocate what the file says

Json node(const std::string& path, const Json& value, const Json& children) {
  return Json{{"Path", path},   {"CreatedIndex", 1},   {"ModifiedIndex", 1}, {"ExpireTime", "0001-01-01T00:00:00Z"},
              {"Value", value}, {"Children", children}};
}
Json directory(const std::string& path, const Json& children) { return node(path, "", children); }
Json leaf(const std::string& path, const std::string& value) { return node(path, value, nullptr); }

Json member_node(const Member& member) {
  const std::string path = "/0/members/" + base::hex(member.id.value());
  Json attributes = Json::object();
  if (!member.name.empty()) attributes["name"] = member.name;
  if (!member.client_urls.empty()) attributes["clientURLs"] = member.client_urls;
  Json raft_attributes = Json::object();
  raft_attributes["peerURLs"] = member.peer_urls;
  if (member.is_learner) raft_attributes["isLearner"] = true;
  Json children = Json::object();
  if (!attributes.empty()) children["attributes"] = leaf(path + "/attributes", attributes.dump());
  children["raftAttributes"] = leaf(path + "/raftAttributes", raft_attributes.dump());
  return directory(path, children);
}

}  // namespace

std::string v2_store_json(const Membership& membership) {
  Json members = Json::object(), removed = Json::object();
  for (const auto& [id, member] : membership.members()) members[base::hex(id.value())] = member_node(member);
  for (base::NodeId id : membership.removed()) {
    removed[base::hex(id.value())] = leaf("/0/removed_members/" + base::hex(id.value()), "");
  }
  Json cluster = Json::object();
  cluster["members"] = directory("/0/members", members);
  if (!removed.empty()) cluster["removed_members"] = directory("/0/removed_members", removed);
  if (!membership.cluster_version().empty()) cluster["version"] = leaf("/0/version", membership.cluster_version());
  Json root = Json::object();
  root["0"] = directory("/0", cluster);
  root["1"] = directory("/1", Json::object());

  Json queue = {{"Events", Json(std::vector<std::nullptr_t>(kEventHistoryCapacity))},
                {"Size", 0},
                {"Front", 0},
                {"Back", 0},
                {"Capacity", kEventHistoryCapacity}};
  Json history = {{"Queue", queue}, {"StartIndex", 0}, {"LastIndex", 0}};
  Json hub = {{"EventHistory", history}};
  Json store = {{"Root", directory("/", root)},
                {"WatcherHub", hub},
                {"CurrentIndex", 1},
                {"Stats", Json::object()},
                {"CurrentVersion", 2}};
  return store.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace server
