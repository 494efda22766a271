// The cluster's version: the lowest of its members', found out and proposed by the leader, when its first entry is applied and
// every --raft-write-timeout less a second. It only rises. Owner: core loop. Source: wire-and-disk 2.6; etcd
// server/etcdserver/version/monitor.go.
#pragma once

#include <map>
#include <optional>

#include "base/ids.h"
#include "base/loop.h"
#include "server/bootstrap.h"

namespace server {

class Node;

inline constexpr base::Duration kVersionCheckMargin = std::chrono::seconds(1);  // sooner than members' writes time out

// What to propose when the members' servers have these versions (nullopt: a member did not tell); nullopt: nothing.
// `downgrade`: the version to go down to; one minor version below what the cluster and its lowest member have.
std::optional<MinorVersion> decide_cluster_version(std::optional<MinorVersion> current,
                                                   const std::map<base::NodeId, std::optional<MinorVersion>>& servers,
                                                   std::optional<MinorVersion> downgrade = std::nullopt);

class VersionMonitor {
 public:
  explicit VersionMonitor(Node& node) : node_(node) {}
  void start();
  void stop();
  // A round now, if we lead and none is under way.
  void check();

 private:
  struct Round;
  void finish(const Round& round);
  void propose(MinorVersion version);
  void wait();

  Node& node_;
  base::TimerId timer_ = base::kNoTimer;
  std::shared_ptr<Round> round_;
  bool proposing_ = false;
  bool stopped_ = false;
};

}  // namespace server
