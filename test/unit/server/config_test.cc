#include "server/config.h"

#include <doctest/doctest.h>

#include <functional>

#include "base/log.h"
#include "server/default_host.h"
#include "server/version.h"

using base::Result;
using base::Status;
using server::Config;
using server::Feature;
using server::FeatureGates;

namespace {

// What validate() says of the defaults with one change; logs go nowhere.
std::string verdict(const std::function<void(Config&)>& change) {
  Config config = Config::defaults();
  config.log.outputs = {"/dev/null"};
  change(config);
  return std::string(server::validate(config).text());
}

std::string start_verdict(const std::function<void(Config&)>& change) {
  Config config = Config::defaults();
  change(config);
  return std::string(server::check_start(config).text());
}

server::Urls urls(const char* list) { return server::parse_url_list(list).value(); }

}  // namespace

TEST_CASE("config: the defaults are fine") {
  CHECK(verdict([](Config&) {}).empty());
  CHECK(start_verdict([](Config&) {}).empty());
  CHECK(Config::defaults().initial_cluster == "default=http://localhost:2380");
  CHECK(Config::defaults().election_ticks() == 10);
}

TEST_CASE("config: what validate refuses") {
  struct Row {
    std::function<void(Config&)> change;
    const char* error;
  };
  const Row rows[] = {
      {[](Config& c) { c.heartbeat_ms = 0; }, "--heartbeat-interval must be >0 (set to 0ms)"},
      {[](Config& c) { c.election_ms = 0; }, "--election-timeout must be >0 (set to 0ms)"},
      {[](Config& c) { c.heartbeat_ms = 201; },
       "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[201ms]"},
      {[](Config& c) { c.heartbeat_ms = UINT64_MAX; },
       "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[18446744073709551615ms]"},
      {[](Config& c) { c.election_ms = 50001; },
       "--election-timeout[50001ms] is too long, and should be set less than 50000ms"},
      {[](Config& c) { c.advertise_client_urls.clear(); },
       "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
      {[](Config& c) { c.listen_peer_urls = urls("http://example.com:1"); },
       "expected IP in URL for binding (http://example.com:1)"},
      {[](Config& c) { c.listen_metrics_urls = urls("http://example.com:1"); },
       "expected IP in URL for binding (http://example.com:1)"},
      {[](Config& c) { c.advertise_peer_urls = urls("http://:1"); },
       "--initial-advertise-peer-urls \"http://:1\" must be \"host:port\" (unexpected empty host (http://:1))"},
      {[](Config& c) { c.advertise_client_urls = urls("http://:1"); },
       "--advertise-client-urls \"http://:1\" must be in the format \"host:port\", \"unix:/path/to/socket\" or "
       "\"unixs:/path/to/socket\" (unexpected empty host (http://:1))"},
      {[](Config& c) { c.initial_cluster_state = "x"; }, "unexpected clusterState \"x\""},
      {[](Config& c) { c.discovery_srv = "x"; },
       "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" or "
       "\"discovery-srv\""},
      {[](Config& c) { c.discovery.token = "x"; }, "both --discovery-token and --discovery-endpoints must be set"},
      {[](Config& c) {
         c.initial_cluster.clear();
         c.discovery.token = "x";
         c.discovery.endpoints = {"a", " "};
       },
       "--discovery-endpoints must not contain empty endpoints"},
      {[](Config& c) { c.auto_compaction_mode_text = "foo"; }, "unknown auto-compaction-mode \"foo\""},
      {[](Config& c) { c.auto_compaction_mode_text = ""; }, "undefined auto-compaction-mode"},
      {[](Config& c) { c.compact_hash_check_time = server::Duration(0); },
       "--compact-hash-check-time must be >0 (set to 0s)"},
      {[](Config& c) { CHECK(c.feature_gates.set("LeaseCheckpointPersist=true").ok()); },
       "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint"},
      {[](Config& c) {
         c.tracing.enabled = true;
         c.tracing.samples_per_million = -1;
       },
       "distributed tracing configurition is not valid: (tracing sampling rate must be positive)"},
      {[](Config& c) { c.tls_min_version = "TLS1.9"; }, "unexpected TLS version \"TLS1.9\" (must be one of: TLS1.2, TLS1.3)"},
      {[](Config& c) {
         c.tls_min_version = "TLS1.3";
         c.tls_max_version = "TLS1.2";
       },
       "min version (TLS1.3) is greater than max version (TLS1.2)"},
      {[](Config& c) {
         c.tls_min_version = "TLS1.3";
         c.cipher_suites = {"x"};
       },
       "cipher suites cannot be configured when only TLS1.3 is enabled"},
      {[](Config& c) { c.log.logger = "capnslog"; }, "--logger=capnslog is removed in v3.5"},
      {[](Config& c) { c.log.logger = "x"; }, "unknown logger option \"x\""},
      {[](Config& c) { c.log.level = "x"; }, "unrecognized level: \"x\""},
      {[](Config& c) { c.log.format = "x"; }, "unknown log format: x, supported values json, console"},
      {[](Config& c) { c.log.outputs = {"default", "stderr"}; }, "multi logoutput for \"default\" is not supported yet"},
      {[](Config& c) { c.log.outputs = {"stderr", "systemd/journal"}; },
       "running with systemd/journal but other '--log-outputs' values ([\"stderr\" \"systemd/journal\"]) are configured with "
       "'default'; override 'default' value with something else"},
      {[](Config& c) {
         c.log.outputs = {"stderr"};
         c.log.rotation = true;
       },
       "--log-outputs requires a single file path when --log-rotate-config-json is defined"},
      {[](Config& c) {
         c.log.rotation = true;
         c.log.rotation_json = "{";
       },
       "improperly formatted log rotation config: unexpected end of JSON input"},
  };
  for (const Row& row : rows) CHECK(verdict(row.change) == row.error);
}

TEST_CASE("config: what a start refuses") {
  struct Row {
    std::function<void(Config&)> change;
    const char* error;
  };
  base::log::Options quiet;
  quiet.outputs = {"/dev/null"};
  REQUIRE(base::log::configure(quiet).ok());
  const Row rows[] = {
      {[](Config& c) { c.cipher_suites = {"TLS_AES_128_GCM_SHA256", "foo"}; }, "unexpected TLS cipher suite \"foo\""},
      {[](Config& c) { c.listen_peer_urls = urls("https://127.0.0.1:1"); },
       "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented"},
      {[](Config& c) { c.listen_client_urls = urls("https://127.0.0.1:1"); },
       "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme"},
      {[](Config& c) { c.listen_metrics_urls = urls("https://127.0.0.1:1"); },
       "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"},
      {[](Config& c) { c.listen_client_http_urls = c.listen_client_urls; },
       "cannot bind both --listen-client-urls and --listen-client-http-urls on the same url http://localhost:2379"},
      {[](Config& c) { c.auth_token = "foo"; }, "auth: invalid auth options"},
      {[](Config& c) { c.auth_token = "simple,a"; }, "auth: invalid auth options"},
      {[](Config& c) { c.auth_token = "simple,a=1,a=2"; }, "auth: invalid auth options"},
      {[](Config& c) { c.auth_token = "jwt"; }, "auth: invalid auth options"},
      {[](Config& c) { c.auth_token = ""; }, ""},
      {[](Config& c) { c.auth_token = "jwt,sign-method=RS256"; }, ""},
      {[](Config& c) { c.auto_compaction_retention_text = "foo"; },
       "error parsing CompactionRetention: time: invalid duration \"foo\""},
      {[](Config& c) { c.auto_compaction_retention_text = "-5"; },
       "error parsing CompactionRetention: time: missing unit in duration \"-5\""},
      {[](Config& c) { c.net_threads = 65; }, "--net-threads must be at most 64"},
      // Nothing may start as a cluster of one where discovery was asked for.
      {[](Config& c) { c.discovery_srv = "example.com"; },
       "bootstrapping by discovery (--discovery-endpoints, --discovery-srv, --discovery) is not part of this version yet"},
  };
  for (const Row& row : rows) CHECK(start_verdict(row.change) == row.error);
}

TEST_CASE("config: compaction by time and by revision") {
  struct Row {
    const char* mode;
    const char* text;
    int64_t period_ns;
    int64_t revisions;
  };
  for (const Row& row : {Row{"periodic", "0", 0, 0}, Row{"periodic", "", 0, 0}, Row{"periodic", "2", 7200000000000, 0},
                         Row{"periodic", "010", 36000000000000, 0}, Row{"periodic", "+1", 3600000000000, 0},
                         Row{"periodic", "5m", 300000000000, 0}, Row{"revision", "1000", 0, 1000},
                         Row{"revision", "5m", 0, 300000000000}}) {
    Config config = Config::defaults();
    config.auto_compaction_mode_text = row.mode;
    config.auto_compaction_retention_text = row.text;
    CHECK(server::check_start(config).ok());
    CHECK(config.auto_compaction_period.count() == row.period_ns);
    CHECK(config.auto_compaction_revisions == row.revisions);
  }
}

TEST_CASE("config: names and defaults that follow from others") {
  Config config = Config::defaults();
  config.name = "m1";
  server::finish(config);
  CHECK(config.initial_cluster == "m1=http://localhost:2380");
  CHECK(config.data_dir == "m1.etcd");
  CHECK(config.effective_wal_dir() == "m1.etcd/member/wal");
  config = Config::defaults();
  config.name = "m1";
  config.initial_cluster = "m1=http://10.0.0.1:2380";
  config.data_dir = "x";
  config.wal_dir = "w";
  server::finish(config);
  CHECK(config.initial_cluster == "m1=http://10.0.0.1:2380");
  CHECK(config.data_dir == "x");
  CHECK(config.effective_wal_dir() == "w");
  // Listening everywhere announces the host's address, where it has one.
  config = Config::defaults();
  config.listen_client_urls = urls("http://0.0.0.0:4001");
  server::finish(config);
  const Result<std::string> host = server::default_host();
  CHECK(config.advertise_client_urls[0].text == (host.ok() ? "http://" + *host + ":4001" : "http://localhost:2379"));
  CHECK(server::default_host("/nonexistent").status().text() == "could not find default route");
}

TEST_CASE("config: who forms the first cluster") {
  struct Row {
    const char* rule;
    const char* name;
    const char* cluster;
    const char* advertised;
    const char* error;
  };
  const server::ResolveHost resolve = [](const std::string& host_port) -> Result<std::string> {
    if (host_port == "node1:2380") return std::string("10.0.0.1:2380");
    if (host_port == "gone:2380") return Status(base::Code::kInvalidArgument, "lookup gone: no such host");
    return host_port;
  };
  for (const Row& row :
       {Row{"alone", "a", "a=http://10.0.0.1:2380", "http://10.0.0.1:2380", ""},
        Row{"three", "a", "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://c:1", "http://10.0.0.1:2380", ""},
        Row{"order does not matter", "a", "a=http://10.0.0.1:1,a=http://10.0.0.1:2", "http://10.0.0.1:2,http://10.0.0.1:1", ""},
        Row{"names resolve", "a", "a=http://node1:2380", "http://10.0.0.1:2380", ""},
        Row{"unknown name", "b", "a=http://10.0.0.1:2380", "http://10.0.0.1:2380",
            "couldn't find local name \"b\" in the initial cluster configuration"},
        Row{"nothing", "a", "", "http://10.0.0.1:2380", "couldn't find local name \"a\" in the initial cluster configuration"},
        Row{"no URL", "a", "a", "http://10.0.0.1:2380",
            "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: "},
        Row{"other URL", "a", "a=http://10.0.0.2:2380", "http://10.0.0.1:2380",
            "--initial-cluster has a=http://10.0.0.2:2380 but missing from "
            "--initial-advertise-peer-urls=http://10.0.0.1:2380 (resolved urls: \"http://10.0.0.1:2380\" != "
            "\"http://10.0.0.2:2380\")"},
        Row{"cluster lists more", "a", "a=http://10.0.0.1:2380,a=http://10.0.0.2:2380", "http://10.0.0.1:2380",
            "--initial-cluster has a=http://10.0.0.2:2380 but missing from "
            "--initial-advertise-peer-urls=http://10.0.0.1:2380 (len([\"http://10.0.0.1:2380\"]) != "
            "len([\"http://10.0.0.1:2380\" \"http://10.0.0.2:2380\"]))"},
        Row{"we announce more", "a", "a=http://10.0.0.1:2380", "http://10.0.0.1:2380,http://10.0.0.2:2380",
            "--initial-advertise-peer-urls has http://10.0.0.2:2380 but missing from "
            "--initial-cluster=a=http://10.0.0.1:2380,a=http://10.0.0.2:2380"},
        Row{"name without address", "a", "a=http://gone:2380", "http://10.0.0.1:2380",
            "--initial-cluster has a=http://gone:2380 but missing from --initial-advertise-peer-urls=http://10.0.0.1:2380 "
            "(failed to resolve \"http://gone:2380\" (lookup gone: no such host))"},
        Row{"twice the same", "a", "a=http://10.0.0.1:2380,b=http://10.0.0.1:2380", "http://10.0.0.1:2380",
            "initial cluster a=http://10.0.0.1:2380,b=http://10.0.0.1:2380 has duplicate url"}}) {
    CAPTURE(row.rule);
    Config config = Config::defaults();
    config.name = row.name;
    config.initial_cluster = row.cluster;
    config.advertise_peer_urls = urls(row.advertised);
    const Result<server::UrlsMap> members = server::initial_members(config, resolve);
    CHECK(std::string(members.status().text()) == row.error);
  }
}

TEST_CASE("feature gates: set, all of a stage, text") {
  FeatureGates gates;
  CHECK(gates.text().empty());
  CHECK(!gates.enabled(Feature::kCompactHashCheck));
  CHECK(gates.enabled(Feature::kFastLeaseKeepAlive));
  CHECK(gates.set(" CompactHashCheck = true ,,FastLeaseKeepAlive=0").ok());
  CHECK(gates.enabled(Feature::kCompactHashCheck));
  CHECK(!gates.enabled(Feature::kFastLeaseKeepAlive));
  CHECK(gates.text() == "CompactHashCheck=true,FastLeaseKeepAlive=false");
  FeatureGates all;
  CHECK(all.set("LeaseCheckpoint=false,AllAlpha=true").ok());
  CHECK(all.all(false));
  CHECK(!all.enabled(Feature::kLeaseCheckpoint));
  CHECK(all.enabled(Feature::kInitialCorruptCheck));
  CHECK(all.enabled(Feature::kTxnModeWriteWithSharedBuffer));
  struct Row {
    const char* text;
    const char* error;
  };
  for (const Row& row : {Row{"Foo=true", "unrecognized feature gate: Foo"},
                         Row{"CompactHashCheck", "missing bool value for CompactHashCheck"},
                         Row{"Foo=x", "invalid value of Foo=x, err: strconv.ParseBool: parsing \"x\": invalid syntax"}}) {
    const std::string before = gates.text();
    CHECK(gates.set(row.text).text() == row.error);
    CHECK(gates.text() == before);
  }
  CHECK(FeatureGates::known().size() == static_cast<size_t>(Feature::kCount) + 2);
}

TEST_CASE("config: sizes for people") {
  struct Row {
    uint64_t bytes;
    const char* text;
  };
  for (const Row& row : {Row{0, "0 B"}, Row{9, "9 B"}, Row{10, "10 B"}, Row{1000, "1.0 kB"}, Row{20000000, "20 MB"},
                         Row{10485760, "10 MB"}, Row{2147483648, "2.1 GB"}, Row{9000000000, "9.0 GB"},
                         Row{9960000, "10 MB"}, Row{UINT64_MAX, "18 EB"}}) {
    CHECK(server::size_text(row.bytes) == row.text);
  }
}

TEST_CASE("version: four lines") {
  const std::string text = server::version_text();
  CHECK(text.starts_with("etcd Version: 3.7.1\nGit SHA: "));
  CHECK(text.find("\nGo OS/Arch: linux/") != std::string::npos);
  CHECK(std::count(text.begin(), text.end(), '\n') == 4);
}
