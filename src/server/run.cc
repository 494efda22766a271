#include "server/run.h"

#include <absl/container/flat_hash_map.h>
#include <unistd.h>

#include <algorithm>
#include <asio.hpp>
#include <csignal>
#include <optional>
#include <random>

#include "base/bytes.h"
#include "base/heap_profile.h"
#include "base/log.h"
#include "io/real_disk.h"
#include "net/asio_loop.h"
#include "net/listener.h"
#include "net/spawn.h"
#include "net/sys.h"
#include "peer/http_transport.h"
#include "rpc/server.h"
#include "server/corruption_checker.h"
#include "server/gateway.h"
#include "server/member_client.h"
#include "server/metrics.h"
#include "server/node.h"
#include "server/notify.h"
#include "server/pages.h"
#include "server/peer_port.h"
#include "server/raft_driver.h"
#include "server/reconfiguration.h"
#include "server/request_log.h"
#include "server/services.h"
#include "server/snapshot_receiver.h"
#include "server/transport_security.h"

namespace server {
namespace {

using base::Status;

constexpr auto kClientDrainPatience = std::chrono::seconds(3);
constexpr auto kPeerDrainPatience = std::chrono::milliseconds(100);  // for the ends of the streams
constexpr auto kPeerDialTimeout = std::chrono::seconds(1);  // and the election timeout
// An append has up to 1 MiB of entries, or one that is larger: as large as a request may be, here or at a sender with other
// flags.
constexpr size_t kPeerBodyBytesMin = 16u << 20;
constexpr auto kStopPatience = std::chrono::seconds(5);

rpc::ServerOptions rpc_options(const Config& config, bool grpc, bool http) {
  rpc::ServerOptions options;
  options.message_bytes_max = config.max_request_bytes + kRequestOverheadBytes;
  options.concurrent_streams_max = config.max_concurrent_streams;
  options.keepalive_min_time = config.grpc_keepalive_min_time;
  options.keepalive_interval = config.grpc_keepalive_interval;
  options.keepalive_timeout = config.grpc_keepalive_timeout;
  // A request in JSON may be longer than its message: base64 by a third, \u escapes up to six times.
  options.http_body_bytes_max = 4 * options.message_bytes_max;
  options.serve_grpc = grpc;
  options.serve_http = http;
  return options;
}

size_t peer_body_bytes_max(const Config& config) {
  return std::max<size_t>(kPeerBodyBytesMin, 2 * size_t{config.max_request_bytes});
}

// One member as a process: threads, ports, signals. Everything happens on the core loop.
class Process {
 public:
  explicit Process(const Config& config)
      : config_(config),
        loop_(home_, clock_),
        metrics_(config),
        signals_(home_),
        disk_worker_(home_, "etcd-disk"),
        helper_worker_(home_, "etcd-helper") {}

  int run();
  int stopped_by() const { return stopped_by_; }

 private:
  struct Front {  // one server and the ports it will serve once the member is ready
    Port port;
    std::unique_ptr<rpc::Server> server;
    std::shared_ptr<Gateway> gateway;  // client ports that serve HTTP
    rpc::ServerOptions options;
    struct Ear {
      std::unique_ptr<net::Listener> listener;
      std::string address;                   // as the URLs have it
      bool tls = false, clear_text = false;  // both: the first byte tells
    };
    std::vector<Ear> listeners;
  };

  std::vector<asio::io_context*> net_loops();
  Status bind();
  Status bind(Port port, const Urls& urls, bool grpc, bool http);
  Status open();
  void begin();
  void serve(Front& front);
  void on_ready();
  void begin_stop(int signal);
  void leave_cluster();
  asio::awaitable<void> stop_all();
  int fail(const Status& status);

  const Config config_;
  bool initialized_ = false;  // a log was there
  base::RealClock clock_;
  io::RealDisk disk_;
  asio::io_context home_{1};
  std::vector<std::unique_ptr<net::LoopThread>> net_threads_;  // --net-threads; none: home owns the connections too
  net::AsioLoop loop_;
  Metrics metrics_;
  HttpMemberClient member_client_{home_, clock_};
  peer::Metrics peer_metrics_{metrics_.registry};
  std::unique_ptr<peer::Dialer> dialer_;
  std::unique_ptr<peer::HttpTransport> peers_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<SnapshotReceiver> receiver_;
  std::unique_ptr<PeerPort> peer_port_;
  std::unique_ptr<Pages> pages_;
  std::shared_ptr<net::TlsPolicy> client_tls_, peer_tls_;  // null: none
  std::vector<Front> fronts_;
  const GrpcMethodMetrics* metrics_of(std::string_view path);
  absl::flat_hash_map<const char*, const GrpcMethodMetrics*> methods_;  // by the path's bytes, which a method has for life
  const char* last_path_ = nullptr;
  const GrpcMethodMetrics* last_method_ = nullptr;
  asio::signal_set signals_;
  int stopped_by_ = 0;
  net::WorkerThread disk_worker_, helper_worker_;  // last: what they are at ends before anything above goes
};

std::vector<asio::io_context*> Process::net_loops() {
  std::vector<asio::io_context*> loops;
  for (const auto& thread : net_threads_) loops.push_back(&thread->context());
  return loops;
}

Status Process::bind(Port port, const Urls& urls, bool grpc, bool http) {
  if (urls.empty()) return {};
  Front front;
  front.port = port;
  front.options = rpc_options(config_, grpc, http);
  // Members' connections live where raft does: a hop for each message would cost more than its bytes.
  const std::vector<asio::io_context*> loops = port == Port::kPeer ? std::vector<asio::io_context*>() : net_loops();
  if (port == Port::kPeer) {
    front.options.http_body_bytes_max = peer_body_bytes_max(config_);
    front.options.streams_body = &PeerPort::streams_body;
  }
  front.server = std::make_unique<rpc::Server>(home_, loops, clock_, front.options);
  net::ListenOptions options;
  options.reuse_port = config_.socket_reuse_port;
  for (const Url& url : urls) {
    const auto same = std::ranges::find(front.listeners, url.address(), &Front::Ear::address);
    if (port == Port::kClient && same != front.listeners.end()) {
      (url.is_tls() ? same->tls : same->clear_text) = true;
      continue;
    }
    base::Result<std::unique_ptr<net::Listener>> listener =
        url.is_unix() ? net::Listener::unix_socket(home_, url.address())
                      : net::Listener::tcp(home_, url.hostname(), url.port_number().value(), options);
    if (!listener.ok()) return listener.status();
    Front::Ear ear{std::move(*listener), url.address(), url.is_tls(), !url.is_tls()};
    front.listeners.push_back(std::move(ear));
  }
  fronts_.push_back(std::move(front));
  return {};
}

// Ports are taken before the data directory is touched: a member started twice fails here and harms nothing.
Status Process::bind() {
  const bool http_apart = !config_.listen_client_http_urls.empty();
  base::log::info("configuring peer listeners", {{"listen-peer-urls", texts(config_.listen_peer_urls)}});
  base::Result<std::shared_ptr<net::TlsPolicy>> peer_tls = open_tls(config_, TlsSide::kMembers);
  Status status = peer_tls.status();
  if (status.ok()) status = bind(Port::kPeer, config_.listen_peer_urls, false, true);
  if (!status.ok()) {
    base::log::error("creating peer listener failed", {{"error", status}});
    return status;
  }
  peer_tls_ = std::move(*peer_tls);
  base::log::info("configuring client listeners", {{"listen-client-urls", texts(config_.listen_client_urls)}});
  base::Result<std::shared_ptr<net::TlsPolicy>> client_tls = open_tls(config_, TlsSide::kClients);
  if (!client_tls.ok()) return client_tls.status();
  client_tls_ = std::move(*client_tls);
  status = bind(Port::kClient, config_.listen_client_urls, true, !http_apart);
  if (status.ok() && http_apart) status = bind(Port::kClient, config_.listen_client_http_urls, false, true);
  if (status.ok()) status = bind(Port::kMetrics, config_.listen_metrics_urls, false, true);
  return status;
}

Status Process::open() {
  base::Result<bool> initialized = has_log(config_, disk_);
  if (!initialized.ok()) return initialized.status();
  initialized_ = *initialized;
  log_start(config_, *initialized);
  base::Result<peer::DialOptions> dialling = dial_options(config_, peer_tls_);
  if (!dialling.ok()) return dialling.status();
  base::Result<DataDir> data = open_data_dir(config_, disk_, ask_over_http(*dialling));
  if (!data.ok()) return data.status();
  std::random_device entropy;
  const uint64_t seed = static_cast<uint64_t>(entropy()) << 32 | entropy();
  peer::Identity us;
  us.self = data->self;
  us.cluster_id = data->cluster_id;
  us.version = kVersion;
  us.peer_urls = texts(config_.advertise_peer_urls);
  member_client_.set_dialling(*dialling);
  dialer_ = peer::make_dialer(home_, *dialling);
  peer::Timeouts timeouts;
  timeouts.dial = kPeerDialTimeout + std::chrono::milliseconds(config_.election_ms);
  timeouts.read = config_.raft_read_timeout;
  timeouts.write = config_.raft_write_timeout;
  peers_ = std::make_unique<peer::HttpTransport>(home_, clock_, *dialer_, peer_metrics_, std::move(us), timeouts);
  const Environment environment{loop_, disk_worker_, helper_worker_, disk_, seed, metrics_, &member_client_, peers_.get()};
  base::Result<std::unique_ptr<Node>> node = Node::open(config_, environment, std::move(*data));
  if (!node.ok()) return node.status();
  node_ = std::move(*node);
  const auto step = [this](raft::Message message) { return node_->driver().step_snapshot(std::move(message)); };
  receiver_ = std::make_unique<SnapshotReceiver>(home_, environment, config_.snap_dir(), *peers_, step);
  peer_port_ = std::make_unique<PeerPort>(home_, clock_, *peers_, receiver_.get());
  pages_ = std::make_unique<Pages>(home_, *node_, config_);
  metrics_.registry.before_expose([this] {
    rpc::Server::Stats all;
    for (const Front& front : fronts_) {
      const rpc::Server::Stats stats = front.server->stats();
      all.connections += stats.connections;
      all.streams += stats.streams;
      if (front.port != Port::kClient) continue;
      all.bytes_received += stats.bytes_received;
      all.bytes_sent += stats.bytes_sent;
    }
    metrics_.client_received_bytes.set_total(all.bytes_received);
    metrics_.client_sent_bytes.set_total(all.bytes_sent);
  });
  return {};
}

// `path` is the server's own copy: its address is as good as its text.
const GrpcMethodMetrics* Process::metrics_of(std::string_view path) {
  if (path.data() == last_path_) return last_method_;  // a call asks at its begin and its end
  const auto [known, fresh] = methods_.try_emplace(path.data(), nullptr);
  if (fresh) known->second = metrics_.grpc_method(path);
  last_path_ = path.data();
  last_method_ = known->second;
  return known->second;
}

void Process::serve(Front& front) {
  rpc::Server& server = *front.server;
  if (front.port == Port::kClient) {  // The JSON gateway calls them where gRPC is not served.
    add_kv_service(server, *node_);
    add_cluster_service(server, *node_);
    add_maintenance_service(server, *node_);
    add_snapshot_service(server, *node_);
    add_health_service(server, *node_);
    add_watch_service(server, *node_);
    add_lease_service(server, *node_);
    server.set_call_observer(
        [this](std::string_view path, bool streaming, std::optional<base::Code> ended, base::Duration took) {
          const GrpcMethodMetrics* method = metrics_of(path);
          if (method == nullptr) return;
          if (ended)
            method->end(*ended, took.count(), streaming);
          else
            method->begin(streaming);
        });
    server.set_message_observer([this](std::string_view path, bool received) {
      if (const GrpcMethodMetrics* method = metrics_of(path)) (received ? method->received : method->sent)->add();
    });
    // At level debug every call is told of.
    const bool all = base::log::enabled(base::log::Level::kDebug);
    server.set_slow_observer(all ? base::Duration(-1) : config_.warning_unary_request_duration,
                             [this](const rpc::FinishedUnary& call) { log_call(clock_, call); });
  }
  if (front.options.serve_http) {
    if (front.port == Port::kClient && config_.enable_grpc_gateway) {
      front.gateway = std::make_shared<Gateway>(home_.get_executor(), server.local(), front.options.http_body_bytes_max);
    }
    server.set_http_handler([this, port = front.port, gateway = front.gateway](std::shared_ptr<rpc::HttpCall> call) {
      if (port == Port::kPeer && peer_port_->serve(call)) return;
      pages_->serve(port, gateway.get(), std::move(call));
    });
  }
  for (Front::Ear& ear : front.listeners) {
    const std::string address = ear.listener->address();
    rpc::ServerOptions options = front.options;
    if (ear.tls) {
      options.tls = front.port == Port::kPeer ? peer_tls_ : client_tls_;
      options.or_clear_text = ear.clear_text;
      options.rejected_text =
          front.port == Port::kPeer ? "rejected connection on peer endpoint" : "rejected connection on client endpoint";
    }
    server.listen(std::move(ear.listener), std::move(options));
    if (front.port == Port::kPeer) {
      base::log::info("serving peer traffic", {{"address", address}});
    } else if (front.port == Port::kMetrics) {
      base::log::info("serving metrics", {{"address", address}});
    } else {
      const char* traffic = !front.options.serve_http ? "grpc" : front.options.serve_grpc ? "grpc+http" : "http";
      constexpr const char* kClearText = "serving client traffic insecurely; this is strongly discouraged!";
      if (ear.clear_text) base::log::info(kClearText, {{"traffic", traffic}, {"address", address}});
      if (ear.tls) base::log::info("serving client traffic securely", {{"traffic", traffic}, {"address", address}});
    }
  }
  front.listeners.clear();
}

void Process::on_ready() {
  base::log::info("ready to serve client requests");
  for (Front& front : fronts_) {
    if (front.port != Port::kPeer) serve(front);
  }
  base::log::info("notifying init daemon");
  if (notify_service_manager("READY=1")) base::log::info("successfully notified init daemon");
}

void Process::begin_stop(int signal) {
  stopped_by_ = signal;
  base::log::info("received signal; shutting down", {{"signal", signal == SIGINT ? "interrupt" : "terminated"}});
  base::log::info("closing etcd server", {{"name", config_.name},
                                          {"data-dir", config_.data_dir},
                                          {"advertise-peer-urls", texts(config_.advertise_peer_urls)},
                                          {"advertise-client-urls", texts(config_.advertise_client_urls)}});
  (void)notify_service_manager("STOPPING=1");
  // Clients are served meanwhile: what they ask goes to the new leader.
  node_->reconfiguration().hand_over([this](const Status& done) {
    if (!done.ok()) {
      base::log::warn("leadership transfer failed", {{"local-member-id", base::hex(node_->id().value())}, {"error", done}});
    }
    net::spawn(home_.get_executor(), "stop", stop_all());
  });
}

void Process::leave_cluster() {
  if (stopped_by_ != 0) return;
  signals_.cancel();
  base::log::warn("server error", {{"error", "the member has been permanently removed from the cluster"}});
  base::log::warn("data-dir used by this member must be removed");
  net::spawn(home_.get_executor(), "stop", stop_all());
}

// First the clients' calls end (or run out of patience), then the member makes what it applied durable.
asio::awaitable<void> Process::stop_all() {
  for (Front& front : fronts_) {
    if (front.port != Port::kPeer) co_await front.server->stop(kClientDrainPatience);
  }
  peers_->end_streams();
  for (Front& front : fronts_) {
    if (front.port == Port::kPeer) co_await front.server->stop(kPeerDrainPatience);
  }
  peers_->stop([this] { node_->stop([this] { home_.stop(); }); });
  loop_.after(kStopPatience, [this] {
    base::log::warn("the store did not come to rest in time; what is not there yet is in the log");
    home_.stop();
  });
}

int Process::fail(const Status& status) {
  base::log::write(base::log::Level::kFatal, "discovery failed", {{"error", status}});
  base::log::flush();
  return 1;
}

int Process::run() {
  net::raise_descriptor_limit();
  for (uint32_t i = 0; i < config_.net_threads; ++i) net_threads_.push_back(std::make_unique<net::LoopThread>("etcd-net"));
  Status status = bind();
  if (status.ok()) status = open();
  if (!status.ok()) return fail(status);
  const auto work = asio::make_work_guard(home_);  // It runs until it is stopped: the check waits on other threads.
  if (initialized_ && config_.feature_gates.enabled(Feature::kInitialCorruptCheck)) {
    // Nothing is applied and nobody is served before; a signal meanwhile just ends the process.
    node_->corruption_checker().check_initially([this, &status](const Status& checked) {
      status = checked;
      checked.ok() ? begin() : home_.stop();
    });
  } else {
    begin();
  }
  home_.run();
  if (!status.ok()) {
    base::log::error("checkInitialHashKV failed", {{"error", status}});
    return fail(status);
  }
  for (const auto& thread : net_threads_) thread->stop();
  base::log::info("closed etcd server", {{"name", config_.name},
                                         {"data-dir", config_.data_dir},
                                         {"advertise-peer-urls", texts(config_.advertise_peer_urls)},
                                         {"advertise-client-urls", texts(config_.advertise_client_urls)}});
  base::log::flush();
  return 0;
}

void Process::begin() {
  signals_.add(SIGINT);
  signals_.add(SIGTERM);
  signals_.async_wait([this](const asio::error_code& error, int signal) {
    if (!error) begin_stop(signal);
  });
  base::log::info("now serving peer/client/metrics", {{"local-member-id", base::hex(node_->id().value())},
                                                      {"initial-advertise-peer-urls", texts(config_.advertise_peer_urls)},
                                                      {"listen-peer-urls", texts(config_.listen_peer_urls)},
                                                      {"advertise-client-urls", texts(config_.advertise_client_urls)},
                                                      {"listen-client-urls", texts(config_.listen_client_urls)},
                                                      {"listen-metrics-urls", texts(config_.listen_metrics_urls)}});
  for (Front& front : fronts_) {
    if (front.port == Port::kPeer) serve(front);
  }
  node_->set_on_removed([this] { leave_cluster(); });
  node_->start([this] { on_ready(); });
}

}  // namespace

int run(const Config& config) {
  int stopped_by = 0;
  if (profiles_enabled(config)) base::heap_profile::start();
  {
    Process process(config);
    const int code = process.run();
    stopped_by = process.stopped_by();
    if (stopped_by == 0) return code;
  }
  // As etcd: die by the signal that was asked for, so that the parent sees it; process 1 cannot, and exits.
  if (getpid() == 1) return 0;
  std::signal(stopped_by, SIG_DFL);
  raise(stopped_by);
  return 0;
}

}  // namespace server
