// Who is in the cluster: members, removed ids, the cluster version; identity as etcd computes it. Owner: core loop.
// Validation happens at apply, on every member against the same state, so it must give the same answer everywhere
// (wire-and-disk 2.3). Rows go to the buckets `members`, `members_removed`, `cluster` in the batch of the entry that caused
// them. Source: etcd server/etcdserver/api/membership.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "raft/types.h"
#include "server/url.h"
#include "storage/backend.h"

namespace server {

struct Member {
  base::NodeId id;
  std::string name;  // empty until the member has published itself
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;
  bool is_learner = false;

  friend bool operator==(const Member&, const Member&) = default;
};

// First 8 bytes, big-endian, of SHA-1 over the sorted peer URLs, the token, and (members added at run time) the time.
base::NodeId member_id(std::vector<std::string> peer_urls, std::string_view token, std::optional<int64_t> unix_seconds = {});
// The same over the member ids in ascending order.
uint64_t cluster_id(std::vector<base::NodeId> ids);

// The founders of a new cluster, ascending by id. kInvalidArgument: two have the same id.
base::Result<std::vector<Member>> founding_members(const UrlsMap& by_name, std::string_view token);

// etcd's JSON of a member, as in ConfChange contexts and `members` rows: {"id":N,"peerURLs":[...],"name":"..."}.
std::string member_json(const Member& member);
// As Go prints a Member: {ID:.. RaftAttributes:{PeerURLs:[..] IsLearner:false} Attributes:{Name:.. ClientURLs:[]}}.
std::string go_text(const Member& member);
struct ConfChangeContext {
  Member member;
  bool is_promote = false;
};
base::Result<ConfChangeContext> parse_conf_change_context(std::string_view json);
// {"name":"m1","clientURLs":[...]} of old members' publish requests.
base::Result<Member> parse_attributes(std::string_view json);

class Membership {
 public:
  Membership(storage::Backend& backend, base::NodeId self, uint64_t cluster_id, size_t learners_max);

  // Reads the rows. kDataLoss names the row that does not parse.
  base::Status recover();

  base::NodeId self() const { return self_; }
  uint64_t cluster_id() const { return cluster_id_; }
  const std::map<base::NodeId, Member>& members() const { return members_; }
  const Member* find(base::NodeId id) const;
  bool is_removed(base::NodeId id) const { return removed_.contains(id); }
  const std::set<base::NodeId>& removed() const { return removed_; }
  bool is_learner(base::NodeId id) const;
  size_t voter_count() const;

  // etcd's texts: `membership: ID removed`, `membership: ID exists`, ... Changes nothing.
  base::Status validate(const raft::ConfChange& change) const;
  // Applies a change that validate() accepted. REQUIRES: validate(change).ok().
  void apply(const raft::ConfChange& change);

  // False (and nothing happens) for a removed or unknown member.
  bool set_attributes(base::NodeId id, std::string name, std::vector<std::string> client_urls);

  // "3.7.0"; empty until decided. set: writes the row.
  const std::string& cluster_version() const { return cluster_version_; }
  void set_cluster_version(std::string version);
  // The version the cluster is going down to, "3.6.0"; empty: it is not. set: writes the row.
  const std::string& downgrade_target() const { return downgrade_target_; }
  void set_downgrade_target(std::string target);

 private:
  void write(const Member& member);

  storage::Backend& backend_;
  const base::NodeId self_;
  const uint64_t cluster_id_;
  const size_t learners_max_;
  std::map<base::NodeId, Member> members_;
  std::set<base::NodeId> removed_;
  std::string cluster_version_;
  std::string downgrade_target_;
};

}  // namespace server
