// What the TLS flags of clients and members become. Source: etcd embed (configureClientListeners, configurePeerListeners).
#pragma once

#include <memory>

#include "base/status.h"
#include "net/tls_policy.h"
#include "peer/dialer.h"
#include "server/config.h"

namespace server {

enum class TlsSide { kClients, kMembers };

// Null: no certificate is given, nor to be made. Makes one when --auto-tls asks for it. Errors: files that do not fit.
base::Result<std::shared_ptr<net::TlsPolicy>> open_tls(const Config& config, TlsSide side);

// How we dial other members. `listening`: their open_tls(); without a certificate of ours, members behind https are verified
// all the same. Errors: the trusted CA file cannot be read.
base::Result<peer::DialOptions> dial_options(const Config& config, std::shared_ptr<net::TlsPolicy> listening);

}  // namespace server
