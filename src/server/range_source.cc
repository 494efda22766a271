#include "server/range_source.h"

#include "mvcc/range_stream.h"
#include "mvcc/request.h"
#include "net/wake.h"
#include "server/errors.h"
#include "server/metrics.h"
#include "server/proto_call.h"
#include "server/request_log.h"
#include "server/services.h"

namespace server {
namespace {

using base::Code;
using base::Result;
using base::Status;

// One RangeResponse from a reader. Lives as long as the call waits for bytes.
class RangeSource final : public rpc::ChunkSource {
 public:
  RangeSource(Node& node, std::unique_ptr<mvcc::RangeReader> reader, int64_t revision)
      : node_(node), reader_(std::move(reader)), count_(reader_->count()) {
    wire::append_range_head(node.header(revision), buffer_);
    size_ = buffer_.size() + reader_->size();
    ++node_.big_reads;
  }
  ~RangeSource() override { --node_.big_reads; }
  RangeSource(const RangeSource&) = delete;
  RangeSource& operator=(const RangeSource&) = delete;

  uint64_t size() const override { return size_; }
  int64_t count() const override { return count_; }

  void next(size_t max, Done done) override {
    while (more_ && buffer_.size() - taken_ < max) {
      buffer_.erase(0, taken_);
      taken_ = 0;
      Result<bool> more = reader_->read(&buffer_, max);
      if (!more.ok()) return done(more.status());
      more_ = *more;
    }
    std::string chunk = buffer_.substr(taken_, max);
    taken_ += chunk.size();
    done(std::move(chunk));
  }

 private:
  Node& node_;
  std::unique_ptr<mvcc::RangeReader> reader_;
  std::string buffer_;  // read and not handed over yet, from taken_ on
  size_t taken_ = 0;
  const int64_t count_;
  uint64_t size_ = 0;
  bool more_ = true;
};

// Since when a Range has been under way, and its execution.
struct Timing {
  base::Instant request, range;
  // `answer`: its reader, if there is one, is measured.
  void record(Node& node, const rpc::UnaryCall& call, const Status& status, const mvcc::RangeAnswer* answer) const {
    const base::Instant now = node.environment().loop.clock().now();
    node.metrics().record_range(status.ok(), now - range);
    node.metrics().record_request("Range", status.ok(), now - request);
    if (!is_slow(node, now - request)) return;
    FinishedRange finished;
    finished.request = call.request();
    finished.status = status;
    finished.waited = range - request;
    finished.took = now - request;
    if (status.ok()) {
      finished.fields = answer->reply.fields;
      finished.revision = answer->reply.revision;
      if (answer->reader != nullptr) finished.pairs = answer->reader->pairs(), finished.bytes = answer->reader->size();
    }
    log_slow_range(node, finished);
  }
};

// Finds out how big the answer is, in slices between which the loop does other work.
struct Measuring : std::enable_shared_from_this<Measuring> {
  Measuring(Node& n, rpc::UnaryCall c, mvcc::RangeAnswer a, Timing t)
      : node(n), call(std::move(c)), answer(std::move(a)), timing(t) {
    ++node.big_reads;
  }
  ~Measuring() { --node.big_reads; }
  void go_on() {
    if (node.stopping()) return call.finish(errors::stopped());
    if (call.cancelled()) return call.finish(Status(Code::kCancelled, "context canceled"));
    Result<bool> known = answer.reader->measure();
    if (!known.ok() || *known) timing.record(node, call, known.status(), &answer);
    if (!known.ok()) return call.finish(known.status());
    if (!*known) return node.environment().loop.post([self = shared_from_this()] { self->go_on(); });
    call.finish(std::make_unique<RangeSource>(node, std::move(answer.reader), answer.reply.revision));
  }
  Node& node;
  rpc::UnaryCall call;
  mvcc::RangeAnswer answer;
  const Timing timing;
};

asio::awaitable<Status> serve_range_stream(Node& node, std::shared_ptr<rpc::ServerStream> stream) {
  Status admitted = admit_stream(node, stream, OnLearner::kRefused);
  if (!admitted.ok()) co_return admitted;
  Result<std::optional<std::string>> first = co_await stream->read();
  if (!first.ok()) co_return first.status();
  if (!first->has_value()) co_return Status(Code::kUnknown, "EOF");
  const std::string bytes = std::move(**first);
  Status checked = mvcc::check_range_stream(bytes);
  if (!checked.ok()) co_return checked;
  wire::RangeRequest request;
  if (!wire::parse(bytes, request)) co_return unmarshal_error();
  if (node.big_reads >= kBigReadsMax) co_return errors::too_many_requests();
  if (!request.serializable) {
    struct Barrier {
      explicit Barrier(asio::any_io_executor executor) : timer(std::move(executor), asio::steady_timer::time_point::max()) {}
      asio::steady_timer timer;
      std::optional<Status> read;
    };
    auto barrier = std::make_shared<Barrier>(co_await asio::this_coro::executor);
    node.linearizable_barrier([barrier](const Status& status) {
      barrier->read = status;
      barrier->timer.cancel();
    });
    if (!barrier->read) {
      asio::error_code ignored;
      co_await barrier->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    if (barrier->read && !barrier->read->ok()) co_return *barrier->read;
  }
  const size_t chunk_bytes = node.config().max_request_bytes;
  mvcc::RangeStream range(node.store(), request, chunk_bytes);
  for (bool more = true; more;) {
    if (node.stopping()) co_return errors::stopped();
    std::string chunk;
    const base::Instant before = node.environment().loop.clock().now();
    Result<bool> next = range.next(node.header(), &chunk);
    node.metrics().record_range(next.ok(), node.environment().loop.clock().now() - before);
    if (!next.ok()) co_return next.status();
    more = *next;
    Status written = co_await stream->write(std::move(chunk));
    if (!written.ok()) co_return written;
  }
  co_return Status();
}

}  // namespace

std::string with_header(const wire::ResponseHeader& header, std::string_view fields) {
  std::string out;
  out.reserve(fields.size() + 40);
  wire::append_range_head(header, out);
  out += fields;
  return out;
}

void answer_range(Node& node, rpc::UnaryCall call, base::Instant began) {
  const Timing timing{began, node.environment().loop.clock().now()};
  Result<mvcc::RangeAnswer> answer = mvcc::open_range(node.store(), call.request());
  if (!answer.ok() || answer->reader == nullptr) timing.record(node, call, answer.status(), answer.ok() ? &*answer : nullptr);
  if (!answer.ok()) return call.finish(answer.status());
  if (answer->reader == nullptr) return call.finish(with_header(node.header(answer->reply.revision), answer->reply.fields));
  if (node.big_reads >= kBigReadsMax) return call.finish(errors::too_many_requests());
  std::make_shared<Measuring>(node, std::move(call), std::move(*answer), timing)->go_on();
}

void add_range_stream(rpc::Server& server, Node& node) {
  server.add_stream("/etcdserverpb.KV/RangeStream",
                    [&node](std::shared_ptr<rpc::ServerStream> stream) { return serve_range_stream(node, std::move(stream)); });
}

}  // namespace server
