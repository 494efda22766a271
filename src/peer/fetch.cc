#include "peer/fetch.h"

#include <array>
#include <optional>

#include "http1/writer.h"
#include "net/spawn.h"

namespace peer {
namespace {

using base::Code;
using base::Result;
using base::Status;

// Closes the stream at the deadline, which ends whatever waits on it.
class Deadline {
 public:
  Deadline(asio::io_context& loop, base::Instant when, std::shared_ptr<net::Stream> stream)
      : timer_(loop), fired_(std::make_shared<bool>(false)) {
    timer_.expires_at(when);
    timer_.async_wait([fired = fired_, stream = std::move(stream)](const asio::error_code& error) {
      if (error) return;
      *fired = true;
      stream->close();
    });
  }
  bool passed() const { return *fired_; }

 private:
  asio::steady_timer timer_;
  std::shared_ptr<bool> fired_;
};

std::string request_bytes(const Question& question) {
  std::string bytes;
  const auto framing = question.body.empty() && question.method == "GET" ? http1::Framing::kNone : http1::Framing::kLength;
  http1::Fields fields = question.fields;
  fields.emplace_back("Connection", "close");
  http1::append_request_head(question.method, question.target, question.address.authority, fields, framing,
                             question.body.size(), bytes);
  return bytes + question.body;
}

// What came, up to the end of the answer or of the stream.
asio::awaitable<Result<Answer>> read_answer(net::Stream* stream, std::string method) {
  http1::Limits limits;
  limits.body_bytes_max = kFetchAnswerBytesMax;
  http1::Parser parser(http1::Role::kClient, limits);
  parser.expect_answer_to(method);
  Answer answer;
  std::array<char, kFetchReadBytes> buffer;
  for (;;) {
    Result<size_t> read = co_await stream->read_some(buffer.data(), buffer.size());
    const bool ended = !read.ok() && read.status().code() == Code::kOutOfRange;
    if (!read.ok() && !ended) co_return read.status();
    std::string_view input(buffer.data(), ended ? 0 : *read);
    for (bool more = true; more;) {
      switch (ended ? parser.finish() : parser.next(&input)) {
        case http1::Event::kHead:
          answer.status = parser.head().status;
          answer.fields = parser.head().fields;
          break;
        case http1::Event::kBody:
          answer.body += parser.body();
          break;
        case http1::Event::kEnd:
          co_return answer;
        case http1::Event::kError:
          co_return parser.error();
        case http1::Event::kNeedMore:
          if (ended) co_return Status(Code::kUnavailable, "EOF");
          more = false;
      }
    }
  }
}

}  // namespace

std::string_view Answer::find(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return {};
}

asio::awaitable<Result<Answer>> fetch(asio::io_context& loop, DialOptions how, Question question, base::Instant deadline) {
  const std::unique_ptr<Dialer> dialer = make_dialer(loop, std::move(how));
  Result<std::unique_ptr<net::Stream>> dialled = co_await dialer->dial(question.address, deadline);
  if (!dialled.ok()) co_return dialled.status();
  std::shared_ptr<net::Stream> stream = std::move(*dialled);
  Deadline watch(loop, deadline, stream);
  Status sent = co_await stream->handshake();
  std::string bytes = request_bytes(question);
  if (sent.ok()) sent = co_await stream->write_all(bytes);
  Result<Answer> answer = sent.ok() ? Result<Answer>(Answer()) : Result<Answer>(sent);
  if (sent.ok()) answer = co_await read_answer(stream.get(), question.method);
  stream->close();
  if (!answer.ok() && watch.passed()) co_return Status(Code::kDeadlineExceeded, "context deadline exceeded");
  co_return answer;
}

namespace {
asio::awaitable<void> fetch_into(asio::io_context* loop, DialOptions how, Question question, base::Instant deadline,
                                 std::optional<Result<Answer>>* out) {
  out->emplace(co_await fetch(*loop, std::move(how), std::move(question), deadline));
}
}  // namespace

Result<Answer> fetch_blocking(DialOptions how, Question question, base::Duration timeout) {
  asio::io_context loop{1};
  std::optional<Result<Answer>> answer;
  const base::Instant deadline = base::RealClock().now() + timeout;
  net::spawn(loop.get_executor(), "fetch", fetch_into(&loop, std::move(how), std::move(question), deadline, &answer));
  loop.run();
  VERIFY(answer.has_value());
  return std::move(*answer);
}

}  // namespace peer
