#include "server/metrics.h"

#include "server/config.h"
#include "server/version.h"

namespace server {
namespace {

struct Method {
  std::string_view service, name, type;
};

constexpr std::string_view kUnary = "unary", kServerStream = "server_stream", kBidiStream = "bidi_stream";
constexpr std::string_view kKv = "etcdserverpb.KV", kWatch = "etcdserverpb.Watch", kLease = "etcdserverpb.Lease",
                           kCluster = "etcdserverpb.Cluster", kMaintenance = "etcdserverpb.Maintenance",
                           kAuth = "etcdserverpb.Auth", kHealth = "grpc.health.v1.Health";

// Every RPC that etcd registers on its client port; Lock and Election are not among those it counts.
constexpr Method kMethods[] = {
    {kKv, "Range", kUnary},
    {kKv, "RangeStream", kServerStream},
    {kKv, "Put", kUnary},
    {kKv, "DeleteRange", kUnary},
    {kKv, "Txn", kUnary},
    {kKv, "Compact", kUnary},
    {kWatch, "Watch", kBidiStream},
    {kLease, "LeaseGrant", kUnary},
    {kLease, "LeaseRevoke", kUnary},
    {kLease, "LeaseKeepAlive", kBidiStream},
    {kLease, "LeaseTimeToLive", kUnary},
    {kLease, "LeaseLeases", kUnary},
    {kCluster, "MemberAdd", kUnary},
    {kCluster, "MemberRemove", kUnary},
    {kCluster, "MemberUpdate", kUnary},
    {kCluster, "MemberList", kUnary},
    {kCluster, "MemberPromote", kUnary},
    {kMaintenance, "Alarm", kUnary},
    {kMaintenance, "Status", kUnary},
    {kMaintenance, "Defragment", kUnary},
    {kMaintenance, "Hash", kUnary},
    {kMaintenance, "HashKV", kUnary},
    {kMaintenance, "Snapshot", kServerStream},
    {kMaintenance, "MoveLeader", kUnary},
    {kMaintenance, "Downgrade", kUnary},
    {kAuth, "AuthEnable", kUnary},
    {kAuth, "AuthDisable", kUnary},
    {kAuth, "AuthStatus", kUnary},
    {kAuth, "Authenticate", kUnary},
    {kAuth, "UserAdd", kUnary},
    {kAuth, "UserGet", kUnary},
    {kAuth, "UserList", kUnary},
    {kAuth, "UserDelete", kUnary},
    {kAuth, "UserChangePassword", kUnary},
    {kAuth, "UserGrantRole", kUnary},
    {kAuth, "UserRevokeRole", kUnary},
    {kAuth, "RoleAdd", kUnary},
    {kAuth, "RoleGet", kUnary},
    {kAuth, "RoleList", kUnary},
    {kAuth, "RoleDelete", kUnary},
    {kAuth, "RoleGrantPermission", kUnary},
    {kAuth, "RoleRevokePermission", kUnary},
    {kHealth, "Check", kUnary},
    {kHealth, "List", kUnary},
    {kHealth, "Watch", kServerStream},
};

}  // namespace

base::metrics::Buckets Metrics::default_buckets() {
  return std::make_shared<const std::vector<double>>(std::vector<double>{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10});
}

Metrics::Metrics(const Config& config) {
  for (const Method& method : kMethods) add_grpc_method(method.service, method.name, method.type, config.extensive_metrics());
  for (int i = 0; i < static_cast<int>(Feature::kCount); ++i) {
    const auto feature = static_cast<Feature>(i);
    const FeatureSpec& spec = FeatureGates::spec(feature);
    feature_enabled.with({std::string(spec.name), std::string(spec.stage)}).set(config.feature_gates.enabled(feature) ? 1 : 0);
  }
  for (const bool beta : {false, true}) {
    feature_enabled.with({beta ? "AllBeta" : "AllAlpha", beta ? "BETA" : "ALPHA"}).set(config.feature_gates.all(beta) ? 1 : 0);
  }
  server_version.with({std::string(kVersion)}).set(1);
  server_go_version.with({compiler_text()}).set(1);
  const int64_t quota = config.quota_backend_bytes == 0 ? kQuotaBytesDefault : config.quota_backend_bytes;
  quota_backend_bytes.set(static_cast<double>(quota));
  compact_revision.set(-1);
  for (const char* code : {"200", "500", "503"}) scrapes.with({code});
}

std::string Metrics::expose() {
  scrapes_in_flight.set(1);
  std::string page = registry.expose();
  scrapes_in_flight.set(0);
  scrapes.with({"200"}).add();
  return page;
}

void Metrics::add_grpc_method(std::string_view service, std::string_view method, std::string_view type, bool extensive) {
  const Counters::Labels labels{std::string(service), std::string(method), std::string(type)};
  GrpcMethodMetrics row;
  row.started = &grpc_started.with(labels);
  row.received = &grpc_received.with(labels);
  row.sent = &grpc_sent.with(labels);
  for (size_t code = 0; code < row.handled.size(); ++code) {
    Counters::Labels with_code = labels;
    with_code.emplace_back(base::code_name(static_cast<base::Code>(code)));
    row.handled[code] = &grpc_handled.with(with_code);
  }
  if (extensive) row.handling_seconds = &grpc_handling.with(labels);
  grpc_methods_.emplace("/" + labels[0] + "/" + labels[1], row);
}

const GrpcMethodMetrics* Metrics::grpc_method(std::string_view path) const {
  const auto found = grpc_methods_.find(std::string(path));
  return found == grpc_methods_.end() ? nullptr : &found->second;
}

void Metrics::record_health_check(const std::string& kind, const std::string& name, bool healthy) {
  healthcheck.with({kind, name}).set(healthy ? 1 : 0);
  healthchecks.with({kind, name, healthy ? "success" : "error"}).add();
}

void Metrics::record_range(bool good, base::Duration took) {
  if (range_[good] == nullptr) range_[good] = &range_duration.with({good ? "true" : "false"});
  range_[good]->observe_ns(took.count());
}

void Metrics::record_request(std::string_view type, bool good, base::Duration took) {
  // Nearly every request is of the kind of the one before.
  if (last_request_ == request_.end() || last_request_->first.first != type || last_request_->first.second != good) {
    last_request_ = request_.try_emplace({type, good}, nullptr).first;
    base::metrics::Histogram*& row = last_request_->second;
    if (row == nullptr) row = &request_duration.with({std::string(type), good ? "true" : "false"});
  }
  last_request_->second->observe_ns(took.count());
}

void Metrics::record_client_request(std::string_view kind, std::string_view client_api_version) {
  // Nearly every call comes from the same kind of client as the one before.
  if (last_client_ == nullptr || last_client_kind_ != kind || last_client_version_ != client_api_version) {
    const std::string version(client_api_version.empty() ? "unknown" : client_api_version);
    last_client_ = &client_requests.with({std::string(kind), version});
    last_client_kind_ = kind;
    last_client_version_ = client_api_version;
  }
  last_client_->add();
}

void Metrics::set_server_id(std::string_view hex) {
  server_id.clear();
  server_id.with({std::string(hex)}).set(1);
}

void Metrics::set_cluster_version(std::string_view minor) {
  cluster_version.clear();
  cluster_version.with({std::string(minor)}).set(1);
}

void Metrics::set_alarm(const std::string& member_hex, const std::string& kind, bool active) {
  alarms.with({member_hex, kind}).set(active ? 1 : 0);
}

}  // namespace server
