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
  options.prefer_http2 = !members;  // members talk HTTP/1.1
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
    self_signed.prefer_http2 = options.prefer_http2;
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

namespace {

// Of the addresses other members know us by, the first that is one and not of this machine alone.
std::string local_address(const Config& config) {
  if (!config.feature_gates.enabled(Feature::kSetMemberLocalAddr)) return {};
  base::log::info("searching for a suitable member local address in AdvertisePeerURLs",
                  {{"advertise-peer-urls", texts(config.advertise_peer_urls)}});
  for (const Url& url : config.advertise_peer_urls) {
    asio::error_code is_name;
    const asio::ip::address address = asio::ip::make_address(url.hostname(), is_name);
    if (is_name || address.is_loopback() || address.is_unspecified()) continue;
    base::log::info("setting member local address", {{"LocalAddr", address.to_string()}});
    return address.to_string();
  }
  base::log::warn("unable to set a member local address due to lack of suitable local addresses",
                  {{"advertise-peer-urls", texts(config.advertise_peer_urls)}});
  return {};
}

}  // namespace

base::Result<peer::DialOptions> dial_options(const Config& config, std::shared_ptr<net::TlsPolicy> listening) {
  peer::DialOptions out;
  out.local_address = local_address(config);
  out.tls = std::move(listening);
  if (out.tls != nullptr) return out;
  net::TlsOptions options;
  options.trusted_ca_file = config.peer_tls.trusted_ca_file;
  base::Result<std::shared_ptr<net::TlsPolicy>> policy = net::TlsPolicy::open(options);
  if (!policy.ok()) return policy.status();
  out.tls = std::move(*policy);
  return out;
}

}  // namespace server
