#include "cli/ctl/printer.h"

#include <doctest/doctest.h>
#include <google/protobuf/text_format.h>

#include <sstream>

#include "cli/text.h"

namespace cli::ctl {
namespace {

template <class Message>
Message parsed(const std::string& text) {
  Message message;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

struct Shown {
  std::string out, err;
  Exit exit;
};

// What `print` writes in a format.
template <class Print>
Shown show(const char* format, bool hex, Print print) {
  std::istringstream in;
  std::ostringstream out, err;
  Terminal terminal{in, out, err};
  const auto printer = make_printer(format, hex, terminal);
  REQUIRE(printer != nullptr);
  Exit exit = print(*printer);
  return {out.str(), err.str(), std::move(exit)};
}

const char* kHeader = "header { cluster_id: 15967972750642569462 member_id: 655066372522343161 revision: 4 raft_term: 2 }";

// Each row is what etcdctl 3.7.1 printed for the same answer.
struct Row {
  const char* format;
  bool hex;
  const char* out;
};

TEST_CASE("printers: a range") {
  const auto response = parsed<etcdserverpb::RangeResponse>(
      std::string(kHeader) + R"(kvs { key: "foo" create_revision: 2 mod_revision: 4 version: 3 value: "b\"\xff\n" lease: 255 }
                                kvs { key: "g" create_revision: 3 mod_revision: 3 version: 1 } more: true count: 9)");
  for (const Row& row : std::initializer_list<Row>{
           {"simple", false, "foo\nb\"\xff\n\ng\n\n"},
           {"simple", true, "\\x66\\x6f\\x6f\n\\x62\\x22\\xff\\x0a\n\\x67\n\n"},
           {"fields", false,
            "\"ClusterID\" : 15967972750642569462\n\"MemberID\" : 655066372522343161\n\"Revision\" : 4\n\"RaftTerm\" : 2\n"
            "\"Key\" : \"foo\"\n\"CreateRevision\" : 2\n\"ModRevision\" : 4\n\"Version\" : 3\n\"Value\" : \"b\\\"\\xff\\n\"\n"
            "\"Lease\" : 255\n\"Key\" : \"g\"\n\"CreateRevision\" : 3\n\"ModRevision\" : 3\n\"Version\" : 1\n\"Value\" : \"\"\n"
            "\"Lease\" : 0\n\"More\" : true\n\"Count\" : 9\n"},
           {"fields", true,
            "\"ClusterID\" : dd99a29d612ae0f6\n\"MemberID\" : 9174365267f7af9\n\"Revision\" : 4\n\"RaftTerm\" : 2\n"
            "\"Key\" : \"foo\"\n\"CreateRevision\" : 2\n\"ModRevision\" : 4\n\"Version\" : 3\n\"Value\" : \"b\\\"\\xff\\n\"\n"
            "\"Lease\" : 00000000000000ff\n\"Key\" : \"g\"\n\"CreateRevision\" : 3\n\"ModRevision\" : 3\n\"Version\" : 1\n"
            "\"Value\" : \"\"\n\"Lease\" : 0000000000000000\n\"More\" : true\n\"Count\" : 9\n"},
           {"json", false,
            R"({"header":{"cluster_id":15967972750642569462,"member_id":655066372522343161,"revision":4,"raft_term":2},)"
            R"("kvs":[{"key":"Zm9v","create_revision":2,"mod_revision":4,"version":3,"value":"YiL/Cg==","lease":255},)"
            R"({"key":"Zw==","create_revision":3,"mod_revision":3,"version":1}],"more":true,"count":9})"
            "\n"},
       }) {
    CAPTURE(row.format);
    CHECK(show(row.format, row.hex, [&](Printer& printer) { return printer.range(response); }).out == row.out);
  }
  const Shown bytes = show("protobuf", false, [&](Printer& printer) { return printer.range(response); });
  CHECK(bytes.out == response.SerializeAsString());
  const Shown table = show("table", false, [&](Printer& printer) { return printer.range(response); });
  CHECK(table.exit.code == kExitBadFeature);
  CHECK(table.exit.error == "table not supported as output format");
  const Shown values = show("simple", false, [&](Printer& printer) {
    printer.set_values_only();
    return printer.range(response);
  });
  CHECK(values.out == "b\"\xff\n\n\n");
}

TEST_CASE("printers: a transaction") {
  const auto response = parsed<etcdserverpb::TxnResponse>(std::string(kHeader) + R"(succeeded: true
    responses { response_put { header { revision: 4 } prev_kv { key: "a" value: "1" } } }
    responses { response_range { header { revision: 4 } } }
    responses { response_delete_range { header { revision: 4 } deleted: 1 } }
    responses { response_txn { responses { response_put { } } } })");
  const auto print = [&](Printer& printer) { return printer.txn(response); };
  CHECK(show("simple", false, print).out.starts_with("SUCCESS\n\nOK\na\n1\n\n\n1\n\nunexpected response "));
  CHECK(show("json", false, print).out ==
        R"({"header":{"cluster_id":15967972750642569462,"member_id":655066372522343161,"revision":4,"raft_term":2},)"
        R"("succeeded":true,"responses":[)"
        R"({"Response":{"response_put":{"header":{"revision":4},"prev_kv":{"key":"YQ==","value":"MQ=="}}}},)"
        R"({"Response":{"response_range":{"header":{"revision":4}}}},)"
        R"({"Response":{"response_delete_range":{"header":{"revision":4},"deleted":1}}},)"
        R"({"Response":{"response_txn":{"responses":[{"Response":{"response_put":{}}}]}}}]})"
        "\n");
  CHECK(
      show("fields", false, print).out.find("\"Succeeded\" : true\n\"ClusterID\" : 0\n\"MemberID\" : 0\n\"Revision\" : 4\n") !=
      std::string::npos);
}

TEST_CASE("printers: members") {
  const auto response = parsed<etcdserverpb::MemberListResponse>(
      R"(header { cluster_id: 255 member_id: 16 raft_term: 2 }
         members { ID: 16 name: "m<1>" peerURLs: "http://a:1" peerURLs: "http://b:1" clientURLs: "http://a:2" }
         members { ID: 17 peerURLs: "http://c:1" isLearner: true })");
  const auto print = [&](Printer& printer) { return printer.member_list(response); };
  CHECK(show("simple", false, print).out ==
        "10, started, m<1>, http://a:1,http://b:1, http://a:2, false\n11, unstarted, , http://c:1, , true\n");
  CHECK(show("json", true, print).out ==
        R"({"header":{"cluster_id":"ff","member_id":"10","raft_term":2},"members":[{"ID":"10","name":"m\u003c1\u003e",)"
        R"("peerURLs":["http://a:1","http://b:1"],"clientURLs":["http://a:2"]},)"
        R"({"ID":"11","peerURLs":["http://c:1"],"isLearner":true}]})"
        "\n");
  CHECK(show("table", false, print).out ==
        "┌────┬───────────┬──────┬───────────────────────┬──────────────┬────────────┐\n"
        "│ ID │  STATUS   │ NAME │      PEER ADDRS       │ CLIENT ADDRS │ IS LEARNER │\n"
        "├────┼───────────┼──────┼───────────────────────┼──────────────┼────────────┤\n"
        "│ 10 │   started │ m<1> │ http://a:1,http://b:1 │   http://a:2 │      false │\n"
        "│ 11 │ unstarted │      │            http://c:1 │              │       true │\n"
        "└────┴───────────┴──────┴───────────────────────┴──────────────┴────────────┘\n");
}

TEST_CASE("printers: endpoints") {
  const std::vector<EndpointHealth> health{{"a:1", true, "1.5ms", ""}, {"b:1", false, "5s", "context deadline exceeded"}};
  const auto print = [&](Printer& printer) { return printer.endpoint_health(health); };
  const Shown simple = show("simple", false, print);
  CHECK(simple.out == "a:1 is healthy: successfully committed proposal: took = 1.5ms\n");
  CHECK(simple.err == "b:1 is unhealthy: failed to commit proposal: context deadline exceeded\n");
  CHECK(show("json", false, print).out ==
        R"([{"endpoint":"a:1","health":true,"took":"1.5ms"},)"
        R"({"endpoint":"b:1","health":false,"took":"5s","error":"context deadline exceeded"}])"
        "\n");
  CHECK(show("protobuf", false, print).exit.error == "protobuf not supported as output format");
  const std::vector<EndpointStatus> none;
  CHECK(show("json", false, [&](Printer& printer) { return printer.endpoint_status(none); }).out == "null\n");
  const std::vector<EndpointStatus> one{
      {"a:1", parsed<etcdserverpb::StatusResponse>(
                  R"(header { cluster_id: 1 member_id: 171 revision: 1 raft_term: 2 } version: "3.7.1" dbSize: 20480 leader: 171
                     raftIndex: 12 raftTerm: 2 raftAppliedIndex: 12 dbSizeInUse: 16384 storageVersion: "3.7.0"
                     dbSizeQuota: 2147483648 errors: "one" errors: "two" downgradeInfo { })")}};
  const auto status = [&](Printer& printer) { return printer.endpoint_status(one); };
  CHECK(show("simple", false, status).out ==
        "a:1, ab, 3.7.1, 3.7.0, 20 kB, 16 kB, 20%, 2.1 GB, true, false, 2, 12, 12, one, two, , false\n");
  CHECK(show("json", false, status).out ==
        R"([{"Endpoint":"a:1","Status":{"header":{"cluster_id":1,"member_id":171,"revision":1,"raft_term":2},)"
        R"("version":"3.7.1","dbSize":20480,"leader":171,"raftIndex":12,"raftTerm":2,"raftAppliedIndex":12,)"
        R"("errors":["one","two"],"dbSizeInUse":16384,"storageVersion":"3.7.0","dbSizeQuota":2147483648,"downgradeInfo":{}}}])"
        "\n");
  CHECK(show("fields", false, status).out.find("\"Errors\" : [one two]\n\"Endpoint\" : \"a:1\"\n") != std::string::npos);
}

TEST_CASE("printers: a table without rows has no line below its titles") {
  CHECK(draw_table({"a", "b_c"}, {}) == "┌───┬─────┐\n│ A │ B C │\n└───┴─────┘\n");
  CHECK(draw_table({"a"}, {{"中文"}, {"é"}}) == "┌──────┐\n│  A   │\n├──────┤\n│ 中文 │\n│    é │\n└──────┘\n");
}

TEST_CASE("texts: sizes, escapes and literals as Go has them") {
  for (const auto& [bytes, text] : std::initializer_list<std::pair<uint64_t, const char*>>{{0, "0 B"},
                                                                                           {9, "9 B"},
                                                                                           {10, "10 B"},
                                                                                           {999, "999 B"},
                                                                                           {1000, "1.0 kB"},
                                                                                           {1049, "1.0 kB"},
                                                                                           {9999, "10 kB"},
                                                                                           {20480, "20 kB"},
                                                                                           {246000, "246 kB"},
                                                                                           {2147483648, "2.1 GB"},
                                                                                           {1000000, "1.0 MB"},
                                                                                           {UINT64_MAX, "18 EB"}}) {
    CHECK(humanize_bytes(bytes) == text);
  }
  CHECK(hex_escaped(std::string("\0z", 2)) == "\\x00\\x7a");
  CHECK(*unquote(R"("a\x41\101\u00e9\U0001F600\"\\\t")") == "aAA\u00e9\U0001F600\"\\\t");
  CHECK(*unquote("`a\\x`") == "a\\x");
  for (const char* wrong : {"\"", "\"a", "\"\\q\"", "\"\\x4\"", "\"\\400\"", "\"\\ud800\"", "'a'", "\"a\"b\"", ""}) {
    CAPTURE(wrong);
    CHECK(!unquote(wrong).ok());
  }
  CHECK(float_text(0.5) == "0.5");
  CHECK(float_text(2466.7111168009915) == "2466.7111168009915");
  CHECK(float_text(1e6) == "1e+06");
  CHECK(float_text(0.00001) == "1e-05");
  CHECK(float_text(0.0001) == "0.0001");
  CHECK(float_text(0) == "0");
}

TEST_CASE("printers: a watch") {
  const auto response = parsed<etcdserverpb::WatchResponse>(
      std::string(kHeader) +
      R"(watch_id: 3 events { kv { key: "k" create_revision: 2 mod_revision: 3 version: 2 value: "v" lease: 5 }
                                prev_kv { key: "k" create_revision: 2 mod_revision: 2 version: 1 value: "u" } }
                                events { type: DELETE kv { key: "k" mod_revision: 4 } })");
  for (const Row& row : std::initializer_list<Row>{
           {"simple", false, "PUT\nk\nu\nk\nv\nDELETE\nk\n\n"},
           {"simple", true, "PUT\n\\x6b\n\\x75\n\\x6b\n\\x76\nDELETE\n\\x6b\n\n"},
           {"json", false,
            "{\"Header\":{\"cluster_id\":15967972750642569462,\"member_id\":655066372522343161,\"revision\":4,\"raft_term\":2},"
            "\"Events\":[{\"kv\":{\"key\":\"aw==\",\"create_revision\":2,\"mod_revision\":3,\"version\":2,\"value\":\"dg==\","
            "\"lease\":5},\"prev_kv\":{\"key\":\"aw==\",\"create_revision\":2,\"mod_revision\":2,\"version\":1,\"value\":"
            "\"dQ==\"}},{\"type\":1,\"kv\":{\"key\":\"aw==\",\"mod_revision\":4}}],\"CompactRevision\":0,\"Canceled\":false,"
            "\"Created\":false,\"CancelReason\":\"\"}\n"},
       }) {
    CAPTURE(row.format);
    CHECK(show(row.format, row.hex, [&](Printer& printer) { return printer.watch(response); }).out == row.out);
  }
  const Shown fields = show("fields", true, [&](Printer& printer) { return printer.watch(response); });
  CHECK(fields.out.find("\"Type\" : PUT\n\"PrevKey\" : \"k\"\n") != std::string::npos);
  CHECK(fields.out.find("\"Lease\" : 0000000000000005\n\"Type\" : DELETE\n\"Key\" : \"k\"\n") != std::string::npos);
  CHECK(show("table", false, [&](Printer& printer) { return printer.watch(response); }).exit.code == kExitBadFeature);
  const Shown wire = show("protobuf", false, [&](Printer& printer) { return printer.watch(response); });
  etcdserverpb::WatchResponse back;
  REQUIRE(back.ParseFromString(wire.out));
  CHECK(back.watch_id() == 0);
  CHECK(back.events_size() == 2);
  const auto cancelled =
      parsed<etcdserverpb::WatchResponse>("header { } canceled: true compact_revision: 8 cancel_reason: \"<\"");
  CHECK(show("json", false, [&](Printer& printer) { return printer.watch(cancelled); }).out ==
        "{\"Header\":{},\"Events\":null,\"CompactRevision\":8,\"Canceled\":true,\"Created\":false,"
        "\"CancelReason\":\"\\u003c\"}\n");
}

TEST_CASE("printers: leases") {
  const auto grant = parsed<etcdserverpb::LeaseGrantResponse>("header { revision: 4 } ID: 255 TTL: 10");
  CHECK(show("simple", false, [&](Printer& printer) { return printer.lease_grant(grant); }).out ==
        "lease 00000000000000ff granted with TTL(10s)\n");
  CHECK(show("json", false, [&](Printer& printer) { return printer.lease_grant(grant); }).out ==
        "{\"revision\":4,\"ID\":255,\"TTL\":10,\"Error\":\"\"}\n");
  CHECK(show("protobuf", false, [&](Printer& printer) { return printer.lease_grant(grant); }).out ==
        grant.header().SerializeAsString());
  const auto alive =
      parsed<etcdserverpb::LeaseTimeToLiveResponse>("header { } ID: 255 TTL: 8 grantedTTL: 10 keys: \"a\" keys: \"b\"");
  CHECK(show("simple", false, [&](Printer& printer) { return printer.lease_time_to_live(alive, true); }).out ==
        "lease 00000000000000ff granted with TTL(10s), remaining(8s), attached keys([a b])\n");
  CHECK(show("simple", false, [&](Printer& printer) { return printer.lease_time_to_live(alive, false); }).out ==
        "lease 00000000000000ff granted with TTL(10s), remaining(8s)\n");
  CHECK(show("json", false, [&](Printer& printer) { return printer.lease_time_to_live(alive, true); }).out ==
        "{\"id\":255,\"ttl\":8,\"granted-ttl\":10,\"keys\":[\"YQ==\",\"Yg==\"]}\n");
  const auto gone = parsed<etcdserverpb::LeaseTimeToLiveResponse>("header { } ID: 255 TTL: -1");
  CHECK(show("simple", false, [&](Printer& printer) { return printer.lease_time_to_live(gone, true); }).out ==
        "lease 00000000000000ff already expired\n");
  CHECK(show("json", false, [&](Printer& printer) { return printer.lease_time_to_live(gone, true); }).out ==
        "{\"id\":255,\"ttl\":-1,\"granted-ttl\":0,\"keys\":null}\n");
  const auto list = parsed<etcdserverpb::LeaseLeasesResponse>("header { } leases { ID: 1 } leases { ID: -1 }");
  CHECK(show("simple", false, [&](Printer& printer) { return printer.lease_list(list); }).out ==
        "found 2 leases\n0000000000000001\nffffffffffffffff\n");
  CHECK(show("fields", true, [&](Printer& printer) {
          return printer.lease_list(list);
        }).out.ends_with("\"ID\" : 0000000000000001\n\"ID\" : ffffffffffffffff\n"));
}

TEST_CASE("printers: alarms") {
  const auto response =
      parsed<etcdserverpb::AlarmResponse>("alarms { memberID: 15 alarm: NOSPACE } alarms { memberID: 16 alarm: CORRUPT }");
  CHECK(show("simple", false, [&](Printer& printer) { return printer.alarm(response); }).out ==
        "memberID:15 alarm:NOSPACE\nmemberID:16 alarm:CORRUPT\n");
  CHECK(show("json", false, [&](Printer& printer) { return printer.alarm(response); }).out ==
        "{\"alarms\":[{\"memberID\":15,\"alarm\":1},{\"memberID\":16,\"alarm\":2}]}\n");
  CHECK(show("fields", true, [&](Printer& printer) {
          return printer.alarm(response);
        }).out.ends_with("\"MemberID\" : f\n\"AlarmType\" : NOSPACE\n\n\"MemberID\" : 10\n\"AlarmType\" : CORRUPT\n\n"));
  CHECK(show("table", false, [&](Printer& printer) { return printer.alarm(response); }).exit.error ==
        "table not supported as output format");
}

}  // namespace
}  // namespace cli::ctl
