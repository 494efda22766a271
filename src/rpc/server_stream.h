// The handler's view of a streaming call, and the start of its coroutine. Owner: the home loop. Outlives the call if a
// handler keeps it; it is closed then.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/wake.h"
#include "rpc/call.h"

namespace rpc {

class StreamHandle final : public ServerStream, public std::enable_shared_from_this<StreamHandle> {
 public:
  StreamHandle(Call* call, Metadata metadata);

  const CallContext& context() const override { return context_; }
  asio::awaitable<base::Result<std::optional<std::string>>> read() override;
  asio::awaitable<base::Status> write(std::string message) override;
  bool try_write(std::string prefix, std::shared_ptr<const std::string> shared) override;
  size_t queued_bytes() const override { return queued_; }
  void on_drained(std::function<void()> callback) override { drained_ = std::move(callback); }
  void on_closed(std::function<void()> callback) override;
  bool closed() const override { return closed_; }
  void end(base::Status why) override;

  // From the call.
  asio::awaitable<void> serve(const Method* method, std::shared_ptr<ServerCore> core);
  void message(std::string bytes, uint64_t owed);
  void half_closed(base::Status why);
  void sent(uint64_t bytes);
  void dead(base::Status why);

 private:
  struct Inbound {
    std::string bytes;
    uint64_t owed;
  };
  void send(std::string bytes, std::shared_ptr<const std::string> shared);
  void observe_read();
  void release_if_done();

  Call* call_;  // null once released
  std::shared_ptr<NetLoop> loop_;
  CallContext context_;
  Metadata metadata_;
  const Method* method_ = nullptr;    // set by serve(), as the next
  std::shared_ptr<ServerCore> core_;
  std::string peer_, tls_common_name_;
  std::deque<Inbound> inbox_;
  net::Wake readable_, writable_;
  std::vector<std::function<void()>> closed_callbacks_;
  std::function<void()> drained_;
  size_t queued_ = 0;
  bool above_ = false;  // queued_ has been over the limit since drained_ was called last
  bool half_closed_ = false;
  bool end_observed_ = false;
  bool closed_ = false;
  bool dead_ = false;      // the owner half has said its last word
  bool returned_ = false;  // the handler has
  base::Status why_;
};

}  // namespace rpc
