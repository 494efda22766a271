// Unary calls that block, over the client channel: for test programs with one thread and nothing else to do.
#pragma once

#include <asio.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "rpc/channel.h"

class BlockingClient {
 public:
  // Nothing is sent before the first call.
  explicit BlockingClient(const std::string& endpoint) : channel_(loop_, clock_, options_for(endpoint)) {}
  ~BlockingClient() { channel_.close(); }

  // One call of "/package.Service/Method". kDeadlineExceeded after `seconds`.
  template <class Response, class Request>
  base::Result<Response> call(std::string_view path, const Request& request, int seconds = kCallSecondsMax) {
    rpc::CallOptions options;
    options.deadline = clock_.now() + std::chrono::seconds(seconds);
    options.wait_for_ready = true;
    std::optional<base::Result<std::string>> answer;
    channel_.unary(path, request.SerializeAsString(), std::move(options),
                   [&answer](base::Result<std::string> done) { answer.emplace(std::move(done)); });
    while (!answer.has_value()) {
      loop_.restart();
      loop_.run_one();
    }
    if (!answer->ok()) return answer->status();
    Response response;
    if (!response.ParseFromString(answer->value())) {
      return base::Status(base::Code::kDataLoss, "the answer is not a message of the expected type");
    }
    return response;
  }

  rpc::Channel& channel() { return channel_; }
  asio::io_context& loop() { return loop_; }
  const base::Clock& clock() const { return clock_; }

 private:
  static constexpr int kCallSecondsMax = 30;

  static rpc::ChannelOptions options_for(const std::string& endpoint) {
    rpc::ChannelOptions options;
    options.endpoints = {endpoint};
    options.send_bytes_max = 64 * 1024 * 1024;  // the server's limit is what is tested
    return options;
  }

  base::RealClock clock_;
  asio::io_context loop_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
  rpc::Channel channel_;
};
