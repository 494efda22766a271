#include <doctest/doctest.h>

#include <set>

#include "cli/benchmark/key_maker.h"
#include "cli/benchmark/progress_bar.h"
#include "cli/benchmark/report.h"
#include "rpc.pb.h"

namespace cli::benchmark {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("report: nothing, results, errors") {
  Report report(ReportOptions{}, 0);
  CHECK(report.text(seconds(1)) == "");
  for (int i = 1; i <= 10; ++i) report.add(0, milliseconds(i));
  report.add_error("etcdserver: too many requests");
  report.add_error("etcdserver: too many requests");
  CHECK(report.text(seconds(2)) ==
        "\nSummary:\n  Total:\t2.0000 secs.\n  Slowest:\t0.0100 secs.\n  Fastest:\t0.0010 secs.\n  Average:\t0.0055 secs.\n"
        "  Stddev:\t0.0029 secs.\n  Requests/sec:\t5.0000\n"
        "\nResponse time histogram:\n"
        "  0.0010 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎\n"
        "  0.0019 [0]\t|\n"
        "  0.0028 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎\n"
        "  0.0037 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎\n"
        "  0.0046 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎\n"
        "  0.0055 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎\n"
        "  0.0064 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎\n"
        "  0.0073 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎\n"
        "  0.0082 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎\n"
        "  0.0091 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎\n"
        "  0.0100 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎\n"
        "\nLatency distribution:\n  10% in 0.0020 secs.\n  25% in 0.0040 secs.\n  50% in 0.0060 secs.\n  75% in 0.0090 secs.\n"
        "  90% in 0.0100 secs.\n"
        "\nError distribution:\n  [2]\tetcdserver: too many requests\n");
}

TEST_CASE("report: all digits, a line a second, perfdash") {
  Report report(ReportOptions{.precise = true, .sample = true}, 3);
  report.add(1'000'000'000'500'000'000, milliseconds(2));
  report.add(1'000'000'000'900'000'000, milliseconds(4));
  report.add(1'000'000'002'100'000'000, milliseconds(6));
  const std::string text = report.text(milliseconds(1500));
  CHECK(text.find("  Total:\t1.5 secs.\n  Slowest:\t0.006 secs.\n") != std::string::npos);
  CHECK(text.find("  Requests/sec:\t2\n") != std::string::npos);
  CHECK(text.ends_with("\nSample in one second (unix latency throughput):\n"
                       "UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT\n"
                       "1000000000,2ms,3ms,4ms,2\n1000000001,0s,0s,0s,0\n1000000002,6ms,6ms,6ms,1\n\n"));
  Report hundred(ReportOptions{}, 100);
  for (int i = 100; i > 0; --i) hundred.add(0, std::chrono::microseconds(i * 1500));
  CHECK(hundred.perfdash("txn-put") ==
        "{\n  \"version\": \"v1\",\n  \"dataItems\": [\n    {\n      \"data\": {\n        \"Perc50\": 76.5,\n"
        "        \"Perc90\": 136.5,\n        \"Perc99\": 150\n      },\n      \"labels\": {\n"
        "        \"Operation\": \"TXN-PUT\"\n      },\n      \"unit\": \"ms\"\n    }\n  ]\n}");
}

TEST_CASE("progress: the line fills its width") {
  CHECK(progress_line(521, 2000, milliseconds(200), 60) == "521 / 2000 [-------->______________________] 26.05% 2605 p/s");
  CHECK(progress_line(10, 10, seconds(1), 40) == "10 / 10 [---------------] 100.00% 10 p/s");
  CHECK(progress_line(0, 0, seconds(0), 10) == "0 / 0 [---] 100.00% ? p/s");
}

TEST_CASE("keys: a number has one key, and the patched request is the one protobuf would make") {
  KeyMaker keys(KeyFlags{.key_size = 5, .value_size = 300, .key_space = 100'000}, 1);
  std::set<std::string> seen;
  for (const uint64_t number : {uint64_t{0}, uint64_t{99'999}, uint64_t{1}, uint64_t{63}, uint64_t{64}, uint64_t{70'000}}) {
    etcdserverpb::PutRequest request;
    REQUIRE(request.ParseFromString(keys.put_request(number)));
    CHECK(request.key() == keys.key(number));
    CHECK(request.key().size() == 5);
    CHECK(request.value() == keys.value());
    CHECK(request.SerializeAsString() == keys.put_request(number));
    CHECK(seen.insert(request.key()).second);
  }
  CHECK(keys.key(1) == std::string("\x02\0\0\0\0", 5));
  for (int i = 0; i < 1000; ++i) CHECK(keys.any() < 100'000);
}

TEST_CASE("keys: sizes that do not fit are refused") {
  CHECK(check(KeyFlags{}).ok());
  CHECK(check(KeyFlags{.key_space = 0}).text() == "expected positive --key-space-size, got (0)");
  CHECK(check(KeyFlags{.key_size = 1, .key_space = 64}).ok());
  CHECK(!check(KeyFlags{.key_size = 1, .key_space = 65}).ok());
  CHECK(!check(KeyFlags{.key_size = 0}).ok());
  CHECK(!check(KeyFlags{.value_size = -1}).ok());
}

}  // namespace
}  // namespace cli::benchmark
