// A constant gRPC reply on our stack: the floor under every RPC. echo PORT [net threads]; measured with h2load (README).
//   /etcdserverpb.KV/Range   answers 300 bytes
//   /echo.Echo/Big           answers as many bytes as the request has, times 1000, in chunks
//   /echo.Echo/Stream        sends back what it gets
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "net/spawn.h"
#include "rpc/server.h"

namespace {

class Zeros final : public rpc::ChunkSource {
 public:
  explicit Zeros(uint64_t size) : size_(size) {}
  uint64_t size() const override { return size_; }
  void next(size_t max, Done done) override { done(std::string(std::min<uint64_t>(max, 30000), 'z').substr(0, left(max))); }

 private:
  size_t left(size_t max) {
    const auto n = static_cast<size_t>(std::min<uint64_t>(std::min<uint64_t>(max, 30000), size_ - given_));
    given_ += n;
    return n;
  }
  uint64_t size_, given_ = 0;
};

asio::awaitable<base::Status> echo(std::shared_ptr<rpc::ServerStream> stream) {
  for (;;) {
    auto message = co_await stream->read();
    if (!message.ok()) co_return message.status();
    if (!message->has_value()) co_return base::Status();
    base::Status written = co_await stream->write(std::move(**message));
    if (!written.ok()) co_return written;
  }
}

asio::awaitable<void> stop_on_signal(asio::io_context& home, rpc::Server& server) {
  asio::signal_set signals(home, SIGINT, SIGTERM);
  co_await signals.async_wait(asio::use_awaitable);
  co_await server.stop(std::chrono::seconds(2));
  home.stop();
}

}  // namespace

int main(int argc, char** argv) {
  const auto port = static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 21000);
  const int threads = argc > 2 ? std::atoi(argv[2]) : 0;
  asio::io_context home(1);
  std::vector<std::unique_ptr<asio::io_context>> loops;
  std::vector<asio::io_context*> net;
  std::vector<std::thread> runners;
  for (int i = 0; i < threads; ++i) {
    loops.push_back(std::make_unique<asio::io_context>(1));
    net.push_back(loops.back().get());
    runners.emplace_back([io = loops.back().get()] {
      const auto guard = asio::make_work_guard(*io);
      io->run();
    });
  }
  const base::RealClock clock;
  const rpc::ServerOptions options;
  rpc::Server server(home, net, clock, options);
  server.add_unary("/etcdserverpb.KV/Range", [](rpc::UnaryCall call) { call.finish(std::string(300, 'x')); });
  server.add_unary("/echo.Echo/Big", [](rpc::UnaryCall call) {
    const uint64_t size = call.request().size() * 1000;
    call.finish(std::unique_ptr<rpc::ChunkSource>(std::make_unique<Zeros>(size)));
  });
  server.add_stream("/echo.Echo/Stream", echo);
  server.set_http_handler([](std::shared_ptr<rpc::HttpCall> call) {
    rpc::HttpResponse response;
    response.body = call->request().method + " " + call->request().target + "\n";
    call->finish(std::move(response));
  });
  const base::Status listening = server.listen_tcp("127.0.0.1", port, options);
  if (!listening.ok()) base::fatal(listening.text());
  net::spawn(home.get_executor(), "stop on signal", stop_on_signal(home, server));
  home.run();
  for (const auto& io : loops) io->stop();
  for (std::thread& runner : runners) runner.join();
}
