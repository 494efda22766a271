#include "net/resolve.h"

#include "net/sys.h"

namespace net {

asio::awaitable<base::Result<std::vector<asio::ip::tcp::endpoint>>> resolve(asio::io_context& loop, std::string host,
                                                                            uint16_t port) {
  using Endpoints = std::vector<asio::ip::tcp::endpoint>;
  asio::error_code numeric;
  const asio::ip::address address = asio::ip::make_address(host.empty() ? "127.0.0.1" : host, numeric);
  if (!numeric) co_return Endpoints(1, asio::ip::tcp::endpoint(address, port));
  asio::ip::tcp::resolver resolver(loop);
  const std::string service = std::to_string(port);
  const auto [error, results] = co_await resolver.async_resolve(host, service, kAwait);
  if (error) co_return base::Status(base::Code::kUnavailable, "lookup " + host + ": no such host");
  Endpoints endpoints;
  for (const bool v4 : {true, false}) {
    for (const auto& entry : results) {
      if (entry.endpoint().address().is_v4() == v4 && endpoints.size() < kResolvedAddressesMax)
        endpoints.push_back(entry.endpoint());
    }
  }
  co_return endpoints;
}

}  // namespace net
