#include "net/tls_policy.h"

#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509err.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/log.h"
#include "base/verify.h"
#include "net/tls.h"

namespace net {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr std::streamoff kFileBytesMax = 4 << 20;
constexpr long kClientCertificateBytesMax = 32 << 10;  // with its chain; thousands may send one before they are known
constexpr uint64_t kValidityYearsMax = 1000;
constexpr int kSecurityBitsMin = 112;  // of OpenSSL's security level 2

template <class T, void (*release)(T*)>
struct Free {
  void operator()(T* object) const { release(object); }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY, EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509, X509_free>>;
using Crl = std::unique_ptr<X509_CRL, Free<X509_CRL, X509_CRL_free>>;
using Number = std::unique_ptr<BIGNUM, Free<BIGNUM, BN_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO, BIO_free_all>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Free<X509_STORE_CTX, X509_STORE_CTX_free>>;

Status invalid(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

std::string errno_text() {
  std::string text = std::strerror(errno);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

Result<std::string> read_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return invalid("open " + path + ": " + errno_text());
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return invalid("read " + path + ": is a directory");
  file.seekg(0, std::ios::end);
  if (file.tellg() > kFileBytesMax) return invalid("read " + path + ": file too large");
  file.seekg(0);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return invalid("read " + path + ": " + errno_text());
  return text.str();
}

Bio memory(const std::string& bytes) {
  Bio bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  VERIFY(bio != nullptr);
  return bio;
}

// The content of a PEM block; nullopt: not base64.
std::optional<std::string> decode_base64(std::string_view text) {
  std::string packed;
  for (const char c : text) {
    if (c != '\n' && c != '\r' && c != ' ' && c != '\t') packed += c;
  }
  const size_t padding = packed.ends_with("==") ? 2 : packed.ends_with('=') ? 1 : 0;
  if (packed.size() % 4 != 0 || packed.find('=') < packed.size() - padding) return std::nullopt;
  std::string bytes(packed.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(packed.data()), static_cast<int>(packed.size()));
  if (size != static_cast<int>(bytes.size())) return std::nullopt;
  bytes.erase(bytes.size() - padding);
  return bytes;
}

// Takes the next well-formed block from `pem`, of whatever kind, as Go's pem.Decode does: what is no block, and blocks whose
// lines are wrong, are passed over. nullopt: no more.
std::optional<std::string> next_pem_block(std::string_view& pem) {
  constexpr std::string_view kBegin = "-----BEGIN ", kEnd = "\n-----END ", kDashes = "-----";
  const auto line_of = [](std::string_view text) { return text.substr(0, text.find('\n')); };
  const auto trimmed = [](std::string_view line) { return line.substr(0, line.find_last_not_of(" \t\r") + 1); };
  for (;;) {
    const size_t end = pem.find(kEnd);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view before = pem.substr(0, end + 1);
    const std::string_view last = line_of(pem.substr(end + kEnd.size()));
    const size_t begin = before.rfind(kBegin);
    pem.remove_prefix(end + kEnd.size());
    if (begin == std::string_view::npos || (begin > 0 && before[begin - 1] != '\n')) continue;
    std::string_view body = before.substr(begin + kBegin.size());
    const std::string_view kind = trimmed(line_of(body));  // with the dashes after it
    if (!kind.ends_with(kDashes) || trimmed(last) != kind) continue;
    body.remove_prefix(std::min(line_of(body).size() + 1, body.size()));
    while (!body.empty() && line_of(body).find(':') != std::string_view::npos) {
      body.remove_prefix(std::min(line_of(body).size() + 1, body.size()));
    }
    if (std::optional<std::string> bytes = decode_base64(body)) return bytes;
  }
}

std::string serial_bytes(const ASN1_INTEGER* serial) {
  const Number number(ASN1_INTEGER_to_BN(serial, nullptr));
  if (number == nullptr) return {};
  std::string out(static_cast<size_t>(BN_num_bytes(number.get())), '\0');
  BN_bn2bin(number.get(), reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

// What Go offers and takes, in its order. OpenSSL's own lists are longer: RSA key exchange, SHA-224, finite fields.
constexpr const char* kCipherSuites13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kCipherSuites =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
    "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA";
constexpr const char* kGroups = "X25519:P-256:P-384:P-521";
constexpr const char* kSignatures =
    "RSA-PSS+SHA256:ECDSA+SHA256:ed25519:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512:ECDSA+SHA384:"
    "ECDSA+SHA512";

void set_algorithms(SSL_CTX* context) {
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  VERIFY(SSL_CTX_set_ciphersuites(context, kCipherSuites13) == 1);
  VERIFY(SSL_CTX_set1_groups_list(context, kGroups) == 1);
  VERIFY(SSL_CTX_set1_sigalgs_list(context, kSignatures) == 1);
}

// Go's names are the registry's, but for two old spellings. TLS 1.3's suites are not to be chosen, as in Go.
void set_cipher_suites(SSL_CTX* context, const std::vector<std::string>& suites) {
  if (suites.empty()) {
    SSL_CTX_set_cipher_list(context, kCipherSuites);
    return;
  }
  std::string list;
  for (std::string suite : suites) {
    if (suite.ends_with("CHACHA20_POLY1305")) suite += "_SHA256";
    const char* name = OPENSSL_cipher_name(suite.c_str());
    if (name == nullptr || std::strcmp(name, "(NONE)") == 0 || suite.find("_WITH_") == std::string::npos) continue;
    list += (list.empty() ? "" : ":") + std::string(name);
  }
  if (list.empty() || SSL_CTX_set_cipher_list(context, list.c_str()) != 1) {
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);  // nothing is left of TLS 1.2
  }
  ERR_clear_error();
}

int protocol_version(int minor) { return minor == 0 ? 0 : minor == 3 ? TLS1_3_VERSION : TLS1_2_VERSION; }

bool is_allowed(X509* certificate, const TlsOptions& options) {
  char name[256];
  const int size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
  const std::string common_name = size > 0 ? std::string(name, static_cast<size_t>(size)) : std::string();
  const auto has_name = [&](const std::string& host) {
    return X509_check_ip_asc(certificate, host.c_str(), 0) == 1 ||
           X509_check_host(certificate, host.c_str(), host.size(), X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) == 1;
  };
  if (!options.allowed_cns.empty()) return std::ranges::count(options.allowed_cns, common_name) > 0;
  return options.allowed_hostnames.empty() || std::ranges::any_of(options.allowed_hostnames, has_name);
}

// The signature's digest and the key are of OpenSSL's security level 2.
bool is_strong(X509* certificate) {
  int signature_bits = 0;
  return EVP_PKEY_get_security_bits(X509_get0_pubkey(certificate)) >= kSecurityBitsMin &&
         X509_get_signature_info(certificate, nullptr, nullptr, &signature_bits, nullptr) == 1 &&
         signature_bits >= kSecurityBitsMin;
}

const SSL* connection_of(X509_STORE_CTX* chain) {
  return static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
}

// Whether a certificate we trust may sign others: OpenSSL verifies it as the end of a chain of its own, with the time, purpose
// and strength that `chain` asks for. Constraints on names rule it out: they would have to be held against the leaf.
bool is_usable_authority(X509_STORE_CTX* chain, X509* authority) {
  constexpr int kIsAuthority = 1;  // X509_check_purpose gives more for what only old software takes for one
  const int purpose = SSL_is_server(connection_of(chain)) == 1 ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER;
  if (X509_check_purpose(authority, purpose, 1) != kIsAuthority) return false;
  if (X509_get_ext_by_NID(authority, NID_name_constraints, -1) >= 0) return false;
  const StoreContext above(X509_STORE_CTX_new());
  if (above == nullptr || X509_STORE_CTX_init(above.get(), X509_STORE_CTX_get0_store(chain), authority, nullptr) != 1) {
    return false;
  }
  X509_VERIFY_PARAM* const asked = X509_STORE_CTX_get0_param(chain);
  X509_VERIFY_PARAM* const limits = X509_STORE_CTX_get0_param(above.get());
  X509_VERIFY_PARAM_set_auth_level(limits, X509_VERIFY_PARAM_get_auth_level(asked));
  return X509_VERIFY_PARAM_set_flags(limits, X509_VERIFY_PARAM_get_flags(asked)) == 1 && X509_verify_cert(above.get()) == 1;
}

// To OpenSSL a leaf that is called like the authority that signed it looks signed by itself, and it looks no further. Go goes
// by the signature. What is asked of a leaf OpenSSL looks at all the same; who signed it is what is looked at here.
bool is_signed_by_namesake(X509_STORE_CTX* chain) {
  X509* const leaf = X509_STORE_CTX_get0_cert(chain);
  if (!is_strong(leaf)) return false;  // OpenSSL takes it for an anchor, whose signature it does not look at.
  STACK_OF(X509)* namesakes = X509_STORE_CTX_get1_certs(chain, X509_get_issuer_name(leaf));
  bool found = false;
  for (int i = 0; i < sk_X509_num(namesakes) && !found; ++i) {
    X509* const authority = sk_X509_value(namesakes, i);
    found = X509_verify(leaf, X509_get0_pubkey(authority)) == 1 && is_usable_authority(chain, authority);
  }
  sk_X509_pop_free(namesakes, X509_free);
  ERR_clear_error();
  return found;
}

// Called by OpenSSL at each step of a verification. Overrules one finding, and hands all others to who else listens.
int step_of_verification(int good, X509_STORE_CTX* chain) {
  if (good == 0 && X509_STORE_CTX_get_error(chain) == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT && is_signed_by_namesake(chain)) {
    X509_STORE_CTX_set_error(chain, X509_V_OK);
    return 1;
  }
  const SSL_verify_cb listener = SSL_get_verify_callback(connection_of(chain));
  return listener == nullptr ? good : listener(good, chain);
}

// OpenSSL's own verification, then the list of who may.
int verify_chain(X509_STORE_CTX* chain, void* options) {
  X509_STORE_CTX_set_verify_cb(chain, step_of_verification);
  if (const int verified = X509_verify_cert(chain); verified <= 0) return verified;
  const auto* allowed = static_cast<const TlsOptions*>(options);
  if (allowed == nullptr || is_allowed(X509_STORE_CTX_get0_cert(chain), *allowed)) return 1;
  X509_STORE_CTX_set_error(chain, X509_V_ERR_CERT_REJECTED);
  return 0;
}

}  // namespace

Status load_key_pair(asio::ssl::context& context, const std::string& cert_file, const std::string& key_file) {
  if (cert_file.empty() || key_file.empty()) {
    return invalid("KeyFile and CertFile must both be present[key: " + key_file + ", cert: " + cert_file + "]");
  }
  const Result<std::string> certificate = read_file(cert_file);
  if (!certificate.ok()) return certificate.status();
  const Result<std::string> key = read_file(key_file);
  if (!key.ok()) return key.status();
  ERR_clear_error();
  SSL_CTX* native = context.native_handle();
  if (SSL_CTX_use_certificate_chain_file(native, cert_file.c_str()) != 1) {
    ERR_clear_error();
    return invalid("tls: failed to find any PEM data in certificate input");
  }
  if (SSL_CTX_use_PrivateKey_file(native, key_file.c_str(), SSL_FILETYPE_PEM) == 1) return Status();
  const bool mismatch = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH;
  ERR_clear_error();
  return invalid(mismatch ? "tls: private key does not match public key" : "tls: failed to find any PEM data in key input");
}

Status load_trusted(asio::ssl::context& context, const std::string& ca_file) {
  const Result<std::string> bundle = read_file(ca_file);
  if (!bundle.ok()) return bundle.status();
  SSL_CTX* native = context.native_handle();
  std::string_view left = *bundle;
  while (const std::optional<std::string> block = next_pem_block(left)) {
    const auto* at = reinterpret_cast<const unsigned char*>(block->data());
    const Certificate certificate(d2i_X509(nullptr, &at, static_cast<long>(block->size())));
    ERR_clear_error();
    if (certificate == nullptr) return invalid("x509: malformed certificate");
    if (at != reinterpret_cast<const unsigned char*>(block->data() + block->size())) return invalid("x509: trailing data");
    (void)X509_STORE_add_cert(SSL_CTX_get_cert_store(native), certificate.get());
    (void)SSL_CTX_add_client_CA(native, certificate.get());
  }
  ERR_clear_error();
  return Status();
}

void verify_as_go(asio::ssl::context& context, const TlsOptions* allowed) {
  SSL_CTX* const native = context.native_handle();
  VERIFY(X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(native), X509_V_FLAG_PARTIAL_CHAIN) == 1);
  SSL_CTX_set_cert_verify_callback(native, verify_chain, const_cast<TlsOptions*>(allowed));
}

// --- TlsMaterial ------------------------------------------------------------------------------------------------------------

TlsMaterial::TlsMaterial(const TlsOptions& options)
    : options_(options), server_(asio::ssl::context::tls_server), client_(asio::ssl::context::tls_client) {}

Status TlsMaterial::load_common(asio::ssl::context& context, const std::string& cert_file, const std::string& key_file) {
  SSL_CTX* native = context.native_handle();
  SSL_CTX_set_min_proto_version(native, protocol_version(options_.version_min));
  SSL_CTX_set_max_proto_version(native, protocol_version(options_.version_max));
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  set_algorithms(native);
  set_cipher_suites(native, options_.cipher_suites);
  verify_as_go(context, &options_);
  if (!options_.trusted_ca_file.empty()) {
    if (Status loaded = load_trusted(context, options_.trusted_ca_file); !loaded.ok()) return loaded;
  }
  return cert_file.empty() && key_file.empty() ? Status() : load_key_pair(context, cert_file, key_file);
}

Status TlsMaterial::load() {
  if (options_.client_cert_file.empty() != options_.client_key_file.empty()) {
    return invalid("ClientKeyFile and ClientCertFile must both be present or both absent: key: " + options_.client_key_file +
                   ", cert: " + options_.client_cert_file + "]");
  }
  if (Status loaded = load_common(server_, options_.cert_file, options_.key_file); !loaded.ok()) return loaded;
  const bool other = !options_.client_cert_file.empty();
  Status loaded = load_common(client_, other ? options_.client_cert_file : options_.cert_file,
                              other ? options_.client_key_file : options_.key_file);
  if (!loaded.ok()) return loaded;

  const bool require = options_.require_client_cert || !options_.trusted_ca_file.empty();
  SSL_CTX* const native = server_.native_handle();
  SSL_CTX_set_verify(native, require ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE, nullptr);
  if (require && options_.trusted_ca_file.empty()) SSL_CTX_set_default_verify_paths(native);
  constexpr unsigned char kSessionContext[] = "etcd";
  SSL_CTX_set_session_id_context(native, kSessionContext, sizeof kSessionContext - 1);
  SSL_CTX_set_max_cert_list(native, kClientCertificateBytesMax);
  SSL_CTX_set_num_tickets(native, 1);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);  // A client resumes by its ticket; we keep nothing of it.
  set_alpn_server(server_, options_.prefer_http2);

  if (options_.trusted_ca_file.empty()) SSL_CTX_set_default_verify_paths(client_.native_handle());
  SSL_CTX_set_verify(client_.native_handle(), options_.skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  return options_.crl_file.empty() ? Status() : load_revoked();
}

std::optional<std::string> TlsMaterial::revoked_serial(const X509* certificate) const {
  std::string serial = serial_bytes(X509_get0_serialNumber(certificate));
  if (!revoked_.contains(serial)) return std::nullopt;
  return serial;
}

Status TlsMaterial::load_revoked() {
  const Result<std::string> bytes = read_file(options_.crl_file);
  if (!bytes.ok()) return bytes.status();
  const auto* at = reinterpret_cast<const unsigned char*>(bytes->data());
  Crl crl(d2i_X509_CRL(nullptr, &at, static_cast<long>(bytes->size())));
  if (crl == nullptr) crl.reset(PEM_read_bio_X509_CRL(memory(*bytes).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (crl == nullptr) return invalid("x509: malformed crl (" + options_.crl_file + ")");
  STACK_OF(X509_REVOKED)* entries = X509_CRL_get_REVOKED(crl.get());
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i) {
    revoked_.insert(serial_bytes(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i))));
  }
  return Status();
}

// --- TlsPolicy --------------------------------------------------------------------------------------------------------------

Result<std::shared_ptr<TlsPolicy>> TlsPolicy::open(const TlsOptions& options) {
  std::shared_ptr<TlsPolicy> policy(new TlsPolicy(options));
  policy->marks_ = policy->look();
  auto material = std::make_shared<TlsMaterial>(options);
  if (Status loaded = material->load(); !loaded.ok()) return loaded;
  policy->material_ = std::move(material);
  return policy;
}

TlsPolicy::Marks TlsPolicy::look() const {
  Marks marks{};
  size_t i = 0;
  for (const std::string* path : {&options_.cert_file, &options_.key_file, &options_.client_cert_file,
                                  &options_.client_key_file, &options_.trusted_ca_file, &options_.crl_file}) {
    FileMark& mark = marks[i++];
    struct stat found{};
    if (path->empty() || stat(path->c_str(), &found) != 0) continue;
    mark.modified_ns = static_cast<int64_t>(found.st_mtim.tv_sec) * 1'000'000'000 + found.st_mtim.tv_nsec;
    mark.size = found.st_size;
    mark.inode = found.st_ino;
  }
  return marks;
}

std::shared_ptr<const TlsMaterial> TlsPolicy::current() {
  const Marks now = look();
  if (now == marks_) return material_;
  marks_ = now;
  auto fresh = std::make_shared<TlsMaterial>(options_);
  if (const Status loaded = fresh->load(); !loaded.ok()) {
    base::log::warn("failed to read changed TLS files; those read before stay in use",
                    {{"cert-file", options_.cert_file}, {"key-file", options_.key_file}, {"error", loaded}});
    return material_;
  }
  material_ = std::move(fresh);
  return material_;
}

// --- self-signed certificates -----------------------------------------------------------------------------------------------

namespace {

Status openssl_failed(const char* what) {
  ERR_clear_error();
  return Status(Code::kInternal, std::string(what) + " failed");
}

bool add_extension(X509* certificate, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  if (extension == nullptr) return false;
  const bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

std::string alternative_names(const std::vector<std::string>& hosts) {
  std::string names;
  for (const std::string& host : hosts) {
    if (host.empty() || host.find_first_of(",:\n") != std::string::npos) {
      asio::error_code not_an_address;
      (void)asio::ip::make_address(host, not_an_address);
      if (host.empty() || not_an_address) continue;
    }
    asio::error_code is_name;
    (void)asio::ip::make_address(host, is_name);
    names += (names.empty() ? "" : ",") + std::string(is_name ? "DNS:" : "IP:") + host;
  }
  return names;
}

// Complete under its name or not there: a start that dies in between leaves nothing half made.
Status write_file(const std::string& path, const std::string& bytes, mode_t mode) {
  const std::string scratch = path + ".tmp";
  (void)unlink(scratch.c_str());
  const int fd = ::open(scratch.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return invalid("open " + path + ": " + errno_text());
  const bool written = ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) && fsync(fd) == 0;
  if (!written) {
    Status failed = invalid("write " + path + ": " + errno_text());
    ::close(fd);
    return failed;
  }
  ::close(fd);
  if (rename(scratch.c_str(), path.c_str()) != 0) return invalid("rename " + path + ": " + errno_text());
  return Status();
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

Status make_self_signed(const std::string& dir, const std::vector<std::string>& hosts, uint64_t validity_years) {
  if (validity_years == 0) return invalid("selfSignedCertValidity is invalid,it should be greater than 0");
  const std::string cert_file = dir + "/cert.pem", key_file = dir + "/key.pem";
  if (access(cert_file.c_str(), F_OK) == 0 && access(key_file.c_str(), F_OK) == 0) return Status();
  std::error_code failed;
  std::filesystem::create_directories(dir, failed);
  if (failed) return invalid("mkdir " + dir + ": " + failed.message());
  (void)chmod(dir.c_str(), 0700);

  const Key key(EVP_EC_gen("P-521"));
  const Certificate certificate(X509_new());
  if (key == nullptr || certificate == nullptr) return openssl_failed("ecdsa: key generation");
  unsigned char random[16];
  if (RAND_bytes(random, sizeof random) != 1) return openssl_failed("crypto/rand");
  random[0] &= 0x7f;
  const Number serial(BN_bin2bn(random, sizeof random, nullptr));
  (void)BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get()));
  X509_set_version(certificate.get(), X509_VERSION_3);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  const auto days = static_cast<int>(std::min(validity_years, kValidityYearsMax) * 365);
  X509_time_adj_ex(X509_getm_notAfter(certificate.get()), days, 0, nullptr);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("etcd"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509_set_pubkey(certificate.get(), key.get());
  bool made = add_extension(certificate.get(), NID_key_usage, "critical,digitalSignature,keyEncipherment,cRLSign") &&
              add_extension(certificate.get(), NID_ext_key_usage, "serverAuth") &&
              add_extension(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  const std::string names = alternative_names(hosts);
  if (!names.empty()) made = made && add_extension(certificate.get(), NID_subject_alt_name, names);
  if (!made || X509_sign(certificate.get(), key.get(), EVP_sha512()) == 0) return openssl_failed("x509: certificate creation");
  base::log::warn("automatically generate certificates", {{"certificate-validity-days", days}});

  const Bio cert_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(cert_text.get(), certificate.get()) != 1 ||
      PEM_write_bio_PrivateKey_traditional(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return openssl_failed("pem: encoding");
  }
  if (Status done = write_file(cert_file, text_of(cert_text.get()), 0644); !done.ok()) return done;
  base::log::info("created cert file", {{"path", cert_file}});
  if (Status done = write_file(key_file, text_of(key_text.get()), 0600); !done.ok()) return done;
  base::log::info("created key file", {{"path", key_file}});
  return Status();
}

}  // namespace net
