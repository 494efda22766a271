#include "cli/benchmark/stm.h"

#include <doctest/doctest.h>
#include <google/protobuf/text_format.h>

#include "cli/benchmark/watch_fleet.h"

namespace cli::benchmark {
namespace {

etcdserverpb::TxnResponse answer(const std::string& text) {
  etcdserverpb::TxnResponse out;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &out));
  return out;
}

TEST_CASE("stm: what each isolation compares") {
  struct Row {
    Isolation isolation;
    int compares, failure_reads;
    bool second_read_at_first_revision;
  };
  for (const Row& row : {Row{Isolation::kReadCommitted, 0, 0, false}, Row{Isolation::kRepeatableReads, 2, 0, false},
                         Row{Isolation::kSerializable, 2, 2, true}, Row{Isolation::kSerializableSnapshot, 3, 2, true}}) {
    CAPTURE(static_cast<int>(row.isolation));
    StmAttempt attempt(row.isolation);
    attempt.begin();
    auto request = attempt.read("a");
    REQUIRE(request);
    CHECK(request->success(0).request_range().serializable() == !row.second_read_at_first_revision);
    attempt.take_read("a", answer("header { revision: 9 } responses { response_range { header { revision: 8 } kvs { "
                                  "mod_revision: 5 } } }"));
    CHECK(!attempt.read("a"));
    request = attempt.read("b");
    REQUIRE(request);
    CHECK(request->success(0).request_range().revision() == (row.second_read_at_first_revision ? 8 : 0));
    attempt.take_read("b", answer("header { revision: 9 } responses { response_range { } }"));
    attempt.write("a", "x");
    const etcdserverpb::TxnRequest commit = attempt.commit();
    CHECK(commit.compare_size() == row.compares);
    CHECK(commit.failure_size() == row.failure_reads);
    CHECK(commit.success_size() == 1);
    if (row.compares > 0) {
      CHECK(commit.compare(0).mod_revision() == 5);
      CHECK(commit.compare(1).mod_revision() == 0);
    }
    if (row.compares > 2) {
      CHECK(commit.compare(2).result() == etcdserverpb::Compare::LESS);
      CHECK(commit.compare(2).mod_revision() == 9);
    }
  }
}

TEST_CASE("stm: a refused commit brings the next attempt's reads along") {
  StmAttempt attempt(Isolation::kSerializable);
  attempt.begin();
  (void)attempt.read("a");
  attempt.take_read("a", answer("header { revision: 4 } responses { response_range { kvs { mod_revision: 2 } } }"));
  CHECK(
      !attempt.take_commit(answer("header { revision: 7 } responses { response_range { header { revision: 7 } kvs { "
                                  "mod_revision: 6 } } }")));
  attempt.begin();
  CHECK(!attempt.read("a"));
  CHECK(attempt.commit().compare(0).mod_revision() == 6);
  CHECK(attempt.take_commit(answer("succeeded: true")));
}

TEST_CASE("watch fleet: responses are counted without being decoded") {
  etcdserverpb::WatchResponse response;
  response.set_watch_id(7);
  response.set_created(true);
  response.mutable_header()->set_revision(3);
  for (int i = 0; i < 300; ++i) response.add_events()->mutable_kv()->set_key(std::string(static_cast<size_t>(i), 'k'));
  const auto scanned = scan_watch_response(response.SerializeAsString());
  REQUIRE(scanned.ok());
  CHECK(scanned->created);
  CHECK(!scanned->canceled);
  CHECK(scanned->watch_id == 7);
  CHECK(scanned->events == 300);
  std::string cut = response.SerializeAsString();
  cut.pop_back();
  CHECK(!scan_watch_response(cut).ok());
  CHECK(scan_watch_response("")->events == 0);
}

TEST_CASE("watch fleet: watchers are spread evenly") {
  CHECK(WatchFleet::spread(10, 3) == std::vector<uint64_t>{4, 3, 3});
  CHECK(WatchFleet::spread(2, 3) == std::vector<uint64_t>{1, 1, 0});
}

}  // namespace
}  // namespace cli::benchmark
