// What must hold of a history, given what really happened (oracle.h). Pure; each gives the empty string or the first thing that
// is wrong. Written operations have revisions, which order them: linearizability is then a matter of each operation against
// the state at its revision and of real time against revisions, n log n in all.
#pragma once

#include <string>
#include <vector>

#include "sim/history.h"
#include "sim/oracle.h"

namespace sim {

// Each answered operation says what the model says at its revision; what a write did is what the log holds at its revision; a
// write is in the log at most once, certainly if it was acknowledged, certainly not if it was refused; revisions of writes and
// linearizable reads follow real time.
std::string check_operations(const Oracle& oracle, const std::vector<Operation>& history);

// etcd's promises to a watcher: filter, ordered, unique, atomic, bookmarkable, resumable, reliable, prev-kv, is-create.
// `compacted`: the highest revision at which a compaction may have happened. `complete_to`: everything up to it must have
// come; 0: only what lies before the last response.
std::string check_watch(const Oracle& oracle, const WatchRecord& watch, int64_t compacted, int64_t complete_to);

// A lease that nobody revoked took its key along no earlier than promised. `drift`: how much faster than the world's a
// member's clock may run, as a part of 1; `grace`: of renewals that a leader answers which is none any more.
std::string check_lease(const Oracle& oracle, const LeaseRecord& lease, double drift, base::Duration grace);

}  // namespace sim
