// Watches on one stream as etcd's Go client keeps them: created one after the other, resumed behind the last event they saw
// when the stream breaks, ended when the server cancels them or refuses the stream. Owner: the loop of the client.
// Source of behaviour: etcd client/v3 watch.go.
#pragma once

#include <asio.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "net/wake.h"
#include "rpc.pb.h"

namespace rpc {
class ClientStream;
}

namespace cli {

class Client;

// What a watch is told. `error`: why it was cancelled, as a user reads it; empty unless response.canceled().
struct WatchUpdate {
  etcdserverpb::WatchResponse response;
  std::string error;
};

// Whether a response only says how far the watch is.
bool is_progress(const etcdserverpb::WatchResponse& response);

// Of a cancelled response the reason in the words of the Go client: compacted, the server's reason, or a future revision.
std::string cancel_text(const etcdserverpb::WatchResponse& response);

// The revision from which a watch resumes after `response`, when it would have resumed from `next` before.
int64_t resume_revision(const etcdserverpb::WatchResponse& response, int64_t next, bool first_created);

class WatchClient {
 public:
  // Called in order for each response but the one that says the watch was created; nullopt is the last call. Nothing more is
  // read from the stream before it returns: the server's events wait in the connection's window, not in memory.
  using Handler = std::function<asio::awaitable<void>(std::optional<WatchUpdate>)>;

  // Both must outlive this object, and this object the loop's work: it is meant to live as long as the process.
  WatchClient(Client& client, asio::io_context& loop);
  ~WatchClient();
  WatchClient(const WatchClient&) = delete;
  WatchClient& operator=(const WatchClient&) = delete;

  void watch(etcdserverpb::WatchCreateRequest request, Handler handler);
  // Asks the server to tell all watches how far they are. Returns when the request is on its way; opens the stream if needed.
  asio::awaitable<void> request_progress();

 private:
  struct Watch;
  asio::awaitable<void> run();
  asio::awaitable<base::Status> serve(std::shared_ptr<rpc::ClientStream> stream);
  asio::awaitable<void> write(std::shared_ptr<rpc::ClientStream> stream);
  asio::awaitable<base::Status> take(etcdserverpb::WatchResponse response);
  asio::awaitable<void> created(etcdserverpb::WatchResponse response);
  asio::awaitable<void> end(std::shared_ptr<Watch> watch, std::string error);
  asio::awaitable<void> end_all(std::string error);
  asio::awaitable<void> back_off(base::Status status);
  asio::awaitable<void> renew_token();
  void start();
  void resume_all();

  Client& client_;
  asio::io_context& loop_;
  bool running_ = false;
  std::deque<std::shared_ptr<Watch>> waiting_;        // to be created; the first one's request is under way
  std::map<int64_t, std::shared_ptr<Watch>> active_;  // by the server's id
  bool asked_ = false;                                // the request of the first in waiting_ is on its way
  size_t progress_asked_ = 0;                         // progress requests not written yet
  bool connected_ = false;
  net::Wake write_wake_, progress_wake_;
  std::chrono::nanoseconds pause_;
};

}  // namespace cli
