// Calls that begin in this process, to the handlers that gRPC calls reach: no connection, no framing, no hop. What a
// connection would see to applies here too: the size limit, the deadline, metrics, the end of the server, and the bound on
// what is queued each way. Used by the JSON gateway. Everything on the home loop.
#pragma once

#include <asio.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "base/clock.h"
#include "base/status.h"
#include "net/wake.h"
#include "rpc/metadata.h"
#include "rpc/server.h"

namespace rpc {

struct Method;
struct ServerCore;

// Who asks, as the header of a call would tell.
struct LocalCaller {
  Metadata metadata;
  std::optional<base::Duration> timeout;  // zero or less: the deadline has passed
  std::string peer;
  std::string tls_common_name;
};

// A message, a source of one, or an error.
struct LocalAnswer {
  base::Status status;
  std::string message;
  std::unique_ptr<ChunkSource> source;
};

// A unary call under way, as its caller sees it.
class LocalUnary {
 public:
  virtual ~LocalUnary() = default;
  // The answer is not wanted any more; `done` is dropped unless it was called already.
  virtual void cancel() = 0;
};

// A streaming call: the handler has the ServerStream, the caller the rest.
class LocalStream final : public ServerStream, public std::enable_shared_from_this<LocalStream> {
 public:
  LocalStream(asio::io_context& home, std::shared_ptr<ServerCore> core, const Method* method, LocalCaller caller,
              size_t message_bytes_max);

  // --- the caller's side
  // Hands over a request message; waits while kLocalInboxMessagesMax are unread. An error: the stream is over.
  asio::awaitable<base::Status> send(std::string message);
  // The only request there is, of a call whose client does not stream: as send(), without the wait, then close_send().
  void send_one(std::string message);
  // No more requests; `why` not ok: the handler's read() ends with it.
  void close_send(base::Status why = base::Status());
  // The next answer; nullopt when the handler has returned and all was taken: see status(). One at a time.
  asio::awaitable<std::optional<std::string>> receive();
  // REQUIRES: receive() gave nullopt.
  const base::Status& status() const { return status_; }
  // The caller has gone or the deadline has passed: the handler finds the stream dead, answers not yet taken are dropped.
  void cancel(base::Status why);

  // --- the handler's side
  const CallContext& context() const override { return context_; }
  asio::awaitable<base::Result<std::optional<std::string>>> read() override;
  asio::awaitable<base::Status> write(std::string message) override;
  bool try_write(std::string prefix, std::shared_ptr<const std::string> shared) override;
  size_t queued_bytes() const override { return queued_; }
  void on_drained(std::function<void()> callback) override { drained_ = std::move(callback); }
  void on_closed(std::function<void()> callback) override;
  bool closed() const override { return closed_; }
  void end(base::Status why) override;

 private:
  friend class LocalCalls;
  struct Outbound {
    std::string own;
    std::shared_ptr<const std::string> shared;
    size_t size() const { return own.size() + (shared ? shared->size() : 0); }
  };
  void queue(std::string bytes, std::shared_ptr<const std::string> shared);
  void returned(base::Status status);  // by the handler
  void observe_read();
  void close();

  const std::shared_ptr<ServerCore> core_;
  const Method* method_;
  LocalCaller caller_;
  CallContext context_;
  const size_t message_bytes_max_;
  asio::steady_timer deadline_;
  std::deque<std::string> inbox_;
  std::deque<Outbound> outbox_;
  net::Wake readable_, inbox_room_, writable_, answered_;
  std::vector<std::function<void()>> closed_callbacks_;
  std::function<void()> drained_;
  size_t queued_ = 0;
  bool above_ = false;  // queued_ has been over the limit since drained_ was called last
  bool send_closed_ = false;
  bool closed_ = false;
  bool end_observed_ = false;
  bool ended_ = false;  // status_ is final
  base::Status why_;    // of close_send or close
  base::Status status_;
};
inline constexpr size_t kLocalInboxMessagesMax = 64;

class LocalCalls {
 public:
  using Done = std::function<void(LocalAnswer)>;

  LocalCalls(asio::io_context& home, const base::Clock& clock, std::shared_ptr<ServerCore> core, size_t message_bytes_max);
  ~LocalCalls();
  LocalCalls(const LocalCalls&) = delete;
  LocalCalls& operator=(const LocalCalls&) = delete;

  // Calls the unary method `path`; `done` is called once, perhaps before this returns. kUnimplemented when nobody serves it.
  // The result is null when the answer has been given.
  std::shared_ptr<LocalUnary> call(std::string_view path, LocalCaller caller, std::string request, Done done);
  // Starts the streaming method `path`; what refuses it (not served, not a stream, the server stops) is its status().
  std::shared_ptr<LocalStream> open(std::string_view path, LocalCaller caller);
  // The server stops: streams end with `why`.
  void stop(const base::Status& why);

 private:
  using Streams = std::unordered_set<LocalStream*>;
  static asio::awaitable<void> serve(std::shared_ptr<LocalStream> stream, std::shared_ptr<Streams> running,
                                     std::shared_ptr<ServerCore> core, const base::Clock& clock);

  asio::io_context& home_;
  const base::Clock& clock_;
  const std::shared_ptr<ServerCore> core_;
  const size_t message_bytes_max_;
  const std::shared_ptr<Streams> running_;  // whose handler runs; shared with those, which may return after us
};

}  // namespace rpc
