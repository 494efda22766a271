// The store as it is now, as the database that another member gets: read from a pinned view on the helper thread, a piece at a
// time while the socket drains. Owner: core loop.
#pragma once

#include <memory>

#include "base/status.h"
#include "peer/transport.h"

namespace server {

class Node;

// Errors: too many are under way, server stopped. The body may outlive the node.
base::Result<std::unique_ptr<peer::SnapshotBody>> open_snapshot_body(Node& node);

}  // namespace server
