// Switches for features that are not on for everybody (feature map 4.4). Pure; owner: whoever holds the Config.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace server {

enum class Feature : int {
  kCompactHashCheck,
  kFastLeaseKeepAlive,
  kInitialCorruptCheck,
  kLeaseCheckpoint,
  kLeaseCheckpointPersist,
  kPriorityRequest,
  kSetMemberLocalAddr,
  kStopGrpcServiceOnDefrag,
  kTxnModeWriteWithSharedBuffer,
  kCount,
};

struct FeatureSpec {
  std::string_view name;
  std::string_view stage;  // "ALPHA", "BETA"
  bool by_default;
};

class FeatureGates {
 public:
  // Each feature's name, stage and default, in the order of the enum.
  static const FeatureSpec& spec(Feature feature);

  // "A=true,B=false"; AllAlpha and AllBeta set what nobody named. Adds to what earlier calls said. On an error nothing changes.
  // Errors: `unrecognized feature gate: X`, `missing bool value for X`, `invalid value of X=y, err: ...`.
  base::Status set(std::string_view text);
  bool enabled(Feature feature) const;
  // AllAlpha or AllBeta itself.
  bool all(bool beta) const { return said_[static_cast<size_t>(Feature::kCount) + (beta ? 1 : 0)].value_or(false); }
  // What was said, as "A=true,B=false" sorted; empty if nothing.
  std::string text() const;
  // "Name=true|false (ALPHA - default=false)" sorted, with AllAlpha and AllBeta, for the help text.
  static std::vector<std::string> known();

 private:
  static constexpr size_t kAll = static_cast<size_t>(Feature::kCount) + 2;  // + AllAlpha, AllBeta
  std::array<std::optional<bool>, kAll> said_{};
};

}  // namespace server
