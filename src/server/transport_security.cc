#include "server/transport_security.h"

#include "base/log.h"

namespace server {
namespace {

using base::Status;

int version_minor(const std::string& text) { return text == "TLS1.3" ? 3 : text == "TLS1.2" ? 2 : 0; }

std::vector<std::string> hosts_of(const Config& config, TlsSide side) {
  std::vector<std::string> hosts;
  for (const Url& url : side == TlsSide::kMembers ? config.listen_peer_urls : config.listen_client_urls) {
    hosts.push_back(url.hostname());
  }
  if (side == TlsSide::kMembers) return hosts;
  for (const Url& url : config.listen_client_http_urls) hosts.push_back(url.hostname());
  return hosts;
}

}  // namespace

base::Result<std::shared_ptr<net::TlsPolicy>> open_tls(const Config& config, TlsSide side) {
  const bool members = side == TlsSide::kMembers;
  const TlsConfig& from = members ? config.peer_tls : config.client_tls;
  net::TlsOptions options;
  options.cert_file = from.cert_file;
  options.key_file = from.key_file;
  options.client_cert_file = from.client_cert_file;
  options.client_key_file = from.client_key_file;
  options.trusted_ca_file = from.trusted_ca_file;
  options.crl_file = from.crl_file;
  options.require_client_cert = from.client_cert_auth;
  options.check_client_names = members && !from.skip_client_san_verification;  // etcd asks members only
  options.allowed_cns = from.allowed_cns;
  options.allowed_hostnames = from.allowed_hostnames;
  options.cipher_suites = config.cipher_suites;
  options.version_min = version_minor(config.tls_min_version);
  options.version_max = version_minor(config.tls_max_version);
  const bool given = !from.cert_file.empty() || !from.key_file.empty();
  if (given && from.auto_tls) {
    base::log::warn(members ? "ignoring peer auto TLS since certs given" : "ignoring client auto TLS since certs given");
  }
  if (!given) {
    if (!from.auto_tls) return std::shared_ptr<net::TlsPolicy>();
    const std::string dir = config.data_dir + (members ? "/fixtures/peer" : "/fixtures/client");
    const Status made = net::make_self_signed(dir, hosts_of(config, side), config.self_signed_cert_validity_years);
    if (!made.ok()) {
      base::log::error(members ? "failed to get peer self-signed certs" : "failed to get client self-signed certs",
                       {{"error", made}});
      return made;
    }
    // Everything else about certificates is forgotten with it, as in etcd: it signs itself and nobody checks it.
    net::TlsOptions self_signed;
    self_signed.cert_file = self_signed.client_cert_file = dir + "/cert.pem";
    self_signed.key_file = self_signed.client_key_file = dir + "/key.pem";
    self_signed.skip_verify = true;
    self_signed.cipher_suites = options.cipher_suites;
    self_signed.version_min = options.version_min;
    self_signed.version_max = options.version_max;
    options = std::move(self_signed);
  }
  base::log::info(members ? "starting with peer TLS" : "starting with client TLS",
                  {{"tls-info", "cert = " + options.cert_file + ", key = " + options.key_file +
                                    ", client-cert=" + options.client_cert_file + ", client-key=" + options.client_key_file +
                                    ", trusted-ca = " + options.trusted_ca_file + ", client-cert-auth = " +
                                    (options.require_client_cert ? "true" : "false") + ", crl-file = " + options.crl_file},
                   {"cipher-suites", config.cipher_suites}});
  return net::TlsPolicy::open(options);
}

}  // namespace server
