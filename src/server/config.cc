#include "server/config.h"

#include <netdb.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <thread>

#include "base/flags.h"
#include "base/log.h"
#include "base/split.h"
#include "server/default_host.h"
#include "server/version.h"

namespace server {
namespace {

using base::Code;
using base::Result;
using base::Status;
using base::flags::quote;
using base::log::duration_text;

constexpr std::string_view kDefaultOutput = "default", kJournalOutput = "systemd/journal";
constexpr int64_t kTracingSamplesMax = 1000000;
constexpr uint64_t kReservedDescriptors = 150;  // log, store, peers; what is above serves clients
constexpr auto kResolveWait = std::chrono::seconds(30), kResolveRetry = std::chrono::seconds(1);

Status invalid(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

// Go's %q of a list: ["a" "b"].
std::string quoted_list(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const std::string& text : list) out += (out.size() > 1 ? " " : "") + quote(text);
  return out + "]";
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// --- URLs --------------------------------------------------------------------------------------------------------------------

// What is bound must be an address: names move.
Status check_bind_urls(const Urls& urls) {
  for (const Url& url : urls) {
    if (url.is_unix()) continue;
    const Result<HostPort> parts = split_host_port(url.host);
    if (!parts.ok()) return parts.status();
    if (parts->host != "localhost" && !is_ip(parts->host)) return invalid("expected IP in URL for binding (" + url.text + ")");
  }
  return {};
}

Status check_advertised_urls(const Urls& urls) {
  for (const Url& url : urls) {
    if (url.is_unix()) continue;
    const Result<HostPort> parts = split_host_port(url.host);
    if (!parts.ok()) return parts.status();
    if (parts->host.empty()) return invalid("unexpected empty host (" + url.text + ")");
  }
  return {};
}

Status check_urls(const Config& config) {
  for (const Urls* urls : {&config.listen_peer_urls, &config.listen_client_urls, &config.listen_client_http_urls}) {
    if (Status bound = check_bind_urls(*urls); !bound.ok()) return bound;
  }
  if (config.listen_client_http_urls.empty()) {
    base::log::warn("Running http and grpc server on single port. This is not recommended for production.");
  }
  if (Status bound = check_bind_urls(config.listen_metrics_urls); !bound.ok()) return bound;
  if (const Status status = check_advertised_urls(config.advertise_peer_urls); !status.ok()) {
    return invalid("--initial-advertise-peer-urls " + quote(joined(config.advertise_peer_urls)) + " must be \"host:port\" (" +
                   std::string(status.text()) + ")");
  }
  if (const Status status = check_advertised_urls(config.advertise_client_urls); !status.ok()) {
    return invalid("--advertise-client-urls " + quote(joined(config.advertise_client_urls)) +
                   " must be in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" (" +
                   std::string(status.text()) + ")");
  }
  return {};
}

// --- values that belong together ---------------------------------------------------------------------------------------------

Status check_bootstrap(const Config& config) {
  const int methods = !config.initial_cluster.empty() + !config.discovery_srv.empty() + !config.discovery.endpoints.empty();
  if (!is_one_of(config.initial_cluster_state, {"new", "existing"})) {
    return invalid("unexpected clusterState " + quote(config.initial_cluster_state));
  }
  if (methods > 1) {
    return invalid("multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery-endpoints\" "
                   "or \"discovery-srv\"");
  }
  if (config.discovery.token.empty() != config.discovery.endpoints.empty()) {
    return invalid("both --discovery-token and --discovery-endpoints must be set");
  }
  for (const std::string& endpoint : config.discovery.endpoints) {
    if (endpoint.find_first_not_of(" \t\r\n\v\f") == std::string::npos) {
      return invalid("--discovery-endpoints must not contain empty endpoints");
    }
  }
  return {};
}

Status check_timing(const Config& config) {
  if (config.heartbeat_ms == 0) return invalid("--heartbeat-interval must be >0 (set to 0ms)");
  if (config.election_ms == 0) return invalid("--election-timeout must be >0 (set to 0ms)");
  if (config.heartbeat_ms > config.election_ms / 5) {
    return invalid("--election-timeout[" + std::to_string(config.election_ms) +
                   "ms] should be at least as 5 times as --heartbeat-interval[" + std::to_string(config.heartbeat_ms) + "ms]");
  }
  if (config.election_ms > kElectionTimeoutMsMax) {
    return invalid("--election-timeout[" + std::to_string(config.election_ms) +
                   "ms] is too long, and should be set less than " + std::to_string(kElectionTimeoutMsMax) + "ms");
  }
  return {};
}

Status check_tracing(const TracingConfig& tracing) {
  if (!tracing.enabled) return {};
  const char* why = nullptr;
  if (tracing.samples_per_million < 0) why = "tracing sampling rate must be positive";
  if (tracing.samples_per_million > kTracingSamplesMax) why = "tracing sampling rate must be less than 1000000";
  if (why == nullptr) return {};
  return invalid("distributed tracing configurition is not valid: (" + std::string(why) + ")");
}

Status check_features(const FeatureGates& gates) {
  const bool checkpoints = gates.enabled(Feature::kLeaseCheckpoint), persists = gates.enabled(Feature::kLeaseCheckpointPersist);
  if (checkpoints && !persists) {
    base::log::warn(
        "Detected that checkpointing is enabled without persistence. Consider enabling feature gate LeaseCheckpointPersist");
  }
  if (persists && !checkpoints) {
    return invalid("enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint");
  }
  return {};
}

// 0: unset; else 2 or 3 of TLS 1.x.
Result<int> tls_version(std::string_view text) {
  if (text.empty()) return 0;
  if (text == "TLS1.2") return 2;
  if (text == "TLS1.3") return 3;
  return invalid("unexpected TLS version " + quote(text) + " (must be one of: TLS1.2, TLS1.3)");
}

Status check_tls_versions(const Config& config) {
  const Result<int> least = tls_version(config.tls_min_version), most = tls_version(config.tls_max_version);
  if (!least.ok()) return least.status();
  if (!most.ok()) return most.status();
  if (*most != 0 && *least > *most) {
    return invalid("min version (" + config.tls_min_version + ") is greater than max version (" + config.tls_max_version + ")");
  }
  if (*least == 3 && !config.cipher_suites.empty()) {
    return invalid("cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  return {};
}

// --- found at start ----------------------------------------------------------------------------------------------------------

// The names that Go's TLS knows, and two old spellings.
constexpr std::string_view kCipherSuites[] = {
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
};

Status check_cipher_suites(const std::vector<std::string>& suites) {
  for (const std::string& suite : suites) {
    if (std::find(std::begin(kCipherSuites), std::end(kCipherSuites), suite) == std::end(kCipherSuites)) {
      return invalid("unexpected TLS cipher suite " + quote(suite));
    }
  }
  return {};
}

Status not_yet(const std::string& what) { return invalid(what + " is not part of this version yet"); }

Status check_ports(const Config& config) {
  for (const Urls* urls : {&config.listen_peer_urls, &config.listen_client_urls, &config.listen_client_http_urls,
                           &config.listen_metrics_urls}) {
    for (const Url& url : *urls) {
      if (url.is_unix()) continue;
      const Result<uint16_t> port = url.port_number();
      if (port.ok()) continue;
      if (urls == &config.listen_peer_urls) base::log::error("creating peer listener failed", {{"error", port.status()}});
      return port.status();
    }
  }
  return {};
}

Status check_listeners(const Config& config) {
  for (const Url& url : config.listen_peer_urls) {
    if (!url.is_tls()) continue;
    if (!config.peer_tls.has_key_pair() && !config.peer_tls.auto_tls) {
      Status status = invalid("cannot listen on TLS for " + url.address() + ": KeyFile and CertFile are not presented");
      base::log::error("creating peer listener failed", {{"error", status}});
      return status;
    }
  }
  std::set<std::string> taken;
  for (const Urls* urls : {&config.listen_client_urls, &config.listen_client_http_urls}) {
    for (const Url& url : *urls) {
      if (url.is_tls() && !config.client_tls.has_key_pair() && !config.client_tls.auto_tls) {
        return invalid("TLS key/cert (--cert-file, --key-file) must be provided for client url " + url.text +
                       " with HTTPS scheme");
      }
    }
  }
  for (const Url& url : config.listen_client_urls) taken.insert(url.address());
  for (const Url& url : config.listen_client_http_urls) {
    if (taken.contains(url.address())) {
      return invalid("cannot bind both --listen-client-urls and --listen-client-http-urls on the same url " + url.text);
    }
  }
  for (const Url& url : config.listen_metrics_urls) {
    if (!url.is_tls()) continue;
    if (!config.client_tls.has_key_pair()) {
      return invalid("client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url");
    }
  }
  return {};
}

// Digits only, with a '+' or not: Go's Atoi for what is not negative.
std::optional<int64_t> parse_decimal(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

Status parse_compaction(Config& config) {
  const std::string& text = config.auto_compaction_retention_text;
  const bool periodic = config.auto_compaction_mode_text != "revision";
  config.auto_compaction_mode = periodic ? CompactionMode::kPeriodic : CompactionMode::kRevision;
  constexpr int64_t kHourNs = 3600000000000;
  int64_t value = 0;
  // A plain number counts hours or revisions; everything else is a duration, whatever the mode.
  if (const std::optional<int64_t> number = parse_decimal(text.empty() ? "0" : text)) {
    if (periodic && *number > INT64_MAX / kHourNs) return invalid("error parsing CompactionRetention: too many hours: " + text);
    value = periodic ? *number * kHourNs : *number;
  } else {
    const Result<int64_t> duration = base::flags::parse_duration(text);
    if (!duration.ok()) return invalid("error parsing CompactionRetention: " + std::string(duration.status().text()));
    value = *duration;
  }
  config.auto_compaction_period = Duration(periodic ? value : 0);
  config.auto_compaction_revisions = periodic ? 0 : value;
  return {};
}

// simple | jwt,sign-method=...,pub-key=...,priv-key=...,ttl=... | "" (nobody can log in)
Status check_auth_token(const std::string& text) {
  const Status bad = invalid("auth: invalid auth options");
  const std::vector<std::string> parts = base::split(text, ',');
  std::set<std::string> keys;
  std::string method;
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::vector<std::string> pair = base::split(parts[i], '=');
    if (pair.size() != 2 || !keys.insert(pair[0]).second) {
      base::log::error("invalid token option", {{"option", text}});
      return bad;
    }
    if (pair[0] == "sign-method") method = pair[1];
  }
  if (is_one_of(parts[0], {"", "simple"})) return {};
  if (parts[0] != "jwt") {
    base::log::warn("unknown token type", {{"type", parts[0]}, {"error", bad}});
  } else if (!is_one_of(method, {"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
                                 "ES384", "ES512", "EdDSA", "none"})) {
    base::log::error("problem loading JWT options", {{"error", "auth: invalid auth signature method"}});
  } else {
    return {};
  }
  base::log::warn("failed to create token provider", {{"error", bad}});
  return bad;
}

void exit_without_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > kReservedDescriptors) return;
  base::log::exit_fatal("file descriptor limit of etcd process is too low; please set higher",
                        {{"limit", uint64_t{limit.rlim_cur}}, {"recommended-limit", kReservedDescriptors}});
}

// --- who forms the first cluster ---------------------------------------------------------------------------------------------

Result<std::string> resolve_with_system(const std::string& host_port) {
  const Result<HostPort> parts = split_host_port(host_port);
  if (!parts.ok()) return parts.status();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(parts->host.c_str(), parts->port.c_str(), &hints, &found);
  if (error != 0) return invalid("lookup " + parts->host + ": " + gai_strerror(error));
  // IPv4 before IPv6, as Go's ResolveTCPAddr prefers.
  const addrinfo* chosen = found;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family == AF_INET) {
      chosen = one;
      break;
    }
  }
  char host[NI_MAXHOST], port[NI_MAXSERV];
  const int named =
      getnameinfo(chosen->ai_addr, chosen->ai_addrlen, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  const bool v6 = chosen->ai_family == AF_INET6;
  freeaddrinfo(found);
  if (named != 0) return invalid("lookup " + parts->host + ": " + gai_strerror(named));
  return (v6 ? "[" + std::string(host) + "]" : std::string(host)) + ":" + port;
}

// "scheme://address" with names replaced; localhost and sockets stay. Names that do not resolve are asked for again, for DNS
// may come up after us.
Result<std::string> resolved(const Url& url, const ResolveHost& resolve) {
  const std::string fixed = url.scheme + "://";
  if (url.is_unix() || url.hostname() == "localhost") return url.text;
  if (is_ip(url.hostname()) && resolve == nullptr) {
    const Result<std::string> canonical = resolve_with_system(url.host);
    return canonical.ok() ? fixed + *canonical : url.text;
  }
  const auto give_up = std::chrono::steady_clock::now() + kResolveWait;
  for (;;) {
    const Result<std::string> address = resolve == nullptr ? resolve_with_system(url.host) : resolve(url.host);
    if (address.ok()) {
      base::log::info("resolved URL Host", {{"url", url.text}, {"host", url.host}, {"resolved-addr", *address}});
      return fixed + *address;
    }
    base::log::warn("failed to resolve URL Host", {{"url", url.text}, {"host", url.host}, {"error", address.status()}});
    if (resolve != nullptr || std::chrono::steady_clock::now() >= give_up) {
      return invalid("failed to resolve " + quote(url.text) + " (" + std::string(address.status().text()) + ")");
    }
    std::this_thread::sleep_for(kResolveRetry);
  }
}

// Why the two lists do not mean the same; empty when they do.
Result<std::string> difference(const Urls& a, const Urls& b, const ResolveHost& resolve) {
  if (a.size() != b.size()) return "len(" + quoted_list(texts(a)) + ") != len(" + quoted_list(texts(b)) + ")";
  if (a == b) return std::string();
  std::vector<std::string> left, right;
  for (const auto& [from, to] : {std::pair{&a, &left}, std::pair{&b, &right}}) {
    for (const Url& url : *from) {
      Result<std::string> address = resolved(url, resolve);
      if (!address.ok()) return address.status();
      to->push_back(std::move(address).value());
    }
    std::sort(to->begin(), to->end());
  }
  for (size_t i = 0; i < left.size(); ++i) {
    if (left[i] != right[i]) return "resolved urls: " + quote(left[i]) + " != " + quote(right[i]);
  }
  return std::string();
}

Urls sorted(Urls urls) {
  std::sort(urls.begin(), urls.end());
  return urls;
}

// In `a` and not in `b`, each once.
std::vector<std::string> missing(const Urls& a, const Urls& b) {
  std::set<std::string> out;
  for (const Url& url : a) {
    if (std::find(b.begin(), b.end(), url) == b.end()) out.insert(url.text);
  }
  return {out.begin(), out.end()};
}

Status check_advertised_match(const Config& config, const UrlsMap& members, const ResolveHost& resolve) {
  const Urls& listed = members.at(config.name);
  const Urls advertised = sorted(config.advertise_peer_urls);
  const Result<std::string> why = difference(advertised, listed, resolve);
  if (why.ok() && why->empty()) return {};
  const std::string reason = why.ok() ? *why : std::string(why.status().text());
  std::string pairs;
  for (const std::string& url : missing(listed, advertised)) pairs += (pairs.empty() ? "" : ",") + (config.name + "=" + url);
  if (!pairs.empty()) {
    return invalid("--initial-cluster has " + pairs + " but missing from --initial-advertise-peer-urls=" + joined(advertised) +
                   " (" + reason + ")");
  }
  const std::string own = urls_map_text({{config.name, config.advertise_peer_urls}});
  std::string extra;
  for (const std::string& url : missing(advertised, listed)) extra += (extra.empty() ? "" : ",") + url;
  if (!extra.empty()) {
    return invalid("--initial-advertise-peer-urls has " + extra + " but missing from --initial-cluster=" + own);
  }
  return invalid("failed to resolve " + joined(advertised) + " to match --initial-cluster=" + own + " (" + reason + ")");
}

}  // namespace

// --- the configuration -------------------------------------------------------------------------------------------------------

Config Config::defaults() {
  Config config;
  const Urls peer = parse_url_list(kDefaultPeerUrl).value(), client = parse_url_list(kDefaultClientUrl).value();
  config.listen_peer_urls = config.advertise_peer_urls = peer;
  config.listen_client_urls = config.advertise_client_urls = client;
  config.initial_cluster = initial_cluster_from_name(config, config.name);
  return config;
}

std::string initial_cluster_from_name(const Config& config, std::string_view name) {
  std::string out;
  for (const Url& url : config.advertise_peer_urls) {
    out += (out.empty() ? "" : ",") + std::string(name.empty() ? kDefaultName : name) + "=" + url.text;
  }
  return out;
}

Status set_up_log(const LogConfig& log) {
  if (log.logger == "capnslog") return invalid("--logger=capnslog is removed in v3.5");
  if (log.logger != "zap") return invalid("unknown logger option " + quote(log.logger));
  const std::vector<std::string> outputs = log.outputs.empty() ? std::vector<std::string>{"default"} : log.outputs;
  const auto has = [&](std::string_view name) { return std::find(outputs.begin(), outputs.end(), name) != outputs.end(); };
  if (outputs.size() > 1 && has(kDefaultOutput)) return invalid("multi logoutput for \"default\" is not supported yet");
  base::log::Options options;
  options.outputs = outputs;
  if (log.rotation) {
    const auto is_file = [](const std::string& output) { return !is_one_of(output, {"default", "stderr", "stdout"}); };
    const auto files = std::count_if(outputs.begin(), outputs.end(), is_file);
    if ((outputs.size() == 1 && files == 0) || files > 1) {
      return invalid("--log-outputs requires a single file path when --log-rotate-config-json is defined");
    }
    Result<base::log::Rotation> rotation = base::log::parse_rotation(log.rotation_json);
    if (!rotation.ok()) return rotation.status();
    options.rotation = *rotation;
  }
  if (has(kJournalOutput) && outputs.size() > 1) {
    return invalid("running with systemd/journal but other '--log-outputs' values (" + quoted_list(outputs) +
                   ") are configured with 'default'; override 'default' value with something else");
  }
  const Result<base::log::Level> level = base::log::parse_level(log.level);
  if (!level.ok()) return level.status();
  options.level = *level;
  if (!is_one_of(log.format, {"json", "console", ""})) {
    return invalid("unknown log format: " + log.format + ", supported values json, console");
  }
  options.console = log.format == "console";
  return base::log::configure(options);
}

Status validate(Config& config) {
  if (Status status = set_up_log(config.log); !status.ok()) return status;
  if (Status status = check_urls(config); !status.ok()) return status;
  if (Status status = check_bootstrap(config); !status.ok()) return status;
  config.existing_cluster = config.initial_cluster_state == "existing";
  if (Status status = check_timing(config); !status.ok()) return status;
  if (!config.listen_client_urls.empty() && config.advertise_client_urls.empty()) {
    return invalid(std::string(kAdvertiseUnset));
  }
  if (config.auto_compaction_mode_text.empty()) return invalid("undefined auto-compaction-mode");
  if (!is_one_of(config.auto_compaction_mode_text, {"periodic", "revision"})) {
    return invalid("unknown auto-compaction-mode " + quote(config.auto_compaction_mode_text));
  }
  if (Status status = check_tracing(config.tracing); !status.ok()) return status;
  if (Status status = check_features(config.feature_gates); !status.ok()) return status;
  if (config.compact_hash_check_time.count() <= 0) {
    return invalid("--compact-hash-check-time must be >0 (set to " + duration_text(config.compact_hash_check_time.count()) +
                   ")");
  }
  if (config.name == kDefaultName) {
    base::log::warn("it isn't recommended to use default name, please set a value for --name. Note that etcd might run into "
                    "issue when multiple members have the same default name",
                    {{"name", config.name}});
  }
  return check_tls_versions(config);
}

void finish(Config& config) {
  const std::string default_cluster = std::string(kDefaultName) + "=" + std::string(kDefaultPeerUrl);
  Result<std::string> host = std::string();
  // The host's own address stands in where all addresses are listened on and nothing better was said.
  const auto announce = [&](Urls& advertised, const Urls& listened, std::string_view unchanged) {
    const bool is_default = advertised.size() == 1 && advertised[0].text == unchanged;
    if (!is_default || listened.empty() || listened[0].hostname() != "0.0.0.0") return false;
    host = default_host();
    if (!host.ok()) return false;
    Result<Url> url = parse_url(advertised[0].scheme + "://" + *host + ":" + listened[0].port());
    if (!url.ok()) return false;
    advertised[0] = std::move(url).value();
    return true;
  };
  bool used = announce(config.advertise_peer_urls, config.listen_peer_urls, kDefaultPeerUrl);
  if (config.name != kDefaultName && config.initial_cluster == default_cluster) {
    config.initial_cluster = initial_cluster_from_name(config, config.name);
  }
  used = announce(config.advertise_client_urls, config.listen_client_urls, kDefaultClientUrl) || used;
  if (used && host.ok()) base::log::info("detected default host for advertise", {{"host", *host}});
  if (!host.ok()) base::log::info("failed to detect default host", {{"error", host.status()}});
  if (config.data_dir.empty()) {
    config.data_dir = config.name + ".etcd";
    base::log::warn("'data-dir' was empty; using default", {{"data-dir", config.data_dir}});
  }
}

Status check_start(Config& config) {
  if (Status status = check_cipher_suites(config.cipher_suites); !status.ok()) return status;
  if (Status status = check_listeners(config); !status.ok()) return status;
  if (Status status = check_ports(config); !status.ok()) return status;
  exit_without_descriptors();
  if (config.net_threads > kNetThreadsMax) return invalid("--net-threads must be at most " + std::to_string(kNetThreadsMax));
  if (!config.discovery.endpoints.empty() || !config.discovery_srv.empty() || !config.discovery.v2_url.empty()) {
    return not_yet("bootstrapping by discovery (--discovery-endpoints, --discovery-srv, --discovery)");
  }
  if (Status status = parse_compaction(config); !status.ok()) return status;
  return check_auth_token(config.auth_token);
}

Result<std::string> urls_difference(const Urls& a, const Urls& b, const ResolveHost& resolve) {
  return difference(sorted(a), sorted(b), resolve);
}

Result<UrlsMap> initial_members(const Config& config, const ResolveHost& resolve) {
  Result<UrlsMap> members = parse_urls_map(config.initial_cluster);
  if (!members.ok()) return invalid("error setting up initial cluster: " + std::string(members.status().text()));
  if (!members->contains(config.name)) {
    return invalid("couldn't find local name " + quote(config.name) + " in the initial cluster configuration");
  }
  if (!config.existing_cluster) {
    if (Status match = check_advertised_match(config, *members, resolve); !match.ok()) return match;
  }
  std::set<std::string> seen;
  for (const auto& [name, urls] : *members) {
    for (const Url& url : urls) {
      if (!seen.insert(url.text).second) return invalid("initial cluster " + urls_map_text(*members) + " has duplicate url");
    }
  }
  return members;
}

void exit_after_failed_start(const Config& config, const Status& why) {
  const std::string_view text = why.text();
  if (text.find("include") == std::string_view::npos || text.find("--initial-cluster") == std::string_view::npos) {
    base::log::exit_fatal("discovery failed", {{"error", why}});
  }
  base::log::warn("failed to start", {{"error", why}});
  const bool is_unset = config.initial_cluster == initial_cluster_from_name(config, config.name);
  if (is_unset) base::log::warn("forgot to set --initial-cluster?");
  if (joined(config.advertise_peer_urls) == kDefaultPeerUrl) base::log::warn("forgot to set --initial-advertise-peer-urls?");
  if (is_unset && config.discovery.endpoints.empty()) {
    base::log::warn("V3 discovery settings (i.e., --discovery-token, --discovery-endpoints) are not set");
  }
  base::log::flush_and_exit(1);
}

std::string size_text(uint64_t bytes) {
  constexpr std::array kUnits{"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 10) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) value /= 1000, ++unit;
  char text[48];
  std::snprintf(text, sizeof text, value < 9.95 ? "%.1f %s" : "%.0f %s", value, kUnits[unit]);
  return text;
}

namespace {

void log_limits(const Config& config) {
  if (config.max_request_bytes > kRequestBytesRecommendedMax) {
    base::log::warn("exceeded recommended request limit",
                    {{"max-request-bytes", config.max_request_bytes},
                     {"max-request-size", size_text(config.max_request_bytes)},
                     {"recommended-request-bytes", kRequestBytesRecommendedMax},
                     {"recommended-request-size", size_text(kRequestBytesRecommendedMax)}});
  }
  constexpr std::string_view kName = "v3-applier";
  const int64_t quota = config.quota_backend_bytes;
  if (quota < 0) {
    base::log::info("disabled backend quota", {{"quota-name", kName}, {"quota-size-bytes", quota}});
    return;
  }
  const int64_t bytes = quota == 0 ? kQuotaBytesDefault : quota;
  const std::string size = size_text(static_cast<uint64_t>(bytes));
  if (bytes > kQuotaBytesMax) {
    base::log::warn("quota exceeds the maximum value", {{"quota-name", kName},
                                                        {"quota-size-bytes", bytes},
                                                        {"quota-size", size},
                                                        {"quota-maximum-size-bytes", kQuotaBytesMax},
                                                        {"quota-maximum-size", size_text(kQuotaBytesMax)}});
  }
  base::log::info(quota == 0 ? "enabled backend quota with default value" : "enabled backend quota",
                  {{"quota-name", kName}, {"quota-size-bytes", bytes}, {"quota-size", size}});
}

}  // namespace

void log_start(const Config& c, bool member_initialized, const UrlsMap& members) {
  using base::log::Field;
  const auto list = [](const std::set<std::string>& set) { return std::vector<std::string>(set.begin(), set.end()); };
  const auto text = [](Duration duration) { return duration_text(duration.count()); };
  const auto processors = std::thread::hardware_concurrency();
  const int64_t quota = c.quota_backend_bytes == 0 ? kQuotaBytesDefault : c.quota_backend_bytes;
  const Duration heartbeat = std::chrono::milliseconds(c.heartbeat_ms);
  const int64_t retention = c.auto_compaction_mode == CompactionMode::kPeriodic ? c.auto_compaction_period.count()
                                                                                 : c.auto_compaction_revisions;
  std::string endpoints;
  for (const std::string& endpoint : c.discovery.endpoints) endpoints += (endpoints.empty() ? "" : ",") + endpoint;
  base::log::info(
      "starting an etcd server",
      {{"etcd-version", kVersion},
       {"git-sha", git_sha()},
       {"go-version", compiler_text()},
       {"go-os", os_name()},
       {"go-arch", architecture()},
       {"max-cpu-set", processors},
       {"max-cpu-available", processors},
       {"member-initialized", member_initialized},
       {"name", c.name},
       {"data-dir", c.data_dir},
       {"wal-dir", c.wal_dir},
       {"wal-dir-dedicated", c.wal_dir},
       {"member-dir", c.member_dir()},
       {"force-new-cluster", c.force_new_cluster},
       {"heartbeat-interval", text(heartbeat)},
       {"election-timeout", text(heartbeat * c.election_ticks())},
       {"initial-election-tick-advance", c.initial_election_tick_advance},
       {"snapshot-count", c.snapshot_count},
       {"max-wals", c.max_wals},
       {"max-snapshots", c.max_snapshots},
       {"snapshot-catchup-entries", c.snapshot_catchup_entries},
       {"initial-advertise-peer-urls", texts(c.advertise_peer_urls)},
       {"listen-peer-urls", texts(c.listen_peer_urls)},
       {"advertise-client-urls", texts(c.advertise_client_urls)},
       {"listen-client-urls", texts(c.listen_client_urls)},
       {"listen-metrics-urls", texts(c.listen_metrics_urls)},
       {"local-address", ""},
       {"cors", list(c.cors)},
       {"host-whitelist", list(c.host_whitelist)},
       {"initial-cluster", urls_map_text(members)},
       {"initial-cluster-state", c.initial_cluster_state},
       {"initial-cluster-token", member_initialized ? "" : c.initial_cluster_token},
       {"quota-backend-bytes", quota},
       {"max-request-bytes", c.max_request_bytes},
       {"max-concurrent-streams", c.max_concurrent_streams},
       {"pre-vote", c.pre_vote},
       {"feature-gates", c.feature_gates.text()},
       {"initial-corrupt-check", c.feature_gates.enabled(Feature::kInitialCorruptCheck)},
       {"corrupt-check-time-interval", text(c.corrupt_check_time)},
       {"compact-check-time-interval", text(c.compact_hash_check_time)},
       {"auto-compaction-mode", c.auto_compaction_mode_text},
       Field::duration("auto-compaction-retention", retention),
       Field::duration("auto-compaction-interval", retention),
       {"discovery-token", c.discovery.token},
       {"discovery-endpoints", endpoints},
       {"discovery-dial-timeout", text(c.discovery.dial_timeout)},
       {"discovery-request-timeout", text(c.discovery.request_timeout)},
       {"discovery-keepalive-time", text(c.discovery.keepalive_time)},
       {"discovery-keepalive-timeout", text(c.discovery.keepalive_timeout)},
       {"discovery-insecure-transport", c.discovery.insecure_transport},
       {"discovery-insecure-skip-tls-verify", c.discovery.insecure_skip_tls_verify},
       {"discovery-cert", c.discovery.cert},
       {"discovery-key", c.discovery.key},
       {"discovery-cacert", c.discovery.cacert},
       {"discovery-user", c.discovery.user},
       {"downgrade-check-interval", text(c.downgrade_check_time)},
       {"max-learners", c.max_learners},
       {"v2-deprecation", "write-only"}});
  log_limits(c);
}

}  // namespace server
