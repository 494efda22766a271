#include "cli/server/flag_table.h"

#include <algorithm>
#include <charconv>

#include "base/flags.h"
#include "base/split.h"

namespace cli {
namespace {

using base::Code;
using base::Result;
using base::Status;
using base::flags::quote;
using server::Config;
using server::Duration;
using server::TlsConfig;
using Kind = FileValue::Kind;

// --- parts that this version does not have -----------------------------------------------------------------------------------

struct MissingPart {
  Part part;
  std::string_view name;
};
constexpr MissingPart kMissingParts[] = {
    {Part::kAuth, "authentication"},
    {Part::kDiscovery, "discovery"},
    {Part::kTracing, "distributed tracing"},
    {Part::kDowngrade, "downgrades"},
};

// --- bindings: how a word or a value of the file becomes a field -------------------------------------------------------------

Status invalid(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

// config.a.b for Path = &Config::a, &A::b.
template <auto... Path>
auto& field(Config& config) {
  return (config.*....*Path);
}

FileProblem mismatch(const FileValue& value, bool wants_number = false) {
  std::string text(value.kind_name());
  if (wants_number && value.kind == Kind::kNumber) text += " " + value.text;
  return {FileProblem::Kind::kMismatch, std::move(text)};
}

FileProblem problem(const Status& status) {
  if (status.ok()) return {};
  return {FileProblem::Kind::kOther, std::string(status.text())};
}

template <auto... Path>
constexpr Binding text_field() {
  return {[](Config& config, std::string_view word) {
            field<Path...>(config) = word;
            return Status();
          },
          [](Config& config, const FileValue& value) {
            if (value.kind == Kind::kNull) return FileProblem();
            if (value.kind != Kind::kString) return mismatch(value);
            field<Path...>(config) = value.text;
            return FileProblem();
          },
          "string"};
}

template <auto... Path>
constexpr Binding switch_field() {
  return {[](Config& config, std::string_view word) {
            const Result<bool> value = base::flags::parse_bool(word);
            if (value.ok()) field<Path...>(config) = *value;
            return value.status();
          },
          [](Config& config, const FileValue& value) {
            if (value.kind == Kind::kNull) return FileProblem();
            if (value.kind != Kind::kBool) return mismatch(value);
            field<Path...>(config) = value.text == "true";
            return FileProblem();
          },
          "bool", true};
}

template <class Number>
FileProblem number_from_file(const FileValue& value, Number& out) {
  if (value.kind == Kind::kNull) return {};
  if (value.kind != Kind::kNumber) return mismatch(value);
  Number number = 0;
  const char* end = value.text.data() + value.text.size();
  const auto read = std::from_chars(value.text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end) return mismatch(value, true);
  out = number;
  return {};
}

template <auto... Path>
constexpr Binding unsigned_field(std::string_view go_type = "uint") {
  return {[](Config& config, std::string_view word) {
            const Result<uint64_t> value = base::flags::parse_uint(word);
            if (value.ok()) field<Path...>(config) = *value;
            return value.status();
          },
          [](Config& config, const FileValue& value) { return number_from_file<uint64_t>(value, field<Path...>(config)); },
          go_type};
}

// Go reads this one without rewording strconv's error.
template <auto... Path>
constexpr Binding unsigned32_field() {
  return {[](Config& config, std::string_view word) {
            const Result<uint64_t> value = base::flags::parse_uint(word, 32);
            if (value.ok()) {
              field<Path...>(config) = static_cast<uint32_t>(*value);
              return Status();
            }
            const char* why = value.status().text() == "value out of range" ? "value out of range" : "invalid syntax";
            return invalid("strconv.ParseUint: parsing " + quote(word) + ": " + why);
          },
          [](Config& config, const FileValue& value) { return number_from_file<uint32_t>(value, field<Path...>(config)); },
          "uint32"};
}

template <auto... Path>
constexpr Binding signed_field(std::string_view go_type = "int") {
  return {[](Config& config, std::string_view word) {
            const Result<int64_t> value = base::flags::parse_int(word);
            if (value.ok()) field<Path...>(config) = *value;
            return value.status();
          },
          [](Config& config, const FileValue& value) { return number_from_file<int64_t>(value, field<Path...>(config)); },
          go_type};
}

// In the file: nanoseconds.
template <auto... Path>
constexpr Binding duration_field() {
  return {[](Config& config, std::string_view word) {
            const Result<int64_t> value = base::flags::parse_duration(word);
            if (!value.ok()) return invalid("parse error");
            field<Path...>(config) = Duration(*value);
            return Status();
          },
          [](Config& config, const FileValue& value) {
            int64_t ns = field<Path...>(config).count();
            FileProblem found = number_from_file(value, ns);
            field<Path...>(config) = Duration(ns);
            return found;
          },
          "time.Duration"};
}

// Doubles are dropped; nothing at all leaves the default.
template <auto... Path>
constexpr Binding urls_field() {
  return {[](Config& config, std::string_view word) {
            if (word.empty()) return Status();
            Result<server::Urls> urls = server::parse_url_list(word);
            if (!urls.ok()) return urls.status();
            urls->erase(std::unique(urls->begin(), urls->end()), urls->end());
            field<Path...>(config) = std::move(urls).value();
            return Status();
          },
          [](Config& config, const FileValue& value) {
            if (value.kind == Kind::kNull || (value.kind == Kind::kString && value.text.empty())) return FileProblem();
            if (value.kind != Kind::kString) return mismatch(value);
            Result<server::Urls> urls = server::parse_url_list(value.text);
            if (!urls.ok()) return FileProblem{FileProblem::Kind::kUrl, std::string(urls.status().text())};
            field<Path...>(config) = std::move(urls).value();
            return FileProblem();
          },
          "string"};
}

template <auto... Path>
FileProblem list_from_file(Config& config, const FileValue& value) {
  if (value.kind == Kind::kNull) return {};
  if (value.kind != Kind::kList) return mismatch(value);
  std::vector<std::string> list;
  for (const FileValue& item : value.items) {
    if (item.kind != Kind::kString && item.kind != Kind::kNull) return mismatch(item);
    list.push_back(item.text);
  }
  field<Path...>(config) = std::move(list);
  return {};
}

template <auto... Path>
constexpr Binding list_field() {
  return {[](Config& config, std::string_view word) {
            field<Path...>(config) = base::split(word, ',');
            return Status();
          },
          list_from_file<Path...>, "[]string"};
}

// Sorted, no doubles.
template <auto... Path>
constexpr Binding unique_list_field() {
  return {[](Config& config, std::string_view word) {
            std::vector<std::string> list = base::split(word, ',');
            std::sort(list.begin(), list.end());
            list.erase(std::unique(list.begin(), list.end()), list.end());
            field<Path...>(config) = std::move(list);
            return Status();
          },
          list_from_file<Path...>, "[]string"};
}

Status set_host_whitelist(Config& config, std::string_view word) {
  const std::vector<std::string> names = base::split(word, ',');
  config.host_whitelist = {names.begin(), names.end()};
  return {};
}

// "*" is added to what is there; URLs replace it.
Status set_cors(Config& config, std::string_view word) {
  if (word == "*" || config.cors.contains(std::string(word))) {
    config.cors.emplace(word);
    return {};
  }
  Result<server::Urls> urls = server::parse_url_list(word);
  if (!urls.ok()) return urls.status();
  config.cors.clear();
  for (const server::Url& url : *urls) config.cors.insert(url.text);
  return {};
}

Status set_feature_gates(Config& config, std::string_view word) { return config.feature_gates.set(word); }

// A comma-separated text in the file, too; empty leaves the default.
template <Status (*Set)(Config&, std::string_view)>
constexpr Binding special_field() {
  return {Set,
          [](Config& config, const FileValue& value) {
            if (value.kind == Kind::kNull || (value.kind == Kind::kString && value.text.empty())) return FileProblem();
            if (value.kind != Kind::kString) return mismatch(value);
            return problem(Set(config, value.text));
          },
          "string"};
}

// The file takes any word here; validate() judges it.
FileProblem cluster_state_from_file(Config& config, const FileValue& value) {
  const FileProblem found = text_field<&Config::initial_cluster_state>().from_file(config, value);
  if (config.initial_cluster_state.empty()) config.initial_cluster_state = "new";
  return found;
}

Status set_cluster_state(Config& config, std::string_view word) {
  if (word != "new" && word != "existing") return invalid("invalid value");
  config.initial_cluster_state = word;
  return {};
}

FileProblem not_in_file(Config&, const FileValue&) { return {}; }

Status set_fallback(Config& config, std::string_view word) {
  if (word != "exit" && word != "proxy") return invalid("invalid value");
  config.discovery.fallback = word;
  return {};
}

// The stages are checked; none is used.
Status set_v2_deprecation(Config&, std::string_view word) {
  for (const std::string& stage : base::split(word, ',')) {
    if (stage != "write-only" && stage != "write-only-skip-check" && stage != "write-only-drop-data" && stage != "gone") {
      return invalid("invalid value " + quote(stage));
    }
  }
  return {};
}

FileProblem v2_deprecation_from_file(Config&, const FileValue& value) {
  if (value.kind == Kind::kNull || value.kind == Kind::kString) return {};
  return mismatch(value);
}

Status set_debug(Config& config, std::string_view word) {
  const Result<bool> on = base::flags::parse_bool(word);
  if (on.ok() && *on) config.log.level = "debug";
  return on.status();
}

// Old and short for: this authority signs clients, and they must show what it signed.
template <TlsConfig Config::* Side>
Status set_old_ca_file(Config& config, std::string_view word) {
  (config.*Side).trusted_ca_file = word;
  (config.*Side).client_cert_auth = !word.empty();
  return {};
}

Status set_proxy(Config&, std::string_view word) {
  if (word == "off") return {};
  if (word == "on" || word == "readonly") {
    return invalid("the v2 proxy does not exist any more; use etcd gateway or etcd grpc-proxy");
  }
  return invalid("invalid value");
}

Status ignore_word(Config&, std::string_view) { return {}; }

Status ignore_number(Config&, std::string_view word) { return base::flags::parse_uint(word).status(); }

constexpr Binding only_word(Status (*set)(Config&, std::string_view), bool is_boolean = false) {
  return {set, not_in_file, "string", is_boolean};
}

// --- the rows ----------------------------------------------------------------------------------------------------------------

using C = Config;
using T = TlsConfig;
using D = server::DiscoveryConfig;
using L = server::LogConfig;
using R = server::TracingConfig;

constexpr ServerFlag kMember[] = {
    {"name", "name", " 'default'", "Name of this member, for people and for --initial-cluster.", Part::kHere,
     text_field<&C::name>()},
    {"data-dir", "data-dir", " '${name}.etcd'", "Directory that holds everything this member keeps.", Part::kHere,
     text_field<&C::data_dir>()},
    {"wal-dir", "wal-dir", " ''", "Directory for the log alone, as on a disk of its own.", Part::kHere,
     text_field<&C::wal_dir>()},
    {"snapshot-count", "snapshot-count", " '10000'", "Applied entries after which a snapshot is made.", Part::kHere,
     unsigned_field<&C::snapshot_count>("uint64")},
    {"heartbeat-interval", "heartbeat-interval", " '100'", "Time between heartbeats, in milliseconds.", Part::kHere,
     unsigned_field<&C::heartbeat_ms>()},
    {"election-timeout", "election-timeout", " '1000'",
     "Time without a leader before an election, in milliseconds: at least five heartbeats.", Part::kHere,
     unsigned_field<&C::election_ms>()},
    {"initial-election-tick-advance", "initial-election-tick-advance", " 'true'",
     "Whether a starting member skips most of its first election timeout.", Part::kHere,
     switch_field<&C::initial_election_tick_advance>()},
    {"listen-peer-urls", "listen-peer-urls", " 'http://localhost:2380'", "Comma-separated URLs to listen on for other members.",
     Part::kHere, urls_field<&C::listen_peer_urls>()},
    {"listen-client-urls", "listen-client-urls", " 'http://localhost:2379'",
     "Comma-separated URLs to listen on for clients: gRPC, and HTTP unless --listen-client-http-urls is given.", Part::kHere,
     urls_field<&C::listen_client_urls>()},
    {"listen-client-http-urls", "listen-client-http-urls", " ''",
     "Comma-separated URLs to listen on for clients that speak HTTP only. Takes HTTP off --listen-client-urls.", Part::kHere,
     urls_field<&C::listen_client_http_urls>()},
    {"max-snapshots", "max-snapshots", " '5'", "Snapshot files to keep (0: all). Deprecated since v3.6, gone in v3.8.",
     Part::kHere, unsigned_field<&C::max_snapshots>()},
    {"max-wals", "max-wals", " '5'", "Log files to keep (0: all).", Part::kHere, unsigned_field<&C::max_wals>()},
    {"memory-mlock", "memory-mlock", "", "Keep the member's memory in RAM, never swapped out.", Part::kHere,
     switch_field<&C::memory_mlock>()},
    {"quota-backend-bytes", "quota-backend-bytes", " '0'",
     "Bytes the store may hold. Above it an alarm stops writes. 0: 2 GiB; negative: no limit.", Part::kHere,
     signed_field<&C::quota_backend_bytes>("int64")},
    {"backend-bbolt-freelist-type", "backend-bbolt-freelist-type", " 'map'",
     "Kind of bbolt's free list (array, map). Accepted for compatibility: this store has none.", Part::kHere,
     text_field<&C::backend_freelist_type>()},
    {"backend-batch-interval", "backend-batch-interval", " ''", "Longest time between commits to the store (100ms if not set).",
     Part::kHere, duration_field<&C::backend_batch_interval>()},
    {"backend-batch-limit", "backend-batch-limit", " '0'", "Most operations in a commit to the store (10000 if not set).",
     Part::kHere, signed_field<&C::backend_batch_limit>()},
    {"max-txn-ops", "max-txn-ops", " '128'", "Operations allowed in a transaction.", Part::kHere,
     unsigned_field<&C::max_txn_ops>()},
    {"max-request-bytes", "max-request-bytes", " '1572864'", "Size of a client request that is still accepted, in bytes.",
     Part::kHere, unsigned_field<&C::max_request_bytes>()},
    {"max-concurrent-streams", "max-concurrent-streams", " 'math.MaxUint32'",
     "Streams one client connection may have open at a time.", Part::kHere, unsigned32_field<&C::max_concurrent_streams>()},
    {"grpc-keepalive-min-time", "grpc-keepalive-min-time", " '5s'", "Shortest time between a client's pings that is tolerated.",
     Part::kHere, duration_field<&C::grpc_keepalive_min_time>()},
    {"grpc-keepalive-interval", "grpc-keepalive-interval", " '2h'",
     "Idle time after which the server pings a client (0: never).", Part::kHere, duration_field<&C::grpc_keepalive_interval>()},
    {"grpc-keepalive-timeout", "grpc-keepalive-timeout", " '20s'",
     "Time a pinged client has to answer before its connection is closed (0: no limit).", Part::kHere,
     duration_field<&C::grpc_keepalive_timeout>()},
    {"socket-reuse-port", "socket-options.reuse-port", " 'false'",
     "Set SO_REUSEPORT on listeners, so that another process may bind the same port.", Part::kHere,
     switch_field<&C::socket_reuse_port>()},
    {"socket-reuse-address", "socket-options.reuse-address", " 'false'",
     "Set SO_REUSEADDR on listeners, so that an address in TIME_WAIT may be bound.", Part::kHere,
     switch_field<&C::socket_reuse_address>()},
    {"enable-grpc-gateway", "enable-grpc-gateway", "", "Serve the API as JSON over HTTP, too.", Part::kHere,
     switch_field<&C::enable_grpc_gateway>()},
    {"raft-read-timeout", "", " '5s'", "Time without a sign of life after which the connection to a member is given up.",
     Part::kHere, duration_field<&C::raft_read_timeout>()},
    {"raft-write-timeout", "", " '5s'", "Time a write to a member may take.", Part::kHere,
     duration_field<&C::raft_write_timeout>()},
    {"net-threads", "net-threads", " '0'", "Threads for the network (0: the main thread does it, best on small machines).",
     Part::kHere, unsigned32_field<&C::net_threads>()},
    {"feature-gates", "feature-gates", " ''", "Features to switch, as name=true or name=false with commas between. There are:",
     Part::kHere, special_field<set_feature_gates>()},
};

constexpr ServerFlag kClustering[] = {
    {"initial-advertise-peer-urls", "initial-advertise-peer-urls", " 'http://localhost:2380'",
     "Comma-separated URLs under which other members reach this one.", Part::kHere, urls_field<&C::advertise_peer_urls>()},
    {"initial-cluster", "initial-cluster", " 'default=http://localhost:2380'",
     "Members of a cluster that starts, as name=url with commas between.", Part::kHere, text_field<&C::initial_cluster>()},
    {"initial-cluster-state",
     "initial-cluster-state",
     " 'new'",
     "'new' for a cluster that starts, 'existing' for a member that joins one.\nOnly the first start looks at it.",
     Part::kHere,
     {set_cluster_state, cluster_state_from_file, "string"}},
    {"initial-cluster-token", "initial-cluster-token", " 'etcd-cluster'",
     "Word that goes into the ids of a new cluster.\nTwo clusters made from the same URLs never mix when their tokens differ.",
     Part::kHere, text_field<&C::initial_cluster_token>()},
    {"advertise-client-urls", "advertise-client-urls", " 'http://localhost:2379'",
     "Comma-separated URLs under which clients reach this member.\nClient libraries connect to what stands here, so it must "
     "work from their machines.",
     Part::kHere, urls_field<&C::advertise_client_urls>()},
    {"discovery", "discovery", " ''", "v2 discovery: URL of the cluster's token.", Part::kDiscovery,
     text_field<&C::discovery, &D::v2_url>()},
    {"discovery-token", "discovery-config.token", " ''", "v3 discovery: token of the cluster.", Part::kDiscovery,
     text_field<&C::discovery, &D::token>()},
    {"discovery-endpoints", "discovery-config.client.endpoints", " ''",
     "v3 discovery: endpoints of the etcd that introduces members.", Part::kDiscovery,
     unique_list_field<&C::discovery, &D::endpoints>()},
    {"discovery-dial-timeout", "discovery-config.client.dial-timeout", " '2s'", "v3 discovery: time to connect.",
     Part::kDiscovery, duration_field<&C::discovery, &D::dial_timeout>()},
    {"discovery-request-timeout", "discovery-config.client.request-timeout", " '5s'",
     "v3 discovery: time for a request, connecting not counted.", Part::kDiscovery,
     duration_field<&C::discovery, &D::request_timeout>()},
    {"discovery-keepalive-time", "discovery-config.client.keepalive-time", " '2s'", "v3 discovery: idle time before a ping.",
     Part::kDiscovery, duration_field<&C::discovery, &D::keepalive_time>()},
    {"discovery-keepalive-timeout", "discovery-config.client.keepalive-timeout", " '6s'",
     "v3 discovery: time to wait for the answer to a ping.", Part::kDiscovery,
     duration_field<&C::discovery, &D::keepalive_timeout>()},
    {"discovery-insecure-transport", "discovery-config.client.secure.insecure-transport", " 'true'",
     "v3 discovery: connect without TLS.", Part::kDiscovery, switch_field<&C::discovery, &D::insecure_transport>()},
    {"discovery-insecure-skip-tls-verify", "discovery-config.client.secure.insecure-skip-tls-verify", " 'false'",
     "v3 discovery: accept any server certificate (for tests only).", Part::kDiscovery,
     switch_field<&C::discovery, &D::insecure_skip_tls_verify>()},
    {"discovery-cert", "discovery-config.client.secure.cert", " ''", "v3 discovery: file with the client certificate.",
     Part::kDiscovery, text_field<&C::discovery, &D::cert>()},
    {"discovery-key", "discovery-config.client.secure.key", " ''", "v3 discovery: file with the client key.", Part::kDiscovery,
     text_field<&C::discovery, &D::key>()},
    {"discovery-cacert", "discovery-config.client.secure.cacert", " ''",
     "v3 discovery: file with the authorities that may sign the servers' certificates.", Part::kDiscovery,
     text_field<&C::discovery, &D::cacert>()},
    {"discovery-user", "discovery-config.client.auth.username", " ''", "v3 discovery: user, or user:password.",
     Part::kDiscovery, text_field<&C::discovery, &D::user>()},
    {"discovery-password", "discovery-config.client.auth.password", " ''",
     "v3 discovery: password; the user is then given without one.", Part::kDiscovery,
     text_field<&C::discovery, &D::password>()},
    {"discovery-fallback", "", " 'exit'", "What to do when discovery fails; only 'exit' is left.", Part::kDiscovery,
     only_word(set_fallback)},
    {"discovery-proxy", "discovery-proxy", " ''", "v2 discovery: HTTP proxy on the way to it.", Part::kDiscovery,
     text_field<&C::discovery, &D::v2_proxy>()},
    {"discovery-srv", "discovery-srv", " ''", "DNS domain whose SRV records list the members.", Part::kDiscovery,
     text_field<&C::discovery_srv>()},
    {"discovery-srv-name", "discovery-srv-name", " ''", "Suffix of the service name in those SRV records.", Part::kDiscovery,
     text_field<&C::discovery_srv_name>()},
    {"strict-reconfig-check", "strict-reconfig-check", " 'true'", "Refuse membership changes that would lose the quorum.",
     Part::kHere, switch_field<&C::strict_reconfig_check>()},
    {"pre-vote", "pre-vote", " 'true'",
     "Ask before an election whether it could be won, so that a member that returns disturbs nobody.", Part::kHere,
     switch_field<&C::pre_vote>()},
    {"auto-compaction-retention", "auto-compaction-retention", " '0'",
     "History to keep when compacting by itself (0: never compact).", Part::kHere,
     text_field<&C::auto_compaction_retention_text>()},
    {"auto-compaction-mode", "auto-compaction-mode", " 'periodic'",
     "What the retention counts: 'periodic' for time (hours if no unit is given, e.g. '5m'), 'revision' for revisions.",
     Part::kHere, text_field<&C::auto_compaction_mode_text>()},
    {"v2-deprecation",
     "v2-deprecation",
     " 'write-only'",
     "Stage of the old v2 store's removal. Deprecated; checked, and not used:\n  'not-yet'\n  'write-only'\n"
     "  'write-only-skip-check'\n  'write-only-drop-data'\n  'gone'",
     Part::kHere,
     {set_v2_deprecation, v2_deprecation_from_file, "config.V2DeprecationEnum"}},
};

constexpr ServerFlag kSecurity[] = {
    {"cert-file", "client-transport-security.cert-file", " ''", "File with the certificate shown to clients.", Part::kTls,
     text_field<&C::client_tls, &T::cert_file>()},
    {"key-file", "client-transport-security.key-file", " ''", "File with that certificate's key.", Part::kTls,
     text_field<&C::client_tls, &T::key_file>()},
    {"client-cert-auth", "client-transport-security.client-cert-auth", " 'false'", "Demand a certificate from clients.",
     Part::kTls, switch_field<&C::client_tls, &T::client_cert_auth>()},
    {"client-cert-file", "client-transport-security.client-cert-file", " ''",
     "File with the certificate for connections to our own client port; --cert-file if not given.", Part::kTls,
     text_field<&C::client_tls, &T::client_cert_file>()},
    {"client-key-file", "client-transport-security.client-key-file", " ''", "File with that certificate's key.", Part::kTls,
     text_field<&C::client_tls, &T::client_key_file>()},
    {"client-crl-file", "", " ''", "File with the client certificates that are revoked.", Part::kTls,
     text_field<&C::client_tls, &T::crl_file>()},
    {"client-cert-allowed-hostname", "client-transport-security.allowed-hostname", " ''",
     "Comma-separated host names, one of which a client's certificate must be for.", Part::kTls,
     list_field<&C::client_tls, &T::allowed_hostnames>()},
    {"trusted-ca-file", "client-transport-security.trusted-ca-file", " ''",
     "File with the authorities that may sign clients' certificates.", Part::kTls,
     text_field<&C::client_tls, &T::trusted_ca_file>()},
    {"auto-tls", "client-transport-security.auto-tls", " 'false'", "Make a certificate for clients at start.", Part::kTls,
     switch_field<&C::client_tls, &T::auto_tls>()},
    {"peer-cert-file", "peer-transport-security.cert-file", " ''", "File with the certificate shown to members.", Part::kTls,
     text_field<&C::peer_tls, &T::cert_file>()},
    {"peer-key-file", "peer-transport-security.key-file", " ''", "File with that certificate's key.", Part::kTls,
     text_field<&C::peer_tls, &T::key_file>()},
    {"peer-client-cert-auth", "peer-transport-security.client-cert-auth", " 'false'", "Demand a certificate from members.",
     Part::kTls, switch_field<&C::peer_tls, &T::client_cert_auth>()},
    {"peer-client-cert-file", "peer-transport-security.client-cert-file", " ''",
     "File with the certificate for connections to members; --peer-cert-file if not given.", Part::kTls,
     text_field<&C::peer_tls, &T::client_cert_file>()},
    {"peer-client-key-file", "peer-transport-security.client-key-file", " ''", "File with that certificate's key.", Part::kTls,
     text_field<&C::peer_tls, &T::client_key_file>()},
    {"peer-trusted-ca-file", "peer-transport-security.trusted-ca-file", " ''",
     "File with the authorities that may sign members' certificates.", Part::kTls,
     text_field<&C::peer_tls, &T::trusted_ca_file>()},
    {"peer-cert-allowed-cn", "peer-transport-security.allowed-cn", " ''",
     "Comma-separated common names, one of which a member's certificate must have.", Part::kTls,
     list_field<&C::peer_tls, &T::allowed_cns>()},
    {"peer-cert-allowed-hostname", "peer-transport-security.allowed-hostname", " ''",
     "Comma-separated host names, one of which a member's certificate must be for.", Part::kTls,
     list_field<&C::peer_tls, &T::allowed_hostnames>()},
    {"peer-auto-tls", "peer-transport-security.auto-tls", " 'false'",
     "Make a certificate for members at start, if --peer-cert-file and --peer-key-file are not given.", Part::kTls,
     switch_field<&C::peer_tls, &T::auto_tls>()},
    {"self-signed-cert-validity", "self-signed-cert-validity", " '1'", "Years that certificates made at start are valid.",
     Part::kTls, unsigned_field<&C::self_signed_cert_validity_years>()},
    {"peer-crl-file", "", " ''", "File with the members' certificates that are revoked.", Part::kTls,
     text_field<&C::peer_tls, &T::crl_file>()},
    {"cipher-suites", "cipher-suites", " ''", "Comma-separated TLS cipher suites by Go's names (empty: the library's choice).",
     Part::kTls, list_field<&C::cipher_suites>()},
    {"cors", "cors", " '*'", "Comma-separated origins that web pages may call from (empty or *: all).", Part::kHere,
     special_field<set_cors>()},
    {"host-whitelist", "host-whitelist", " '*'",
     "Comma-separated host names that HTTP requests without TLS may be for (empty or *: all).", Part::kHere,
     special_field<set_host_whitelist>()},
    {"tls-min-version", "tls-min-version", " 'TLS1.2'", "Lowest TLS version: TLS1.2 or TLS1.3.", Part::kTls,
     text_field<&C::tls_min_version>()},
    {"tls-max-version", "tls-max-version", " ''", "Highest TLS version: TLS1.2 or TLS1.3 (empty: the library's choice).",
     Part::kTls, text_field<&C::tls_max_version>()},
};

constexpr ServerFlag kAuth[] = {
    {"auth-token", "auth-token", " 'simple'", "Kind of token for users who log in, with its options: 'simple' or 'jwt,...'.",
     Part::kAuth, text_field<&C::auth_token>()},
    {"bcrypt-cost", "bcrypt-cost", " 10", "Cost of hashing a password, 4 to 31.", Part::kAuth,
     unsigned_field<&C::bcrypt_cost>()},
    {"auth-token-ttl", "auth-token-ttl", " 300", "Seconds a simple token lives.", Part::kAuth,
     unsigned_field<&C::auth_token_ttl_s>()},
};

constexpr ServerFlag kMonitoring[] = {
    {"enable-pprof", "enable-pprof", " 'false'", "Serve profiles under /debug/pprof/ on the client URLs.", Part::kHere,
     switch_field<&C::enable_pprof>()},
    {"metrics", "metrics", " 'basic'", "Detail of the metrics; 'extensive' adds histograms of gRPC calls.", Part::kHere,
     text_field<&C::metrics>()},
    {"listen-metrics-urls", "listen-metrics-urls", " ''",
     "Comma-separated URLs that serve /metrics and /health only. With https the client's certificate is used.",
     Part::kMetricsListener, urls_field<&C::listen_metrics_urls>()},
};

constexpr ServerFlag kLogging[] = {
    {"logger", "logger", " 'zap'", "Kind of log; only 'zap' is left.", Part::kHere, text_field<&C::log, &L::logger>()},
    {"log-outputs", "log-outputs", " 'default'",
     "Where logs go: stderr, stdout, systemd/journal or files, with commas between. 'default' is stderr.", Part::kHere,
     unique_list_field<&C::log, &L::outputs>()},
    {"log-level", "log-level", " 'info'", "Least level that is logged: debug, info, warn, error, panic or fatal.", Part::kHere,
     text_field<&C::log, &L::level>()},
    {"log-format", "log-format", " 'json'", "Form of the lines: json or console.", Part::kHere,
     text_field<&C::log, &L::format>()},
    {"enable-log-rotation", "enable-log-rotation", " 'false'",
     "Start a new log file when one is full; needs one file as output.", Part::kHere, switch_field<&C::log, &L::rotation>()},
    {"log-rotation-config-json", "log-rotation-config-json",
     R"( '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}')",
     "When to start a new log file and what to keep: maxsize (MB), maxage (days, 0: for ever), maxbackups (0: all), localtime "
     "(in the names), compress (gzip).",
     Part::kHere, text_field<&C::log, &L::rotation_json>()},
    {"warning-unary-request-duration", "warning-unary-request-duration", " '300ms'",
     "Time from which on a request that takes longer is logged.", Part::kHere,
     duration_field<&C::warning_unary_request_duration>()},
};

constexpr ServerFlag kTracing[] = {
    {"enable-distributed-tracing", "enable-distributed-tracing", " 'false'", "Send traces of requests to a collector.",
     Part::kTracing, switch_field<&C::tracing, &R::enabled>()},
    {"distributed-tracing-address", "distributed-tracing-address", " 'localhost:4317'", "Address of the collector.",
     Part::kTracing, text_field<&C::tracing, &R::address>()},
    {"distributed-tracing-service-name", "distributed-tracing-service-name", " 'etcd'",
     "Name of the service in traces, the same for all members.", Part::kTracing, text_field<&C::tracing, &R::service_name>()},
    {"distributed-tracing-instance-id", "distributed-tracing-instance-id", " ''",
     "Name of this member in traces, different for each.", Part::kTracing, text_field<&C::tracing, &R::instance_id>()},
    {"distributed-tracing-sampling-rate", "distributed-tracing-sampling-rate", " '0'", "Requests traced, of a million.",
     Part::kTracing, signed_field<&C::tracing, &R::samples_per_million>()},
};

constexpr ServerFlag kFeatures[] = {
    {"corrupt-check-time", "corrupt-check-time", " '0s'", "Time between comparisons of all members' data (0: none).",
     Part::kHere, duration_field<&C::corrupt_check_time>()},
    {"compact-hash-check-time", "compact-hash-check-time", " '1m'",
     "Time between comparisons of the hashes that compactions leave.", Part::kHere,
     duration_field<&C::compact_hash_check_time>()},
    {"compaction-batch-limit", "compaction-batch-limit", " 1000", "Revisions that one step of a compaction removes.",
     Part::kHere, signed_field<&C::compaction_batch_limit>()},
    {"peer-skip-client-san-verification", "peer-transport-security.skip-client-san-verification", " 'false'",
     "Do not compare a member's address with its certificate.", Part::kTls,
     switch_field<&C::peer_tls, &T::skip_client_san_verification>()},
    {"watch-progress-notify-interval", "watch-progress-notify-interval", " '10m'",
     "Time between progress notifications to watchers that want them.", Part::kHere,
     duration_field<&C::watch_progress_notify_interval>()},
    {"warning-apply-duration", "warning-apply-duration", " '100ms'", "Time from which on an apply that takes longer is logged.",
     Part::kHere, duration_field<&C::warning_apply_duration>()},
    {"bootstrap-defrag-threshold-megabytes", "bootstrap-defrag-threshold-megabytes", "",
     "Defragment at start if that frees at least so many megabytes (0: never).", Part::kHere,
     unsigned_field<&C::bootstrap_defrag_threshold_megabytes>()},
    {"max-learners", "max-learners", " '1'", "Learners the cluster may have at a time.", Part::kHere,
     signed_field<&C::max_learners>()},
    {"compaction-sleep-interval", "compaction-sleep-interval", "", "Pause between the steps of a compaction (10ms if not set).",
     Part::kHere, duration_field<&C::compaction_sleep_interval>()},
    {"downgrade-check-time", "downgrade-check-time", "", "Time between looks at a downgrade under way.", Part::kDowngrade,
     duration_field<&C::downgrade_check_time>()},
    {"snapshot-catchup-entries", "snapshot-catchup-entries", "",
     "Entries kept in the log behind a snapshot, for members that are slow.", Part::kHere,
     unsigned_field<&C::snapshot_catchup_entries>("uint64")},
};

constexpr ServerFlag kUnsafe[] = {
    {"force-new-cluster", "force-new-cluster", " 'false'",
     "Start as the only member of a new cluster, with the data that is there.", Part::kHere,
     switch_field<&C::force_new_cluster>()},
    {"unsafe-no-fsync", "unsafe-no-fsync", " 'false'", "Never wait for the disk. A crash then loses acknowledged data.",
     Part::kHere, switch_field<&C::unsafe_no_fsync>()},
};

constexpr FlagSection kSections[] = {
    {"Member", kMember},
    {"Clustering", kClustering},
    {"Security", kSecurity},
    {"Auth", kAuth},
    {"Profiling and Monitoring", kMonitoring},
    {"Logging", kLogging},
    {"Distributed tracing", kTracing},
    {"Features", kFeatures},
    {"Unsafe feature", kUnsafe},
};

constexpr ServerFlag kLegacy[] = {
    {"debug", "", "", "", Part::kHere, only_word(set_debug, true)},
    {"log-package-levels", "", "", "", Part::kHere, only_word(ignore_word)},
    {"ca-file", "", "", "", Part::kTls, only_word(set_old_ca_file<&C::client_tls>)},
    {"peer-ca-file", "", "", "", Part::kTls, only_word(set_old_ca_file<&C::peer_tls>)},
    {"proxy", "", "", "", Part::kHere, only_word(set_proxy)},
    {"proxy-failure-wait", "", "", "", Part::kHere, only_word(ignore_number)},
    {"proxy-refresh-interval", "", "", "", Part::kHere, only_word(ignore_number)},
    {"proxy-dial-timeout", "", "", "", Part::kHere, only_word(ignore_number)},
    {"proxy-write-timeout", "", "", "", Part::kHere, only_word(ignore_number)},
    {"proxy-read-timeout", "", "", "", Part::kHere, only_word(ignore_number)},
};

constexpr std::string_view kIgnored[] = {
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
    "test.coverprofile",
    "test.outputdir",
};

}  // namespace

std::string_view FileValue::kind_name() const {
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kBool:
      return "bool";
    case Kind::kNumber:
      return "number";
    case Kind::kString:
      return "string";
    case Kind::kList:
      return "array";
    case Kind::kMap:
      return "object";
  }
  return "null";
}

std::optional<std::string_view> missing_part(Part part) {
  for (const MissingPart& missing : kMissingParts) {
    if (missing.part == part) return missing.name;
  }
  return std::nullopt;
}

std::span<const FlagSection> flag_sections() { return kSections; }
std::span<const ServerFlag> legacy_flags() { return kLegacy; }
std::span<const std::string_view> ignored_flags() { return kIgnored; }

std::string flags_text() {
  std::string out;
  for (const FlagSection& section : kSections) {
    out += "\n" + std::string(section.title) + ":\n";
    for (const ServerFlag& flag : section.flags) {
      out += "  --" + std::string(flag.name) + std::string(flag.shown_default) + "\n    ";
      for (const char c : flag.help) out += c == '\n' ? "\n    " : std::string(1, c);
      out += '\n';
      if (flag.name != "feature-gates") continue;
      for (const std::string& gate : server::FeatureGates::known()) out += "    " + gate + "\n";
    }
  }
  return out + "\nThe unsafe flags break the promises that the rest keeps: use them for repair and for tests only.\n\n";
}

std::string usage_text() {
  return R"(Usage:

  etcd [flags]
    Run a member.

  etcd --version
    Print the version.

  etcd -h | --help
    Print this and all flags.

  etcd --config-file
    File to take the configuration from, YAML or JSON. All other flags and the environment are then ignored.
    Durations in it are whole numbers of nanoseconds (600000000000 for 10m), except --heartbeat-interval and
    --election-timeout, which are milliseconds as on the command line.

  etcd gateway
    Pass TCP connections on to members.

  etcd ctl ...
    Talk to a cluster; the same as etcdctl.

  etcd benchmark ...
    Put load on a cluster; the same as benchmark.

)";
}

}  // namespace cli
