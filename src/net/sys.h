// Small things shared by the files of net/: errno as Go words it, addresses as text, and the completion token.
#pragma once

#include <sys/socket.h>

#include <asio.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <string>

namespace net {

inline constexpr auto kAwait = asio::experimental::as_tuple(asio::use_awaitable);

// "connection refused".
std::string errno_text(int error);
// "127.0.0.1:2379", "[::1]:2379".
std::string join_host_port(const std::string& host, uint16_t port);
// Of a socket address; "@" for an unnamed unix socket.
std::string address_text(const sockaddr* address, socklen_t size);
// Probes of a TCP connection that has been idle: the first after `idle_seconds`; no answer to `probes` in a row ends it.
void set_keepalive(int fd, int idle_seconds, int interval_seconds, int probes);
// TCP_NODELAY and keepalive probes (15 s, as Go sets them).
void tune_tcp(int fd);
// As many descriptors as this process may have, as Go's runtime takes them.
void raise_descriptor_limit();

}  // namespace net
