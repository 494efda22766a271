// The metrics of a member under etcd's names, one table (feature map 10). The parts get a reference and write; only the thread
// named in a group writes it. Parts that come later add their rows here. Owner of families and expose(): core loop.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/process_metrics.h"
#include "base/status.h"

namespace server {

struct Config;

// One RPC's counters, found once and kept.
struct GrpcMethodMetrics {
  base::metrics::Counter* started = nullptr;
  base::metrics::Counter* received = nullptr;
  base::metrics::Counter* sent = nullptr;
  std::array<base::metrics::Counter*, 17> handled{};      // by status code
  base::metrics::Histogram* handling_seconds = nullptr;  // only with --metrics extensive

  // REQUIRES: from Metrics::grpc_method.
  // A unary call has one message each way, an error counts as one.
  void begin(bool streaming) const {
    started->add();
    if (!streaming) received->add();
  }
  void end(base::Code code, int64_t took_ns, bool streaming) const {
    handled[static_cast<size_t>(code)]->add();
    if (!streaming) sent->add();
    if (handling_seconds != nullptr) handling_seconds->observe_ns(took_ns);
  }
};

struct Metrics {
  using Counter = base::metrics::Single<base::metrics::Counter>;
  using Gauge = base::metrics::Single<base::metrics::Gauge>;
  using Histogram = base::metrics::Single<base::metrics::Histogram>;
  using Counters = base::metrics::Family<base::metrics::Counter>;
  using Gauges = base::metrics::Family<base::metrics::Gauge>;
  using Histograms = base::metrics::Family<base::metrics::Histogram>;

  explicit Metrics(const Config& config);
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // --- what is asked for once a scrape or a call (core loop) ---
  std::string expose();
  // Counters of one RPC, "/etcdserverpb.KV/Range"; null for a method etcd does not have (Go counts none either).
  const GrpcMethodMetrics* grpc_method(std::string_view path) const;
  // kind "livez" or "readyz".
  void record_health_check(const std::string& kind, const std::string& name, bool healthy);
  // One Range executed, by itself and not in a transaction.
  void record_range(bool good, base::Duration took);
  // A request from its arrival to its answer. `type` is a literal. Of what is proposed only a refused proposal is not good.
  void record_request(std::string_view type, bool good, base::Duration took);
  void record_client_request(std::string_view kind, std::string_view client_api_version);  // "unary", "stream"
  void set_server_id(std::string_view hex);
  void set_cluster_version(std::string_view minor);  // "3.7"
  void set_alarm(const std::string& member_hex, const std::string& kind, bool active);

  base::metrics::Registry registry;
  base::metrics::ProcessMetrics process{registry};

  // --- server (core loop) ---
  Gauge has_leader{registry, "etcd_server_has_leader", "1 if a leader is known."};
  Gauge is_leader{registry, "etcd_server_is_leader", "1 if this member leads."};
  Gauge is_learner{registry, "etcd_server_is_learner", "1 if this member is a learner."};
  Counter leader_changes_seen{registry, "etcd_server_leader_changes_seen_total", "How often the leader changed."};
  Gauge proposals_committed{registry, "etcd_server_proposals_committed_total", "Index up to which proposals are committed."};
  Gauge proposals_applied{registry, "etcd_server_proposals_applied_total", "Index up to which proposals are applied."};
  Gauge proposals_pending{registry, "etcd_server_proposals_pending", "Proposals waiting for their commit."};
  Counter proposals_failed{registry, "etcd_server_proposals_failed_total", "Proposals that failed."};
  Counter slow_apply{registry, "etcd_server_slow_apply_total", "Applies that took longer than the warning threshold."};
  Counter slow_read_indexes{registry, "etcd_server_slow_read_indexes_total", "Read index requests that had to wait long."};
  Counter read_indexes_failed{registry, "etcd_server_read_indexes_failed_total", "Read index requests that failed."};
  Counter heartbeat_send_failures{registry, "etcd_server_heartbeat_send_failures_total",
                                  "Heartbeats the leader sent late, as when its disk is slow."};
  Counter learner_promote_successes{registry, "etcd_server_learner_promote_successes", "Learners promoted here."};
  Counters learner_promote_failures{registry, "etcd_server_learner_promote_failures", "Refused promotions by reason.",
                                    {"Reason"}};
  Gauge quota_backend_bytes{registry, "etcd_server_quota_backend_bytes", "Bytes the store may hold."};
  Gauge snapshot_apply_in_progress{registry, "etcd_server_snapshot_apply_in_progress_total",
                                   "1 while a received snapshot is applied."};
  Gauges server_id{registry, "etcd_server_id", "1 under the id of this member.", {"server_id"}};
  Gauges server_version{registry, "etcd_server_version", "1 under the version that runs.", {"server_version"}};
  Gauges server_go_version{registry, "etcd_server_go_version", "1 under the compiler's name (there is no Go).",
                           {"server_go_version"}};
  Gauges cluster_version{registry, "etcd_cluster_version", "1 under the version the cluster agreed on.", {"cluster_version"}};
  Gauges feature_enabled{registry, "etcd_server_feature_enabled", "1 if the feature gate is on.", {"name", "stage"}};
  Gauges alarms{registry, "etcd_debugging_server_alarms", "1 while the alarm is on.", {"server_id", "alarm_type"}};
  Counters client_requests{registry, "etcd_server_client_requests_total", "Requests by kind and the client's API version.",
                           {"type", "client_api_version"}};
  // op: the request's name ("Put", "Txn", "ClusterVersionSet", ...); version "v3"; success "true" or "false".
  Histograms apply_duration{registry, "etcd_server_apply_duration_seconds", "Time to apply a request.",
                            {"version", "op", "success"}, base::metrics::exponential(0.0001, 2, 20)};
  Histograms range_duration{registry, "etcd_server_range_duration_seconds", "Time to answer a range.",
                            {"success"}, base::metrics::exponential(0.0001, 2, 20)};
  Histograms request_duration{registry, "etcd_server_request_duration_seconds", "Time from proposal to answer.",
                              {"type", "success"}, base::metrics::exponential(0.001, 2, 14)};

  // --- health pages (core loop) ---
  Counter health_success{registry, "etcd_server_health_success", "Health checks that passed."};
  Counter health_failures{registry, "etcd_server_health_failures", "Health checks that failed."};
  Gauges healthcheck{registry, "etcd_server_healthcheck", "Last result of each health check.", {"type", "name"}};
  Counters healthchecks{registry, "etcd_server_healthchecks_total", "Results of each health check.",
                        {"type", "name", "status"}};

  // --- store (core loop) ---
  Counter range_total{registry, "etcd_mvcc_range_total", "Ranges seen."};
  Counter put_total{registry, "etcd_mvcc_put_total", "Puts seen."};
  Counter delete_total{registry, "etcd_mvcc_delete_total", "Deletes seen."};
  Counter txn_total{registry, "etcd_mvcc_txn_total", "Transactions seen."};
  Gauge keys_total{registry, "etcd_debugging_mvcc_keys_total", "Keys that exist."};
  Gauge db_total_size{registry, "etcd_mvcc_db_total_size_in_bytes", "Bytes of the store on disk."};
  Gauge db_total_size_in_use{registry, "etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of the store that hold data."};
  Gauge db_open_read_transactions{registry, "etcd_mvcc_db_open_read_transactions", "Read snapshots open."};
  Gauge total_put_size{registry, "etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes put so far, keys and values."};
  // Parts of etcd that are linked into its server and idle in it: always 0 there and here.
  Counter v2_expires{registry, "etcd_debugging_store_expires_total", "Keys of the v2 store that expired."};
  Counter v2_watch_requests{registry, "etcd_debugging_store_watch_requests_total", "Watches of the v2 store."};
  Gauge v2_watchers{registry, "etcd_debugging_store_watchers", "Watchers of the v2 store."};
  Gauge proxy_cache_hits{registry, "etcd_grpc_proxy_cache_hits_total", "Answers a gRPC proxy had in its cache."};
  Gauge proxy_cache_keys{registry, "etcd_grpc_proxy_cache_keys_total", "Keys in the cache of a gRPC proxy."};
  Gauge proxy_cache_misses{registry, "etcd_grpc_proxy_cache_misses_total", "Answers not in the cache of a gRPC proxy."};
  Counter proxy_events_coalescing{registry, "etcd_grpc_proxy_events_coalescing_total", "Events a proxy sent once for many."};
  Gauge proxy_watchers_coalescing{registry, "etcd_grpc_proxy_watchers_coalescing_total", "Watchers a gRPC proxy joined."};
  Gauge current_revision{registry, "etcd_debugging_mvcc_current_revision", "Revision of the store."};
  Gauge compact_revision{registry, "etcd_debugging_mvcc_compact_revision", "Revision of the last compaction."};
  Gauge watch_streams{registry, "etcd_debugging_mvcc_watch_stream_total", "Watch streams open."};
  Gauge watchers{registry, "etcd_debugging_mvcc_watcher_total", "Watchers."};
  Gauge slow_watchers{registry, "etcd_debugging_mvcc_slow_watcher_total", "Watchers behind the present."};
  Counter watch_events{registry, "etcd_debugging_mvcc_events_total", "Events sent to watchers."};
  Gauge pending_events{registry, "etcd_debugging_mvcc_pending_events_total", "Events queued for watchers, about."};
  Histogram watch_stream_duration{registry, "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds",
                                  "Time to hand a response with events to its stream.",
                                  base::metrics::exponential(0.001, 2, 14)};
  Histogram watch_event_duration{registry, "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds",
                                 "The same by event.", base::metrics::exponential(0.001, 2, 14)};
  Histogram watch_control_duration{registry, "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds",
                                   "Time to answer a request of a watch stream.", base::metrics::exponential(0.001, 2, 14)};
  Histogram watch_progress_duration{registry, "etcd_debugging_server_watch_send_loop_progress_duration_seconds",
                                    "Time to tell the watchers of a stream their progress.",
                                    base::metrics::exponential(0.001, 2, 14)};
  Counter compaction_keys{registry, "etcd_debugging_mvcc_db_compaction_keys_total", "Old revisions removed."};
  Gauge compaction_last{registry, "etcd_debugging_mvcc_db_compaction_last",
                        "When a compaction last ended, in seconds since 1970."};
  Histogram compaction_pause_ms{registry, "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                                "Pauses by one compaction step.", base::metrics::exponential(1, 2, 13)};
  Histogram compaction_total_ms{registry, "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                                "Time of a whole compaction.", base::metrics::exponential(100, 2, 14)};
  Histogram index_compaction_pause_ms{registry, "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
                                      "Pauses by compacting the key index.", base::metrics::exponential(0.5, 2, 14)};
  Histogram hash_duration{registry, "etcd_mvcc_hash_duration_seconds", "Time to hash the whole store.",
                          base::metrics::exponential(.01, 2, 15)};
  Histogram hash_rev_duration{registry, "etcd_mvcc_hash_rev_duration_seconds", "Time to hash the keys up to a revision.",
                              base::metrics::exponential(.01, 2, 15)};

  // --- leases (core loop) ---
  Counter lease_granted{registry, "etcd_debugging_lease_granted_total", "Leases granted."};
  Counter lease_revoked{registry, "etcd_debugging_lease_revoked_total", "Leases revoked, those that ended included."};
  Counter lease_renewed{registry, "etcd_debugging_lease_renewed_total", "Renewals this member gave as the leader."};
  Histogram lease_ttl{registry, "etcd_debugging_lease_ttl_total", "TTLs granted, in seconds.",
                      base::metrics::exponential(1, 2, 24)};
  Counter lease_expired{registry, "etcd_debugging_server_lease_expired_total", "Leases this member let end as the leader."};

  // --- disk (the thread that syncs: wal on the disk thread, backend and snapshots on the helper thread) ---
  Histogram wal_fsync_duration{registry, "etcd_disk_wal_fsync_duration_seconds", "Time of one sync of the log.",
                               base::metrics::exponential(0.001, 2, 14)};
  Histogram wal_write_duration{registry, "etcd_disk_wal_write_duration_seconds", "Time of one write to the log.",
                               base::metrics::exponential(0.001, 2, 14)};
  Gauge wal_write_bytes{registry, "etcd_disk_wal_write_bytes_total", "Bytes written to the log."};
  Histogram backend_commit_duration{registry, "etcd_disk_backend_commit_duration_seconds", "Time of one commit to the store.",
                                    base::metrics::exponential(0.001, 2, 14)};
  Histogram backend_commit_write_duration{registry, "etcd_debugging_disk_backend_commit_write_duration_seconds",
                                          "Time of a commit spent writing.", base::metrics::exponential(0.001, 2, 14)};
  // The storage engine has neither phase: each commit spends no time in them.
  Histogram backend_rebalance_duration{registry, "etcd_debugging_disk_backend_commit_rebalance_duration_seconds",
                                       "Time of a commit spent rebalancing.", base::metrics::exponential(0.001, 2, 14)};
  Histogram backend_spill_duration{registry, "etcd_debugging_disk_backend_commit_spill_duration_seconds",
                                   "Time of a commit spent spilling.", base::metrics::exponential(0.001, 2, 14)};
  Histogram backend_snapshot_duration{registry, "etcd_disk_backend_snapshot_duration_seconds", "Time to make a snapshot.",
                                      base::metrics::exponential(.01, 2, 17)};
  Histogram defrag_duration{registry, "etcd_disk_backend_defrag_duration_seconds", "Time of a defragmentation.",
                            base::metrics::exponential(.1, 2, 13)};
  Gauge defrag_inflight{registry, "etcd_disk_defrag_inflight", "1 while a defragmentation is under way."};
  Histogram snap_fsync_duration{registry, "etcd_snap_fsync_duration_seconds", "Time to sync a .snap file.",
                                base::metrics::exponential(0.001, 2, 14)};
  Histogram snap_db_fsync_duration{registry, "etcd_snap_db_fsync_duration_seconds", "Time to sync a .snap.db file.",
                                   base::metrics::exponential(0.001, 2, 14)};
  Histogram snap_db_save_duration{registry, "etcd_snap_db_save_total_duration_seconds", "Time to save a .snap.db file.",
                                  base::metrics::exponential(0.1, 2, 10)};
  Histogram snap_save_marshalling_duration{registry, "etcd_debugging_snap_save_marshalling_duration_seconds",
                                           "Time to encode a .snap file.", base::metrics::exponential(0.001, 2, 14)};
  Histogram snap_save_duration{registry, "etcd_debugging_snap_save_total_duration_seconds", "Time to save a .snap file.",
                               base::metrics::exponential(0.001, 2, 14)};

  // --- client network (core loop; totals are the rpc layer's) ---
  Counter client_received_bytes{registry, "etcd_network_client_grpc_received_bytes_total", "Bytes from gRPC clients."};
  Counter client_sent_bytes{registry, "etcd_network_client_grpc_sent_bytes_total", "Bytes to gRPC clients."};
  Counters stream_failures{registry, "etcd_network_server_stream_failures_total", "Streams that failed here.", {"Type", "API"}};
  Gauges known_peers{registry, "etcd_network_known_peers", "1 for each member known.", {"Local", "Remote"}};
  base::metrics::Computed tasks{registry, "go_goroutines", "Connections and calls under way (there is no Go).", "gauge"};

  // --- the scrape itself ---
  Gauge scrapes_in_flight{registry, "promhttp_metric_handler_requests_in_flight", "Scrapes under way."};
  Counters scrapes{registry, "promhttp_metric_handler_requests_total", "Scrapes by status code.", {"code"}};

  Counters grpc_started{registry, "grpc_server_started_total", "RPCs begun.", {"grpc_service", "grpc_method", "grpc_type"}};
  Counters grpc_handled{registry, "grpc_server_handled_total", "RPCs ended, by status code.",
                        {"grpc_service", "grpc_method", "grpc_type", "grpc_code"}};
  Counters grpc_received{registry, "grpc_server_msg_received_total", "Messages of streams and calls received.",
                         {"grpc_service", "grpc_method", "grpc_type"}};
  Counters grpc_sent{registry, "grpc_server_msg_sent_total", "Messages of streams and calls sent.",
                     {"grpc_service", "grpc_method", "grpc_type"}};
  // Filled only with --metrics extensive.
  Histograms grpc_handling{registry, "grpc_server_handling_seconds", "Time to answer an RPC.",
                           {"grpc_service", "grpc_method", "grpc_type"}, default_buckets()};

 private:
  static base::metrics::Buckets default_buckets();
  void add_grpc_method(std::string_view service, std::string_view method, std::string_view type, bool extensive);

  std::unordered_map<std::string, GrpcMethodMetrics> grpc_methods_;
  base::metrics::Histogram* range_[2] = {};
  std::map<std::pair<std::string_view, bool>, base::metrics::Histogram*> request_;
  decltype(request_)::iterator last_request_ = request_.end();
  base::metrics::Counter* last_client_ = nullptr;
  std::string last_client_kind_, last_client_version_;
};

}  // namespace server
