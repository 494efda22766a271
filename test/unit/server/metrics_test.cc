#include "server/metrics.h"

#include <doctest/doctest.h>

#include <memory>

#include "server/config.h"

using server::Config;
using server::Metrics;

namespace {

bool has_line(const std::string& page, const std::string& line) { return page.find("\n" + line + "\n") != std::string::npos; }

}  // namespace

TEST_CASE("metrics: what a fresh member shows") {
  const auto metrics = std::make_unique<Metrics>(Config::defaults());
  metrics->set_server_id("8e9e05c52164694d");
  metrics->set_cluster_version("3.6");
  metrics->set_cluster_version("3.7");
  const std::string page = metrics->expose();
  for (const char* line :
       {"etcd_server_version{server_version=\"3.7.1\"} 1", "etcd_cluster_version{cluster_version=\"3.7\"} 1",
        "etcd_server_id{server_id=\"8e9e05c52164694d\"} 1", "etcd_server_quota_backend_bytes 2.147483648e+09",
        "etcd_debugging_mvcc_compact_revision -1", "etcd_server_feature_enabled{name=\"AllBeta\",stage=\"BETA\"} 0",
        "etcd_server_feature_enabled{name=\"FastLeaseKeepAlive\",stage=\"BETA\"} 1",
        "promhttp_metric_handler_requests_in_flight 1",
        "promhttp_metric_handler_requests_total{code=\"200\"} 0",
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 0",
        "grpc_server_started_total{grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 0",
        "grpc_server_handled_total{grpc_code=\"Unavailable\",grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\","
        "grpc_type=\"bidi_stream\"} 0"}) {
    CAPTURE(line);
    CHECK(has_line(page, line));
  }
  CHECK(page.find("cluster_version=\"3.6\"") == std::string::npos);
  CHECK(page.find("grpc_server_handling_seconds") == std::string::npos);
  CHECK(has_line(metrics->expose(), "promhttp_metric_handler_requests_total{code=\"200\"} 1"));
}

TEST_CASE("metrics: calls, health checks and alarms are counted under their labels") {
  Config config = Config::defaults();
  config.metrics = "extensive";
  const auto metrics = std::make_unique<Metrics>(config);
  const server::GrpcMethodMetrics* put = metrics->grpc_method("/etcdserverpb.KV/Put");
  REQUIRE(put != nullptr);
  CHECK(metrics->grpc_method("/etcdserverpb.KV/Nope") == nullptr);
  put->begin(false);
  put->end(base::Code::kResourceExhausted, 20000000, false);
  metrics->record_health_check("readyz", "serializable_read", false);
  metrics->record_client_request("unary", "");
  metrics->record_client_request("unary", "3.7.1");
  metrics->set_alarm("1", "NOSPACE", true);
  metrics->set_alarm("1", "NOSPACE", false);
  const std::string page = metrics->expose();
  for (const char* line :
       {"grpc_server_started_total{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1",
        "grpc_server_handled_total{grpc_code=\"ResourceExhausted\",grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\","
        "grpc_type=\"unary\"} 1",
        "grpc_server_handling_seconds_bucket{grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\","
        "le=\"0.025\"} 1",
        "etcd_server_healthcheck{name=\"serializable_read\",type=\"readyz\"} 0",
        "etcd_server_healthchecks_total{name=\"serializable_read\",status=\"error\",type=\"readyz\"} 1",
        "etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"unary\"} 1",
        "etcd_server_client_requests_total{client_api_version=\"3.7.1\",type=\"unary\"} 1",
        "etcd_debugging_server_alarms{alarm_type=\"NOSPACE\",server_id=\"1\"} 0"}) {
    CAPTURE(line);
    CHECK(has_line(page, line));
  }
}
