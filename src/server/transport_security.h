// What the TLS flags of clients and members become. Source: etcd embed (configureClientListeners, configurePeerListeners).
#pragma once

#include <memory>

#include "base/status.h"
#include "net/tls_policy.h"
#include "server/config.h"

namespace server {

enum class TlsSide { kClients, kMembers };

// Null: no certificate is given, nor to be made. Makes one when --auto-tls asks for it. Errors: files that do not fit.
base::Result<std::shared_ptr<net::TlsPolicy>> open_tls(const Config& config, TlsSide side);

}  // namespace server
