// --force-new-cluster: what a member's directory holds becomes the whole of a cluster with this one member. Entries of the log
// that are not known to be committed are cut off, unless the member was the only voter; changes that remove all others are
// written behind the rest, committed, and applied like any entry, so that a restart without the flag finds them. A learner is
// promoted by the first of them. A directory that is so already is left as it is. Source: wire-and-disk 2.1; etcd
// server/etcdserver/bootstrap.go.
#pragma once

#include <span>
#include <vector>

#include "base/ids.h"
#include "raft/types.h"
#include "server/data_dir.h"
#include "storage/raft_state.h"

namespace server {

// The configuration once the conf changes among `entries` with an index above `applied` have been applied to `state`, which is
// that of `applied`. kDataLoss: an entry that cannot be read.
base::Result<raft::ConfState> conf_state_after(const raft::ConfState& state, base::Index applied,
                                               std::span<const storage::WalEntry> entries);

// The changes, in order, that leave `self` as the only voter and no learner.
std::vector<raft::ConfChange> changes_to_be_alone(const raft::ConfState& state, base::NodeId self);

// Changes the log in `data` and what was read from it. Blocking. Errors: of the disk, and kFailedPrecondition for a member
// that was removed from its cluster. REQUIRES: the log has entries or a snapshot.
base::Status force_new_cluster(DataDir* data);

}  // namespace server
