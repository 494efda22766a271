#include <doctest/doctest.h>

#include "base/bytes.h"
#include "server/read_queue.h"
#include "server/request_id.h"
#include "server/waiters.h"

namespace {

using base::Code;
using base::Duration;
using base::Index;
using base::Instant;
using base::Status;
using namespace std::chrono_literals;

const Instant kStart{Duration(5'000'000'000)};

struct Log {
  std::vector<std::string> lines;
};

class LoggingWaiter final : public server::Waiter {
 public:
  LoggingWaiter(Log& log, std::string name) : log_(log), name_(std::move(name)) {}
  void done(server::Outcome outcome) override { log_.lines.push_back(name_ + ":" + std::string(outcome.status.text())); }

 private:
  Log& log_;
  const std::string name_;
};

class LoggingReader final : public server::Reader {
 public:
  LoggingReader(Log& log, std::string name) : log_(log), name_(std::move(name)) {}
  void read(const Status& status) override { log_.lines.push_back(name_ + ":" + std::string(status.text())); }

 private:
  Log& log_;
  const std::string name_;
};

}  // namespace

TEST_CASE("waiters: each hears once: its outcome, its deadline or the end") {
  Log log;
  server::Waiters waiters;
  for (uint64_t id = 1; id <= 4; ++id) {
    waiters.add(id, std::make_unique<LoggingWaiter>(log, std::to_string(id)), kStart + id * 1s);
  }
  waiters.take(2)->done({});
  CHECK(waiters.take(2) == nullptr);
  CHECK(waiters.take(99) == nullptr);
  waiters.expire(kStart + 2s, [](Instant) { return Status(Code::kUnavailable, "late"); });
  waiters.fail_all(Status(Code::kUnavailable, "end"));
  std::sort(log.lines.begin(), log.lines.end());
  CHECK(log.lines == std::vector<std::string>{"1:late", "2:", "3:end", "4:end"});
  CHECK(waiters.size() == 0);
}

TEST_CASE("reads: one round for all that wait; those who come later wait for the next") {
  Log log;
  server::RequestIds ids(base::NodeId(7), 1000);
  server::ReadQueue reads(ids);
  CHECK(reads.take_request(kStart).empty());
  reads.add(std::make_unique<LoggingReader>(log, "a"), kStart + 7s);
  reads.add(std::make_unique<LoggingReader>(log, "b"), kStart + 7s);
  const std::string first = reads.take_request(kStart);
  CHECK(first.size() == 8);
  reads.add(std::make_unique<LoggingReader>(log, "c"), kStart + 7s);
  CHECK(reads.take_request(kStart + 499ms).empty());
  const std::string again = reads.take_request(kStart + 500ms);
  CHECK(again != first);
  reads.confirm(first, Index(10));  // any attempt's answer counts: with slow ways between members it is the first that comes
  reads.run(Index(9));
  CHECK(log.lines.empty());
  reads.confirm(again, Index(11));  // too late to matter
  reads.run(Index(10));
  CHECK(log.lines == std::vector<std::string>{"a:", "b:"});
  const std::string second = reads.take_request(kStart + 600ms);
  reads.confirm(second, Index(10));
  reads.run(Index(10));
  CHECK(log.lines.back() == "c:");
  CHECK(reads.size() == 0);
  CHECK(reads.slow() == 0);
}

TEST_CASE("reads: answers to rounds of before are ignored and counted") {
  Log log;
  server::RequestIds ids(base::NodeId(7), 1000);
  server::ReadQueue reads(ids);
  reads.add(std::make_unique<LoggingReader>(log, "a"), kStart + 7s);
  const std::string lost = reads.take_request(kStart);
  reads.expire(kStart + 7s, Status(Code::kUnavailable, "late"));
  reads.add(std::make_unique<LoggingReader>(log, "b"), kStart + 14s);
  const std::string next = reads.take_request(kStart);
  reads.confirm(lost, Index(1));
  reads.run(Index(100));
  CHECK(log.lines == std::vector<std::string>{"a:late"});
  CHECK(reads.slow() == 2);
  CHECK(reads.failed() == 0);
  reads.confirm(next, Index(2));
  reads.run(Index(100));
  CHECK(log.lines.back() == "b:");
}

TEST_CASE("reads: a round is asked for again at once when its leader can answer") {
  Log log;
  server::RequestIds ids(base::NodeId(7), 1000);
  server::ReadQueue reads(ids);
  reads.ask_again();
  CHECK(reads.take_request(kStart).empty());
  reads.add(std::make_unique<LoggingReader>(log, "a"), kStart + 7s);
  CHECK_FALSE(reads.take_request(kStart).empty());
  CHECK(reads.take_request(kStart + 1ms).empty());
  reads.ask_again();
  CHECK_FALSE(reads.take_request(kStart + 1ms).empty());
  CHECK(reads.take_request(kStart + 2ms).empty());
  reads.expire(kStart + 8s, Status(Code::kUnavailable, "late"));
  CHECK(log.lines == std::vector<std::string>{"a:late"});
  CHECK(reads.slow() == 1);
}

TEST_CASE("reads: time and the end fail who waits, in a round or for one") {
  Log log;
  server::RequestIds ids(base::NodeId(7), 1000);
  server::ReadQueue reads(ids);
  reads.add(std::make_unique<LoggingReader>(log, "a"), kStart + 1s);
  CHECK_FALSE(reads.take_request(kStart).empty());
  reads.add(std::make_unique<LoggingReader>(log, "b"), kStart + 1s);
  reads.add(std::make_unique<LoggingReader>(log, "c"), kStart + 2s);
  reads.expire(kStart + 1s, Status(Code::kUnavailable, "late"));
  reads.fail_all(Status(Code::kUnavailable, "end"));
  CHECK(log.lines == std::vector<std::string>{"a:late", "b:late", "c:end"});
}

TEST_CASE("request ids: the member's low bytes, the time, a counter") {
  server::RequestIds ids(base::NodeId(0xed5a6ec93d6f4a4e), 0x123456789a);
  CHECK(ids.next() == 0x4a4e123456789a01);
  CHECK(ids.next() == 0x4a4e123456789a02);
}
