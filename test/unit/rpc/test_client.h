// A gRPC client for tests, over a pair in memory, on the same thread as the server: call, pump until something is true, look.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "http2/session.h"
#include "net/spawn.h"
#include "net/stream.h"
#include "rpc/message_reader.h"
#include "rpc/server.h"

namespace rpc_test {

inline std::string framed(const std::string& message, bool compressed = false) {
  char prefix[rpc::kMessagePrefixBytes];
  rpc::store_message_prefix(prefix, compressed, static_cast<uint32_t>(message.size()));
  return std::string(prefix, sizeof prefix) + message;
}

// Loops of a test: home, and with `split` one net loop of its own, both run by this thread.
struct World {
  explicit World(bool split = false) : split_(split) {}
  asio::io_context& net_io() { return split_ ? net_loop : home; }
  void turn() {
    for (asio::io_context* io : {&home, &net_loop}) {
      io->restart();
      io->poll();
    }
  }
  asio::io_context home{1}, net_loop{1};
  const base::RealClock clock;

  // Stops its server before it goes.
  struct Stopper {
    World* world;
    void operator()(rpc::Server* server) const {
      bool stopped = false;
      net::spawn(world->home.get_executor(), "stop", stop(*server, &stopped));
      CHECK(world->pump([&] { return stopped; }));
      delete server;
    }
    static asio::awaitable<void> stop(rpc::Server& server, bool* stopped) {
      co_await server.stop(std::chrono::nanoseconds(0));
      *stopped = true;
    }
  };
  std::unique_ptr<rpc::Server, Stopper> make_server(rpc::ServerOptions options = rpc::ServerOptions()) {
    std::vector<asio::io_context*> loops;
    if (split_) loops.push_back(&net_loop);
    return {new rpc::Server(home, loops, clock, std::move(options)), Stopper{this}};
  }
  template <class Until>
  bool pump(Until until, std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!until()) {
      if (std::chrono::steady_clock::now() > end) return false;
      turn();
    }
    return true;
  }

 private:
  const bool split_;
};

struct Reply {
  http2::StreamId id = 0;
  std::map<std::string, std::string> fields;  // headers and trailers
  std::vector<std::string> messages;
  rpc::MessageReader reader;
  size_t data_bytes = 0;
  int blocks = 0;
  bool ended = false, closed = false;
  http2::ErrorCode error = http2::ErrorCode::kNoError;

  std::string field(const std::string& name) const {
    const auto found = fields.find(name);
    return found == fields.end() ? "(none)" : found->second;
  }
};

struct RequestBody final : http2::Body {
  std::string bytes;
  bool open = false;
  Ready ready() override {
    Ready r;
    r.bytes = bytes.size();
    r.end = !open;
    return r;
  }
  void take(char* to, size_t size) override {
    bytes.copy(to, size);
    bytes.erase(0, size);
  }
};

class Client final : public http2::Events {
 public:
  Client(World& world, std::unique_ptr<net::Stream> stream)
      : world_(world), stream_(std::move(stream)), session_(http2::Role::kClient, *this, http2::SessionOptions()) {}

  // One end for a new client, the other served.
  static std::unique_ptr<Client> connect(World& world, rpc::Server& server, rpc::ServerOptions options = rpc::ServerOptions(),
                                         size_t capacity = 100000) {
    auto [left, right] = net::make_memory_pair(world.net_io(), capacity);
    server.serve(std::move(left), std::move(options));
    return std::make_unique<Client>(world, std::move(right));
  }

  using Fields = std::vector<std::pair<std::string, std::string>>;
  // `body` is sent as it is (use framed()). `open`: the request is not ended.
  http2::StreamId call(const std::string& path, const std::string& body, const Fields& extra = {}, bool open = false) {
    Fields fields = {{":method", "POST"},
                     {":scheme", "http"},
                     {":path", path},
                     {":authority", "x"},
                     {"content-type", "application/grpc"},
                     {"te", "trailers"},
                     {"user-agent", "test/1"}};
    for (const auto& [name, value] : extra) {
      bool replaced = false;
      for (auto& field : fields) {
        if (field.first != name) continue;
        field.second = value;
        replaced = true;
      }
      if (!replaced) fields.emplace_back(name, value);
    }
    std::erase_if(fields, [](const auto& field) { return field.second == "(omit)"; });
    std::vector<http2::Header> headers;
    for (const auto& [name, value] : fields) headers.push_back({name, value});
    auto sending = std::make_unique<RequestBody>();
    sending->bytes = body;
    sending->open = open;
    auto reply = std::make_unique<Reply>();
    reply->reader.reset(size_t{1} << 31);
    const http2::StreamId id = session_.submit_request(headers, sending.get(), reply.get());
    REQUIRE(id > 0);
    reply->id = id;
    replies[id] = std::move(reply);
    bodies_[id] = std::move(sending);
    return id;
  }
  void send(http2::StreamId id, const std::string& bytes, bool open = true) {
    bodies_[id]->bytes += bytes;
    bodies_[id]->open = open;
    session_.resume(id);
  }
  Reply& reply(http2::StreamId id) { return *replies[id]; }
  http2::Session& session() { return session_; }

  // Moves bytes and runs the loops once.
  void turn() {
    session_.drain(out_, 1 << 16);
    if (!out_.empty()) {
      const net::IoResult put = stream_->try_write(out_);
      if (put.state == net::IoState::kDone) out_.erase(0, put.bytes);
    }
    world_.turn();
    char buffer[65536];
    while (reading) {
      const net::IoResult got = stream_->try_read(buffer, sizeof buffer);
      if (got.state == net::IoState::kEnd || got.state == net::IoState::kFailed) ended = true;
      if (got.state != net::IoState::kDone) break;
      (void)session_.feed({buffer, got.bytes}, base::Instant{});
    }
  }
  template <class Until>
  bool pump(Until until, std::chrono::milliseconds patience = std::chrono::seconds(10)) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!until()) {
      if (std::chrono::steady_clock::now() > end) return false;
      turn();
    }
    return true;
  }
  // Calls and waits for the end of the stream.
  Reply& finish(const std::string& path, const std::string& body, const Fields& extra = {}) {
    const http2::StreamId id = call(path, body, extra);
    CHECK(pump([&] { return reply(id).closed; }));
    return reply(id);
  }

  std::map<http2::StreamId, std::unique_ptr<Reply>> replies;
  bool reading = true;
  bool give_credit = true;
  bool ended = false;
  std::string goaway;
  int goaways = 0;

 private:
  void on_header(void* s, std::string_view name, std::string_view value) override {
    static_cast<Reply*>(s)->fields[std::string(name)] = value;
  }
  void on_headers_end(void* s, http2::HeadersKind, bool end) override {
    ++static_cast<Reply*>(s)->blocks;
    if (end) on_end_stream(s);
  }
  void on_data(void* s, std::string_view data) override {
    auto* reply = static_cast<Reply*>(s);
    reply->data_bytes += data.size();
    if (give_credit) session_.consumed(reply->id, data.size());
    for (;;) {
      const auto got = reply->reader.next(&data);
      if (got == rpc::MessageReader::Got::kMore) break;
      if (got == rpc::MessageReader::Got::kMessage) reply->messages.push_back(reply->reader.message());
    }
  }
  void on_end_stream(void* s) override { static_cast<Reply*>(s)->ended = true; }
  void on_stream_close(void* s, http2::ErrorCode error) override {
    static_cast<Reply*>(s)->closed = true;
    static_cast<Reply*>(s)->error = error;
  }
  void on_goaway(http2::StreamId, http2::ErrorCode, std::string_view debug) override {
    ++goaways;
    goaway = debug;
  }

  World& world_;
  std::unique_ptr<net::Stream> stream_;
  http2::Session session_;
  std::map<http2::StreamId, std::unique_ptr<RequestBody>> bodies_;
  std::string out_;
};

}  // namespace rpc_test
