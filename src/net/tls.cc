// OpenSSL drives the records; its bytes come from and go to the stream below through a BIO of our own, so that TLS works over
// anything and never raises SIGPIPE. Idle connections give their buffers back (SSL_MODE_RELEASE_BUFFERS).
#include "net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <climits>
#include <string_view>

#include "base/verify.h"
#include "net/resolve.h"
#include "net/sys.h"
#include "net/tls_policy.h"

namespace net {

using base::Code;
using base::Status;

namespace {

constexpr size_t kHelloBytesMax = 40 << 10;  // OpenSSL would hold 128 KiB for who only announces them

// What OpenSSL reads from and writes to: a stream, and what was read of it before it was known to be TLS.
struct Below {
  // Looks at what a server reads first: a record's header and, if it is a hello, the message's. False: it announces too much.
  bool see(const char* bytes, size_t size) {
    while (size-- > 0 && head_size < head.size()) head[head_size++] = static_cast<unsigned char>(*bytes++);
    return !announces_too_much();
  }
  bool announces_too_much() const {
    return head_size == head.size() && head[0] == SSL3_RT_HANDSHAKE && hello_bytes() > kHelloBytesMax;
  }
  size_t hello_bytes() const { return size_t{head[6]} << 16 | size_t{head[7]} << 8 | head[8]; }

  Stream* stream;
  std::string first;
  bool sees = false;
  std::array<unsigned char, SSL3_RT_HEADER_LENGTH + SSL3_HM_HEADER_LENGTH> head{};
  size_t head_size = 0;
};

int bio_write(BIO* bio, const char* from, int size) {
  Stream* below = static_cast<Below*>(BIO_get_data(bio))->stream;
  BIO_clear_retry_flags(bio);
  const IoResult result = below->try_write(std::string_view(from, static_cast<size_t>(size)));
  if (result.state == IoState::kDone) return static_cast<int>(result.bytes);
  if (result.state == IoState::kBlocked) BIO_set_retry_write(bio);
  return -1;
}

int bio_read(BIO* bio, char* to, int size) {
  auto* data = static_cast<Below*>(BIO_get_data(bio));
  Stream* below = data->stream;
  BIO_clear_retry_flags(bio);
  if (!data->first.empty() && size > 0) {
    const size_t n = data->first.copy(to, static_cast<size_t>(size));
    data->first.erase(0, n);
    (void)data->see(to, n);  // one byte: the head is not whole
    return static_cast<int>(n);
  }
  const IoResult result = below->try_read(to, static_cast<size_t>(size));
  if (result.state == IoState::kDone) {
    if (data->sees && data->head_size < data->head.size() && !data->see(to, result.bytes)) return -1;
    return static_cast<int>(result.bytes);
  }
  if (result.state == IoState::kEnd) return 0;
  if (result.state == IoState::kBlocked) BIO_set_retry_read(bio);
  return -1;
}

long bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP || command == BIO_CTRL_PUSH || command == BIO_CTRL_POP ? 1 : 0;
}

BIO_METHOD* stream_bio() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    VERIFY(made != nullptr);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

// What a peer's alert says, in Go's words (RFC 8446 6).
const char* alert_text(int alert) {
  switch (alert) {
    case SSL_AD_UNEXPECTED_MESSAGE:
      return "unexpected message";
    case SSL_AD_BAD_RECORD_MAC:
      return "bad record MAC";
    case SSL_AD_HANDSHAKE_FAILURE:
      return "handshake failure";
    case SSL_AD_BAD_CERTIFICATE:
      return "bad certificate";
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
      return "unsupported certificate";
    case SSL_AD_CERTIFICATE_REVOKED:
      return "revoked certificate";
    case SSL_AD_CERTIFICATE_EXPIRED:
      return "expired certificate";
    case SSL_AD_CERTIFICATE_UNKNOWN:
      return "unknown certificate";
    case SSL_AD_ILLEGAL_PARAMETER:
      return "illegal parameter";
    case SSL_AD_UNKNOWN_CA:
      return "unknown certificate authority";
    case SSL_AD_ACCESS_DENIED:
      return "access denied";
    case SSL_AD_DECODE_ERROR:
      return "error decoding message";
    case SSL_AD_DECRYPT_ERROR:
      return "error decrypting message";
    case SSL_AD_PROTOCOL_VERSION:
      return "protocol version not supported";
    case SSL_AD_INSUFFICIENT_SECURITY:
      return "insufficient security level";
    case SSL_AD_INTERNAL_ERROR:
      return "internal error";
    case SSL_AD_USER_CANCELLED:
      return "user canceled";
    case SSL_AD_UNRECOGNIZED_NAME:
      return "unrecognized name";
    case SSL_AD_CERTIFICATE_REQUIRED:
      return "certificate required";
    case SSL_AD_NO_APPLICATION_PROTOCOL:
      return "no application protocol";
    default:
      return nullptr;
  }
}

std::string ssl_error_text() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "tls: connection broken";
  const int why = ERR_GET_REASON(code);
  // What a peer that speaks no TLS says, in Go's words.
  if (why == SSL_R_WRONG_VERSION_NUMBER || why == SSL_R_HTTP_REQUEST) {
    return "tls: first record does not look like a TLS handshake";
  }
  if (why == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return "tls: client didn't provide a certificate";
  if (why == SSL_R_NO_SHARED_CIPHER) return "tls: no cipher suite supported by both client and server";
  if (why == SSL_R_UNSUPPORTED_PROTOCOL) return "tls: client offered only unsupported versions";
  if (why > SSL_AD_REASON_OFFSET) {
    if (const char* alert = alert_text(why - SSL_AD_REASON_OFFSET)) return std::string("remote error: tls: ") + alert;
  }
  const char* reason = ERR_reason_error_string(code);
  return std::string("tls: ") + (reason != nullptr ? reason : "failed");
}

// Why a certificate was not believed, in Go's words where it has any.
std::string verify_text(long why) {
  switch (why) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
      return "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "tls: failed to verify certificate: x509: certificate has expired or is not yet valid";
    case X509_V_ERR_INVALID_PURPOSE:
      return "tls: failed to verify certificate: x509: certificate specifies an incompatible key usage";
    case X509_V_ERR_CERT_REJECTED:
      return "client certificate authentication failed";
    default:
      return std::string("tls: failed to verify certificate: ") + X509_verify_cert_error_string(why);
  }
}

TlsPeer names_of(X509* certificate) {
  TlsPeer out;
  out.has_certificate = true;
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    int kind = 0;
    const auto* value = static_cast<const ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind));
    const auto* data = reinterpret_cast<const char*>(ASN1_STRING_get0_data(value));
    const auto size = static_cast<size_t>(ASN1_STRING_length(value));
    if (kind == GEN_DNS) out.dns_names.emplace_back(data, size);
    if (kind != GEN_IPADD) continue;
    asio::ip::address_v4::bytes_type four;
    asio::ip::address_v6::bytes_type sixteen;
    if (size == four.size()) {
      std::copy_n(data, size, reinterpret_cast<char*>(four.data()));
      out.ip_addresses.push_back(asio::ip::make_address_v4(four).to_string());
    } else if (size == sixteen.size()) {
      std::copy_n(data, size, reinterpret_cast<char*>(sixteen.data()));
      out.ip_addresses.push_back(asio::ip::make_address_v6(sixteen).to_string());
    }
  }
  GENERAL_NAMES_free(names);
  return out;
}

// What Go says of a certificate for others than `host`.
std::string other_name_text(X509* certificate, const std::string& host) {
  const TlsPeer names = names_of(certificate);
  asio::error_code not_an_address;
  (void)asio::ip::make_address(host, not_an_address);
  const std::vector<std::string>& valid = not_an_address ? names.dns_names : names.ip_addresses;
  if (!valid.empty()) {
    std::string list;
    for (const std::string& name : valid) list += (list.empty() ? "" : ", ") + name;
    return "x509: certificate is valid for " + list + ", not " + host;
  }
  if (!not_an_address) return "x509: cannot validate certificate for " + host + " because it doesn't contain any IP SANs";
  if (X509_check_host(certificate, host.c_str(), host.size(), X509_CHECK_FLAG_ALWAYS_CHECK_SUBJECT, nullptr) == 1) {
    return "x509: certificate relies on legacy Common Name field, use SANs instead";
  }
  return "x509: certificate is not valid for any names, but wanted to match " + host;
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    for (const int shift : {4, 0}) out += "0123456789abcdef"[static_cast<unsigned char>(c) >> shift & 15];
  }
  return out;
}

std::string quoted_list(const std::vector<std::string>& names) {
  std::string out = "[";
  for (const std::string& name : names) out += (out.size() > 1 ? " \"" : "\"") + name + "\"";
  return out + "]";
}

// Whether an address goes by one of these names: what it is called, or what they mean. Wildcards count for the former only.
asio::awaitable<bool> is_called(asio::ip::address address, std::vector<std::string> names) {
  asio::ip::tcp::resolver resolver(co_await asio::this_coro::executor);
  const asio::ip::tcp::endpoint endpoint(address, 0);
  const auto [error, found] = co_await resolver.async_resolve(endpoint, kAwait);
  for (const auto& entry : found) {
    std::string called = entry.host_name();
    if (called.ends_with('.')) called.pop_back();
    for (const std::string& name : names) {
      const bool wildcard = name.starts_with("*.");
      if (wildcard ? called.ends_with(std::string_view(name).substr(1)) : called == name) co_return true;
    }
  }
  for (const std::string& name : names) {
    if (name.starts_with("*.")) continue;
    const auto [failed, meant] = co_await resolver.async_resolve(name, std::string(), kAwait);
    for (const auto& entry : meant) {
      if (entry.endpoint().address() == address) co_return true;
    }
  }
  co_return false;
}

// "127.0.0.1:4711" and "[::1]:4711" without the port; nothing for a unix socket.
std::string host_of(const std::string& peer) {
  const size_t colon = peer.rfind(':');
  if (colon == std::string::npos || peer.starts_with("unix") || peer.starts_with("@")) return {};
  std::string host = peer.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return host;
}

class TlsStream final : public Stream {
 public:
  TlsStream(std::unique_ptr<Stream> below, asio::ssl::context& context, bool server, const std::string& server_name,
            std::shared_ptr<const TlsMaterial> material = nullptr, bool or_clear_text = false)
      : below_(std::move(below)),
        beneath_{below_.get(), {}, server},
        material_(std::move(material)),
        ssl_(SSL_new(context.native_handle())),
        server_(server),
        undecided_(or_clear_text) {
    VERIFY(ssl_ != nullptr);
    BIO* bio = BIO_new(stream_bio());
    VERIFY(bio != nullptr);
    BIO_set_data(bio, &beneath_);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_, bio, bio);
    SSL_set_mode(ssl_, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (!server) name_peer(server_name);
  }
  ~TlsStream() override {
    below_->close();
    SSL_free(ssl_);
  }

  asio::awaitable<Status> handshake() override {
    if (undecided_) {
      char byte = 0;
      const auto got = co_await below_->read_some(&byte, 1);
      if (!got.ok()) co_return got.status();
      undecided_ = false;
      beneath_.first.assign(1, byte);
      clear_text_ = byte != kHandshakeRecord;
    }
    if (clear_text_) co_return Status();
    if (server_ && beneath_.first.empty()) {  // Who says nothing gets no buffers.
      Status spoken = co_await below_->readable();
      if (!spoken.ok()) co_return spoken;
    }
    for (;;) {
      ERR_clear_error();
      const int rc = server_ ? SSL_accept(ssl_) : SSL_connect(ssl_);
      if (rc == 1) {
        Status admitted = co_await admit_client();
        co_return admitted;
      }
      const int why = SSL_get_error(ssl_, rc);
      if (why == SSL_ERROR_WANT_READ) {
        Status waited = co_await below_->readable();
        if (!waited.ok()) co_return waited;
      } else if (why == SSL_ERROR_WANT_WRITE) {
        Status waited = co_await below_->writable();
        if (!waited.ok()) co_return waited;
      } else {
        co_return Status(Code::kUnavailable, handshake_error());
      }
    }
  }

  // Empties as many records as fit, so that one turn takes what one turn brought.
  IoResult try_read(char* to, size_t size_max) override {
    if (clear_text_) {
      if (beneath_.first.empty() || size_max == 0) return below_->try_read(to, size_max);
      beneath_.first.copy(to, 1);
      beneath_.first.clear();
      return {IoState::kDone, 1};
    }
    size_t total = 0;
    while (total < size_max) {
      ERR_clear_error();
      const int rc = SSL_read(ssl_, to + total, static_cast<int>(std::min<size_t>(size_max - total, INT_MAX)));
      if (rc > 0) {
        total += static_cast<size_t>(rc);
        blocked_inside_ = false;
        continue;
      }
      const IoResult last = classify(rc, read_wants_write_);
      // A pending part of a record is no reason to try again before more bytes came.
      blocked_inside_ = last.state == IoState::kBlocked;
      if (total == 0) return last;
      break;  // What ended the loop is found again by the next call.
    }
    return {IoState::kDone, total};
  }

  IoResult try_write(std::string_view bytes) override {
    if (clear_text_) return below_->try_write(bytes);
    // A call seals one record of up to 16 KB.
    size_t total = 0;
    while (total < bytes.size()) {
      ERR_clear_error();
      const int rc = SSL_write(ssl_, bytes.data() + total, static_cast<int>(std::min<size_t>(bytes.size() - total, INT_MAX)));
      if (rc > 0) {
        total += static_cast<size_t>(rc);
        continue;
      }
      const IoResult last = classify(rc, write_wants_write_);
      if (total > 0) break;  // What ended the loop is found again by the next call.
      return last.state == IoState::kEnd ? IoResult{IoState::kFailed, 0} : last;
    }
    return {IoState::kDone, total};
  }

  asio::awaitable<Status> readable() override {
    if (clear_text_) return beneath_.first.empty() ? below_->readable() : ready();
    if (SSL_has_pending(ssl_) && !blocked_inside_) return ready();
    return read_wants_write_ ? below_->writable() : below_->readable();
  }
  asio::awaitable<Status> writable() override {
    return clear_text_ || write_wants_write_ ? below_->writable() : below_->readable();
  }

  void shutdown_write() override {
    if (!clear_text_) {
      ERR_clear_error();
      (void)SSL_shutdown(ssl_);
      ERR_clear_error();
    }
    below_->shutdown_write();
  }
  void close() override { below_->close(); }
  bool closed() const override { return below_->closed(); }
  Status error() const override { return error_.ok() ? below_->error() : error_; }
  const std::string& peer() const override { return below_->peer(); }
  std::string local() const override { return below_->local(); }
  void set_unacked_timeout(base::Duration timeout) override { below_->set_unacked_timeout(timeout); }
  void set_dead_after(base::Duration timeout) override { below_->set_dead_after(timeout); }

  bool is_tls() const override { return !clear_text_; }
  std::string tls_common_name() const override {
    if (SSL_get_verify_result(ssl_) != X509_V_OK) return {};
    X509* certificate = SSL_get0_peer_certificate(ssl_);
    if (certificate == nullptr) return {};
    char name[256];
    const int size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
    return size > 0 ? std::string(name, static_cast<size_t>(size)) : std::string();
  }
  TlsPeer tls_peer() const override {
    X509* const certificate = SSL_get0_peer_certificate(ssl_);
    TlsPeer out = certificate != nullptr ? names_of(certificate) : TlsPeer();
    if (const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name)) out.server_name = name;
    return out;
  }
  std::string alpn() const override {
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &chosen, &size);
    return std::string(reinterpret_cast<const char*>(chosen), size);
  }

 private:
  asio::awaitable<Status> ready() { co_return Status(); }

  void name_peer(const std::string& server_name) {
    asio::error_code not_an_address;
    (void)asio::ip::make_address(server_name, not_an_address);
    if (server_name.empty()) return;
    asked_ = server_name;
    SSL_set_app_data(ssl_, this);
    SSL_set_verify(ssl_, SSL_get_verify_mode(ssl_), keep_misnamed);
    // As Go: a name in the subject counts for nothing, a wildcard is a whole label.
    SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (not_an_address) {
      SSL_set_tlsext_host_name(ssl_, server_name.c_str());
      (void)SSL_set1_host(ssl_, server_name.c_str());
    } else {
      (void)X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), server_name.c_str());
    }
  }

  IoResult classify(int rc, bool& wants_write) {
    switch (SSL_get_error(ssl_, rc)) {
      case SSL_ERROR_WANT_READ:
        wants_write = false;
        return {IoState::kBlocked, 0};
      case SSL_ERROR_WANT_WRITE:
        wants_write = true;
        return {IoState::kBlocked, 0};
      case SSL_ERROR_ZERO_RETURN:
        return {IoState::kEnd, 0};
      default:
        error_ = Status(Code::kUnavailable, ssl_error_text());
        return {IoState::kFailed, 0};
    }
  }

  std::string handshake_error() const {
    if (server_ && beneath_.announces_too_much()) {
      ERR_clear_error();
      return "tls: handshake message of length " + std::to_string(beneath_.hello_bytes()) + " bytes exceeds maximum of " +
             std::to_string(kHelloBytesMax) + " bytes";
    }
    const long verified = SSL_get_verify_mode(ssl_) == SSL_VERIFY_NONE ? X509_V_OK : SSL_get_verify_result(ssl_);
    if (verified != X509_V_OK) {
      ERR_clear_error();
      return misnamed_.empty() ? verify_text(verified) : "tls: failed to verify certificate: " + misnamed_;
    }
    if (ERR_peek_last_error() == 0) return "EOF";  // the peer left in the middle, as Go words it
    return ssl_error_text();
  }

  // What is left for a server to check once the handshake is done.
  asio::awaitable<Status> admit_client() {
    X509* const certificate = server_ && material_ != nullptr ? SSL_get0_peer_certificate(ssl_) : nullptr;
    if (certificate == nullptr) co_return Status();
    if (Status revoked = check_revoked(certificate); !revoked.ok()) co_return revoked;
    // A resumed session's certificate was verified when it was new.
    if (SSL_session_reused(ssl_) == 1 && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
      co_return Status(Code::kUnavailable, verify_text(X509_V_ERR_CERT_HAS_EXPIRED));
    }
    if (!material_->options().check_client_names) co_return Status();
    const TlsPeer names = names_of(certificate);
    if (names.ip_addresses.empty() && names.dns_names.empty()) co_return Status();
    const std::string host = host_of(below_->peer());
    asio::error_code not_an_address;
    const asio::ip::address address = asio::ip::make_address(host, not_an_address);
    if (not_an_address) co_return Status();  // a unix socket
    if (!names.ip_addresses.empty()) {
      if (X509_check_ip_asc(certificate, host.c_str(), 0) == 1) co_return Status();
      if (names.dns_names.empty()) {
        std::string valid;
        for (const std::string& ip : names.ip_addresses) valid += (valid.empty() ? "" : ", ") + ip;
        co_return Status(Code::kUnavailable, "x509: certificate is valid for " + valid + ", not " + host);
      }
    }
    std::vector<std::string> dns_names = names.dns_names;
    const bool called = co_await is_called(address, std::move(dns_names));
    if (called) co_return Status();
    co_return Status(Code::kUnavailable,
                     "tls: \"" + host + "\" does not match any of DNSNames " + quoted_list(names.dns_names));
  }

  Status check_revoked(X509* certificate) const {
    const STACK_OF(X509)* chain = SSL_get_peer_cert_chain(ssl_);
    for (int i = -1; i < sk_X509_num(chain); ++i) {
      const auto serial = material_->revoked_serial(i < 0 ? certificate : sk_X509_value(chain, i));
      if (serial) return Status(Code::kUnavailable, "transport: certificate serial " + hex(*serial) + " revoked");
    }
    return Status();
  }

  // The certificate of a failed handshake is seen here only.
  static int keep_misnamed(int verified, X509_STORE_CTX* chain) {
    const int why = X509_STORE_CTX_get_error(chain);
    if (verified == 1 || (why != X509_V_ERR_HOSTNAME_MISMATCH && why != X509_V_ERR_IP_ADDRESS_MISMATCH)) return verified;
    const auto* ssl = static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto* stream = static_cast<TlsStream*>(SSL_get_app_data(ssl));
    stream->misnamed_ = other_name_text(X509_STORE_CTX_get0_cert(chain), stream->asked_);
    return verified;
  }

  std::string asked_;     // the server's name or address
  std::string misnamed_;  // why its certificate is not for that
  static constexpr char kHandshakeRecord = 0x16;

  std::unique_ptr<Stream> below_;
  Below beneath_;
  std::shared_ptr<const TlsMaterial> material_;
  SSL* ssl_;
  const bool server_;
  bool undecided_;  // the first byte tells
  bool clear_text_ = false;
  Status error_;
  bool read_wants_write_ = false;
  bool write_wants_write_ = true;
  bool blocked_inside_ = false;
};

constexpr unsigned char kOffered[] = "\x02h2";
constexpr unsigned char kHttp1First[] = "\x08http/1.1\x02h2";
constexpr unsigned char kHttp2First[] = "\x02h2\x08http/1.1";
static_assert(sizeof kHttp1First == sizeof kHttp2First);

int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned offered_size, void* preferred) {
  unsigned char* found = nullptr;
  const int rc = SSL_select_next_proto(&found, size, static_cast<const unsigned char*>(preferred), sizeof kHttp1First - 1,
                                       offered, offered_size);
  *chosen = found;
  return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

std::unique_ptr<Stream> make_tls_server(std::unique_ptr<Stream> below, asio::ssl::context& context) {
  return std::make_unique<TlsStream>(std::move(below), context, true, std::string());
}

std::unique_ptr<Stream> make_tls_server(std::unique_ptr<Stream> below, std::shared_ptr<const TlsMaterial> material,
                                        bool or_clear_text) {
  asio::ssl::context& context = material->server();
  return std::make_unique<TlsStream>(std::move(below), context, true, std::string(), std::move(material), or_clear_text);
}

std::unique_ptr<Stream> make_tls_client(std::unique_ptr<Stream> below, asio::ssl::context& context, std::string server_name) {
  return std::make_unique<TlsStream>(std::move(below), context, false, server_name);
}

std::unique_ptr<Stream> make_tls_client(std::unique_ptr<Stream> below, std::shared_ptr<const TlsMaterial> material,
                                        std::string server_name) {
  asio::ssl::context& context = material->client();
  return std::make_unique<TlsStream>(std::move(below), context, false, server_name, std::move(material));
}

void set_alpn_client(asio::ssl::context& context) {
  (void)SSL_CTX_set_alpn_protos(context.native_handle(), kOffered, sizeof kOffered - 1);
}

void set_alpn_server(asio::ssl::context& context, bool prefer_http2) {
  const unsigned char* preferred = prefer_http2 ? kHttp2First : kHttp1First;
  SSL_CTX_set_alpn_select_cb(context.native_handle(), choose_protocol, const_cast<unsigned char*>(preferred));
}

}  // namespace net
