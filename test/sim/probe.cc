#include "sim/probe.h"

namespace sim {
namespace {

constexpr const char* kExpected[] = {
    "a removed member was told so by another",
    "a database was cut on its way",
    "a database was installed",
    "a member started with a database that was not taken over",
    "a member applied entries again after a restart",
    "a member stopped itself after a failed sync",
    "a member stopped itself on a full disk",
    "the whole cluster lost power at once",
    "a learner was promoted",
    "a member was replaced",
    "a leader was asked to hand over",
    "a watch began below the compaction",
    "a watch was resumed elsewhere",
    "a watcher did not read",
    "a lease ended by time",
    "a lease was renewed through a follower",
    "a serializable read was behind",
    "a write ended unknown and had happened",
    "a write ended unknown and had not happened",
    "a transaction met a conflict",
    "a member stopped itself after a failed write",
    "a disk lost or changed what it held",
    "a damaged member refused to start",
    "a damaged member stopped itself",
    "power was cut behind a vote",
    "an old entry was acknowledged to a new leader",
    "power was cut in an installation",
    "a new leader was asked at once",
    "a leader of the second time was cut off and asked",
};

std::map<std::string, uint64_t>& counts() {
  static std::map<std::string, uint64_t> all;
  return all;
}

}  // namespace

void probe(const char* name) { ++counts()[name]; }
const std::map<std::string, uint64_t>& probes() { return counts(); }

std::vector<std::string> probes_missing() {
  std::vector<std::string> missing;
  for (const char* name : kExpected) {
    if (!counts().contains(name)) missing.emplace_back(name);
  }
  return missing;
}

}  // namespace sim
