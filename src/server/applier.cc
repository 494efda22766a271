#include "server/applier.h"

#include "base/bytes.h"
#include "base/log.h"
#include "etcdserver.pb.h"
#include "membership.pb.h"
#include "mvcc/request.h"
#include "raft.pb.h"
#include "rpc.pb.h"
#include "server/bootstrap.h"
#include "server/conf_state_json.h"
#include "server/errors.h"
#include "server/leases.h"
#include "server/maintainer.h"
#include "server/metrics.h"
#include "server/node.h"
#include "server/reconfiguration.h"
#include "server/request_log.h"
#include "storage/keyspace.h"

namespace server {
namespace {

using base::Code;
using base::NodeId;
using base::Status;

template <class Message>
bool read(std::string_view bytes, Message* out) {
  return out->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

Status malformed() { return Status(Code::kInternal, "etcdserver: the log entry holds a malformed request"); }

constexpr std::string_view kV2MemberPrefix = "/0/members/";
constexpr std::string_view kV2AttributesSuffix = "/attributes";
constexpr std::string_view kV2VersionPath = "/0/version";

}  // namespace

std::string_view op_name(wire::Op op) {
  using wire::Op;
  switch (op) {
    case Op::kRange:
      return "Range";
    case Op::kPut:
      return "Put";
    case Op::kDeleteRange:
      return "DeleteRange";
    case Op::kTxn:
      return "Txn";
    case Op::kCompaction:
      return "Compaction";
    case Op::kAlarm:
      return "Alarm";
    case Op::kLeaseGrant:
      return "LeaseGrant";
    case Op::kLeaseRevoke:
      return "LeaseRevoke";
    case Op::kLeaseCheckpoint:
      return "LeaseCheckpoint";
    case Op::kClusterVersionSet:
      return "ClusterVersionSet";
    case Op::kClusterMemberAttrSet:
      return "ClusterMemberAttrSet";
    default:
      return "unknown";
  }
}

bool can_apply(const raft::Entry& entry) {
  using wire::Op;
  const std::string_view data = entry.payload();
  switch (entry.type) {
    case raft::EntryType::kConfChange: {
      raftpb::ConfChange change;
      return read(data, &change);
    }
    case raft::EntryType::kConfChangeV2:
      return false;  // nobody writes them (wire-and-disk 4.9)
    default:
      break;
  }
  if (data.empty()) return true;
  wire::InternalRequest request;
  if (!wire::parse(data, request)) {
    etcdserverpb::Request old;
    return read(data, &old);
  }
  switch (request.op) {
    case Op::kRange:
    case Op::kPut:
    case Op::kDeleteRange:
    case Op::kTxn:
    case Op::kCompaction:
    case Op::kLeaseGrant:
    case Op::kLeaseRevoke:
    case Op::kLeaseCheckpoint:
    case Op::kAlarm:
    case Op::kClusterMemberAttrSet:
    case Op::kDowngradeInfoSet:
    case Op::kDowngradeVersionTest:
      return true;
    case Op::kClusterVersionSet: {
      // A version above ours stops this member as it stops etcd's: who proposes it knows the versions of all.
      membershippb::ClusterVersionSetRequest version;
      return read(request.body, &version);
    }
    default:
      return false;
  }
}

mvcc::Rules rules_of(const Node& node) {
  const std::optional<MinorVersion> version = parse_minor_version(node.cluster_version());
  return version && *version < MinorVersion{3, 7} ? mvcc::Rules::kUpTo36 : mvcc::Rules::kSince37;
}

void Applier::apply(base::Index index, base::Term term, const std::shared_ptr<const std::string>& data) {
  node_.set_consistent_index(index, term);
  if (data == nullptr || data->empty()) return node_.on_empty_entry(term);
  wire::InternalRequest request;
  if (!wire::parse(*data, request)) return apply_v2(*data);
  base::Instant deadline;
  std::unique_ptr<Waiter> waiter = node_.take_waiter(request.id(), &deadline);
  const base::Clock& clock = node_.environment().loop.clock();
  const base::Instant before = clock.now();
  Outcome outcome = execute(request, waiter != nullptr ? mvcc::Answer::kWanted : mvcc::Answer::kUnread);
  const base::Instant after = clock.now();
  const bool good = outcome.status.ok();
  OpMetrics& metrics = metrics_[request.op];
  const bool applied = good || outcome.status == mvcc::errors::compacted();
  if (metrics[applied] == nullptr) {
    metrics[applied] =
        &node_.metrics().apply_duration.with({"v3", std::string(op_name(request.op)), applied ? "true" : "false"});
  }
  metrics[applied]->observe_ns((after - before).count());
  const AppliedEntry entry{*data, request, outcome, after - before, !applied};
  if (entry.took > node_.config().warning_apply_duration || entry.failed) log_applied(node_, entry);
  if (waiter == nullptr) return;
  const base::Duration took = after - (deadline - node_.request_timeout());
  node_.metrics().record_request(op_name(request.op), true, took);
  if (took > kTraceFrom) log_slow_write(node_, entry, took);
  waiter->done(std::move(outcome));
}

// The filters before the store (wire-and-disk 5.3): what an active alarm forbids.
Status Applier::refuse(const wire::InternalRequest& request) const {
  using wire::Op;
  if (node_.alarms().any(AlarmType::kCorrupt)) {
    switch (request.op) {
      case Op::kPut:
      case Op::kRange:
      case Op::kDeleteRange:
      case Op::kTxn:
      case Op::kCompaction:
      case Op::kLeaseGrant:
      case Op::kLeaseRevoke:
        return errors::corrupt();
      default:
        break;
    }
  }
  if (node_.alarms().any(AlarmType::kNoSpace)) {
    if (request.op == Op::kPut || request.op == Op::kLeaseGrant) return errors::no_space();
    if (request.op == Op::kTxn && mvcc::request_cost(request.op, request.body) > 0) return errors::no_space();
  }
  return {};
}

Outcome Applier::execute(const wire::InternalRequest& request, mvcc::Answer answer) {
  using wire::Op;
  Status refused = refuse(request);
  if (!refused.ok()) return {std::move(refused), 0, {}};
  switch (request.op) {
    case Op::kPut:
    case Op::kLeaseGrant:
    case Op::kTxn: {
      // The quota never rejects: it is looked at before, the request is applied in full, and its proposer hears of it.
      const bool over_quota = node_.over_quota(mvcc::request_cost(request.op, request.body));
      Outcome outcome = request.op == Op::kLeaseGrant ? node_.leases().grant(request.body) : execute_kv(request, answer);
      if (over_quota) {
        raise_no_space();
        if (outcome.status.ok()) outcome.status = errors::no_space();
      }
      return outcome;
    }
    case Op::kRange:
    case Op::kDeleteRange:
    case Op::kCompaction:
      return execute_kv(request, answer);
    case Op::kLeaseRevoke:
      return node_.leases().revoke(request.body);
    case Op::kLeaseCheckpoint:
      return node_.leases().checkpoint(request.body);
    case Op::kAlarm:
      return execute_alarm(request.body);
    case Op::kClusterMemberAttrSet:
      set_member_attributes(request.body);
      return {};
    case Op::kClusterVersionSet:
      set_cluster_version(request.body);
      return {};
    case Op::kDowngradeInfoSet:
      set_downgrade(request.body);
      return {};
    case Op::kDowngradeVersionTest:
      return {};
    default:
      // Written by a later version, or by a part this version does not have. Going on would make this member's data differ.
      base::fatal("the log holds a request of a kind this version cannot apply (field " +
                  std::to_string(static_cast<uint32_t>(request.op)) +
                  " of InternalRaftRequest); start the member with the version that wrote it");
  }
}

Outcome Applier::execute_kv(const wire::InternalRequest& request, mvcc::Answer answer) {
  const mvcc::Rules rules = request.op == wire::Op::kTxn ? rules_of(node_) : mvcc::Rules::kSince37;
  base::Result<mvcc::Reply> reply = mvcc::execute(node_.store(), request.op, request.body, answer, rules);
  if (!reply.ok()) return {reply.status(), 0, {}};
  if (request.op == wire::Op::kCompaction) node_.maintainer().on_compaction();
  return {Status(), reply->revision, std::move(reply->fields)};
}

Outcome Applier::execute_alarm(std::string_view body) {
  etcdserverpb::AlarmRequest request;
  if (!read(body, &request)) return {malformed(), 0, {}};
  etcdserverpb::AlarmResponse response;
  const auto type = static_cast<AlarmType>(request.alarm());
  const Alarm alarm{NodeId(request.memberid()), type};
  const auto add = [&response](const Alarm& a) {
    etcdserverpb::AlarmMember* out = response.add_alarms();
    out->set_memberid(a.member.value());
    out->set_alarm(static_cast<etcdserverpb::AlarmType>(a.type));
  };
  switch (request.action()) {
    case etcdserverpb::AlarmRequest::GET:
      for (const Alarm& a : node_.alarms().list(type)) add(a);
      break;
    case etcdserverpb::AlarmRequest::ACTIVATE:
      if (type == AlarmType::kNone) break;
      if (node_.mutable_alarms().activate(alarm))
        base::log::warn("alarm raised", {{"alarm", alarm_name(type)}, {"from", base::hex(alarm.member.value())}});
      node_.metrics().set_alarm(base::hex(alarm.member.value()), std::string(alarm_name(type)), true);
      add(alarm);
      break;
    case etcdserverpb::AlarmRequest::DEACTIVATE:
      if (!node_.mutable_alarms().deactivate(alarm)) break;
      base::log::warn("alarm disarmed", {{"alarm", alarm_name(type)}, {"from", base::hex(alarm.member.value())}});
      node_.metrics().set_alarm(base::hex(alarm.member.value()), std::string(alarm_name(type)), false);
      add(alarm);
      break;
    default:
      return {Status(Code::kInvalidArgument, "etcdserver: unknown alarm action " + std::to_string(request.action())), 0, {}};
  }
  return {Status(), node_.store().current_revision(), response.SerializeAsString()};
}

void Applier::raise_no_space() {
  if (node_.alarms().any(AlarmType::kNoSpace) || node_.no_space_proposed()) return;
  base::log::warn("message exceeded backend quota; raising alarm",
                  {{"quota-size-bytes", node_.quota_bytes()}, {"backend-size-bytes", node_.db_size_bytes()}});
  node_.propose_no_space_alarm();
}

void Applier::set_member_attributes(std::string_view body) {
  membershippb::ClusterMemberAttrSetRequest request;
  if (!read(body, &request)) return;
  node_.mutable_membership().set_attributes(
      NodeId(request.member_id()), request.member_attributes().name(),
      {request.member_attributes().client_urls().begin(), request.member_attributes().client_urls().end()});
}

void Applier::set_cluster_version(std::string_view body) {
  membershippb::ClusterVersionSetRequest request;
  if (read(body, &request)) node_.adopt_cluster_version(request.ver());
}

void Applier::set_downgrade(std::string_view body) {
  membershippb::DowngradeInfoSetRequest request;
  if (read(body, &request)) node_.mutable_membership().set_downgrade_target(request.enabled() ? request.ver() : "");
}

// What members up to 3.5 wrote into the log for publishing themselves and for the cluster version.
void Applier::apply_v2(std::string_view data) {
  etcdserverpb::Request request;
  if (!read(data, &request)) {
    base::fatal("a log entry is neither a request of version 3 nor one of version 2; the log was written by something else");
  }
  const std::string_view path = request.path();
  if (request.method() == "PUT" && path == kV2VersionPath) return node_.adopt_cluster_version(request.val());
  if (request.method() == "PUT" && path.starts_with(kV2MemberPrefix) && path.ends_with(kV2AttributesSuffix)) {
    const std::string_view id =
        path.substr(kV2MemberPrefix.size(), path.size() - kV2MemberPrefix.size() - kV2AttributesSuffix.size());
    const std::optional<uint64_t> member = base::parse_hex(id);
    base::Result<Member> attributes = parse_attributes(request.val());
    if (member && attributes.ok()) {
      node_.mutable_membership().set_attributes(NodeId(*member), attributes->name, attributes->client_urls);
    }
  }
}

raft::ConfChange Applier::apply_conf_change(base::Index index, base::Term term,
                                            const std::shared_ptr<const std::string>& data) {
  raftpb::ConfChange message;
  if (data == nullptr || !read(*data, &message)) base::fatal("a conf change entry of the log does not parse");
  raft::ConfChange change;
  change.id = message.id();
  change.type = static_cast<raft::ConfChangeType>(message.type());
  change.node_id = NodeId(message.node_id());
  change.context = message.context();
  node_.set_consistent_index(index, term);
  std::unique_ptr<Waiter> waiter = node_.take_conf_change_waiter(change.id);
  Status valid = node_.membership().validate(change);
  if (valid.ok()) {
    node_.mutable_membership().apply(change);
  } else {
    base::log::error("Validation on configuration change failed", {{"shouldApplyV3", true}, {"error", valid}});
    change.node_id = base::kNoNode;
  }
  if (waiter != nullptr) waiter->done({valid, 0, {}});
  const bool is_out = valid.ok() && change.type == raft::ConfChangeType::kRemoveNode && change.node_id == node_.id();
  if (is_out) node_.on_removed(kRemovedStopDelay);
  return change;
}

void Applier::save_conf_state(const raft::ConfState& state) {
  storage::put_row(node_.backend(), storage::Bucket::kMeta, "confState", conf_state_json(state));
}

}  // namespace server
