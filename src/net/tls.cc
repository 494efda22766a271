// OpenSSL drives the records; its bytes come from and go to the stream below through a BIO of our own, so that TLS works over
// anything and never raises SIGPIPE. Idle connections give their buffers back (SSL_MODE_RELEASE_BUFFERS).
#include "net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <climits>

#include "base/verify.h"

namespace net {

using base::Code;
using base::Status;

namespace {

int bio_write(BIO* bio, const char* from, int size) {
  auto* below = static_cast<Stream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const IoResult result = below->try_write(std::string_view(from, static_cast<size_t>(size)));
  if (result.state == IoState::kDone) return static_cast<int>(result.bytes);
  if (result.state == IoState::kBlocked) BIO_set_retry_write(bio);
  return -1;
}

int bio_read(BIO* bio, char* to, int size) {
  auto* below = static_cast<Stream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const IoResult result = below->try_read(to, static_cast<size_t>(size));
  if (result.state == IoState::kDone) return static_cast<int>(result.bytes);
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

std::string ssl_error_text() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "tls: connection broken";
  // What a peer that speaks no TLS says, in Go's words.
  if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER) return "tls: first record does not look like a TLS handshake";
  const char* reason = ERR_reason_error_string(code);
  return std::string("tls: ") + (reason != nullptr ? reason : "failed");
}

class TlsStream final : public Stream {
 public:
  TlsStream(std::unique_ptr<Stream> below, asio::ssl::context& context, bool server, const std::string& server_name)
      : below_(std::move(below)), ssl_(SSL_new(context.native_handle())), server_(server) {
    VERIFY(ssl_ != nullptr);
    BIO* bio = BIO_new(stream_bio());
    VERIFY(bio != nullptr);
    BIO_set_data(bio, below_.get());
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
    for (;;) {
      ERR_clear_error();
      const int rc = server_ ? SSL_accept(ssl_) : SSL_connect(ssl_);
      if (rc == 1) co_return Status();
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
    if (bytes.empty()) return {IoState::kDone, 0};
    ERR_clear_error();
    const int rc = SSL_write(ssl_, bytes.data(), static_cast<int>(std::min<size_t>(bytes.size(), INT_MAX)));
    if (rc > 0) return {IoState::kDone, static_cast<size_t>(rc)};
    const IoResult result = classify(rc, write_wants_write_);
    return result.state == IoState::kEnd ? IoResult{IoState::kFailed, 0} : result;
  }

  asio::awaitable<Status> readable() override {
    if (SSL_has_pending(ssl_) && !blocked_inside_) return ready();
    return read_wants_write_ ? below_->writable() : below_->readable();
  }
  asio::awaitable<Status> writable() override { return write_wants_write_ ? below_->writable() : below_->readable(); }

  void shutdown_write() override {
    ERR_clear_error();
    (void)SSL_shutdown(ssl_);
    ERR_clear_error();
    below_->shutdown_write();
  }
  void close() override { below_->close(); }
  bool closed() const override { return below_->closed(); }
  Status error() const override { return error_.ok() ? below_->error() : error_; }
  const std::string& peer() const override { return below_->peer(); }
  std::string local() const override { return below_->local(); }
  void set_unacked_timeout(base::Duration timeout) override { below_->set_unacked_timeout(timeout); }

  std::string tls_common_name() const override {
    if (SSL_get_verify_result(ssl_) != X509_V_OK) return {};
    X509* certificate = SSL_get0_peer_certificate(ssl_);
    if (certificate == nullptr) return {};
    char name[256];
    const int size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
    return size > 0 ? std::string(name, static_cast<size_t>(size)) : std::string();
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
    const long verified = SSL_get_verify_result(ssl_);
    if (verified != X509_V_OK) {
      ERR_clear_error();
      return std::string("tls: failed to verify certificate: ") + X509_verify_cert_error_string(verified);
    }
    if (ERR_peek_last_error() == 0) return "EOF";  // the peer left in the middle, as Go words it
    return ssl_error_text();
  }

  std::unique_ptr<Stream> below_;
  SSL* ssl_;
  const bool server_;
  Status error_;
  bool read_wants_write_ = false;
  bool write_wants_write_ = true;
  bool blocked_inside_ = false;
};

constexpr unsigned char kHttpProtocols[] = "\x02h2\x08http/1.1";

int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                    unsigned offered_size, void*) {
  unsigned char* found = nullptr;
  const int rc = SSL_select_next_proto(&found, size, kHttpProtocols, sizeof kHttpProtocols - 1, offered, offered_size);
  *chosen = found;
  return rc == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

std::unique_ptr<Stream> make_tls_server(std::unique_ptr<Stream> below, asio::ssl::context& context) {
  return std::make_unique<TlsStream>(std::move(below), context, true, std::string());
}

std::unique_ptr<Stream> make_tls_client(std::unique_ptr<Stream> below, asio::ssl::context& context, std::string server_name) {
  return std::make_unique<TlsStream>(std::move(below), context, false, server_name);
}

void set_alpn_http(asio::ssl::context& context, bool server) {
  SSL_CTX* ssl = context.native_handle();
  if (server) {
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, nullptr);
  } else {
    (void)SSL_CTX_set_alpn_protos(ssl, kHttpProtocols, sizeof kHttpProtocols - 1);
  }
}

}  // namespace net
