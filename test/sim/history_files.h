// A story as etcd's own validator reads it (tests/robustness of etcd: report/client.go, model/types.go): what each client asked
// and was told, what each watcher heard, and the members' logs. Only what that model knows may have been asked: see
// Plan::for_validator.
#pragma once

#include <string>

#include "sim/clients.h"
#include "sim/cluster.h"

namespace sim {

// Into DIR/client-N/operations.json, DIR/client-N/watch.json and DIR/server-NAME/member/wal. Empty, or what went wrong.
std::string write_history(const std::string& dir, Cluster& cluster, const History& history);

}  // namespace sim
