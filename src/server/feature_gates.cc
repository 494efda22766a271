#include "server/feature_gates.h"

#include <algorithm>
#include <map>

#include "base/flags.h"

namespace server {
namespace {

using base::Code;
using base::Result;
using base::Status;

constexpr size_t kFeatures = static_cast<size_t>(Feature::kCount);
constexpr std::string_view kAlpha = "ALPHA", kBeta = "BETA";

// In the order of the enum; the last two stand for all of a stage.
constexpr std::array<FeatureSpec, kFeatures + 2> kSpecs{{{"CompactHashCheck", kAlpha, false},
                                                         {"FastLeaseKeepAlive", kBeta, true},
                                                         {"InitialCorruptCheck", kAlpha, false},
                                                         {"LeaseCheckpoint", kAlpha, false},
                                                         {"LeaseCheckpointPersist", kAlpha, false},
                                                         {"PriorityRequest", kAlpha, false},
                                                         {"SetMemberLocalAddr", kAlpha, false},
                                                         {"StopGRPCServiceOnDefrag", kAlpha, false},
                                                         {"TxnModeWriteWithSharedBuffer", kBeta, true},
                                                         {"AllAlpha", kAlpha, false},
                                                         {"AllBeta", kBeta, false}}};

std::string trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kSpace) + 1 - first));
}

Status invalid(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

}  // namespace

const FeatureSpec& FeatureGates::spec(Feature feature) { return kSpecs.at(static_cast<size_t>(feature)); }

Status FeatureGates::set(std::string_view text) {
  std::map<std::string, bool> pairs;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view pair = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const std::string name = trimmed(pair.substr(0, equals));
    if (equals == std::string_view::npos) return invalid("missing bool value for " + name);
    const std::string value = trimmed(pair.substr(equals + 1));
    const Result<bool> on = base::flags::parse_bool(value);
    if (!on.ok()) {
      return invalid("invalid value of " + name + "=" + value + ", err: strconv.ParseBool: parsing " +
                     base::flags::quote(value) + ": invalid syntax");
    }
    pairs[name] = *on;
  }
  std::map<size_t, bool> wanted;
  for (const auto& [name, on] : pairs) {
    const auto row = std::find_if(kSpecs.begin(), kSpecs.end(), [&](const FeatureSpec& s) { return s.name == name; });
    if (row == kSpecs.end()) return invalid("unrecognized feature gate: " + name);
    wanted[static_cast<size_t>(row - kSpecs.begin())] = on;
  }
  for (const auto& [index, on] : wanted) said_[index] = on;
  // All of a stage: those that nobody named, now or before.
  for (size_t stage = kFeatures; stage < kAll; ++stage) {
    if (!wanted.contains(stage)) continue;
    for (size_t i = 0; i < kAll; ++i) {
      if (kSpecs[i].stage == kSpecs[stage].stage && !said_[i].has_value()) said_[i] = wanted[stage];
    }
  }
  return {};
}

bool FeatureGates::enabled(Feature feature) const {
  const auto index = static_cast<size_t>(feature);
  return said_.at(index).value_or(kSpecs.at(index).by_default);
}

std::string FeatureGates::text() const {
  std::vector<std::string> pairs;
  for (size_t i = 0; i < kAll; ++i) {
    if (said_[i].has_value()) pairs.push_back(std::string(kSpecs[i].name) + (*said_[i] ? "=true" : "=false"));
  }
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (const std::string& pair : pairs) out += (out.empty() ? "" : ",") + pair;
  return out;
}

std::vector<std::string> FeatureGates::known() {
  std::vector<std::string> lines;
  for (const FeatureSpec& s : kSpecs) {
    lines.push_back(std::string(s.name) + "=true|false (" + std::string(s.stage) +
                    " - default=" + (s.by_default ? "true" : "false") + ")");
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace server
