// Backends out of SRV records: _etcd-client-ssl._tcp.DOMAIN and _etcd-client._tcp.DOMAIN (with -NAME behind, if one is given).
// Source of behaviour: etcd server/etcdmain/util.go, client/pkg/srv. Unlike there the certificates are really looked at.
#pragma once

#include <string>
#include <vector>

#include "base/rng.h"
#include "base/status.h"
#include "cli/gateway/proxy.h"

namespace cli::gateway {

struct DiscoveryOptions {
  std::string domain;
  std::string service_name;
  bool insecure = false;  // clear text is welcome, certificates are not looked at
};

// "etcd-client", "etcd-client-ssl", "etcd-client-ssl-blue".
std::string service_of(bool tls, const std::string& service_name);

// By priority; the log tells of those left out. Error: no record at all, `dns lookup errors: X and Y`.
// `verifier` without a policy: the CA file could not be read (`unreadable` says why) and no backend passes.
asio::awaitable<base::Result<std::vector<Backend>>> discover(net::Dns& dns, DiscoveryOptions options, const Verifier& verifier,
                                                             base::Status unreadable, uint64_t seed);

}  // namespace cli::gateway
