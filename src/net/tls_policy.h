// What one kind of endpoint (clients, peers, a tool) demands of TLS and shows for itself, from files that may change at any
// time: what has changed is read again when the next connection begins. Files that are there and broken leave the last good
// ones in use. Owner: one loop. What current() gives is immutable and may go to any thread. Source: etcd client/pkg/transport
// (TLSInfo, tlsListener); names and texts are those of Go's crypto/tls.
#pragma once

#include <array>
#include <asio/ssl/context.hpp>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"

namespace net {

struct TlsOptions {
  std::string cert_file, key_file;
  std::string client_cert_file, client_key_file;  // shown when we dial; empty: those above
  std::string trusted_ca_file;                    // who may sign our peers; empty: the system's, when we dial
  std::string crl_file;                           // DER or PEM: certificates with these serial numbers are refused
  bool prefer_http2 = false;                      // a server; else HTTP/1.1 where the client can do both
  bool require_client_cert = false;               // a server with trusted_ca_file always does
  bool check_client_names = true;  // a client certificate that has names must have one of the address it comes from
  bool skip_verify = false;        // when we dial
  std::vector<std::string> allowed_cns, allowed_hostnames;  // if not empty: the peer's certificate must have one of them
  std::vector<std::string> cipher_suites;                   // Go's names, of TLS 1.2
  int version_min = 2, version_max = 0;                     // of TLS 1.x; 0: no bound
};

// Files read at one moment.
class TlsMaterial {
 public:
  explicit TlsMaterial(const TlsOptions& options);
  // Reads everything; errors name the file, in Go's words.
  base::Status load();

  const TlsOptions& options() const { return options_; }
  asio::ssl::context& server() const { return server_; }
  asio::ssl::context& client() const { return client_; }
  // The serial number, big-endian, if the list names it.
  std::optional<std::string> revoked_serial(const X509* certificate) const;

 private:
  base::Status load_common(asio::ssl::context& context, const std::string& cert_file, const std::string& key_file);
  base::Status load_revoked();

  const TlsOptions options_;
  mutable asio::ssl::context server_, client_;
  std::set<std::string> revoked_;  // big-endian, without leading zeros
};

class TlsPolicy {
 public:
  // Errors: a file that is missing, unreadable or no PEM, a key that does not fit.
  static base::Result<std::shared_ptr<TlsPolicy>> open(const TlsOptions& options);
  // Six stat() calls when nothing has changed.
  std::shared_ptr<const TlsMaterial> current();
  const TlsOptions& options() const { return options_; }

 private:
  struct FileMark {
    int64_t modified_ns = 0, size = -1;
    uint64_t inode = 0;
    friend bool operator==(const FileMark&, const FileMark&) = default;
  };
  using Marks = std::array<FileMark, 6>;

  explicit TlsPolicy(const TlsOptions& options) : options_(options) {}
  Marks look() const;

  const TlsOptions options_;
  std::shared_ptr<const TlsMaterial> material_;
  Marks marks_{};  // of the files that material_, or the last failure, came from
};

// Makes DIR/cert.pem and DIR/key.pem (0600, ECDSA P-521, self-signed for `hosts`: names or addresses), unless both are there.
base::Status make_self_signed(const std::string& dir, const std::vector<std::string>& hosts, uint64_t validity_years);

// A certificate chain and its key, from PEM files, into `context`; errors as above.
base::Status load_key_pair(asio::ssl::context& context, const std::string& cert_file, const std::string& key_file);
// The certificates that `context` trusts, from a PEM file: every block of it must hold one, text and broken blocks between them
// are passed over, and a file without any trusts nobody, as in Go. Errors: `x509: malformed certificate`, `open ...`.
base::Status load_trusted(asio::ssl::context& context, const std::string& ca_file);
// Chains are verified as Go does it. What the context trusts needs nobody above it: an authority between others, or a leaf. And
// a leaf that is called like its authority is not taken for one that signed itself. `allowed`, which outlives the context: the
// names of which a certificate must have one; null: any.
void verify_as_go(asio::ssl::context& context, const TlsOptions* allowed = nullptr);

}  // namespace net
