// One call of a client while it waits for a connection, is sent, and is answered. Owner: the channel's loop. Kept alive by
// where it is (the channel's queue or a connection) until its HTTP/2 stream has closed, even when it is finished before.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "http2/session.h"
#include "net/timer_queue.h"
#include "net/wake.h"
#include "rpc/channel.h"
#include "rpc/client_response.h"
#include "rpc/message_reader.h"

namespace rpc {

class ClientCall;

inline constexpr size_t kClientQueuedBytesMax = 64 * 1024;  // ClientStream::write() waits above it
inline constexpr size_t kReplayBytesMax = 256 * 1024;       // a stream that has sent more is not tried again

// Where a call is. All of it is safe to ask from inside an event of the connection.
class ClientCallPlace {
 public:
  virtual ~ClientCallPlace() = default;
  virtual void abandon(ClientCall& call) = 0;     // nobody waits for it any more
  virtual void body_ready(ClientCall& call) = 0;  // there is more to send
  virtual void consumed(ClientCall& call, size_t bytes) = 0;
};

class ClientCall : public http2::Body, public std::enable_shared_from_this<ClientCall> {
 public:
  ClientCall(std::shared_ptr<net::TimerQueue> timers, std::string_view path, CallOptions options, size_t message_bytes_max);
  ~ClientCall() override;

  const std::string& path() const { return path_; }
  const CallOptions& options() const { return options_; }
  bool finished() const { return finished_; }
  // Ends the call for its user, once; later calls do nothing. kOk: the answer is complete.
  void finish(base::Status status);
  // finish(), and the server is told.
  void abort(base::Status status);
  // Starts the deadline's clock; finishes at once when it has passed.
  void arm_deadline();

  // Moves of the call; null: nowhere.
  void set_place(ClientCallPlace* place) { place_ = place; }
  // While it waits for a connection: why there is none so far, for the text at the deadline.
  void set_waiting_because(base::Status why) { waiting_because_ = std::move(why); }

  // Back to the start for another attempt. False: not possible any more.
  bool rewind();

  // What the connection hears. End of stream and final status come through the response.
  ClientResponse& response() { return response_; }
  void on_data(std::string_view data);
  virtual void on_stream_opened() {}

  // http2::Body. It is asked only after the header fields went out.
  Ready ready() final {
    headers_sent_ = true;
    return body_ready();
  }
  bool headers_sent() const { return headers_sent_; }
  // All of it, and its end.
  virtual bool body_sent() const = 0;

  // The connection's own notes.
  http2::StreamId stream_id = 0;
  size_t slot = 0;

 protected:
  virtual void on_message(std::string message) = 0;
  // The last thing the user hears.
  virtual void on_finished(base::Status status) = 0;
  virtual bool rewind_body() = 0;
  virtual Ready body_ready() const = 0;
  // How many of `bytes` just received may be given back to the server at once; the rest by give_back() later.
  virtual size_t credit_now(size_t bytes) { return bytes; }

  void give_back(size_t bytes) {
    if (place_ != nullptr && bytes > 0) place_->consumed(*this, bytes);
  }
  void wake_body() {
    if (place_ != nullptr) place_->body_ready(*this);
  }

 private:
  static void deadline_passed(void* self);

  const std::shared_ptr<net::TimerQueue> timers_;
  const std::string path_;
  const CallOptions options_;
  const size_t message_bytes_max_;
  ClientResponse response_;
  net::Timer deadline_;
  ClientCallPlace* place_ = nullptr;
  base::Status waiting_because_;
  bool finished_ = false;
  bool rewound_ = false;
  bool headers_sent_ = false;
};

// One message each way.
class UnaryClientCall final : public ClientCall {
 public:
  UnaryClientCall(std::shared_ptr<net::TimerQueue> timers, std::string_view path, std::string request, CallOptions options,
                  size_t message_bytes_max, Channel::UnaryDone done);

  void take(char* to, size_t size) override;
  bool body_sent() const override { return unsent_bytes() == 0; }

 private:
  size_t unsent_bytes() const { return kMessagePrefixBytes + request_.size() - sent_bytes_; }
  Ready body_ready() const override { return {unsent_bytes(), true}; }
  void on_message(std::string message) override;
  void on_finished(base::Status status) override;
  bool rewind_body() override;

  const std::string request_;
  char prefix_[kMessagePrefixBytes];
  size_t sent_bytes_ = 0;
  std::optional<std::string> answer_;
  Channel::UnaryDone done_;
};

// Many messages each way. The face for the user is ClientStream (see make_client_stream).
class StreamClientCall final : public ClientCall {
 public:
  StreamClientCall(asio::io_context& loop, std::shared_ptr<net::TimerQueue> timers, std::string_view path, CallOptions options,
                   size_t message_bytes_max, size_t send_bytes_max);

  // Until the call is on a connection, or has failed.
  asio::awaitable<base::Status> opened();
  asio::awaitable<base::Status> write(std::string message);
  void half_close();
  asio::awaitable<base::Result<std::optional<std::string>>> read();

  void take(char* to, size_t size) override;
  bool body_sent() const override { return half_closed_ && queued_bytes_ == 0; }
  void on_stream_opened() override;

 private:
  Ready body_ready() const override { return final_ ? Ready{0, true} : Ready{queued_bytes_, half_closed_}; }
  void on_message(std::string message) override;
  void on_finished(base::Status status) override;
  bool rewind_body() override;
  size_t credit_now(size_t bytes) override;
  void drop_sent();

  const size_t send_bytes_max_;
  // Framed messages. The first `sent_messages_` are sent and kept for another attempt until the server has begun to answer.
  std::deque<std::string> outgoing_;
  size_t sent_messages_ = 0;
  size_t sent_of_next_ = 0;  // bytes of the next one
  size_t queued_bytes_ = 0;  // not sent
  size_t replay_bytes_ = 0;  // sent and kept
  bool replay_lost_ = false;
  bool half_closed_ = false;
  std::deque<std::string> incoming_;
  size_t withheld_bytes_ = 0;  // received, not given back to the server's window
  bool opened_ = false;
  std::optional<base::Status> final_;
  net::Wake opened_wake_;
  net::Wake write_wake_;
  net::Wake read_wake_;
};

base::Status too_large_to_send(size_t bytes, size_t bytes_max);

std::unique_ptr<ClientStream> make_client_stream(std::shared_ptr<StreamClientCall> call);

}  // namespace rpc
