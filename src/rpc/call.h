// One gRPC call on the server, in two halves that may live on different threads:
//
//   owner half (the connection's loop): the HTTP/2 stream, headers, message framing, deadline, what is queued to be sent
//   home half (the home loop): the handler's view: UnaryCall, ServerStream or ChunkSource
//
// They talk by CallMessage only, so a field belongs to one half (marked below), but for `cancelled`. Calls are pooled: one
// goes back when the stream is closed and the home half has said that it is done (kReply, kFailure or kReleased).
// A home half that needs more than one message (stream, source) is always told kDead, exactly once, and answers kReleased
// after it: so nothing is under way to a call that goes back to the pool.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "http2/session.h"
#include "net/timer_queue.h"
#include "rpc/connection.h"
#include "rpc/message_reader.h"
#include "rpc/net_loop.h"
#include "rpc/server.h"

namespace rpc {

class GrpcConnection;
class Http2Request;
class StreamHandle;

inline constexpr size_t kPooledBufferBytesMax = 16 * 1024;  // what a pooled call keeps of its buffers
inline constexpr size_t kChunkBytesMax = 64 * 1024;         // asked of a ChunkSource at a time
inline constexpr size_t kInboxMessagesMax = 64;             // request messages handed to a stream handler but not read

class Call final : public detail::UnaryState, public http2::Body {
 public:
  Call(std::shared_ptr<NetLoop> loop, std::shared_ptr<ServerCore> core);
  ~Call() override;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // --- owner half: called by GrpcConnection ---------------------------------------------------------------------------
  void begin(GrpcConnection* connection, http2::StreamId id, PeerInfo* peer);
  void header(std::string_view name, std::string_view value);
  void headers_end(bool end_stream);
  void data(std::string_view bytes);
  void end_stream();
  // The stream is gone (`why` for the handler); the last call by the connection.
  void stream_closed(const base::Status& why);
  // The server stops: streaming calls end with `why`, unary ones go on.
  void stop(const base::Status& why);
  // More of the reserved window was granted by the connection.
  void grant();
  http2::StreamId id() const { return id_; }
  uint32_t reserved_bytes() const { return reserved_bytes_; }
  bool granted() const { return granted_; }
  size_t list_slot = 0;  // the connection's, to remove it in O(1)

  Ready ready() override;
  void take(char* to, size_t size) override;
  std::span<const http2::Header> trailers() override;

  void receive_at_owner(CallMessage message);
  // Ready for the next stream. REQUIRES: both halves are done.
  void clear();

  // --- home half ------------------------------------------------------------------------------------------------------
  void receive_at_home(CallMessage message);
  void send_to_owner(CallMessage::Kind kind, uint64_t number = 0) {
    CallMessage message;
    message.call = this;
    message.kind = kind;
    message.number = number;
    loop_->to_owner(std::move(message));
  }
  const CallContext& context() const override { return context_; }
  std::string_view request() const override { return request_; }
  const std::string& request_path() const { return path_; }
  bool cancelled() const override { return cancelled_.load(std::memory_order_relaxed); }
  void finish(std::string message) override;
  void finish(base::Status status) override;
  void finish(std::unique_ptr<ChunkSource> source) override;
  NetLoop& loop() { return *loop_; }
  Metadata take_metadata() { return std::move(metadata_); }

 private:
  friend class StreamHandle;
  enum class Phase {
    kHeaders,  // the first header block
    kRequest,  // waiting for the request message (unary)
    kStreaming,
    kAnswered,  // the answer is known or being made; request bytes are ignored
    kHttp,      // no gRPC: http_ has it
  };
  struct Piece {
    char prefix[kMessagePrefixBytes];
    uint8_t prefix_bytes;  // 0 for a chunk in the middle of a message
    std::string own;
    std::shared_ptr<const std::string> shared;
    size_t size() const { return prefix_bytes + own.size() + (shared ? shared->size() : 0); }
  };

  void fire_deadline();
  void grpc_header(std::string_view name, std::string_view value);
  bool is_call() const;
  void begin_http();
  bool refuse_headers();
  void dispatch();
  void read_messages();
  void read_unary(std::string_view bytes);
  base::Status unpack(std::string& message);
  void prefix_known();
  void request_broken(base::Status why);
  void give_back_reservation();
  void dispatch_unary();
  void queue(Piece piece);
  void queue_message(std::string bytes, std::shared_ptr<const std::string> shared);
  void send_headers(bool only);
  void end_with(base::Status status);
  void early_abort(int http_status, base::Status status);
  void wake_sender();
  void settle();
  void tell_home(CallMessage::Kind kind, uint64_t number = 0);
  void tell_dead(base::Status why);
  void hold_request_bytes(size_t bytes);

  void pull(size_t max);
  void chunk_done(base::Result<std::string> chunk);
  void begin_observed();
  void observe_end(const base::Status& status, std::string_view response, const ChunkSource* source);

  const std::shared_ptr<NetLoop> loop_;

  // --- owner's fields
  GrpcConnection* connection_ = nullptr;  // null once the stream is closed
  http2::StreamId id_ = 0;
  PeerInfo* peer_ = nullptr;
  Phase phase_ = Phase::kHeaders;
  const Method* method_ = nullptr;
  bool home_active_ = false;  // the home half has been started and has not said that it is done
  bool told_dead_ = false;
  bool remote_ended_ = false;
  bool half_close_told_ = false;
  bool headers_sent_ = false;
  bool ended_ = false;  // status_ is final, nothing more is queued
  bool has_source_ = false;
  bool pulling_ = false;
  bool granted_ = false;
  bool deferred_ = false;  // the session waits for resume()
  bool request_broken_ = false;
  std::string path_, authority_, verb_, bad_content_type_, subtype_, encoding_;
  base::Status bad_header_;
  bool is_grpc_ = false;
  bool malformed_connection_ = false;
  std::optional<base::Duration> timeout_;
  net::Timer deadline_;
  MessageReader reader_;
  std::string backlog_;        // request bytes of a stream not yet cut into messages
  size_t inbox_messages_ = 0;  // handed to home and not yet consumed
  size_t owed_bytes_ = 0;      // window credit for bytes that arrived
  uint32_t reserved_bytes_ = 0;
  size_t held_bytes_ = 0;  // counted in ServerCore::request_bytes
  std::vector<Piece> pieces_;
  size_t first_piece_ = 0, piece_offset_ = 0, queued_ = 0;
  uint64_t source_left_ = 0;
  base::Status status_;
  base::Status close_why_;  // set when we know better than the connection
  std::string content_type_, status_number_, status_text_;
  http2::Header trailer_fields_[2];
  std::shared_ptr<Http2Request> http_;

  // --- written by the owner before kUnary or kStream, read by home after
  CallContext context_;
  Metadata metadata_;
  std::string request_;
  std::shared_ptr<ServerCore> core_;  // set once

  // --- home's fields
  std::unique_ptr<ChunkSource> source_;
  std::shared_ptr<StreamHandle> handle_;
  bool source_busy_ = false;
  bool source_dead_ = false;
  base::Instant began_{};

  std::atomic<bool> cancelled_{false};
};

}  // namespace rpc
