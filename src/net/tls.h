// TLS over any Stream, by OpenSSL. The context holds certificates, verification and ALPN; it may be replaced at any time for
// streams made later.
#pragma once

#include <asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "base/status.h"
#include "net/stream.h"

namespace net {

// The context must outlive its use here only: OpenSSL counts references. Call handshake() before reading or writing.
std::unique_ptr<Stream> make_tls_server(std::unique_ptr<Stream> below, asio::ssl::context& context);
// `server_name`: sent as SNI (when not an address) and checked against the certificate when the context verifies the peer.
std::unique_ptr<Stream> make_tls_client(std::unique_ptr<Stream> below, asio::ssl::context& context, std::string server_name);

// Offers (client) or accepts (server) "h2" then "http/1.1".
void set_alpn_http(asio::ssl::context& context, bool server);

}  // namespace net
