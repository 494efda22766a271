// One HTTP/2 connection without I/O: bytes in, events out; submissions in, bytes out. Both roles, over nghttp2.
// Owner: the connection's loop. The caller feeds what the socket gave and drains what the socket takes; data of bodies is
// pulled only while draining, so a slow peer holds nothing but what its streams hold.
// Limits (all named below): header list, concurrent streams, resets, control frames, empty DATA, outbound acks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"

struct nghttp2_session;

namespace http2 {

using StreamId = int32_t;

inline constexpr std::string_view kClientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
inline constexpr size_t kFrameHeaderBytes = 9;
inline constexpr size_t kStreamsPerConnectionMax = 16384;   // beyond it: REFUSED_STREAM, whatever is advertised
inline constexpr size_t kHeaderListBytesMax = 64 * 1024;    // sum of name + value + 32; beyond it the stream is reset
inline constexpr uint32_t kStreamWindowBytes = 256 * 1024;  // what a peer may send on a stream before we read it
inline constexpr uint32_t kConnectionWindowBytes = 1024 * 1024;
inline constexpr size_t kFrameBytesMax = 16384;
inline constexpr size_t kControlFramesBurstMax = 4096;  // frames that ask for no work: SETTINGS, PRIORITY, empty DATA, ...
inline constexpr size_t kControlFramesPerSecond = 512;  // ... and how fast that allowance comes back
inline constexpr size_t kControlFramesPerMessage = 2;   // ... and for each HEADERS or DATA, ours or theirs: Go pings to measure
inline constexpr size_t kResetsBurstMax = 20000;        // streams a client opened and reset beyond those answered meanwhile:
inline constexpr size_t kResetsPerSecond = 10000;       // Go clients reset what they cancel, thousands a second
inline constexpr size_t kQueuedAcksMax = 1000;  // PING and SETTINGS acks waiting for the socket

enum class ErrorCode : uint32_t {
  kNoError = 0,
  kProtocolError = 1,
  kInternalError = 2,
  kFlowControlError = 3,
  kStreamClosed = 5,
  kFrameSizeError = 6,
  kRefusedStream = 7,
  kCancel = 8,
  kEnhanceYourCalm = 11,
};

// Views must live until the submit call returns.
struct Header {
  std::string_view name;  // lower case
  std::string_view value;
  bool literal = false;  // both are string literals, or live as long as the process: not copied
};

// What is sent on a stream. Lives until on_stream_close of its stream, or until the session dies.
class Body {
 public:
  struct Ready {
    size_t bytes = 0;  // that take() can give now
    bool end = false;  // and nothing will follow them
  };
  virtual ~Body() = default;
  // {0, false}: nothing now; Session::resume() when that changes.
  virtual Ready ready() = 0;
  // Writes exactly `size` bytes (<= ready().bytes) to `to`.
  virtual void take(char* to, size_t size) = 0;
  // Asked once, when the end is reached: header fields after the data. Empty: END_STREAM goes on the last DATA frame.
  virtual std::span<const Header> trailers() { return {}; }
};

enum class HeadersKind { kRequest, kResponse, kInformational, kTrailers };

// What the peer did. Called inside feed() (on_stream_close also inside drain()); submit calls are allowed in all of them,
// feed() and drain() in none. `stream` is the pointer given for that stream.
class Events {
 public:
  virtual ~Events() = default;
  // Server: a new request. Returns the pointer for this stream; null refuses it (REFUSED_STREAM).
  virtual void* on_stream_begin(StreamId) { return nullptr; }
  // One field of the block under way. Names are lower case, values have no CR, LF, NUL; pseudo-headers come first.
  virtual void on_header(void* stream, std::string_view name, std::string_view value) = 0;
  virtual void on_headers_end(void* stream, HeadersKind kind, bool end_stream) = 0;
  // Give credit back with consumed() as the bytes are used up (at once or later); connection credit returns by itself.
  virtual void on_data(void* stream, std::string_view data) = 0;
  virtual void on_end_stream(void* stream) = 0;  // not called when on_headers_end already said end_stream
  // The last event of a stream; the pointer is forgotten. kNoError: both sides have finished.
  virtual void on_stream_close(void* stream, ErrorCode error) = 0;
  virtual void on_ping(std::string_view /*eight_bytes*/, bool /*ack*/) {}
  virtual void on_goaway(StreamId /*last_id*/, ErrorCode, std::string_view /*debug*/) {}
  virtual void on_settings(uint32_t /*peer_streams_max*/) {}
  // HEADERS or DATA has been put into the output.
  virtual void on_progress_sent() {}
};

enum class Role { kServer, kClient };

struct SessionOptions {
  uint32_t streams_max_advertised = 0xffffffff;  // 0xffffffff: not sent
  size_t streams_max = kStreamsPerConnectionMax;
  uint32_t stream_window_bytes = kStreamWindowBytes;
  uint32_t connection_window_bytes = kConnectionWindowBytes;
};

class Session {
 public:
  Session(Role role, Events& events, const SessionOptions& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Takes all of `bytes`. An error means the connection is broken: a GOAWAY is queued; drain, then close.
  // REQUIRES: not inside an event.
  base::Status feed(std::string_view bytes, base::Instant now);
  // Appends frames to `out` until it holds at least `size_max` bytes (overshooting by less than a frame) or nothing is ready.
  // REQUIRES: not inside an event.
  void drain(std::string& out, size_t size_max);
  bool wants_write() const;
  // Neither direction has anything left: close the connection.
  bool finished() const;

  // Server. `body` null: END_STREAM on the headers. False when the stream is gone.
  bool submit_response(StreamId id, std::span<const Header> headers, Body* body);
  // Client. Returns the new id, or a negative number when no more streams can be made (GOAWAY seen, ids used up).
  StreamId submit_request(std::span<const Header> headers, Body* body, void* stream);
  // The body of `id` has something (or its end) again.
  void resume(StreamId id);
  // The application has used `bytes` of what on_data gave for `id`.
  void consumed(StreamId id, size_t bytes);
  void reset(StreamId id, ErrorCode error);

  void ping(std::string_view eight_bytes);
  // First half of a graceful end (server): GOAWAY with the largest id, new streams are still served.
  void goaway_notice();
  // No stream above those already begun will be served. Streams under way go on.
  void goaway(ErrorCode error, std::string_view debug);
  // GOAWAY, and the session ends as soon as it is drained.
  void terminate(ErrorCode error, std::string_view debug);

  size_t open_streams() const;
  // Client: how many streams the peer lets us have open.
  uint32_t peer_streams_max() const;

 private:
  friend struct Callbacks;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace http2
