#include "cli/client_tls.h"

#include <openssl/ssl.h>

#include <asio/ssl/context.hpp>

#include "net/tls_policy.h"

namespace cli {
namespace {

using base::Result;
using base::Status;

enum class Scheme { kDropTls, kRequireTls, kOptional };

Scheme scheme_of(std::string_view endpoint) {
  if (endpoint.starts_with("https://") || endpoint.starts_with("unixs:")) return Scheme::kRequireTls;
  if (endpoint.starts_with("http://")) return Scheme::kDropTls;
  return Scheme::kOptional;
}

}  // namespace

Result<std::shared_ptr<asio::ssl::context>> make_tls_context(const TlsFiles& files, const std::string& first_endpoint) {
  const bool named =
      !files.certificate.empty() || !files.key.empty() || !files.trusted_ca.empty() || !files.server_name.empty();
  const Scheme scheme = scheme_of(first_endpoint);
  std::shared_ptr<asio::ssl::context> context;
  const bool wanted = named || !files.insecure_transport || files.insecure_skip_verify || scheme == Scheme::kRequireTls;
  if (!wanted) return context;
  context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  net::verify_as_go(*context);
  if (!files.certificate.empty() || !files.key.empty()) {
    const Status loaded = net::load_key_pair(*context, files.certificate, files.key);
    if (!loaded.ok()) return loaded;
  }
  if (files.trusted_ca.empty()) {
    SSL_CTX_set_default_verify_paths(native);
  } else if (const Status loaded = net::load_trusted(*context, files.trusted_ca); !loaded.ok()) {
    return loaded;
  }
  SSL_CTX_set_verify(native, files.insecure_skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (scheme == Scheme::kDropTls) context.reset();  // the files had to be right nevertheless
  return context;
}

std::vector<std::string> with_scheme(const std::vector<std::string>& endpoints, bool tls) {
  std::vector<std::string> out;
  for (const std::string& endpoint : endpoints) {
    std::string_view rest = endpoint;
    std::string_view scheme = tls ? "https://" : "";
    for (const std::string_view known : {"https://", "http://"}) {
      if (!rest.starts_with(known)) continue;
      rest.remove_prefix(known.size());
      scheme = tls ? "https://" : "http://";
      break;
    }
    for (const std::string_view known : {"unixs:", "unix:"}) {
      if (!rest.starts_with(known)) continue;
      rest.remove_prefix(known.size());
      scheme = tls ? "unixs:" : "unix:";
      break;
    }
    if (rest.find("://") != std::string_view::npos) scheme = "";
    out.push_back(std::string(scheme) + std::string(rest));
  }
  return out;
}

}  // namespace cli
