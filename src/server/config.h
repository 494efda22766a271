// Everything a member is told at start, from flags, environment or file (cli/server/flags.h fills it). Plain data: parsed,
// durations in nanoseconds, sizes in bytes. Defaults are etcd's 3.7.1. Source of behaviour: etcd server/embed/config.go.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "server/feature_gates.h"
#include "server/url.h"

namespace server {

using base::Duration;

inline constexpr std::string_view kVersion = "3.7.1";      // --version, /version, Status
inline constexpr std::string_view kMinorVersion = "3.7";   // cluster version of a new cluster
inline constexpr int64_t kQuotaBytesDefault = int64_t{2} << 30;
inline constexpr int64_t kQuotaBytesMax = int64_t{8} << 30;  // more is warned about
inline constexpr uint32_t kElectionTimeoutMsMax = 50000;
inline constexpr uint32_t kNetThreadsMax = 64;
inline constexpr uint32_t kRequestBytesRecommendedMax = 10 << 20;
inline constexpr uint32_t kRequestOverheadBytes = 512 << 10;  // a gRPC message may exceed max_request_bytes by this much

// One side's TLS material; empty paths: none.
struct TlsConfig {
  std::string cert_file, key_file;
  std::string client_cert_file, client_key_file;  // what we present when we dial
  std::string trusted_ca_file;
  std::string crl_file;
  bool client_cert_auth = false;
  bool auto_tls = false;
  bool skip_client_san_verification = false;
  std::vector<std::string> allowed_cns, allowed_hostnames;

  bool has_key_pair() const { return !cert_file.empty() && !key_file.empty(); }
};

struct DiscoveryConfig {
  std::string token;
  std::vector<std::string> endpoints;
  Duration dial_timeout = std::chrono::seconds(2);
  Duration request_timeout = std::chrono::seconds(5);
  Duration keepalive_time = std::chrono::seconds(2);
  Duration keepalive_timeout = std::chrono::seconds(6);
  bool insecure_transport = true;
  bool insecure_skip_tls_verify = false;
  std::string cert, key, cacert, server_name;
  std::string user, password;
  std::string fallback = "exit";  // "proxy" is refused
  std::string v2_url, v2_proxy;  // --discovery, --discovery-proxy of 3.2
};

struct TracingConfig {
  bool enabled = false;
  std::string address = "localhost:4317";
  std::string service_name = "etcd";
  std::string instance_id;
  int64_t samples_per_million = 0;
};

struct LogConfig {
  std::string logger = "zap";
  std::string level = "info";
  std::string format = "json";
  std::vector<std::string> outputs{"default"};
  bool rotation = false;
  std::string rotation_json = R"({"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false})";
};

enum class CompactionMode { kPeriodic, kRevision };

struct Config {
  // --- this member ---
  std::string name = "default";
  std::string data_dir;                             // "" until finish(): "<name>.etcd"
  std::string wal_dir;                              // "": data_dir/member/wal
  std::string member_dir() const { return data_dir + "/member"; }
  std::string snap_dir() const { return data_dir + "/member/snap"; }
  std::string effective_wal_dir() const { return wal_dir.empty() ? data_dir + "/member/wal" : wal_dir; }
  bool force_new_cluster = false;
  bool unsafe_no_fsync = false;
  bool memory_mlock = false;
  uint32_t net_threads = 0;                         // ours: network loops; 0: the core loop does the network too

  // --- listeners and what is announced ---
  Urls listen_peer_urls;
  Urls listen_client_urls;
  Urls listen_client_http_urls;                     // not empty: HTTP moves here, off listen_client_urls
  Urls listen_metrics_urls;
  Urls advertise_peer_urls;
  Urls advertise_client_urls;
  bool socket_reuse_port = false;
  bool socket_reuse_address = false;

  // --- raft ---
  uint64_t heartbeat_ms = 100;                      // one tick
  uint64_t election_ms = 1000;
  uint32_t election_ticks() const { return static_cast<uint32_t>(election_ms / heartbeat_ms); }
  bool initial_election_tick_advance = true;
  bool pre_vote = true;
  bool strict_reconfig_check = true;
  uint64_t snapshot_count = 10000;                  // applied entries between snapshots
  uint64_t snapshot_catchup_entries = 5000;         // entries kept in the log behind a snapshot
  uint64_t max_snapshots = 5;                       // files kept; 0: all
  uint64_t max_wals = 5;                            // 0: all
  int64_t max_learners = 1;
  Duration raft_read_timeout = std::chrono::seconds(5);
  Duration raft_write_timeout = std::chrono::seconds(5);

  // --- bootstrap ---
  std::string initial_cluster;                      // "name=url,...", as given
  std::string initial_cluster_token = "etcd-cluster";
  std::string initial_cluster_state = "new";        // or "existing"
  bool existing_cluster = false;                    // the same, set by validate()
  std::string discovery_srv, discovery_srv_name;
  DiscoveryConfig discovery;

  // --- store ---
  int64_t quota_backend_bytes = 0;                  // 0: kQuotaBytesDefault; negative: none
  Duration backend_batch_interval{0};               // 0: 100 ms
  int64_t backend_batch_limit = 0;                  // 0: 10000
  std::string backend_freelist_type = "map";        // accepted for compatibility; LevelDB has no free list
  int64_t compaction_batch_limit = 0;               // 0: 1000
  Duration compaction_sleep_interval{0};            // 0: 10 ms
  std::string auto_compaction_retention_text = "0";
  std::string auto_compaction_mode_text = "periodic";
  CompactionMode auto_compaction_mode = CompactionMode::kPeriodic;
  Duration auto_compaction_period{0};               // kPeriodic; 0: off
  int64_t auto_compaction_revisions = 0;            // kRevision; 0: off
  uint64_t bootstrap_defrag_threshold_megabytes = 0;

  // --- requests ---
  uint64_t max_txn_ops = 128;
  uint64_t max_request_bytes = 1572864;
  uint32_t max_concurrent_streams = UINT32_MAX;     // per client connection
  Duration grpc_keepalive_min_time = std::chrono::seconds(5);
  Duration grpc_keepalive_interval = std::chrono::hours(2);     // 0: off
  Duration grpc_keepalive_timeout = std::chrono::seconds(20);
  Duration watch_progress_notify_interval{0};       // 0: 10 min
  Duration warning_apply_duration = std::chrono::milliseconds(100);
  Duration warning_unary_request_duration = std::chrono::milliseconds(300);
  bool enable_grpc_gateway = true;
  std::set<std::string> cors{"*"};                  // "*": every origin
  std::set<std::string> host_whitelist{"*"};

  // --- checks ---
  Duration corrupt_check_time{0};                   // 0: off
  Duration compact_hash_check_time = std::chrono::minutes(1);
  Duration downgrade_check_time = std::chrono::seconds(5);
  FeatureGates feature_gates;

  // --- identity ---
  TlsConfig client_tls, peer_tls;
  uint64_t self_signed_cert_validity_years = 1;
  std::vector<std::string> cipher_suites;           // Go's names
  std::string tls_min_version = "TLS1.2";
  std::string tls_max_version;
  std::string auth_token = "simple";
  uint64_t bcrypt_cost = 10;
  uint64_t auth_token_ttl_s = 300;

  // --- looking in ---
  bool enable_pprof = false;
  std::string metrics = "basic";                    // "extensive": gRPC latency histograms too
  bool extensive_metrics() const { return metrics == "extensive"; }
  LogConfig log;
  TracingConfig tracing;

  // --- how it came about ---
  std::set<std::string> set_explicitly;             // flag names given by flag, environment or file

  // etcd's defaults, URLs included.
  static Config defaults();
};

// validate() says it when listen_client_urls was given and advertise_client_urls was not.
inline constexpr std::string_view kAdvertiseUnset =
    "--advertise-client-urls is required when --listen-client-urls is set explicitly";
inline constexpr std::string_view kDefaultName = "default";
inline constexpr std::string_view kDefaultPeerUrl = "http://localhost:2380";
inline constexpr std::string_view kDefaultClientUrl = "http://localhost:2379";

// "name=url,name=url2" of the advertised peer URLs; "" name counts as "default".
std::string initial_cluster_from_name(const Config& config, std::string_view name);

// Opens what config.log says. kInvalidArgument with etcd's text (R4.225); the log is then as before.
base::Status set_up_log(const LogConfig& log);

// Everything that can be judged from the configuration alone, in etcd's order and words (R4.196-R4.202, R4.211, R4.214,
// R4.224, R4.226), after the log is set up (its settings are judged first); warns as etcd does. kInvalidArgument: the text
// for `failed to verify flags`.
base::Status validate(Config& config);

// After validate: data_dir default, initial cluster of a renamed member, the host's address where 0.0.0.0 is listened on.
void finish(Config& config);

// What etcd finds out while it opens its listeners and before it reads its disk (R4.207, R4.212, R4.223, R4.226, R4.227), and
// what this version cannot do yet although it was asked to. Parses the compaction mode and retention into their fields.
// kInvalidArgument: the text for `discovery failed`.
base::Status check_start(Config& config);

// "10.0.0.1:2380" for "name:2380"; blocking.
using ResolveHost = std::function<base::Result<std::string>(const std::string& host_port)>;
// Who forms the first cluster, for a member without a log: the parsed --initial-cluster, which must name us, with the URLs we
// announce, as text or after asking DNS (waits up to 30 s for names), none twice (R4.190, R4.191, R4.211, R4.212).
// kInvalidArgument: the text for `discovery failed`. `resolve` null: the system's resolver.
base::Result<UrlsMap> initial_members(const Config& config, const ResolveHost& resolve = nullptr);

// Why two lists of URLs do not mean the same, as text or after asking DNS; empty when they do. Error: a name did not resolve.
base::Result<std::string> urls_difference(const Urls& a, const Urls& b, const ResolveHost& resolve = nullptr);

// The line and the exit code of a start that failed: hints or `discovery failed` (R4.191, R4.233). Flushes the log.
[[noreturn]] void exit_after_failed_start(const Config& config, const base::Status& why);

// The long `starting an etcd server` line (R11.13), and those about the limits on requests and store (R4.34, R4.232).
// `members` empty for a member that has a log.
void log_start(const Config& config, bool member_initialized, const UrlsMap& members = {});

// Go's humanize: 9000000000 -> "9.0 GB".
std::string size_text(uint64_t bytes);

}  // namespace server
