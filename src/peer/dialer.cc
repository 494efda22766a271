#include "peer/dialer.h"

#include "net/tls.h"

namespace peer {
namespace {

using base::Code;
using base::Result;
using base::Status;

class SocketDialer final : public Dialer {
 public:
  SocketDialer(asio::io_context& loop, DialOptions options) : loop_(loop), options_(std::move(options)) {}

  asio::awaitable<Result<std::unique_ptr<net::Stream>>> dial(PeerUrl url, base::Instant deadline) override {
    if (url.is_tls() && options_.tls == nullptr) {
      co_return Status(Code::kInvalidArgument, "tls: no certificates for " + url.authority);
    }
    Result<std::unique_ptr<net::Stream>> stream = Status(Code::kUnavailable, "not dialled");
    if (url.is_unix())
      stream = co_await net::connect_unix(loop_, url.authority, deadline);
    else
      stream = co_await net::connect_tcp(loop_, url.host, url.port, deadline, options_.local_address);
    if (!stream.ok() || !url.is_tls()) co_return stream;
    co_return net::make_tls_client(std::move(*stream), options_.tls->current(), url.host);
  }

 private:
  asio::io_context& loop_;
  const DialOptions options_;
};

}  // namespace

std::unique_ptr<Dialer> make_dialer(asio::io_context& loop, DialOptions options) {
  return std::make_unique<SocketDialer>(loop, std::move(options));
}

}  // namespace peer
