// The client's side of TLS from files, as etcd's tools take it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace asio::ssl {
class context;
}

namespace cli {

struct TlsFiles {
  std::string certificate, key, trusted_ca;
  std::string server_name;            // checked instead of the endpoint's host
  bool insecure_transport = true;     // false: TLS even when no file is given
  bool insecure_skip_verify = false;
};

// What the first endpoint's scheme and the files ask for; null: clear text. Errors are Go's:
// `open x: no such file or directory`, `KeyFile and CertFile must both be present[key: , cert: x]`.
base::Result<std::shared_ptr<asio::ssl::context>> make_tls_context(const TlsFiles& files, const std::string& first_endpoint);

// The endpoints with the scheme that says what the first one decided: etcd's client has one kind of transport for all.
std::vector<std::string> with_scheme(const std::vector<std::string>& endpoints, bool tls);

}  // namespace cli
