// JSON to messages and back, beside protobuf's own classes.
#include "wire/json.h"

#include <doctest/doctest.h>
#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>

#include "rpc.pb.h"

namespace {

wire::JsonTypes& types() {
  static wire::JsonTypes all;
  return all;
}

template <class Message>
base::Status read(std::string_view json, Message* message) {
  std::string bytes;
  base::Status status = wire::json_to_message(json, types().get(*Message::descriptor()), &bytes);
  if (status.ok()) REQUIRE(message->ParseFromString(bytes));
  return status;
}

template <class Message>
std::string print(const Message& message, wire::JsonStyle style = {}) {
  std::string json;
  REQUIRE(wire::message_to_json(message.SerializeAsString(), types().get(*Message::descriptor()), style, &json).ok());
  return json;
}

}  // namespace

TEST_CASE("json: where documents end, and etcd's words for what is none") {
  struct Row {
    const char* input;
    const char* documents;  // separated by |; the error last
  };
  for (const Row& row : {Row{"", ""},
                         Row{" \n", ""},
                         Row{"{}", "{}"},
                         Row{" {\"a\":[1,2]} \n[3]", "{\"a\":[1,2]}|[3]"},
                         Row{"1 2", "1|2"},
                         Row{"5x", "5|invalid character 'x' looking for beginning of value"},
                         Row{"\"a\"\"b\"", "\"a\"|\"b\""},
                         Row{"true", "true"},
                         Row{"{", "unexpected EOF"},
                         Row{"-", "unexpected EOF"},
                         Row{"{\"a\"", "unexpected EOF"},
                         Row{"}", "invalid character '}' looking for beginning of value"},
                         Row{"{,", "invalid character ',' looking for beginning of object key string"},
                         Row{"{\"a\",", "invalid character ',' after object key"},
                         Row{"{\"a\":1;", "invalid character ';' after object key:value pair"},
                         Row{"[1 2", "invalid character '2' after array element"},
                         Row{"trux", "invalid character 'x' in literal true (expecting 'e')"},
                         Row{"\"\n\"", "invalid character '\\n' in string literal"},
                         Row{"\"\\q\"", "invalid character 'q' in string escape code"},
                         Row{"\"\\u12g", "invalid character 'g' in \\u hexadecimal character escape"},
                         Row{"-x", "invalid character 'x' in numeric literal"},
                         Row{"1.x", "invalid character 'x' after decimal point in numeric literal"},
                         Row{"1ex", "invalid character 'x' in exponent of numeric literal"},
                         Row{"'", "invalid character '\\'' looking for beginning of value"},
                         Row{"\xff", "invalid character '\u00ff' looking for beginning of value"}}) {
    for (const size_t piece : {size_t{1}, size_t{1000}}) {
      CAPTURE(row.input);
      CAPTURE(piece);
      wire::JsonDocuments documents(1000);
      std::string told;
      const auto drain = [&] {
        std::string_view document;
        for (;;) {
          const auto got = documents.next(&document);
          if (got != wire::JsonDocuments::Got::kDocument) return got;
          told += (told.empty() ? "" : "|") + std::string(document);
        }
      };
      auto got = wire::JsonDocuments::Got::kMore;
      for (std::string_view rest = row.input; !rest.empty() && got == wire::JsonDocuments::Got::kMore;) {
        documents.append(rest.substr(0, piece));
        rest.remove_prefix(std::min(piece, rest.size()));
        got = drain();
      }
      documents.end();
      if (got == wire::JsonDocuments::Got::kMore) got = drain();
      if (got == wire::JsonDocuments::Got::kError) told += (told.empty() ? "" : "|") + documents.error();
      CHECK(told == row.documents);
    }
  }
  wire::JsonDocuments small(8);
  std::string_view document;
  small.append("\"123456789");
  CHECK(small.next(&document) == wire::JsonDocuments::Got::kError);
}

TEST_CASE("json: what a request's fields may look like") {
  struct Row {
    const char* json;
    const char* text;  // protobuf's short text form, or the error
  };
  for (const Row& row :
       {Row{"{}", ""},
        Row{R"({"key":"Zm9v"})", R"(key: "foo")"},
        Row{R"({"key":"Zm9v","range_end":"Zg","rangeend":1})", R"(key: "foo" range_end: "f")"},
        Row{R"({"rangeEnd":"_-8","keysOnly":true})", R"(range_end: "\377\357" keys_only: true)"},
        Row{R"({"limit":"5","revision":-5})", "limit: 5 revision: -5"},
        Row{R"({"limit":5.0,"revision":"1e2"})", "limit: 5 revision: 100"},
        Row{R"({"limit":"5,x"})", "limit: 5"},
        Row{R"({"limit":0,"serializable":false,"key":""})", ""},
        Row{R"({"sort_order":"DESCEND","sort_target":2})", "sort_order: DESCEND sort_target: CREATE"},
        Row{R"({"sort_order":"NOTHING","key":null})", ""},
        Row{R"({"x":{"y":["\ud83d\ude00",1,null]},"count_only":true})", "count_only: true"},
        Row{R"({"key":"\u005am9v"})", R"(key: "foo")"},
        Row{R"({"key":5})", "proto: (line 1:8): invalid value for bytes field key: 5"},
        Row{"{\n \"keysOnly\":\n  \"x\"}", "proto: (line 3:3): invalid value for bool field keysOnly: \"x\""},
        Row{R"({"limit":1.5})", "proto: (line 1:10): invalid value for int64 field limit: 1.5"},
        Row{R"({"limit":9223372036854775808})", "proto: (line 1:10): invalid value for int64 field limit: 9223372036854775808"},
        Row{R"({"limit":" 5"})", "proto: (line 1:10): invalid value for int64 field limit: \" 5\""},
        Row{R"({"sort_order":{}})", "proto: (line 1:15): invalid value for enum field sortOrder: {"},
        Row{R"({"key":"Zg","key":""})", "proto: (line 1:13): duplicate field \"key\""},
        Row{R"({"key":"\ud800xxxxxx"})", "proto: syntax error (line 1:8): invalid escape code \"xxxxxx\" in string"},
        Row{R"({"key":"\ud800"})", "proto: unexpected EOF"},
        Row{"{\"\u00e4\":\"\xff\"}", "proto: syntax error (line 1:6): invalid UTF-8 in string"},
        Row{"[]", "proto: syntax error (line 1:1): unexpected token ["},
        Row{"null", "proto: syntax error (line 1:1): unexpected token null"}}) {
    CAPTURE(row.json);
    etcdserverpb::RangeRequest request;
    const base::Status status = read(row.json, &request);
    CHECK((status.ok() ? request.ShortDebugString() : std::string(status.text())) == row.text);
  }
}

TEST_CASE("json: nested messages, lists and oneofs") {
  etcdserverpb::TxnRequest txn;
  CHECK(read(R"({"compare":[{"key":"YQ==","version":"0"},{"key":"Yg==","target":"VALUE","value":""}],
                 "success":[{"requestPut":{"key":"YQ=="}},{},{"request_txn":{"failure":[{"request_range":{}}]}}]})",
             &txn)
            .ok());
  REQUIRE(txn.compare_size() == 2);
  CHECK(txn.compare(0).target_union_case() == etcdserverpb::Compare::kVersion);
  CHECK(txn.compare(1).target_union_case() == etcdserverpb::Compare::kValue);
  REQUIRE(txn.success_size() == 3);
  CHECK(txn.success(0).request_put().key() == "a");
  CHECK(txn.success(1).request_case() == etcdserverpb::RequestOp::REQUEST_NOT_SET);
  CHECK(txn.success(2).request_txn().failure(0).has_request_range());
  CHECK(read(R"({"compare":[{"version":1,"lease":2}]})", &txn).text() ==
        "proto: (line 1:26): error parsing \"lease\", oneof etcdserverpb.Compare.target_union is already set");
  CHECK(read(R"({"compare":[null]})", &txn).text() == "proto: syntax error (line 1:13): unexpected token null");
  CHECK(read(R"({"compare":{}})", &txn).text() == "proto: syntax error (line 1:12): unexpected token {");
  etcdserverpb::WatchRequest watch;
  CHECK(read(R"({"create_request":{"filters":["NOPUT",1,"WHAT"],"fragment":true}})", &watch).ok());
  CHECK(watch.create_request().filters_size() == 2);
}

TEST_CASE("json: a document as deep as may be costs no stack") {
  std::string deep;
  for (int i = 0; i < 3000; ++i) deep += R"({"success":[{"request_txn":)";
  deep += "{}";
  for (int i = 0; i < 3000; ++i) deep += "}]}";
  std::string bytes;
  CHECK(wire::json_to_message(deep, types().get(*etcdserverpb::TxnRequest::descriptor()), &bytes).ok());
  CHECK(bytes.size() > 6000);
}

TEST_CASE("json: answers are printed as etcd prints them") {
  etcdserverpb::RangeResponse range;
  range.mutable_header()->set_cluster_id(UINT64_MAX);
  range.mutable_header()->set_revision(-1);
  auto* kv = range.add_kvs();
  kv->set_key(std::string("\0\xff", 2));
  kv->set_value("a");
  range.add_kvs();
  range.set_more(true);
  CHECK(print(range) == R"({"header":{"cluster_id":"18446744073709551615","revision":"-1"},)"
                        R"("kvs":[{"key":"AP8=","value":"YQ=="},{}],"more":true})");
  CHECK(print(etcdserverpb::RangeResponse()) == "{}");
  etcdserverpb::WatchResponse watch;
  watch.set_cancel_reason("<\"\\\n\x01\u2028\u00e4");
  watch.add_events()->set_type(mvccpb::Event_EventType_DELETE);
  CHECK(print(watch) == "{\"cancel_reason\":\"<\\\"\\\\\\n\\u0001\u2028\u00e4\",\"events\":[{\"type\":\"DELETE\"}]}");
  wire::JsonStyle html;
  html.escape_html = true;
  CHECK(print(watch, html) ==
        "{\"cancel_reason\":\"\\u003c\\\"\\\\\\n\\u0001\\u2028\u00e4\",\"events\":[{\"type\":\"DELETE\"}]}");
  etcdserverpb::AlarmResponse alarm;
  alarm.add_alarms()->set_alarm(static_cast<etcdserverpb::AlarmType>(7));
  CHECK(print(alarm) == R"({"alarms":[{"alarm":7}]})");
  std::string json;
  CHECK_FALSE(wire::message_to_json("\x0a\xff", types().get(*etcdserverpb::RangeResponse::descriptor()), {}, &json).ok());
}

TEST_CASE("json: fields out of order are printed in order, the last of a single one wins") {
  etcdserverpb::RangeResponse first, second;
  first.set_count(5);
  first.add_kvs()->set_key("a");
  second.mutable_header()->set_revision(3);
  second.set_count(6);
  second.add_kvs()->set_key("b");
  std::string json;
  CHECK(wire::message_to_json(first.SerializeAsString() + second.SerializeAsString(),
                              types().get(*etcdserverpb::RangeResponse::descriptor()), {}, &json)
            .ok());
  CHECK(json == R"({"header":{"revision":"3"},"kvs":[{"key":"YQ=="},{"key":"Yg=="}],"count":"6"})");
}

TEST_CASE("json: a message in pieces reads like the whole") {
  etcdserverpb::RangeResponse range;
  range.mutable_header()->set_revision(9);
  for (int i = 0; i < 20; ++i) range.add_kvs()->set_value(std::string(static_cast<size_t>(i) * 7, 'v'));
  range.set_count(20);
  const std::string bytes = range.SerializeAsString(), whole = print(range);
  for (const size_t piece : {1, 2, 7, 100, 100000}) {
    wire::JsonWriter writer(types().get(*etcdserverpb::RangeResponse::descriptor()));
    std::string json;
    for (size_t i = 0; i < bytes.size(); i += piece)
      REQUIRE(writer.write(std::string_view(bytes).substr(i, piece), &json).ok());
    REQUIRE(writer.finish(&json).ok());
    CHECK(json == whole);
  }
  wire::JsonWriter cut(types().get(*etcdserverpb::RangeResponse::descriptor()));
  std::string json;
  REQUIRE(cut.write(std::string_view(bytes).substr(0, bytes.size() - 1), &json).ok());
  CHECK_FALSE(cut.finish(&json).ok());
}

TEST_CASE("json: protobuf's own printer says the same but for its spelling") {
  etcdserverpb::TxnResponse txn;
  txn.mutable_header()->set_raft_term(2);
  txn.set_succeeded(true);
  txn.add_responses()->mutable_response_range()->set_count(3);
  txn.add_responses()->mutable_response_delete_range()->add_prev_kvs()->set_lease(4);
  txn.add_responses()->mutable_response_txn()->add_responses()->mutable_response_put();
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string theirs;
  REQUIRE(google::protobuf::util::MessageToJsonString(txn, &theirs, options).ok());
  CHECK(nlohmann::json::parse(print(txn)) == nlohmann::json::parse(theirs));
}
