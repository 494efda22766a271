// Name lookup off the loop (getaddrinfo on Asio's resolver thread); numeric addresses answer at once.
#pragma once

#include <asio.hpp>
#include <string>
#include <vector>

#include "base/status.h"

namespace net {

inline constexpr size_t kResolvedAddressesMax = 16;

// IPv4 first, then IPv6. Errors as Go words them: "lookup nowhere.invalid: no such host" (kUnavailable).
asio::awaitable<base::Result<std::vector<asio::ip::tcp::endpoint>>> resolve(asio::io_context& loop, std::string host,
                                                                            uint16_t port);

}  // namespace net
