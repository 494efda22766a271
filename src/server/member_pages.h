// What members ask each other on the peer port besides Raft and leases: the members, a hash of the data, a promotion, whether a
// downgrade is on. Owner: core loop. Source: wire-and-disk 3.8; etcd server/etcdserver/api/etcdhttp/peer.go, corrupt.go.
#pragma once

#include <memory>
#include <string>

#include "rpc/server.h"

namespace server {

class Node;

// False: not such a page; nothing was answered.
bool serve_member_page(Node& node, const std::shared_ptr<rpc::HttpCall>& call, const std::string& path);

}  // namespace server
