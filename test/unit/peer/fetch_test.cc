#include "peer/fetch.h"

#include <doctest/doctest.h>

#include <thread>

#include "net/listener.h"
#include "net/spawn.h"

namespace {

// Answers one connection with fixed bytes, after it has read a request head; then closes, or stays silent.
class OneAnswer {
 public:
  explicit OneAnswer(std::string bytes) : bytes_(std::move(bytes)), acceptor_(loop_, {asio::ip::address_v4::loopback(), 0}) {
    thread_ = std::thread([this] { serve(); });
  }
  ~OneAnswer() { thread_.join(); }
  peer::Question question() const {
    peer::Question question;
    question.address = {"http", "127.0.0.1", acceptor_.local_endpoint().port(), "there"};
    question.target = "/members";
    return question;
  }
  std::string request;

 private:
  void serve() {
    asio::ip::tcp::socket socket(loop_);
    acceptor_.accept(socket);
    asio::error_code error;
    asio::read_until(socket, asio::dynamic_buffer(request), "\r\n\r\n", error);
    asio::write(socket, asio::buffer(bytes_), error);
    if (!bytes_.empty()) return;
    char byte;
    (void)socket.read_some(asio::buffer(&byte, 1), error);  // until the other side gives up
  }

  std::string bytes_;
  asio::io_context loop_;
  asio::ip::tcp::acceptor acceptor_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("fetch: answers in each framing, and what is none") {
  struct Row {
    const char* rule;
    std::string bytes;
    int status;  // 0: an error
    std::string body;
  };
  for (const Row& row : {Row{"a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Etcd-Cluster-ID: ab\r\n\r\nok", 200, "ok"},
                         Row{"chunks", "HTTP/1.1 412 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 412, "ab"},
                         Row{"until the end", "HTTP/1.1 200 OK\r\n\r\nall of it", 200, "all of it"},
                         Row{"cut short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", 0, ""},
                         Row{"over the bound", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", 0, ""},
                         Row{"no HTTP", "SSH-2.0-nothing\r\n\r\n", 0, ""}}) {
    CAPTURE(row.rule);
    OneAnswer there(row.bytes);
    const base::Result<peer::Answer> answer = peer::fetch_blocking({}, there.question(), std::chrono::seconds(5));
    CHECK(answer.ok() == (row.status != 0));
    if (!answer.ok()) continue;
    CHECK(answer->status == row.status);
    CHECK(answer->body == row.body);
  }
}

TEST_CASE("fetch: a body goes with its length, a GET too") {
  OneAnswer there("HTTP/1.1 204 No Content\r\n\r\n");
  peer::Question question = there.question();
  question.fields.emplace_back("X-Etcd-Cluster-ID", "1f");
  question.body = "{}";
  CHECK(peer::fetch_blocking({}, std::move(question), std::chrono::seconds(5))->status == 204);
  CHECK(there.request.find("GET /members HTTP/1.1\r\nHost: there\r\n") == 0);
  CHECK(there.request.find("Content-Length: 2\r\n") != std::string::npos);
}

TEST_CASE("fetch: a silent member costs no more than the deadline") {
  OneAnswer there("");
  const base::Result<peer::Answer> answer = peer::fetch_blocking({}, there.question(), std::chrono::milliseconds(50));
  CHECK(answer.status().code() == base::Code::kDeadlineExceeded);
}
