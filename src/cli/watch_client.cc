#include "cli/watch_client.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "cli/client.h"
#include "net/spawn.h"
#include "rpc/channel.h"

namespace cli {

using base::Code;
using base::Result;
using base::Status;
using etcdserverpb::WatchResponse;

namespace {

constexpr int64_t kNoId = -1;
constexpr std::chrono::milliseconds kPauseMin(1), kPauseMax(100);  // grows by a quarter each time
constexpr std::string_view kCompacted = "etcdserver: mvcc: required revision has been compacted";
constexpr std::string_view kFuture = "etcdserver: mvcc: required revision is a future revision";

// True if there is no sense in opening the stream again.
bool halts(const Status& status) {
  if (status.text() == "etcdserver: no leader") return true;
  return status.code() != Code::kUnavailable && status.code() != Code::kInternal;
}

}  // namespace

bool is_progress(const WatchResponse& response) {
  return response.events().empty() && !response.canceled() && !response.created() && response.compact_revision() == 0 &&
         response.header().revision() != 0;
}

std::string cancel_text(const WatchResponse& response) {
  if (response.compact_revision() != 0) return std::string(kCompacted);
  const std::string& reason = response.cancel_reason();
  if (reason.empty()) return std::string(kFuture);
  return std::string(in_words(Status(Code::kFailedPrecondition, reason), false).text());
}

int64_t resume_revision(const WatchResponse& response, int64_t next, bool first_created) {
  if (response.created()) return first_created && next == 0 ? response.header().revision() : next;
  if (response.events().empty()) return response.header().revision() + 1;
  return response.events().rbegin()->kv().mod_revision() + 1;
}

struct WatchClient::Watch {
  etcdserverpb::WatchCreateRequest request;  // start_revision: from where to resume
  Handler handler;
  bool was_created = false;
};

WatchClient::WatchClient(Client& client, asio::io_context& loop)
    : client_(client), loop_(loop), write_wake_(loop), progress_wake_(loop), pause_(kPauseMin) {}
WatchClient::~WatchClient() = default;

void WatchClient::start() {
  write_wake_.notify();
  if (std::exchange(running_, true)) return;
  net::spawn(loop_.get_executor(), "watch", run());
}

void WatchClient::watch(etcdserverpb::WatchCreateRequest request, Handler handler) {
  auto watch = std::make_shared<Watch>();
  watch->request = std::move(request);
  watch->handler = std::move(handler);
  waiting_.push_back(std::move(watch));
  start();
}

asio::awaitable<void> WatchClient::request_progress() {
  ++progress_asked_;
  start();
  while (progress_asked_ > 0 && running_) co_await progress_wake_.wait();
}

asio::awaitable<void> WatchClient::run() {
  bool again = false;
  for (;;) {
    if (std::exchange(again, true)) co_await renew_token();
    resume_all();
    Result<std::unique_ptr<rpc::ClientStream>> opened =
        co_await client_.channel().stream("/etcdserverpb.Watch/Watch", client_.stream_options(true));
    Status status = opened.status();
    if (opened.ok()) status = co_await serve(std::move(*opened));
    // A stream that ends without an error is one too: the Go client reads io.EOF.
    const std::string error = status.ok() ? "EOF" : std::string(in_words(status, false).text());
    if (status.ok() || halts(status)) {
      co_await end_all(error);
      running_ = false;
      progress_asked_ = 0;
      progress_wake_.notify();
      if (!waiting_.empty()) start();
      co_return;
    }
    co_await back_off(std::move(status));
  }
}

// Watches that were running go behind those that wait, to be created again.
void WatchClient::resume_all() {
  asked_ = false;
  for (auto& [id, watch] : active_) waiting_.push_back(std::move(watch));
  active_.clear();
}

asio::awaitable<Status> WatchClient::serve(std::shared_ptr<rpc::ClientStream> stream) {
  connected_ = true;
  net::spawn(loop_.get_executor(), "watch requests", write(stream));
  write_wake_.notify();
  Status status;
  for (;;) {
    Result<std::optional<std::string>> message = co_await stream->read();
    status = message.status();
    if (!status.ok() || !message->has_value()) break;
    WatchResponse response;
    if (!response.ParseFromString(**message)) {
      status = Status(Code::kInternal, "grpc: failed to unmarshal the received message");
      break;
    }
    status = co_await take(std::move(response));
    if (!status.ok()) break;
    pause_ = kPauseMin;
  }
  connected_ = false;
  write_wake_.notify();
  stream->cancel();
  co_return status;
}

// Sends what is due, one message at a time, as long as its stream is the one in use.
asio::awaitable<void> WatchClient::write(std::shared_ptr<rpc::ClientStream> stream) {
  while (connected_) {
    etcdserverpb::WatchRequest request;
    if (!asked_ && !waiting_.empty()) {
      asked_ = true;
      *request.mutable_create_request() = waiting_.front()->request;
    } else if (progress_asked_ > 0) {
      (void)request.mutable_progress_request();
      --progress_asked_;
      progress_wake_.notify();
    } else {
      co_await write_wake_.wait();
      continue;
    }
    std::string bytes = request.SerializeAsString();
    const Status written = co_await stream->write(std::move(bytes));
    if (!written.ok()) break;  // the reader hears of it too
  }
}

asio::awaitable<Status> WatchClient::take(WatchResponse response) {
  if (response.created()) {
    co_await created(std::move(response));
    co_return Status();
  }
  if (is_progress(response) && response.watch_id() == kNoId) {
    const auto all = active_;  // a handler may begin another watch
    for (const auto& [id, watch] : all) {
      watch->request.set_start_revision(resume_revision(response, watch->request.start_revision(), false));
      WatchUpdate update;
      update.response = response;
      co_await watch->handler(std::move(update));
    }
    co_return Status();
  }
  const auto found = active_.find(response.watch_id());
  if (found == active_.end()) co_return Status();
  const std::shared_ptr<Watch> watch = found->second;
  if (response.canceled() && response.compact_revision() == 0) {
    // The Go client closes such a watch without a word.
    active_.erase(found);
    co_await watch->handler(std::nullopt);
    co_return Status();
  }
  watch->request.set_start_revision(resume_revision(response, watch->request.start_revision(), false));
  const bool over = response.canceled() || response.compact_revision() != 0;
  if (over) active_.erase(found);
  WatchUpdate update;
  update.error = over ? cancel_text(response) : std::string();
  update.response = std::move(response);
  co_await watch->handler(std::move(update));
  if (over) co_await watch->handler(std::nullopt);
  co_return Status();
}

asio::awaitable<void> WatchClient::created(WatchResponse response) {
  if (waiting_.empty()) co_return;
  const std::shared_ptr<Watch> watch = std::move(waiting_.front());
  waiting_.pop_front();
  asked_ = false;
  write_wake_.notify();
  if (response.watch_id() == kNoId || (response.canceled() && !response.cancel_reason().empty())) {
    co_await end(watch, response.cancel_reason());
    co_return;
  }
  watch->request.set_start_revision(resume_revision(response, watch->request.start_revision(), !watch->was_created));
  watch->was_created = true;
  active_[response.watch_id()] = watch;
}

asio::awaitable<void> WatchClient::end(std::shared_ptr<Watch> watch, std::string error) {
  WatchUpdate update;
  update.response.mutable_header();
  update.response.set_canceled(true);
  update.error = std::move(error);
  co_await watch->handler(std::move(update));
  co_await watch->handler(std::nullopt);
}

asio::awaitable<void> WatchClient::end_all(std::string error) {
  resume_all();
  const auto all = std::exchange(waiting_, {});
  for (const std::shared_ptr<Watch>& watch : all) co_await end(watch, error);
}

asio::awaitable<void> WatchClient::back_off(Status status) {
  if (status.code() != Code::kUnavailable) co_return;
  pause_ = std::min<std::chrono::nanoseconds>(pause_ + pause_ / 4, kPauseMax);
  asio::steady_timer timer(loop_, pause_);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> WatchClient::renew_token() {
  net::Wake renewed(loop_);
  client_.renew_token([&renewed] { renewed.notify(); });
  co_await renewed.wait();
}

}  // namespace cli
