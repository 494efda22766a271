// Listeners, loops and the end. Owner: the home loop.
#include "rpc/server.h"

#include <algorithm>

#include "base/log.h"
#include "base/verify.h"
#include "net/listener.h"
#include "net/spawn.h"
#include "net/tls.h"
#include "net/tls_policy.h"
#include "net/wake.h"
#include "rpc/call.h"
#include "rpc/connection.h"
#include "rpc/local_call.h"

namespace rpc {

using base::Code;
using base::Status;

constexpr size_t kAcceptsPerTurn = 16;

class Server::Impl {
 public:
  Impl(asio::io_context& home_io, std::vector<asio::io_context*> net, const base::Clock& c, ServerOptions defaults)
      : home(home_io),
        clock(c),
        options(std::move(defaults)),
        core(std::make_shared<ServerCore>()),
        local(home_io, c, core, options.message_bytes_max),
        changed(home_io),
        gate(home_io) {
    if (net.empty()) net.push_back(&home_io);
    for (asio::io_context* io : net) loops.push_back(std::make_shared<NetLoop>(*io, home_io, clock, core));
  }

  void start(std::unique_ptr<net::Listener> listener, ServerOptions port_options) {
    listeners.push_back(std::shared_ptr<net::Listener>(std::move(listener)));
    auto shared_options = std::make_shared<const ServerOptions>(std::move(port_options));
    gate.spawn(home.get_executor(), "rpc accept", accept(listeners.back(), std::move(shared_options)));
  }

  asio::awaitable<void> accept(std::shared_ptr<net::Listener> listener, std::shared_ptr<const ServerOptions> port_options) {
    for (size_t taken = 1; !core->stopping.load(std::memory_order_relaxed); ++taken) {
      // A crowd in the kernel's queue: those who are in get their turn, or the newest would push out who is about to be served.
      if (taken % kAcceptsPerTurn == 0) co_await asio::post(home, asio::use_awaitable);
      if (connections >= port_options->connections_max) {
        const bool room = co_await wait_for_room(port_options->connections_max);
        if (!room) break;
      }
      const std::shared_ptr<NetLoop> loop = loops[next_loop++ % loops.size()];
      auto accepted = co_await listener->accept(loop->io());
      if (!accepted.ok()) break;
      std::unique_ptr<net::Stream> stream = std::move(*accepted);
      if (port_options->tls) {
        stream = net::make_tls_server(std::move(stream), port_options->tls->current(), port_options->or_clear_text);
      }
      begin(loop, port_options, std::move(stream));
    }
  }

  void begin(std::shared_ptr<NetLoop> loop, std::shared_ptr<const ServerOptions> port_options,
             std::unique_ptr<net::Stream> stream) {
    ++connections;
    const auto executor = loop->io().get_executor();
    net::spawn(executor, "rpc connection", serve(std::move(loop), std::move(port_options), std::move(stream)));
  }

  // The listener waits in the kernel's queue while too many are connected. False: the server stops.
  asio::awaitable<bool> wait_for_room(size_t connections_max) {
    asio::steady_timer pause(home);
    while (connections >= connections_max && !core->stopping.load(std::memory_order_relaxed)) {
      pause.expires_after(net::kAcceptPause);
      co_await pause.async_wait(asio::use_awaitable);
    }
    co_return !core->stopping.load(std::memory_order_relaxed);
  }

  asio::awaitable<void> serve(std::shared_ptr<NetLoop> loop, std::shared_ptr<const ServerOptions> port_options,
                              std::unique_ptr<net::Stream> stream) {
    co_await serve_connection(loop, core, std::move(port_options), std::move(stream));
    loop->on_home([this] {
      --connections;
      changed.notify();
    });
  }

  asio::awaitable<void> stop(std::chrono::nanoseconds patience) {
    core->stopping.store(true, std::memory_order_relaxed);
    for (const auto& listener : listeners) listener->close();
    gate.close();
    co_await gate.wait();
    local.stop(server_stopped());
    tell_all(&Connection::drain);
    asio::steady_timer timer(home);
    timer.expires_after(patience);
    timer.async_wait([this](const asio::error_code& error) {
      if (error) return;
      out_of_patience = true;
      changed.notify();
    });
    while (connections > 0 && !out_of_patience) co_await changed.wait();
    timer.cancel();
    if (connections > 0) tell_all(&Connection::abort);
    while (connections > 0) co_await changed.wait();
  }

  void tell_all(void (Connection::*what)()) {
    for (const std::shared_ptr<NetLoop>& loop : loops) {
      loop->on_owner([loop, what] {
        for (const std::shared_ptr<Connection>& connection : loop->connections()) (connection.get()->*what)();
      });
    }
  }

  asio::io_context& home;
  const base::Clock& clock;
  const ServerOptions options;
  const std::shared_ptr<ServerCore> core;
  LocalCalls local;
  std::vector<std::shared_ptr<NetLoop>> loops;
  std::vector<std::shared_ptr<net::Listener>> listeners;
  net::Wake changed;
  net::Gate gate;
  size_t connections = 0;
  size_t next_loop = 0;
  uint16_t last_port = 0;
  bool out_of_patience = false;
};

Server::Server(asio::io_context& home, std::vector<asio::io_context*> net, const base::Clock& clock, ServerOptions options)
    : impl_(std::make_unique<Impl>(home, std::move(net), clock, std::move(options))) {}

Server::~Server() {
  for (const auto& listener : impl_->listeners) listener->close();
  for (const std::shared_ptr<NetLoop>& loop : impl_->loops) loop->stop();
}

void Server::add_unary(std::string path, UnaryHandler handler) {
  VERIFY(impl_->listeners.empty());
  Method method;
  method.path = std::move(path);
  method.unary = std::move(handler);
  impl_->core->registry.add(std::move(method));
}

void Server::add_stream(std::string path, StreamHandler handler) {
  VERIFY(impl_->listeners.empty());
  Method method;
  method.path = std::move(path);
  method.stream = std::move(handler);
  impl_->core->registry.add(std::move(method));
}

void Server::set_http_handler(HttpHandler handler) {
  VERIFY(impl_->listeners.empty());
  impl_->core->http_handler = std::move(handler);
}

void Server::set_call_observer(CallObserver observer) {
  VERIFY(impl_->listeners.empty());
  impl_->core->observer = std::move(observer);
}

void Server::set_message_observer(MessageObserver observer) {
  VERIFY(impl_->listeners.empty());
  impl_->core->message_observer = std::move(observer);
}

void Server::set_slow_observer(base::Duration from, SlowObserver observer) {
  VERIFY(impl_->listeners.empty() && observer != nullptr);
  impl_->core->slow_from = from;
  impl_->core->slow_observer = std::move(observer);
}

void Server::listen(std::unique_ptr<net::Listener> listener, ServerOptions options) {
  impl_->last_port = listener->port();
  impl_->start(std::move(listener), std::move(options));
}

Status Server::listen_tcp(const std::string& host, uint16_t port, ServerOptions options) {
  net::ListenOptions how;
  how.reuse_port = options.reuse_port;
  how.reuse_address = options.reuse_address;
  auto listener = net::Listener::tcp(impl_->home, host, port, how);
  if (!listener.ok()) return listener.status();
  listen(std::move(*listener), std::move(options));
  return Status();
}

Status Server::listen_unix(const std::string& path, ServerOptions options) {
  auto listener = net::Listener::unix_socket(impl_->home, path);
  if (!listener.ok()) return listener.status();
  listen(std::move(*listener), std::move(options));
  return Status();
}

void Server::serve(std::unique_ptr<net::Stream> stream, ServerOptions options) {
  impl_->begin(impl_->loops.front(), std::make_shared<const ServerOptions>(std::move(options)), std::move(stream));
}

LocalCalls& Server::local() { return impl_->local; }

uint16_t Server::local_port() const { return impl_->last_port; }

asio::awaitable<void> Server::stop(std::chrono::nanoseconds patience) { return impl_->stop(patience); }

Server::Stats Server::stats() const {
  Stats stats;
  stats.connections = impl_->connections;
  stats.request_bytes = impl_->core->request_bytes.load(std::memory_order_relaxed);
  for (const std::shared_ptr<NetLoop>& loop : impl_->loops) {
    stats.streams += loop->counters.streams.load(std::memory_order_relaxed);
    stats.bytes_received += loop->counters.bytes_received.load(std::memory_order_relaxed);
    stats.bytes_sent += loop->counters.bytes_sent.load(std::memory_order_relaxed);
  }
  return stats;
}

}  // namespace rpc
