// One HTTP/1.1 connection: requests one after the other (pipelined ones wait), each handed whole to the handler on the home
// loop; or, after an upgrade, plain bytes both ways. Two coroutines: one reads ahead, bounded, and notices when the client
// goes; one parses, waits for the answer and writes. Owner: its loop's thread.
#pragma once

#include <memory>
#include <string>

#include "http1/parser.h"
#include "http1/writer.h"
#include "net/timer_queue.h"
#include "net/wake.h"
#include "rpc/connection.h"
#include "rpc/http_exchange.h"

namespace rpc {

inline constexpr auto kHttpHeadTimeout = std::chrono::minutes(5);  // for a head, as etcd's; also between requests
inline constexpr auto kHttpBodyTimeout = std::chrono::minutes(5);  // for a whole body
inline constexpr auto kHttpPieceTimeout = std::chrono::seconds(30);  // for the next bytes of a streamed body
inline constexpr size_t kHttpReadAheadBytesMax = 64 * 1024;        // read but not yet parsed

class HttpConnection final : public Connection, public HttpCarrier {
 public:
  HttpConnection(std::shared_ptr<NetLoop> loop, std::shared_ptr<ServerCore> core, std::shared_ptr<const ServerOptions> options,
                 std::unique_ptr<net::Stream> stream);
  ~HttpConnection() override;

  asio::awaitable<void> run(std::string first);

  void flush() override {}
  void drain() override;
  void abort() override;

 private:
  void answer(HttpExchange* from, HttpResponse response) override;
  void answer_head(HttpExchange* from, int status, http1::Fields fields) override;
  void answer_chunk(HttpExchange* from, std::string chunk) override;
  void answer_end(HttpExchange* from) override;
  void answer_upgrade(HttpExchange* from, http1::Fields fields) override;
  void bytes_taken(HttpExchange* from) override;
  void answer_broken(HttpExchange*) override { abort(); }

  asio::awaitable<void> read_ahead();
  asio::awaitable<bool> read_request(HttpRequest& request);
  asio::awaitable<bool> exchange(HttpRequest request);
  asio::awaitable<bool> send_output();
  asio::awaitable<void> linger();
  bool more_input();
  bool take_request(HttpRequest& request);
  void pass_upgraded_bytes();
  void pass_body_bytes();
  void refuse(int status, const std::string& text);
  bool head_only() const { return parser_.head().method == "HEAD"; }

  const std::shared_ptr<NetLoop> loop_;
  const std::shared_ptr<ServerCore> core_;
  const std::shared_ptr<const ServerOptions> options_;
  const std::unique_ptr<net::Stream> stream_;
  http1::Parser parser_;
  net::Timer timer_;
  net::Wake wake_;      // the main coroutine: input, output or an end
  net::Wake has_room_;  // the reading coroutine
  std::string input_;   // read ahead
  std::string chunk_;   // what parser_ works on
  std::string_view unparsed_;
  std::string output_;
  std::shared_ptr<HttpExchange> current_;
  size_t held_bytes_ = 0;  // of the body, counted in ServerCore::request_bytes
  bool answer_done_ = false;
  bool upgraded_ = false;       // bytes go to the handler as they come
  bool handler_busy_ = false;  // it has some that it has not taken
  bool streams_body_ = false;  // the body of the request under way is handed over as it comes, and has not ended
  bool chunked_ = false;
  bool keep_alive_ = true;
  bool peer_ended_ = false;
  bool draining_ = false;
  bool closed_ = false;
  bool reader_done_ = false;
};

}  // namespace rpc
