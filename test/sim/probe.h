// Rare paths that a long run must have taken: each names itself when it happens. probes_missing() holds them against the list.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

void probe(const char* name);
const std::map<std::string, uint64_t>& probes();
// Of the list in probe.cc, those that never fired in this process.
std::vector<std::string> probes_missing();

}  // namespace sim
