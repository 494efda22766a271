// One HTTP/2 connection of a client: dials, keeps alive, carries calls, ends. Owner: the channel's loop. It lives as long as
// its coroutines run; detach() cuts it from a channel that goes earlier.
#pragma once

#include <asio.hpp>
#include <memory>
#include <string>
#include <vector>

#include "http2/session.h"
#include "net/stream.h"
#include "net/timer_queue.h"
#include "net/wake.h"
#include "rpc/channel.h"
#include "rpc/client_call.h"
#include "rpc/endpoint.h"

namespace rpc {

inline constexpr size_t kClientReadBytes = 64 * 1024;                // one read
inline constexpr size_t kClientWriteBytes = 256 * 1024;              // frames made before the socket is asked again
inline constexpr int kClientReadsPerTurn = 16;                       // then others get the loop
inline constexpr auto kKeepaliveTimeMin = std::chrono::seconds(10);  // shorter ones are raised to this, as in grpc-go

// What all connections of a channel share; outlives the channel while a connection ends.
struct ClientShared {
  ClientShared(asio::io_context& l, const base::Clock& c, ChannelOptions o)
      : loop(l),
        clock(c),
        options(std::move(o)),
        timers(std::make_shared<net::TimerQueue>(l, c)),
        read_buffer(kClientReadBytes, '\0') {}

  asio::io_context& loop;
  const base::Clock& clock;
  const ChannelOptions options;
  const std::shared_ptr<net::TimerQueue> timers;
  std::string read_buffer;  // used between two suspensions only
};

class ClientConnection final : public http2::Events,
                               public ClientCallPlace,
                               public std::enable_shared_from_this<ClientConnection> {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // The server's SETTINGS have come: calls may start.
    virtual void connection_ready(ClientConnection& connection) = 0;
    // No new calls here: the server has said goodbye, or stream ids are used up.
    virtual void connection_draining(ClientConnection& connection) = 0;
    // The end, with the reason as grpc-go words it: `connection error: desc = "..."`.
    virtual void connection_lost(ClientConnection& connection, const base::Status& why) = 0;
    // The server has not touched this call; another connection may have it. Called from the loop, never inside start().
    virtual void call_refused(std::shared_ptr<ClientCall> call) = 0;
  };

  // `authority`: for the :authority field.
  ClientConnection(std::shared_ptr<ClientShared> shared, Endpoint endpoint, std::string authority,
                   std::chrono::nanoseconds keepalive_time, Owner* owner);
  ~ClientConnection() override;

  // Dials, for at most `timeout`.
  void start(base::Duration timeout);
  bool ready() const { return state_ == State::kReady; }
  // Puts the call on a new stream. False, and nothing has happened to the call: not ready any more.
  bool start_call(const std::shared_ptr<ClientCall>& call);
  // Ends the connection; calls under way finish with `why` now.
  void close(const base::Status& why);
  // No new calls; ends when those under way have.
  void drain();
  void detach() { owner_ = nullptr; }
  // The server said that we ping too often.
  bool told_too_many_pings() const { return too_many_pings_; }

  // ClientCallPlace
  void abandon(ClientCall& call) override;
  void body_ready(ClientCall& call) override;
  void consumed(ClientCall& call, size_t bytes) override;

  // http2::Events
  void on_header(void* stream, std::string_view name, std::string_view value) override;
  void on_headers_end(void* stream, http2::HeadersKind kind, bool end_stream) override;
  void on_data(void* stream, std::string_view data) override;
  void on_end_stream(void* stream) override;
  void on_stream_close(void* stream, http2::ErrorCode error) override;
  void on_ping(std::string_view eight_bytes, bool ack) override;
  void on_goaway(http2::StreamId last_id, http2::ErrorCode error, std::string_view debug) override;
  void on_settings(uint32_t peer_streams_max) override;

 private:
  enum class State { kIdle, kDialing, kReady, kDraining, kClosed };

  asio::awaitable<void> run();
  asio::awaitable<std::string> open();
  asio::awaitable<std::string> serve();
  asio::awaitable<void> write_when_blocked();
  asio::awaitable<base::Result<std::unique_ptr<net::Stream>>> dial();
  std::string feed(std::string_view bytes);
  void flush();
  void flush_later();
  void answered(ClientCall& call, bool end_stream);
  void drain_away();
  void dial_timed_out();
  void end(std::string why);
  void finish_calls(const base::Status& why);
  void arm_keepalive();
  void keepalive_due();

  const std::shared_ptr<ClientShared> shared_;
  const Endpoint endpoint_;
  const std::string authority_;
  const std::chrono::nanoseconds keepalive_time_;
  Owner* owner_;
  State state_ = State::kIdle;
  base::Instant dial_deadline_{};
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<http2::Session> session_;
  std::vector<std::shared_ptr<ClientCall>> calls_;  // with an open stream; a call knows its slot
  std::vector<http2::Header> fields_;               // of a request; the first ones never change
  std::string output_;                              // frames on their way to the socket
  size_t output_sent_ = 0;
  bool blocked_ = false;  // the socket is full; write_when_blocked() goes on
  bool flush_posted_ = false;
  bool in_session_ = false;  // an event is being told
  bool got_settings_ = false;
  bool too_many_pings_ = false;
  std::string close_reason_;  // why we end it ourselves
  std::string goaway_text_;   // what the server gave as its reason
  net::Wake writer_wake_;
  net::Timer dial_timer_;
  net::Timer keepalive_timer_;
  base::Instant last_read_{};
  bool ping_sent_ = false;
};

// `connection error: desc = "..."`, with Go's quoting.
base::Status connection_error(std::string_view what);

}  // namespace rpc
