// What is counted of the traffic between members. Owner: core loop. Feature map 10.1, 10.2.
#pragma once

#include "base/metrics.h"

namespace peer {

struct Metrics {
  explicit Metrics(base::metrics::Registry& to) : registry(to) {}
  using Counters = base::metrics::Family<base::metrics::Counter>;
  using Gauges = base::metrics::Family<base::metrics::Gauge>;
  using Histograms = base::metrics::Family<base::metrics::Histogram>;

  base::metrics::Registry& registry;
  Gauges active_peers{registry, "etcd_network_active_peers", "1 for each member with a connection.", {"Local", "Remote"}};
  Counters disconnected_peers{
      registry, "etcd_network_disconnected_peers_total", "Times a member's connections were lost.", {"Local", "Remote"}};
  Counters sent_bytes{registry, "etcd_network_peer_sent_bytes_total", "Bytes sent to a member.", {"To"}};
  Counters received_bytes{registry, "etcd_network_peer_received_bytes_total", "Bytes from a member.", {"From"}};
  Counters sent_failures{registry, "etcd_network_peer_sent_failures_total", "Messages to a member that were lost.", {"To"}};
  Counters received_failures{
      registry, "etcd_network_peer_received_failures_total", "Requests of a member that failed.", {"From"}};
  Counters snapshot_send_success{registry, "etcd_network_snapshot_send_success", "Databases sent.", {"To"}};
  Gauges snapshot_send_inflights{registry, "etcd_network_snapshot_send_inflights_total", "Databases on their way.", {"To"}};
  Counters snapshot_send_failures{registry, "etcd_network_snapshot_send_failures", "Databases that did not arrive.", {"To"}};
  Histograms snapshot_send_duration{registry,
                                    "etcd_network_snapshot_send_total_duration_seconds",
                                    "Time to send a database.",
                                    {"To"},
                                    base::metrics::exponential(0.1, 2, 10)};
  Counters snapshot_receive_success{registry, "etcd_network_snapshot_receive_success", "Databases received.", {"From"}};
  Gauges snapshot_receive_inflights{
      registry, "etcd_network_snapshot_receive_inflights_total", "Databases coming in.", {"From"}};
  Counters snapshot_receive_failures{
      registry, "etcd_network_snapshot_receive_failures", "Databases that came to nothing.", {"From"}};
  Histograms snapshot_receive_duration{registry,
                                       "etcd_network_snapshot_receive_total_duration_seconds",
                                       "Time to receive a database.",
                                       {"From"},
                                       base::metrics::exponential(0.1, 2, 10)};
  Histograms round_trip_time{registry,
                             "etcd_network_peer_round_trip_time_seconds",
                             "Round trips between members.",
                             {"To"},
                             base::metrics::exponential(0.0001, 2, 16)};
};

}  // namespace peer
