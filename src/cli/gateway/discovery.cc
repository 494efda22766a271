#include "cli/gateway/discovery.h"

#include "base/flags.h"
#include "base/log.h"
#include "net/sys.h"

namespace cli::gateway {

using base::Code;
using base::Result;
using base::Status;

namespace {

struct Found {
  bool tls = false;
  Backend backend;

  std::string url() const { return (tls ? "https://" : "http://") + backend.address(); }
};

std::vector<std::string> urls_of(const std::vector<Found>& found) {
  std::vector<std::string> urls;
  for (const Found& one : found) urls.push_back(one.url());
  return urls;
}

// The name that a certificate has to have is the domain's, whichever host shows it.
asio::awaitable<Status> judge(const Verifier& verifier, Found found) {
  if (!found.tls) co_return Status(Code::kInvalidArgument, base::flags::quote(found.url()) + " is insecure");
  const Status checked = co_await verifier.check(found.backend.host, found.backend.port);
  if (checked.ok()) co_return checked;
  const std::string why = " failed to dial (" + std::string(checked.text()) + ")";
  co_return Status(Code::kUnavailable, base::flags::quote(found.url()) + why);
}

}  // namespace

std::string service_of(bool tls, const std::string& service_name) {
  return std::string(tls ? "etcd-client-ssl" : "etcd-client") + (service_name.empty() ? "" : "-" + service_name);
}

asio::awaitable<Result<std::vector<Backend>>> discover(net::Dns& dns, DiscoveryOptions options, const Verifier& verifier,
                                                       Status unreadable, uint64_t seed) {
  base::Rng rng(seed);
  std::vector<Found> found;
  std::string errors;
  bool any = false;
  for (const bool tls : {true, false}) {
    const std::string name = "_" + service_of(tls, options.service_name) + "._tcp." + options.domain;
    auto records = co_await dns.srv(name);
    if (!records.ok()) {
      errors += (errors.empty() ? "" : " and ") + std::string(records.status().text());
      continue;
    }
    any = true;
    net::order_by_priority(*records, rng);
    for (net::SrvRecord& record : *records) {
      const Rank rank{record.priority, record.weight};
      found.push_back({tls, Backend{std::move(record.target), record.port, rank}});
    }
  }
  if (!any) co_return Status(Code::kUnavailable, "dns lookup errors: " + errors);
  base::log::info("discovered cluster from SRV", {{"srv-server", options.domain}, {"endpoints", urls_of(found)}});

  std::vector<Found> good = options.insecure ? found : std::vector<Found>();
  if (!options.insecure) {
    base::log::info("validating discovered SRV endpoints", {{"srv-server", options.domain}, {"endpoints", urls_of(found)}});
    std::string complaints(unreadable.text());
    for (size_t i = 0; unreadable.ok() && i < found.size(); ++i) {
      const Status judged = co_await judge(verifier, found[i]);
      if (judged.ok()) {
        good.push_back(found[i]);
      } else {
        complaints += (complaints.empty() ? "" : ",") + std::string(judged.text());
      }
    }
    if (complaints.empty()) {
      base::log::info("using validated discovered SRV endpoints",
                      {{"srv-server", options.domain}, {"endpoints", urls_of(good)}});
    } else {
      base::log::warn("failed to validate discovered endpoints",
                      {{"srv-server", options.domain}, {"endpoints", urls_of(good)}, {"error", complaints}});
    }
  }
  std::vector<Backend> backends;
  for (Found& one : good) backends.push_back(std::move(one.backend));
  co_return std::move(backends);
}

}  // namespace cli::gateway
