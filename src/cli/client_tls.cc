#include "cli/client_tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509err.h>

#include <asio/ssl/context.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace cli {
namespace {

using base::Code;
using base::Result;
using base::Status;

constexpr std::streamoff kFileBytesMax = 4 << 20;

Status invalid(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

Result<std::string> read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return invalid("open " + path + ": " + (errno == EACCES ? "permission denied" : "no such file or directory"));
  file.seekg(0, std::ios::end);
  if (file.tellg() > kFileBytesMax) return invalid("read " + path + ": file too large");
  file.seekg(0);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return invalid("read " + path + ": is a directory");
  return text.str();
}

Status load_pair(SSL_CTX* context, const TlsFiles& files) {
  const Result<std::string> certificate = read_file(files.certificate);
  if (!certificate.ok()) return certificate.status();
  const Result<std::string> key = read_file(files.key);
  if (!key.ok()) return key.status();
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1) {
    return invalid("tls: failed to find any PEM data in certificate input");
  }
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) == 1) return Status();
  const bool mismatch = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH;
  ERR_clear_error();
  return invalid(mismatch ? "tls: private key does not match public key" : "tls: failed to find any PEM data in key input");
}

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
  if (files.certificate.empty() != files.key.empty()) {
    return invalid("KeyFile and CertFile must both be present[key: " + files.key + ", cert: " + files.certificate + "]");
  }
  if (!files.certificate.empty()) {
    const Status loaded = load_pair(native, files);
    if (!loaded.ok()) return loaded;
  }
  if (files.trusted_ca.empty()) {
    SSL_CTX_set_default_verify_paths(native);
  } else {
    const Result<std::string> bundle = read_file(files.trusted_ca);
    if (!bundle.ok()) return bundle.status();
    // A file without certificates trusts nobody, as in Go.
    if (SSL_CTX_load_verify_locations(native, files.trusted_ca.c_str(), nullptr) != 1) ERR_clear_error();
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
