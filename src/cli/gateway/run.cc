// The gateway's start, in etcd's order: discover, look at addresses, listen, serve. Source of behaviour: etcd
// server/etcdmain/gateway.go.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <random>

#include "base/log.h"
#include "cli/gateway/discovery.h"
#include "cli/gateway/gateway_main.h"
#include "cli/gateway/proxy.h"
#include "net/sys.h"
#include "server/notify.h"
#include "server/url.h"

namespace cli::gateway {
namespace {

using base::Code;
using base::Result;
using base::Status;

std::string without_scheme(const std::string& endpoint) {
  const Result<server::Url> url = server::parse_url(endpoint);
  return url.ok() && !url->host.empty() ? url->host : endpoint;
}

std::optional<uint16_t> port_of(const std::string& text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

class Gateway {
 public:
  explicit Gateway(const Options& options) : options_(options), signals_(loop_) {
    std::random_device entropy;
    seed_ = static_cast<uint64_t>(entropy()) << 32 | entropy();
  }

  int run();

 private:
  asio::awaitable<void> live();
  asio::awaitable<int> open();
  asio::awaitable<std::string> find_backends();
  asio::awaitable<std::string> check_addresses();
  std::string backends_of_flags();

  const Options options_;
  uint64_t seed_ = 0;
  base::RealClock clock_;
  asio::io_context loop_{1};
  asio::signal_set signals_;
  std::unique_ptr<net::Dns> dns_;
  std::unique_ptr<Verifier> verifier_;
  std::vector<Backend> backends_;
  server::HostPort listen_at_;
  std::unique_ptr<Proxy> proxy_;
  int code_ = 0;
  int stopped_by_ = 0;
};

// What is wrong goes to stderr here and to stdout below, as etcd has it; empty: nothing.
asio::awaitable<std::string> Gateway::find_backends() {
  if (options_.discovery_srv.empty()) co_return std::string();
  net::TlsOptions tls;
  tls.trusted_ca_file = options_.trusted_ca_file;
  auto policy = net::TlsPolicy::open(tls);
  const bool verifies = policy.ok() && !options_.insecure_discovery;
  std::shared_ptr<net::TlsPolicy> used;
  if (verifies) used = *policy;
  verifier_ = std::make_unique<Verifier>(loop_, *dns_, used, options_.discovery_srv);
  DiscoveryOptions discovery;
  discovery.domain = options_.discovery_srv;
  discovery.service_name = options_.discovery_srv_name;
  discovery.insecure = options_.insecure_discovery;
  Result<std::vector<Backend>> found = co_await discover(*dns_, discovery, *verifier_, policy.status(), seed_);
  if (!found.ok()) co_return std::string(found.status().text());
  backends_ = std::move(*found);
  co_return std::string();
}

std::string Gateway::backends_of_flags() {
  for (const std::string& endpoint : options_.endpoints) {
    const std::string address = without_scheme(endpoint);
    const Result<server::HostPort> parts = server::split_host_port(address);
    const std::optional<uint16_t> port = parts.ok() ? port_of(parts->port) : std::nullopt;
    if (!port) return "error parsing endpoint \"" + address + "\"";
    backends_.push_back({parts->host, *port, Rank()});
  }
  return {};
}

// Everything can be looked up, and no backend is the gateway itself.
asio::awaitable<std::string> Gateway::check_addresses() {
  const Result<server::HostPort> parts = server::split_host_port(options_.listen_addr);
  if (!parts.ok()) co_return "failed to validate listen address: " + options_.listen_addr + "\n";
  listen_at_ = *parts;
  const std::string listen_host = listen_at_.host;
  const auto ours = co_await dns_->host(listen_host);
  if (!ours.ok()) co_return "failed to resolve listen host: " + listen_host + "\n";
  for (const Backend& backend : backends_) {
    const auto theirs = co_await dns_->host(backend.host);
    if (!theirs.ok()) co_return "failed to resolve endpoint host: " + backend.host + "\n";
    const std::string port = std::to_string(backend.port);
    if (port != listen_at_.port) continue;
    for (const std::string& address : *theirs) {
      if (std::ranges::count(*ours, address) == 0) continue;
      co_return "SRV or endpoint (" + backend.host + ":" + port + "->" + address + ":" + port +
          ") should not resolve to the gateway listen addr (" + options_.listen_addr + ")\n";
    }
  }
  if (backends_.empty()) co_return std::string("no endpoints found\n");
  co_return std::string();
}

// Says on stderr, behind what was logged, why there is no going on; the exit code.
int fail(std::string_view why) {
  base::log::flush();
  (void)std::fprintf(stderr, "%.*s\n", static_cast<int>(why.size()), why.data());
  return 1;
}

// The exit code, if there is no going on.
asio::awaitable<int> Gateway::open() {
  Result<std::unique_ptr<net::Dns>> dns = net::Dns::open(loop_);
  if (!dns.ok()) co_return fail(dns.status().text());
  dns_ = std::move(*dns);
  std::string wrong = co_await find_backends();
  if (!wrong.empty()) co_return fail(wrong);
  if (backends_.empty()) {
    // Those of the flags nobody vouches for.
    verifier_ = std::make_unique<Verifier>(loop_, *dns_, nullptr, "");
    wrong = backends_of_flags();
  }
  if (wrong.empty()) wrong = co_await check_addresses();
  if (!wrong.empty()) {
    (void)std::fputs(wrong.c_str(), stdout);
    (void)std::fflush(stdout);
    co_return 1;
  }
  const std::optional<uint16_t> port = port_of(listen_at_.port);
  Result<std::unique_ptr<net::Listener>> listener =
      port ? net::Listener::tcp(loop_, listen_at_.host, *port)
           : Status(Code::kInvalidArgument, "listen tcp: address " + listen_at_.port + ": invalid port");
  if (!listener.ok()) co_return fail(listener.status().text());
  proxy_ = std::make_unique<Proxy>(loop_, clock_, *dns_, *verifier_, backends_, options_.retry_delay, seed_);
  base::log::info("notifying init daemon");
  (void)server::notify_service_manager("READY=1");
  base::log::info("successfully notified init daemon");
  proxy_->start(std::move(*listener));
  co_return 0;
}

asio::awaitable<void> Gateway::live() {
  code_ = co_await open();
  if (code_ != 0) {
    loop_.stop();
    co_return;
  }
  signals_.add(SIGINT);
  signals_.add(SIGTERM);
  const auto [error, signal] = co_await signals_.async_wait(net::kAwait);
  stopped_by_ = signal;
  signals_.clear();  // The next one ends the process at once.
  base::log::info("received signal; shutting down", {{"signal", signal == SIGINT ? "interrupt" : "terminated"}});
  (void)server::notify_service_manager("STOPPING=1");
  co_await proxy_->drain();
  base::log::info("closed etcd gateway");
  loop_.stop();
}

int Gateway::run() {
  net::spawn(loop_.get_executor(), "gateway", live());
  loop_.run();
  base::log::flush();
  if (stopped_by_ == 0 || getpid() == 1) return code_;
  // As etcd's: dies of the signal, so that the parent sees it.
  std::signal(stopped_by_, SIG_DFL);
  raise(stopped_by_);
  return code_;
}

}  // namespace

int run(const Options& options, const std::vector<std::string>& command_line) {
  (void)base::log::configure({});
  base::log::info("Running: ", {{"args", command_line}});
  net::raise_descriptor_limit();
  return Gateway(options).run();
}

}  // namespace cli::gateway
