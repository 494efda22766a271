// A cluster as etcd's Go client sees it: logs in, retries what is safe to retry, words errors as etcdctl prints them.
// Owner: the loop given. Source of behaviour: etcd client/v3 (client.go, retry_interceptor.go).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "cli/client_tls.h"

namespace asio {
class io_context;
}
namespace google::protobuf {
class MessageLite;
}
namespace rpc {
class Channel;
struct CallOptions;
}

namespace cli {

struct ClientConfig {
  std::vector<std::string> endpoints;  // at least one
  base::Duration dial_timeout{0};      // of the log-in; 0: none
  base::Duration keepalive_time{0};
  base::Duration keepalive_timeout{0};
  size_t send_bytes_max = 0;     // 0: etcd's default
  size_t receive_bytes_max = 0;  // 0: no limit but the format's
  TlsFiles tls;
  std::string user, password;  // both given: logs in first
  std::string token;           // sent instead of logging in
  std::string logger = "etcd-client";
  bool quiet = false;  // no log lines about failed attempts
};

// Which failures are safe to repeat: a read whenever the server was not available, a write only if it was never sent.
enum class Retry { kRead, kWrite };

class Client {
 public:
  // Logs in if the configuration says so. kInvalidArgument: the configuration itself is wrong (certificates).
  static base::Result<std::unique_ptr<Client>> open(asio::io_context& loop, const base::Clock& clock, ClientConfig config);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  using Deadline = std::optional<base::Instant>;
  using Done = std::function<void(base::Result<std::string>)>;
  // `method`: "/etcdserverpb.KV/Range". Calls `done` once, from the loop. A status' text is what a user reads: see words().
  void unary(std::string_view method, std::string request, Retry retry, Deadline deadline, Done done);
  // The same, running the loop until there is an answer.
  base::Result<std::string> call(std::string_view method, std::string request, Retry retry, Deadline deadline);
  // With messages. An answer that does not parse is kInternal.
  base::Status call(std::string_view method, const google::protobuf::MessageLite& request, Retry retry, Deadline deadline,
                    google::protobuf::MessageLite& response);
  // All messages of a stream that answers one request. Not retried, not logged.
  base::Status read_stream(std::string_view method, const google::protobuf::MessageLite& request, Deadline deadline,
                           std::function<base::Status(std::string)> on_message);

  // What a stream opened on channel() needs: version and token, and with `need_leader` that it ends when the member loses
  // its leader. Waits for a connection.
  rpc::CallOptions stream_options(bool need_leader) const;
  // Logs in anew if the configuration says so, as before a stream is opened again; a failure leaves the token as it is.
  void renew_token(std::function<void()> done);
  // For load generators, which retry and log nothing themselves.
  rpc::Channel& channel();
  const std::string& token() const;  // empty: not logged in

 private:
  class Impl;
  explicit Client(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// What a user reads: texts of etcd's catalogue alone, a passed deadline as "context deadline exceeded", else
// `rpc error: code = X desc = Y`. The code stays.
base::Status in_words(const base::Status& status, bool deadline_passed);

// True for texts that etcd's clients know by heart (rpctypes).
bool is_catalogued(std::string_view text);

}  // namespace cli
