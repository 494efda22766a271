// One simulated story: a cluster, clients, a nemesis, then peace, and the judgement. The seed decides everything: how many
// members, which faults, which load. The same seed gives the same trace hash.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sim/clients.h"
#include "sim/cluster.h"

namespace sim {

enum class Fault : uint32_t {
  kCuts = 1,  // of the network: one way, pairs, halves
  kSlowNetwork = 2,
  kKills = 4,  // of processes
  kPower = 8,  // of machines
  kPauses = 16,
  kSlowDisk = 32,
  kBrokenDisk = 64,  // failed syncs and writes, no room; with kPower and kMembers: damaged files, lost state
  kTransfers = 128,  // of leadership
  kMembers = 256,    // who belongs to the cluster
  kDates = 512,      // clocks set by hand
};
inline constexpr uint32_t kAllFaults = 1023;

struct Plan {
  uint64_t seed = 1;
  size_t members = 3;
  uint32_t faults = kAllFaults;
  base::Duration storm = std::chrono::seconds(30);  // of virtual time with faults
  base::Duration pace = std::chrono::milliseconds(150);
  size_t clients = 8, watchers = 3;
  // Only what etcd's validator has a model of is asked, and the logs keep everything; where to write it, see history_files.h.
  std::string for_validator;
};
// Varied by the seed: 1, 3, 4, 5 or 7 members, all faults or some.
Plan plan_of(uint64_t seed);
std::string describe(const Plan& plan);

struct Verdict {
  std::string failure;  // empty: all promises were kept
  std::vector<std::string> story;
  uint64_t trace_hash = 0, steps = 0;
  base::Duration simulated{0};
  uint64_t ok = 0, refused = 0, unknown = 0, revisions = 0;
};
Verdict run(const Plan& plan);
// The same failure with fewer faults, members, clients and less time, as far as some runs find it.
Plan shrink(const Plan& plan);

}  // namespace sim
