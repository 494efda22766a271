// What committed entries do: decodes each, applies it to the store, the membership, the alarms, and tells who waits for it.
// Same entries, same effects on every member; an entry that cannot be understood is an error for its proposer, never a crash.
// Owner: core loop. Source: wire-and-disk 5; etcd server/etcdserver/apply.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/metrics.h"
#include "mvcc/request.h"
#include "raft/types.h"
#include "server/waiters.h"
#include "wire/codec.h"

namespace server {

class Node;

// Whether every member could go on after this entry: what no member can apply stops all of them, for ever. For entries that
// others propose; the log itself is believed.
bool can_apply(const raft::Entry& entry);

// etcd's names of requests in metrics and logs.
std::string_view op_name(wire::Op op);

// By the cluster's version; unknown: the current ones.
mvcc::Rules rules_of(const Node& node);

class Applier {
 public:
  explicit Applier(Node& node) : node_(node) {}

  // REQUIRES: each index once, ascending, behind the consistent index the store was opened with.
  void apply(base::Index index, base::Term term, const std::shared_ptr<const std::string>& data);
  // Validates the change against the membership and applies it; the change to hand to Raft (node 0: refused, changes nothing).
  raft::ConfChange apply_conf_change(base::Index index, base::Term term, const std::shared_ptr<const std::string>& data);
  // The `confState` row, once Raft has the change.
  void save_conf_state(const raft::ConfState& state);

 private:
  using OpMetrics = std::array<base::metrics::Histogram*, 2>;  // [0]: failed, [1]: good; null until one was
  Outcome execute(const wire::InternalRequest& request, mvcc::Answer answer);
  Outcome execute_kv(const wire::InternalRequest& request, mvcc::Answer answer);
  Outcome execute_alarm(std::string_view body);
  void set_member_attributes(std::string_view body);
  void set_cluster_version(std::string_view body);
  void set_downgrade(std::string_view body);
  void apply_v2(std::string_view data);
  base::Status refuse(const wire::InternalRequest& request) const;
  void raise_no_space();

  Node& node_;
  std::map<wire::Op, OpMetrics> metrics_;
};

}  // namespace server
