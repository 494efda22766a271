// One HTTP/2 connection that carries gRPC calls: socket and session, flow of bytes in turns, keepalive, limits, drain.
// A turn: one read, all frames in it, then one send of everything that is ready. Owner: its loop's thread.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "http2/session.h"
#include "net/timer_queue.h"
#include "net/wake.h"
#include "rpc/call.h"
#include "rpc/connection.h"

namespace rpc {

inline constexpr size_t kDrainBytes = 64 * 1024;                  // handed to the socket at a time
inline constexpr size_t kSendBytesPerTurnMax = 1024 * 1024;       // then other connections get their turn
inline constexpr size_t kReadWhileBlockedBytesMax = 1024 * 1024;  // read from a peer that does not take our output
inline constexpr size_t kReservedBytesMax = 64 * 1024 * 1024;     // requests larger than a window under way on a connection
inline constexpr int kPingStrikesMax = 2;
inline constexpr auto kIdlePingInterval = std::chrono::hours(2);  // pings allowed without a stream

class GrpcConnection final : public Connection, private http2::Events {
 public:
  GrpcConnection(std::shared_ptr<NetLoop> loop, std::shared_ptr<ServerCore> core, std::shared_ptr<const ServerOptions> options,
                 std::unique_ptr<net::Stream> stream);
  ~GrpcConnection() override;

  // Serves until the connection ends. `first`: bytes already read.
  asio::awaitable<void> run(std::string first);

  void flush() override;
  void drain() override;
  void abort() override;

  // --- for Call
  http2::Session& session() { return session_; }
  ServerCore& core() { return *core_; }
  // As Registry::find; most calls of a connection are of the method of the one before.
  const Method* find_method(std::string_view path) {
    if (last_method_ == nullptr || last_method_->path != path) last_method_ = core_->registry.find(path);
    return last_method_;
  }
  const ServerOptions& options() const { return *options_; }
  bool is_tls() const { return stream_->is_tls(); }
  void mark_dirty();
  // A request of `bytes` is larger than a stream's window: the call gets credit now or, in order, when others are done.
  void reserve(Call* call);
  void unreserve(Call* call);

 private:
  void* on_stream_begin(http2::StreamId id) override;
  void on_header(void* stream, std::string_view name, std::string_view value) override;
  void on_headers_end(void* stream, http2::HeadersKind kind, bool end_stream) override;
  void on_data(void* stream, std::string_view data) override;
  void on_end_stream(void* stream) override;
  void on_stream_close(void* stream, http2::ErrorCode error) override;
  void on_ping(std::string_view eight_bytes, bool ack) override;
  void on_settings(uint32_t) override;
  void on_progress_sent() override { forgive_pings_ = true; }

  bool feed(std::string_view bytes);
  bool send(std::string_view bytes);
  asio::awaitable<void> send_rest();
  asio::awaitable<void> linger();
  void close_all(const base::Status& why);
  void fire_timer();
  void fire_stall();
  void second_goaway();

  const std::shared_ptr<NetLoop> loop_;
  const std::shared_ptr<ServerCore> core_;
  const std::shared_ptr<const ServerOptions> options_;
  const std::unique_ptr<net::Stream> stream_;
  PeerInfo* peer_;
  const Method* last_method_ = nullptr;
  http2::Session session_;
  std::vector<Call*> calls_;       // open streams
  std::deque<Call*> wait_credit_;  // large requests that wait for a reservation
  size_t reserved_bytes_ = 0;

  bool in_turn_ = false;  // feed or drain is running: no second one inside
  bool blocked_ = false;  // rest_ waits for the socket
  bool closed_ = false;
  bool over_ = false;  // the calls are gone; what the socket has not taken yet still leaves
  std::string rest_;
  size_t rest_sent_ = 0;
  size_t read_while_blocked_ = 0;
  net::Wake unblocked_;
  net::Timer timer_;  // first bytes, then keepalive, then drain, then linger
  net::Timer stall_timer_;

  enum class Stage { kOpening, kOpen, kDraining, kDrained, kLingering };
  Stage stage_ = Stage::kOpening;
  base::Instant last_read_{};
  base::Instant last_ping_{};
  int ping_strikes_ = 0;
  bool forgive_pings_ = false;
  bool ping_unanswered_ = false;
};

}  // namespace rpc
