// Who a member without a log is and whose cluster it belongs to: one of the founders of a new cluster, or a newcomer to one
// that runs and is asked for it over HTTP. Blocking; called once, before the loops run. Source: wire-and-disk 2.1, 2.2, 2.4;
// etcd server/etcdserver/bootstrap.go, cluster_util.go. Texts: feature map 4.5.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "peer/fetch.h"
#include "server/config.h"
#include "server/membership.h"

namespace server {

inline constexpr base::Duration kBootstrapAskTimeout = std::chrono::seconds(1);  // founders may all be down
inline constexpr base::Duration kJoinAskTimeout = std::chrono::seconds(10);

struct Bootstrap {
  base::NodeId self;
  uint64_t cluster_id = 0;
  std::vector<Member> founders;  // of a new cluster, ascending by id, with ourselves; empty for a newcomer
  std::vector<Member> existing;  // of the cluster we join, as it told them, with ourselves
};

// GET `path` at a peer URL.
using AskPeer = std::function<base::Result<peer::Answer>(const Url& url, const std::string& path, base::Duration timeout)>;
AskPeer ask_over_http(peer::DialOptions how);

// kInvalidArgument: the text behind `discovery failed`.
base::Result<Bootstrap> bootstrap(const Config& config, const AskPeer& ask, const ResolveHost& resolve = nullptr);

// The members and the id in an answer to GET /members.
struct ClusterAnswer {
  uint64_t cluster_id = 0;
  std::vector<Member> members;
};
base::Result<ClusterAnswer> parse_members_answer(const peer::Answer& answer);

// Major and minor of a version as /version tells it: "3.7.1". nullopt: not a version.
struct MinorVersion {
  int major = 0;
  int minor = 0;
  friend auto operator<=>(const MinorVersion&, const MinorVersion&) = default;
  std::string text() const { return std::to_string(major) + "." + std::to_string(minor) + ".0"; }
};
std::optional<MinorVersion> parse_minor_version(std::string_view text);
// What /version says.
struct PeerVersions {
  std::string server, cluster;
};
base::Result<PeerVersions> parse_version_answer(const peer::Answer& answer);

}  // namespace server
