// The server side of one or more listening ports: sniffs HTTP/2 (gRPC) and HTTP/1.1, frames gRPC, keeps deadlines and limits.
// Handlers always run on the home loop (the core loop), whichever loop owns the connection; hops happen here, in batches.
// Behaviour follows grpc-go 1.82 as etcd 3.7 configures it: feature map 3.12, wire-and-disk 10, quirks "HTTP/2 and gRPC".
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "rpc/metadata.h"

namespace net {
class Listener;
class Stream;
class TlsPolicy;
}

namespace rpc {

// A response message that is produced while the socket drains. The length prefix comes from size(), so it must be exact.
class ChunkSource {
 public:
  using Done = std::function<void(base::Result<std::string>)>;
  virtual ~ChunkSource() = default;
  // Bytes of the whole message.
  virtual uint64_t size() const = 0;
  // Hands over the next 1..max bytes (at most `max`), at once or later, on the home loop. Never called while one is under
  // way, nor after size() bytes. An error ends the stream with that status in the trailers.
  virtual void next(size_t max, Done done) = 0;
  // How many things the message tells of, for logs.
  virtual int64_t count() const { return 0; }
};

// What a handler may know of a call. Valid as long as the call.
struct CallContext {
  std::string_view path;  // "/etcdserverpb.KV/Range"
  const Metadata* metadata = nullptr;
  std::optional<base::Instant> deadline;  // from grpc-timeout
  std::string_view peer;                  // "127.0.0.1:39412", "unix:@"
  std::string_view tls_common_name;       // of the verified client certificate; empty without
};

// A unary call at the moment its answer is known; the views end with the observer's call.
struct FinishedUnary {
  const CallContext& context;
  std::string_view request;
  std::string_view response;    // the message; empty with `source` and without an answer
  const ChunkSource* source;    // what makes the message; null: `response` is it
  base::Status status;
  base::Duration took;
};

class LocalCalls;

namespace detail {
// Where a unary call comes from: a connection or this process. A finish() ends the handler's part: the object may be gone then.
class UnaryState {
 public:
  virtual const CallContext& context() const = 0;
  virtual std::string_view request() const = 0;
  virtual bool cancelled() const = 0;
  virtual void finish(std::string message) = 0;
  virtual void finish(base::Status status) = 0;
  virtual void finish(std::unique_ptr<ChunkSource> source) = 0;

 protected:
  ~UnaryState() = default;  // whoever made it deletes it
};
// A handler that drops its call has finished it: kInternal.
struct DropUnary {
  void operator()(UnaryState* state) const;
};
using UnaryHold = std::unique_ptr<UnaryState, DropUnary>;
}  // namespace detail

// One unary request. Move-only; must be finished exactly once (destroying an unfinished call answers kInternal).
// The answer of a call that the client cancelled, or whose deadline passed, is dropped silently.
class UnaryCall {
 public:
  UnaryCall();
  explicit UnaryCall(detail::UnaryHold state);
  UnaryCall(UnaryCall&&) noexcept;
  UnaryCall& operator=(UnaryCall&&) noexcept;
  ~UnaryCall();

  explicit operator bool() const { return state_ != nullptr; }
  const CallContext& context() const;
  // The request message, decompressed. Valid until the call is finished.
  std::string_view request() const;
  // Client gone, stream reset, or deadline passed: nobody waits for the answer.
  bool cancelled() const;

  // REQUIRES: on the home loop, once. `message` is the response message without the gRPC prefix.
  void finish(std::string message);
  void finish(base::Status status);  // ok is not allowed here
  void finish(std::unique_ptr<ChunkSource> source);

 private:
  detail::UnaryHold state_;
};

// One streaming call (client, server or both sides). Used from the home loop only.
class ServerStream {
 public:
  virtual ~ServerStream() = default;
  virtual const CallContext& context() const = 0;
  // The next request message; nullopt once the client has half-closed; an error (kCancelled, kDeadlineExceeded, ...) when
  // the stream is dead. One read at a time.
  virtual asio::awaitable<base::Result<std::optional<std::string>>> read() = 0;
  // Queues a message and waits until at most kStreamQueuedBytesMax are queued. kCancelled when the stream is dead.
  virtual asio::awaitable<base::Status> write(std::string message) = 0;
  // Queues a message that many streams share: `prefix` then `*shared` form the message. Does not wait; false when the
  // stream is dead. The caller watches queued_bytes().
  virtual bool try_write(std::string prefix, std::shared_ptr<const std::string> shared) = 0;
  virtual size_t queued_bytes() const = 0;
  // Called once on the home loop each time the queue has drained to at most half of kStreamQueuedBytesMax after being above.
  virtual void on_drained(std::function<void()> callback) = 0;
  // Called once when the stream dies (client reset, connection lost, server stop); at once if it is dead.
  virtual void on_closed(std::function<void()> callback) = 0;
  virtual bool closed() const = 0;
  // Ends the stream for its handler, from outside of it: read() and write() give `why` from now on, and the handler returns
  // it. No effect on a stream that is dead.
  virtual void end(base::Status why) = 0;
};
inline constexpr size_t kStreamQueuedBytesMax = 256 * 1024;

using UnaryHandler = std::function<void(UnaryCall)>;
// The status it returns goes into the trailers after all queued messages.
using StreamHandler = std::function<asio::awaitable<base::Status>(std::shared_ptr<ServerStream>)>;

// An HTTP/1.1 request with its whole body (bounded by ServerOptions.http_body_bytes_max).
struct HttpRequest {
  std::string method;
  std::string target;  // as sent: path and query
  int version_minor = 1;
  Metadata headers;
  std::string body;
  std::string peer;
  std::string tls_common_name;  // of the verified client certificate; empty without
  bool secure = false;          // came over TLS
  bool upgrade = false;         // asks for another protocol and may be given one: HttpCall::upgrade()
  bool streamed = false;        // `body` is empty: HttpCall::read() gives it as it comes
};
struct HttpResponse {
  int status = 200;
  Metadata headers;  // without Content-Length, Date, Connection
  std::string body;
  bool chunked = false;  // as one chunk, with `trailers` after it; otherwise with its length
  Metadata trailers;
  bool closes = false;  // the connection ends behind it
};
// A response on its way. Either finish() once, or begin() then write()... then end(), or upgrade() then read() and write()...
// then end().
class HttpCall {
 public:
  virtual ~HttpCall() = default;
  virtual const HttpRequest& request() const = 0;
  virtual void finish(HttpResponse response) = 0;
  virtual void begin(int status, Metadata headers) = 0;                   // chunked from here on
  virtual asio::awaitable<base::Status> write(std::string chunk) = 0;    // one HTTP chunk; waits for the socket
  // As write() without the wait; false and nothing written when as much is queued as may be, or the client has gone.
  virtual bool try_write(std::string chunk) = 0;
  virtual void end() = 0;
  // Hands the connection over to another protocol: 101 with `headers` (Connection and Upgrade among them), then bytes both
  // ways as they are; end() closes it once all is written. REQUIRES: request().upgrade, nothing answered yet.
  virtual void upgrade(Metadata headers) = 0;
  // After upgrade(), or of a streamed request: what the client sent next, in pieces of any size; nullopt when no more can come.
  // One read at a time.
  virtual asio::awaitable<std::optional<std::string>> read() = 0;
  // Of a streamed request: all of its body was read. nullopt without it: the body was cut.
  virtual bool body_complete() const = 0;
  virtual bool closed() const = 0;  // the client has gone
  virtual void on_closed(std::function<void()> callback) = 0;
};
using HttpHandler = std::function<void(std::shared_ptr<HttpCall>)>;

struct ServerOptions {
  size_t message_bytes_max = 2 * 1024 * 1024;         // gRPC receive limit: max-request-bytes + 512 KiB
  uint32_t concurrent_streams_max = 0xffffffff;       // advertised; see kStreamsPerConnectionMax for the real bound
  std::chrono::nanoseconds keepalive_min_time = std::chrono::seconds(5);
  std::chrono::nanoseconds keepalive_interval = std::chrono::hours(2);
  std::chrono::nanoseconds keepalive_timeout = std::chrono::seconds(20);
  size_t http_body_bytes_max = 4 * 1024 * 1024;
  // Requests whose body is handed over as it comes, without a bound; null: none.
  std::function<bool(std::string_view method, std::string_view target)> streams_body;
  size_t connections_max = 65536;
  bool serve_grpc = true;   // false: HTTP/1.1 only (--listen-metrics-urls, --listen-client-http-urls)
  bool serve_http = true;   // false: gRPC only
  bool reuse_port = false;
  bool reuse_address = true;
  std::shared_ptr<net::TlsPolicy> tls;  // null: clear text
  bool or_clear_text = false;           // with `tls`: who does not begin with a handshake is served without
  const char* rejected_text = "rejected connection";  // of the log line when a handshake fails
};

// Owns listeners and connections. Construct, register, listen, then stop() before destruction.
class Server {
 public:
  // `home`: where handlers run. `net`: loops that own connections; empty: home owns them too.
  Server(asio::io_context& home, std::vector<asio::io_context*> net, const base::Clock& clock, ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // REQUIRES: before the first listen(). Unknown methods answer kUnimplemented as grpc-go does.
  void add_unary(std::string path, UnaryHandler handler);
  void add_stream(std::string path, StreamHandler handler);
  void set_http_handler(HttpHandler handler);

  // Takes connections from a bound and listening socket. `options` differs per port in serve_*.
  void listen(std::unique_ptr<net::Listener> listener, ServerOptions options);
  // Binds, then listens.
  base::Status listen_tcp(const std::string& host, uint16_t port, ServerOptions options);
  base::Status listen_unix(const std::string& path, ServerOptions options);
  // Serves one stream that belongs to the first net loop (home without net loops): an in-memory pair, say.
  void serve(std::unique_ptr<net::Stream> stream, ServerOptions options);
  // The handlers for callers in this process. Lives as long as the server.
  LocalCalls& local();
  // The port really bound (when asked for 0); of the last listen_tcp.
  uint16_t local_port() const;

  // Graceful: stops accepting, sends GOAWAY, lets unary calls finish, ends streams with kUnavailable "server is stopping"...
  // done after `patience` at the latest, when what is left is cut. On the home loop.
  asio::awaitable<void> stop(std::chrono::nanoseconds patience);

  struct Stats {
    uint64_t connections = 0, streams = 0, bytes_received = 0, bytes_sent = 0;
    uint64_t request_bytes = 0;  // held by unfinished requests now
  };
  Stats stats() const;

  // Called on the home loop for each gRPC call that begins and ends; for metrics (grpc_server_started_total, ...).
  // `path` points to the same bytes for all calls of a method. `took`: since it began; 0 at the beginning.
  using CallObserver =
      std::function<void(std::string_view path, bool streaming, std::optional<base::Code> ended, base::Duration took)>;
  void set_call_observer(CallObserver observer);
  // Called on the home loop for each message of a streaming call: read() by the handler (its end and its failure count once,
  // as one) or written. Unary calls have one each way and are not told.
  using MessageObserver = std::function<void(std::string_view path, bool received)>;
  void set_message_observer(MessageObserver observer);
  // Called on the home loop for each unary call that took longer than `from` until its handler answered.
  using SlowObserver = std::function<void(const FinishedUnary& call)>;
  void set_slow_observer(base::Duration from, SlowObserver observer);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rpc
