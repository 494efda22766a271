// Alarms of the cluster: which member raised what. Set and cleared by log entries only, so every member switches at one log
// position. Rows: bucket `alarm`, key = marshalled AlarmMember, empty value. Owner: core loop. Source: etcd alarms package.
#pragma once

#include <set>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/status.h"
#include "storage/backend.h"

namespace server {

enum class AlarmType : int { kNone = 0, kNoSpace = 1, kCorrupt = 2 };  // etcdserverpb.AlarmType
std::string_view alarm_name(AlarmType type);                           // "NOSPACE", ...; "UNKNOWN" outside the enum

struct Alarm {
  base::NodeId member;
  AlarmType type;
  friend auto operator<=>(const Alarm&, const Alarm&) = default;
};

class Alarms {
 public:
  explicit Alarms(storage::Backend& backend) : backend_(backend) {}
  base::Status recover();

  // Raising what is raised, or kNone, changes nothing. True if it is new.
  bool activate(Alarm alarm);
  // True if it was raised.
  bool deactivate(Alarm alarm);
  // kNone: all.
  std::vector<Alarm> list(AlarmType type) const;
  bool any(AlarmType type) const;
  const std::set<Alarm>& all() const { return raised_; }

 private:
  storage::Backend& backend_;
  std::set<Alarm> raised_;
};

}  // namespace server
