// TLS over any Stream, by OpenSSL. The context holds certificates, verification and ALPN (tls_policy.h makes them from files);
// it may be replaced at any time for streams made later.
#pragma once

#include <asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "base/status.h"
#include "net/stream.h"

namespace net {

class TlsMaterial;

// The context must outlive its use here only: OpenSSL counts references. Call handshake() before reading or writing.
std::unique_ptr<Stream> make_tls_server(std::unique_ptr<Stream> below, asio::ssl::context& context);
// The same, and behind the handshake what Go's TLS does not check either: that the client's certificate is not revoked, and
// that it has a name or address of where the client comes from.
// `or_clear_text`: a client whose first byte does not begin a handshake is let through as it is.
std::unique_ptr<Stream> make_tls_server(std::unique_ptr<Stream> below, std::shared_ptr<const TlsMaterial> material,
                                        bool or_clear_text = false);
// `server_name`: sent as SNI (when not an address) and checked against the certificate when the context verifies the peer.
std::unique_ptr<Stream> make_tls_client(std::unique_ptr<Stream> below, asio::ssl::context& context, std::string server_name);
// With what files say of those who dial.
std::unique_ptr<Stream> make_tls_client(std::unique_ptr<Stream> below, std::shared_ptr<const TlsMaterial> material,
                                        std::string server_name);

// Offers "h2", as gRPC's clients do.
void set_alpn_client(asio::ssl::context& context);
// h2 and HTTP/1.1, the preferred one with those who speak both; nobody who offers neither, as Go.
void set_alpn_server(asio::ssl::context& context, bool prefer_http2);

}  // namespace net
