#include "server/alarms.h"

#include <algorithm>

#include "rpc.pb.h"
#include "storage/keyspace.h"

namespace server {
namespace {

using storage::Bucket;

std::string row_of(Alarm alarm) {
  etcdserverpb::AlarmMember row;
  row.set_memberid(alarm.member.value());
  row.set_alarm(static_cast<etcdserverpb::AlarmType>(alarm.type));
  return row.SerializeAsString();
}

}  // namespace

std::string_view alarm_name(AlarmType type) {
  switch (type) {
    case AlarmType::kNone:
      return "NONE";
    case AlarmType::kNoSpace:
      return "NOSPACE";
    case AlarmType::kCorrupt:
      return "CORRUPT";
  }
  return "UNKNOWN";
}

base::Status Alarms::recover() {
  raised_.clear();
  bool damaged = false;
  base::Status read = storage::for_each_row(backend_, Bucket::kAlarm, [&](std::string_view key, std::string_view) {
    etcdserverpb::AlarmMember row;
    if (!row.ParseFromArray(key.data(), static_cast<int>(key.size()))) damaged = true;
    raised_.insert({base::NodeId(row.memberid()), static_cast<AlarmType>(row.alarm())});
  });
  if (!read.ok()) return read;
  if (damaged) return base::Status(base::Code::kDataLoss, "alarm: a backend row does not parse as AlarmMember");
  return {};
}

bool Alarms::activate(Alarm alarm) {
  if (alarm.type == AlarmType::kNone || !raised_.insert(alarm).second) return false;
  storage::put_row(backend_, Bucket::kAlarm, row_of(alarm), "");
  return true;
}

bool Alarms::deactivate(Alarm alarm) {
  if (raised_.erase(alarm) == 0) return false;
  storage::erase_row(backend_, Bucket::kAlarm, row_of(alarm));
  return true;
}

std::vector<Alarm> Alarms::list(AlarmType type) const {
  std::vector<Alarm> found;
  std::copy_if(raised_.begin(), raised_.end(), std::back_inserter(found),
               [&](Alarm a) { return type == AlarmType::kNone || a.type == type; });
  return found;
}

bool Alarms::any(AlarmType type) const {
  return std::any_of(raised_.begin(), raised_.end(), [&](Alarm a) { return a.type == type; });
}

}  // namespace server
