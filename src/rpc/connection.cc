// From an accepted socket to the protocol it speaks.
#include "rpc/connection.h"

#include <algorithm>
#include <list>
#include <utility>

#include "base/log.h"
#include "http2/session.h"
#include "rpc/grpc_connection.h"
#include "rpc/http_connection.h"

namespace rpc {

using base::Status;

namespace {

// A connection of which nothing is known yet: it is closed when its time is up, when too many younger ones come, or when the
// server stops.
class Opening final : public Connection {
 public:
  Opening(NetLoop& loop, net::Stream& stream)
      : loop_(loop), stream_(stream), timer_([](void* self) { static_cast<Opening*>(self)->abort(); }, this) {
    close_in(kHandshakeTimeout);
    loop_.add(this);
    place_ = loop_.openings().insert(loop_.openings().end(), this);
    if (loop_.openings().size() > kOpeningsMax) loop_.openings().front()->abort();
  }
  ~Opening() override {
    leave_openings();
    loop_.timers().disarm(timer_);
    loop_.remove(this);
  }
  void close_in(base::Duration timeout) { loop_.timers().arm(timer_, loop_.clock().now() + timeout); }
  void flush() override {}
  void drain() override { abort(); }
  void abort() override {
    leave_openings();
    stream_.close();
  }

 private:
  void leave_openings() {
    if (!std::exchange(listed_, false)) return;
    loop_.openings().erase(place_);
  }

  NetLoop& loop_;
  net::Stream& stream_;
  net::Timer timer_;
  std::list<Connection*>::iterator place_;
  bool listed_ = true;
};

// As etcd tells it. Who leaves in the middle is no news.
void log_rejected(const ServerOptions& options, const net::Stream& stream, const Status& why) {
  const net::TlsPeer peer = stream.tls_peer();
  const base::log::Level level = why.text() == "EOF" ? base::log::Level::kDebug : base::log::Level::kWarn;
  if (peer.has_certificate) {
    base::log::write(level, options.rejected_text,
                     {{"remote-addr", stream.peer()},
                      {"server-name", peer.server_name},
                      {"ip-addresses", peer.ip_addresses},
                      {"dns-names", peer.dns_names},
                      {"error", why}});
  } else {
    base::log::write(level, options.rejected_text,
                     {{"remote-addr", stream.peer()}, {"server-name", peer.server_name}, {"error", why}});
  }
}

enum class Protocol { kNone, kHttp1, kHttp2 };

// Reads until the bytes tell: HTTP/2 starts with its preface, HTTP/1.1 with anything else.
asio::awaitable<Protocol> sniff(net::Stream& stream, std::string& first) {
  while (first.size() < http2::kClientPreface.size()) {
    char buffer[512];
    const auto got = co_await stream.read_some(buffer, sizeof buffer);
    if (!got.ok()) co_return Protocol::kNone;
    first.append(buffer, *got);
    const size_t common = std::min(first.size(), http2::kClientPreface.size());
    if (first.compare(0, common, http2::kClientPreface, 0, common) != 0) co_return Protocol::kHttp1;
  }
  co_return Protocol::kHttp2;
}

}  // namespace

asio::awaitable<void> serve_connection(std::shared_ptr<NetLoop> loop, std::shared_ptr<ServerCore> core,
                                       std::shared_ptr<const ServerOptions> options, std::unique_ptr<net::Stream> stream) {
  std::string first;
  Protocol protocol = Protocol::kNone;
  {
    const auto opening = std::make_shared<Opening>(*loop, *stream);
    if (core->stopping.load(std::memory_order_relaxed)) stream->close();
    const Status shaken = co_await stream->handshake();
    if (!shaken.ok()) {
      log_rejected(*options, *stream, shaken);
      stream->close();
      co_return;
    }
    opening->close_in(kFirstBytesTimeout);
    protocol = co_await sniff(*stream, first);
  }
  if (protocol == Protocol::kHttp2 && (options->serve_grpc || (options->serve_http && stream->is_tls()))) {
    auto connection = std::make_shared<GrpcConnection>(loop, core, options, std::move(stream));
    co_await connection->run(std::move(first));
  } else if (protocol == Protocol::kHttp1 && options->serve_http) {
    auto connection = std::make_shared<HttpConnection>(loop, core, options, std::move(stream));
    co_await connection->run(std::move(first));
  } else {
    stream->close();
  }
}

}  // namespace rpc
