// The gRPC services of a member: what stands between a call on the wire and the node. Each registers its methods with the
// server; a method nobody registered answers Unimplemented.
// Owner: core loop. Source: etcd server/etcdserver/api/v3rpc.
#pragma once

#include "rpc/server.h"
#include "server/node.h"

namespace server {

// Checks that come before any method's own: version of the client, learner, leader asked for (feature map 3.12, wire-and-disk
// 10).
enum class OnLearner { kRefused, kServed };
base::Status admit(const Node& node, const rpc::CallContext& context, OnLearner on_learner);
// The same for a streaming call, which ends later too if its client wants a leader and there is none for long.
base::Status admit_stream(Node& node, const std::shared_ptr<rpc::ServerStream>& stream, OnLearner on_learner);

void add_kv_service(rpc::Server& server, Node& node);
void add_cluster_service(rpc::Server& server, Node& node);
void add_maintenance_service(rpc::Server& server, Node& node);
void add_snapshot_service(rpc::Server& server, Node& node);
void add_health_service(rpc::Server& server, Node& node);
void add_lease_service(rpc::Server& server, Node& node);
void add_watch_service(rpc::Server& server, Node& node);

}  // namespace server
