// Requests of the KV service: the checks before, the rules of transactions, answers field by field, costs.
#include <google/protobuf/text_format.h>

#include "fixture.h"
#include "mvcc/range_stream.h"

using namespace mvcc_test;
using etcdserverpb::CompactionRequest;
using etcdserverpb::CompactionResponse;
using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::DeleteRangeResponse;
using etcdserverpb::PutRequest;
using etcdserverpb::PutResponse;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using wire::Op;

namespace {

template <class Message>
Message read(const std::string& text) {
  Message message;
  REQUIRE_MESSAGE(google::protobuf::TextFormat::ParseFromString(text, &message), text);
  return message;
}

template <class Message>
Status check(Op op, const std::string& text, size_t txn_ops_max = 128) {
  return mvcc::check_request(op, read<Message>(text).SerializeAsString(), txn_ops_max);
}

// What the answer says, or the error's text.
template <class Response, class Request>
std::string say(Fixture& f, Op op, const std::string& text, mvcc::Answer answer = mvcc::Answer::kWanted) {
  const auto response = f.execute<Response>(op, read<Request>(text), answer);
  return response.ok() ? response->ShortDebugString() : std::string(response.status().text());
}
std::string say_txn(Fixture& f, const std::string& text) { return say<TxnResponse, TxnRequest>(f, Op::kTxn, text); }

const std::string kKeyNotFound = "etcdserver: key not found";
const std::string kDuplicate = "etcdserver: duplicate key given in txn request";
const std::string kCompacted = "etcdserver: mvcc: required revision has been compacted";
const std::string kFuture = "etcdserver: mvcc: required revision is a future revision";
const std::string kNoLease = "etcdserver: requested lease not found";

}  // namespace

TEST_CASE("request: checks of range, put and delete") {
  CHECK(check<RangeRequest>(Op::kRange, "").text() == "etcdserver: key is not provided");
  CHECK(check<RangeRequest>(Op::kRange, "").code() == Code::kInvalidArgument);
  CHECK(check<RangeRequest>(Op::kRange, "key: 'a' sort_order: 3").text() == "etcdserver: invalid sort option");
  CHECK(check<RangeRequest>(Op::kRange, "key: 'a' sort_target: -1").text() == "etcdserver: invalid sort option");
  CHECK(check<RangeRequest>(Op::kRange, "key: 'a' sort_target: VALUE sort_order: DESCEND").ok());
  CHECK(check<PutRequest>(Op::kPut, "value: 'a'").text() == "etcdserver: key is not provided");
  CHECK(check<PutRequest>(Op::kPut, "key: 'a' value: 'b' ignore_value: true").text() == "etcdserver: value is provided");
  CHECK(check<PutRequest>(Op::kPut, "key: 'a' lease: 1 ignore_lease: true").text() == "etcdserver: lease is provided");
  CHECK(check<PutRequest>(Op::kPut, "key: 'a' ignore_value: true ignore_lease: true").ok());
  CHECK(check<DeleteRangeRequest>(Op::kDeleteRange, "range_end: 'a'").text() == "etcdserver: key is not provided");
  CHECK(mvcc::check_request(Op::kPut, "\x0a\xff", 128).code() == Code::kInternal);
  mvcc::Checked checked;
  CHECK(
      mvcc::check_request(Op::kRange, read<RangeRequest>("key: 'a' serializable: true").SerializeAsString(), 1, &checked).ok());
  CHECK(checked.serializable);
  CHECK(checked.read_only);
  CHECK(mvcc::check_request(Op::kCompaction, read<CompactionRequest>("physical: true").SerializeAsString(), 1, &checked).ok());
  CHECK(checked.physical);
  CHECK(!checked.read_only);
}

TEST_CASE("request: checks of a range stream") {
  const auto stream = [](const std::string& text) {
    return mvcc::check_range_stream(read<RangeRequest>(text).SerializeAsString());
  };
  CHECK(stream("key: 'a' sort_order: ASCEND").ok());
  CHECK(stream("key: 'a' sort_target: MOD").ok());  // no order: the default one
  CHECK(stream("key: 'a' sort_order: DESCEND").text() == "RangeStream does not support custom sort orders");
  CHECK(stream("key: 'a' sort_order: ASCEND sort_target: MOD").code() == Code::kUnimplemented);
  CHECK(stream("key: 'a' max_create_revision: 4").text() == "RangeStream does not support revision filters");
  CHECK(stream("limit: 1").text() == "etcdserver: key is not provided");
}

TEST_CASE("request: checks of transactions") {
  struct Row {
    const char* rule;
    std::string text;
    std::string error;
    size_t ops_max = 4;
  };
  const std::string put_a = "success { request_put { key: 'a' } }", put_b = "success { request_put { key: 'b' } }";
  const std::string delete_ac = "success { request_delete_range { key: 'a' range_end: 'c' } }";
  const std::string delete_all = "success { request_delete_range { key: '\\0' range_end: '\\0' } }";
  const auto nested = [](const std::string& inner) { return "success { request_txn { " + inner + " } }"; };
  for (const Row& row : {
           Row{"empty", "", ""},
           Row{"as many as allowed", put_a + put_b, "", 2},
           Row{"too many puts", put_a + put_b, "etcdserver: too many operations in txn request", 1},
           Row{"too many compares", "compare { key: 'a' } compare { key: 'b' }",
               "etcdserver: too many operations in txn request", 1},
           Row{"a nested one gets what is left", nested(put_a), "etcdserver: too many operations in txn request", 1},
           Row{"...and here enough is left", nested(put_a), "", 2},
           Row{"compare without a key", "compare { }", "etcdserver: key is not provided"},
           Row{"put without a key", "failure { request_put { } }", "etcdserver: key is not provided"},
           Row{"range of a bad order", "success { request_range { key: 'a' sort_order: 9 } }",
               "etcdserver: invalid sort option"},
           Row{"an operation that says nothing", "success { }", kKeyNotFound},
           Row{"nested, without a key", nested("failure { request_delete_range { } }"), "etcdserver: key is not provided"},
           Row{"a key twice", put_a + put_a, kDuplicate},
           Row{"a key in both branches", put_a + "failure { request_put { key: 'a' } }", ""},
           Row{"put, then deleted", put_a + delete_ac, kDuplicate},
           Row{"deleted, then put", delete_ac + put_b, kDuplicate},
           Row{"behind the deleted range", delete_ac + "success { request_put { key: 'c' } }", ""},
           Row{"exactly the deleted key", "success { request_delete_range { key: 'a' } }" + put_a, kDuplicate},
           Row{"a key behind the deleted one",
               "success { request_delete_range { key: 'a' } } success { request_put { key: 'a\\0' } }", ""},
           Row{"two deletes", delete_ac + delete_ac, ""},
           Row{"an empty range deletes nothing", "success { request_delete_range { key: 'c' range_end: 'a' } }" + put_b, ""},
           Row{"etcd forgets deletes without an end", delete_all + put_a, ""},
           Row{"nested, a key again", nested(put_a) + put_a, kDuplicate},
           Row{"two nested ones, a key again", nested(put_a) + nested(put_a), kDuplicate},
           Row{"both branches of a nested one", nested(put_a + "failure { request_put { key: 'a' } }"), ""},
           Row{"...and again behind it", nested(put_a + "failure { request_put { key: 'a' } }") + nested(put_a), kDuplicate},
           Row{"the other branch, and again behind it", nested("failure { request_put { key: 'a' } }") + nested(put_a),
               kDuplicate},
           Row{"two nested ones, a key again on the branch not looked at first",
               nested(put_b + "failure { request_put { key: 'a' } }") + nested("failure { request_put { key: 'a' } }"),
               kDuplicate},
           Row{"deleted outside, put on the other branch inside", delete_ac + nested("failure { request_put { key: 'b' } }"),
               kDuplicate},
           Row{"deleted outside, put inside", delete_ac + nested(put_b), kDuplicate},
           Row{"deleted inside, put outside", nested(delete_ac) + put_b, kDuplicate},
           Row{"deleted inside, put in a later one", nested(delete_ac) + nested(put_b), kDuplicate},
           Row{"put inside, deleted in a later one: not looked for", nested(put_b) + nested(delete_ac), ""},
           Row{"what kills real etcd", delete_all + "success { request_put { key: 'a' ignore_value: true } }", kKeyNotFound},
           Row{"...with ignore_lease", delete_all + "success { request_put { key: 'a' ignore_lease: true } }", kKeyNotFound},
           Row{"...nested", nested(delete_all) + "success { request_put { key: 'a' ignore_value: true } }", kKeyNotFound},
           Row{"...both nested", nested(delete_all) + nested("failure { request_put { key: 'a' ignore_value: true } }"),
               kKeyNotFound},
           Row{"...not when the put comes first", "success { request_put { key: 'a' ignore_value: true } }" + delete_all, ""},
           Row{"...not in the other branch", delete_all + "failure { request_put { key: 'a' ignore_value: true } }", ""},
           Row{"...not below where the delete begins",
               "success { request_delete_range { key: 'b' range_end: '\\0' } } success { request_put { key: 'a' ignore_value: "
               "true } }",
               ""},
       }) {
    CAPTURE(row.rule);
    CHECK(check<TxnRequest>(Op::kTxn, row.text, row.ops_max).text() == row.error);
  }
}

TEST_CASE("request: which transactions are not logged") {
  struct Row {
    std::string text;
    bool read_only, serializable;
  };
  for (const Row& row : {
           Row{"", true, true},
           Row{"compare { key: 'a' }", true, true},
           Row{"success { request_range { key: 'a' serializable: true } }", true, true},
           Row{"success { request_range { key: 'a' serializable: true } } failure { request_range { key: 'a' } }", true, false},
           Row{"success { request_txn { } }", false, false},
           Row{"failure { request_delete_range { key: 'a' } }", false, false},
       }) {
    mvcc::Checked checked;
    CHECK(mvcc::check_request(Op::kTxn, read<TxnRequest>(row.text).SerializeAsString(), 9, &checked).ok());
    CHECK(checked.read_only == row.read_only);
    CHECK(checked.serializable == row.serializable);
  }
}

TEST_CASE("request: hostile nesting and widths are checked in time") {
  // 100 levels over 1,000 puts and deletes: quadratic work would take minutes.
  TxnRequest request;
  TxnRequest* inner = &request;
  for (int i = 0; i < 100; ++i) inner = inner->add_success()->mutable_request_txn();
  for (int i = 0; i < 50'000; ++i) inner->add_success()->mutable_request_put()->set_key("k" + std::to_string(i));
  for (int i = 0; i < 1000; ++i) {
    auto* remove = inner->add_success()->mutable_request_delete_range();
    remove->set_key("x" + std::to_string(i));
    remove->set_range_end("x" + std::to_string(i) + "5");
  }
  CHECK(mvcc::check_request(Op::kTxn, request.SerializeAsString(), 1'000'000).ok());
}

TEST_CASE("request: put") {
  FakeLeases leases;
  leases.keys[5];
  leases.keys[6];
  Fixture f(&leases);
  const auto put = [&](const std::string& text) { return say<PutResponse, PutRequest>(f, Op::kPut, text); };
  CHECK(put("key: 'a' value: '1' prev_kv: true lease: 5") == "header { revision: 2 }");
  CHECK(leases.keys[5] == std::set<std::string>{"a"});
  CHECK(put("key: 'a' value: '2' prev_kv: true") ==
        "header { revision: 3 } prev_kv { key: \"a\" create_revision: 2 mod_revision: 2 version: 1 value: \"1\" lease: 5 }");
  CHECK(leases.keys[5].empty());
  CHECK(put("key: 'a' value: '3' lease: 6") == "header { revision: 4 }");
  CHECK(put("key: 'a' value: '4' lease: 6") == "header { revision: 5 }");
  CHECK(put("key: 'a' ignore_value: true lease: 5") == "header { revision: 6 }");
  CHECK(leases.keys[5] == std::set<std::string>{"a"});
  CHECK(leases.keys[6].empty());
  CHECK(put("key: 'a' value: '5' ignore_lease: true") == "header { revision: 7 }");
  CHECK(put("key: 'a' ignore_value: true ignore_lease: true prev_kv: true") ==
        "header { revision: 8 } prev_kv { key: \"a\" create_revision: 2 mod_revision: 7 version: 6 value: \"5\" lease: 5 }");
  CHECK(put("key: 'b' ignore_value: true") == kKeyNotFound);
  CHECK(put("key: 'b' ignore_lease: true") == kKeyNotFound);
  CHECK(put("key: 'b' value: 'x' lease: 404") == kNoLease);
  CHECK(put("key: 'b' ignore_value: true lease: 404") == kNoLease);  // the lease comes first
  CHECK(f.store->current_revision() == 8);
  CHECK(f.erase("a") == 1);
  CHECK(leases.keys[5].empty());
  CHECK(put("key: 'a' ignore_value: true") == kKeyNotFound);
  CHECK(put("key: 'a' value: 'again' prev_kv: true") == "header { revision: 10 }");
  CHECK(mvcc::execute(*f.store, Op::kPut, "\xff").status() == mvcc::errors::malformed());
}

TEST_CASE("request: delete range") {
  Fixture f;
  for (const char* key : {"a", "b", "c", "d"}) f.put(key, key);
  const auto remove = [&](const std::string& text) {
    return say<DeleteRangeResponse, DeleteRangeRequest>(f, Op::kDeleteRange, text);
  };
  CHECK(remove("key: 'x'") == "header { revision: 5 }");
  CHECK(remove("key: 'c' range_end: 'a'") == "header { revision: 5 }");
  CHECK(remove("key: 'b' range_end: 'd' prev_kv: true") ==
        "header { revision: 6 } deleted: 2 prev_kvs { key: \"b\" create_revision: 3 mod_revision: 3 version: 1 value: \"b\" } "
        "prev_kvs { key: \"c\" create_revision: 4 mod_revision: 4 version: 1 value: \"c\" }");
  CHECK(remove("key: 'b' range_end: 'd' prev_kv: true") == "header { revision: 6 }");
  CHECK(remove("key: 'b' range_end: '\\0'") == "header { revision: 7 } deleted: 1");
  CHECK(f.rows().back() == "7/0t 0a0164");
  CHECK(f.store->keys() == 1);
}

TEST_CASE("request: compaction") {
  Fixture f;
  f.put("a", "1");
  const auto compact = [&](const std::string& text) {
    return say<CompactionResponse, CompactionRequest>(f, Op::kCompaction, text);
  };
  CHECK(compact("revision: -1") == kCompacted);
  CHECK(compact("revision: 3") == kFuture);
  CHECK(compact("revision: 0") == "header { revision: 2 }");
  CHECK(compact("revision: 0") == kCompacted);
  CHECK(compact("revision: 2") == "header { revision: 2 }");
  CHECK(compact("revision: 2") == kCompacted);
  CHECK(f.store->compact_revision() == 2);
  CHECK(f.store->finished_compact_revision() == -1);
  f.run_compactions();
  CHECK(f.store->finished_compact_revision() == 2);
}

TEST_CASE("request: compares") {
  FakeLeases leases;
  leases.keys[5];
  Fixture f(&leases);
  f.put("a", "1");
  f.put("a", "2", 5);  // created 2, modified 3, version 2
  f.put("b", "3");
  f.put("m", "gone");
  f.erase("m");
  struct Row {
    const char* rule;
    std::string compare;
    bool yes;
  };
  for (const Row& row : {
           Row{"equal version", "key: 'a' version: 2", true},
           Row{"greater version", "key: 'a' result: GREATER version: 1", true},
           Row{"less, but is equal", "key: 'a' result: LESS version: 2", false},
           Row{"not equal", "key: 'a' result: NOT_EQUAL version: 1", true},
           Row{"created", "key: 'a' target: CREATE create_revision: 2", true},
           Row{"modified", "key: 'a' target: MOD mod_revision: 3", true},
           Row{"value", "key: 'a' target: VALUE value: '2'", true},
           Row{"value, greater", "key: 'a' target: VALUE result: GREATER value: '1'", true},
           Row{"lease", "key: 'a' target: LEASE lease: 5", true},
           Row{"no lease", "key: 'b' target: LEASE lease: 0", true},
           Row{"a number for another target counts as 0", "key: 'a' target: MOD version: 3", false},
           Row{"nothing to compare with counts as 0", "key: 'a' target: MOD result: GREATER", true},
           Row{"nothing to compare with counts as empty", "key: 'a' target: VALUE result: GREATER", true},
           Row{"a missing key has version 0", "key: 'x' version: 0", true},
           Row{"a missing key was created at 0", "key: 'x' target: CREATE create_revision: 0", true},
           Row{"a missing key has lease 0", "key: 'x' target: LEASE lease: 0", true},
           Row{"a missing key never compares by value", "key: 'x' target: VALUE result: NOT_EQUAL value: '1'", false},
           Row{"a range, all", "key: 'a' range_end: 'z' result: GREATER version: 0", true},
           Row{"a range, not all", "key: 'a' range_end: 'z' version: 2", false},
           Row{"a range without keys", "key: 'x' range_end: 'z' version: 0", true},
           Row{"a range without keys, by value", "key: 'x' range_end: 'z' target: VALUE value: ''", false},
           Row{"a range that begins at a deleted key", "key: 'm' range_end: 'z' version: 0", true},
           Row{"a deleted key", "key: 'm' version: 0", true},
           Row{"a range to the end", "key: 'b' range_end: '\\0' target: VALUE value: '3'", true},
           Row{"an inverted range", "key: 'z' range_end: 'a' version: 0", true},
           Row{"a target nobody knows compares equal", "key: 'a' target: 77", true},
           Row{"a result nobody knows is yes", "key: 'a' result: 77 version: 9", true},
       }) {
    CAPTURE(row.rule);
    const TxnRequest request = read<TxnRequest>("compare { " + row.compare + " }");
    const auto response = f.execute<TxnResponse>(Op::kTxn, request);
    REQUIRE(response.ok());
    CHECK(response->succeeded() == row.yes);
    CHECK(response->header().revision() == 6);
    // All have to hold, whatever their order.
    for (const char* other : {"compare { key: 'b' version: 1 } ", "compare { key: 'b' version: 9 } "}) {
      const bool all = row.yes && std::string_view(other).find('9') == std::string_view::npos;
      for (const std::string& both : {other + request.ShortDebugString(), request.ShortDebugString() + " " + other}) {
        const auto of_both = f.execute<TxnResponse>(Op::kTxn, read<TxnRequest>(both));
        REQUIRE(of_both.ok());
        CHECK(of_both->succeeded() == all);
      }
    }
  }
}

TEST_CASE("request: compares of each target with less, the same and more") {
  FakeLeases leases;
  leases.keys[5];
  Fixture f(&leases);
  f.put("b", "0");
  f.put("a", "1");
  f.put("a", "2", 5);
  f.put("a", "3", 5);
  f.put("a", "6", 5);  // created 3, modified 6, version 4
  struct Target {
    const char* name;
    const char* given;
    const char* values[3];
  };
  for (const Target& target :
       {Target{"VERSION", "version", {"3", "4", "5"}}, Target{"CREATE", "create_revision", {"2", "3", "4"}},
        Target{"MOD", "mod_revision", {"5", "6", "7"}}, Target{"LEASE", "lease", {"4", "5", "6"}},
        Target{"VALUE", "value", {"'5'", "'6'", "'60'"}}}) {
    for (int i = 0; i < 3; ++i) {
      const int order = 1 - i;  // of what the key has against what is given
      for (const auto& [result, yes] : {std::pair{"EQUAL", order == 0}, std::pair{"NOT_EQUAL", order != 0},
                                        std::pair{"GREATER", order > 0}, std::pair{"LESS", order < 0}}) {
        const std::string compare = std::string("compare { key: 'a' target: ") + target.name + " result: " + result + " " +
                                    target.given + ": " + target.values[i] + " }";
        CAPTURE(compare);
        CHECK(f.execute<TxnResponse>(Op::kTxn, read<TxnRequest>(compare))->succeeded() == yes);
      }
    }
  }
  // One deleted and put again begins anew; one that is only deleted is as if it had never been.
  f.erase("a");
  CHECK(f.execute<TxnResponse>(Op::kTxn, read<TxnRequest>("compare { key: 'a' version: 0 }"))->succeeded());
  CHECK(f.execute<TxnResponse>(Op::kTxn, read<TxnRequest>("compare { key: 'a' target: LEASE lease: 0 }"))->succeeded());
  CHECK_FALSE(f.execute<TxnResponse>(Op::kTxn, read<TxnRequest>("compare { key: 'a' target: VALUE value: '6' }"))->succeeded());
  CHECK_FALSE(f.execute<TxnResponse>(Op::kTxn, read<TxnRequest>("compare { key: 'a' target: VALUE value: '' }"))->succeeded());
  f.put("c", "0");
  CHECK(f.execute<TxnResponse>(Op::kTxn, read<TxnRequest>("compare { key: 'a' range_end: 'z' version: 1 }"))->succeeded());
  f.put("a", "1");
  CHECK(f.execute<TxnResponse>(Op::kTxn, read<TxnRequest>("compare { key: 'a' version: 1 }"))->succeeded());
}

TEST_CASE("request: ranges in a transaction, at revisions, and cut short") {
  Fixture f;
  for (const char* key : {"a", "b", "c"}) f.put(key, "1");
  const auto keys_at = [&](int revision) {
    return say_txn(f, "success { request_range { key: 'a' range_end: 'z' keys_only: true limit: 2 revision: " +
                          std::to_string(revision) + " } }");
  };
  const std::string head = "header { revision: 4 } succeeded: true responses { response_range { header { revision: 4 } ";
  const std::string a = "kvs { key: \"a\" create_revision: 2 mod_revision: 2 version: 1 } ";
  const std::string b = "kvs { key: \"b\" create_revision: 3 mod_revision: 3 version: 1 } ";
  CHECK(keys_at(0) == head + a + b + "more: true count: 3 } }");
  CHECK(keys_at(4) == head + a + b + "more: true count: 3 } }");
  CHECK(keys_at(3) == head + a + b + "count: 2 } }");
  CHECK(keys_at(2) == head + a + "count: 1 } }");
  CHECK(keys_at(5) == kFuture);
}

TEST_CASE("request: transactions are decided and checked before they write") {
  struct Row {
    const char* rule;
    std::string text;
    std::string answer;
  };
  const std::string same = "header { revision: 4 }";
  for (const Row& row : {
           Row{"a nested compare sees the state before",
               "success { request_put { key: 'x' } } success { request_txn { compare { key: 'x' version: 1 } } }",
               "header { revision: 5 } succeeded: true responses { response_put { header { revision: 5 } } } "
               "responses { response_txn { header { } } }"},
           Row{"a later range sees earlier writes",
               "success { request_put { key: 'x' value: 'v' } } success { request_range { key: 'x' } }",
               "header { revision: 5 } succeeded: true responses { response_put { header { revision: 5 } } } "
               "responses { response_range { header { revision: 5 } kvs { key: \"x\" create_revision: 5 mod_revision: 5 "
               "version: 1 "
               "value: \"v\" } count: 1 } }"},
           Row{"an earlier range does not",
               "success { request_range { key: 'x' } } success { request_put { key: 'x' value: 'v' } }",
               "header { revision: 5 } succeeded: true responses { response_range { header { revision: 4 } } } "
               "responses { response_put { header { revision: 5 } } }"},
           Row{"a range at an old revision, behind a write",
               "success { request_put { key: 'a' value: 'v' } } success { request_range { key: 'a' revision: 3 count_only: "
               "true } }",
               "header { revision: 5 } succeeded: true responses { response_put { header { revision: 5 } } } "
               "responses { response_range { header { revision: 5 } count: 1 } }"},
           Row{"deletes count what earlier writes put",
               "success { request_put { key: 'x' } } success { request_delete_range { key: '\\0' range_end: '\\0' } }",
               "header { revision: 5 } succeeded: true responses { response_put { header { revision: 5 } } } "
               "responses { response_delete_range { header { revision: 5 } deleted: 4 } }"},
           Row{"...and prev_kv has them",
               "success { request_put { key: 'a' value: 'v' } } success { request_put { key: 'x' value: 'w' } } "
               "success { request_txn { success { request_delete_range { key: 'a' prev_kv: true } } "
               "success { request_delete_range { key: 'x' prev_kv: true } } } }",
               "header { revision: 5 } succeeded: true responses { response_put { header { revision: 5 } } } "
               "responses { response_put { header { revision: 5 } } } responses { response_txn { header { } succeeded: true "
               "responses { response_delete_range { header { revision: 5 } deleted: 1 prev_kvs { key: \"a\" create_revision: 2 "
               "mod_revision: 5 version: 2 value: \"v\" } } } responses { response_delete_range { header { revision: 5 } "
               "deleted: 1 prev_kvs { key: \"x\" create_revision: 5 mod_revision: 5 version: 1 value: \"w\" } } } } }"},
           Row{"a range with a limit says that there is more",
               "success { request_range { key: 'a' range_end: 'z' limit: 2 keys_only: true } }",
               "header { revision: 4 } succeeded: true responses { response_range { header { revision: 4 } kvs { key: \"a\" "
               "create_revision: 2 mod_revision: 2 version: 1 } kvs { key: \"b\" create_revision: 3 mod_revision: 3 version: 1 "
               "} more: true count: 3 } }"},
           Row{"each nested one is decided by its own compares",
               "success { request_txn { compare { key: 'a' version: 9 } failure { request_put { key: 'f1' } } } } "
               "success { request_txn { compare { key: 'a' version: 1 } success { request_put { key: 's2' } } } } "
               "success { request_txn { compare { key: 'a' version: 9 } success { request_put { key: 's3' } } "
               "failure { request_txn { compare { key: 'b' version: 1 } success { request_put { key: 's4' } } } } } } "
               "success { request_range { key: 'd' range_end: 'z' count_only: true } }",
               "header { revision: 5 } succeeded: true responses { response_txn { header { } responses { response_put { header "
               "{ revision: 5 } } } } } responses { response_txn { header { } succeeded: true responses { response_put { "
               "header { revision: 5 } } } } } responses { response_txn { header { } responses { response_txn { header { } "
               "succeeded: true responses { response_put { header { revision: 5 } } } } } } } responses { response_range { "
               "header { revision: 5 } count: 3 } }"},
           Row{"nothing effective, no revision", "success { request_delete_range { key: 'x' } }",
               "header { revision: 4 } succeeded: true responses { response_delete_range { header { revision: 4 } } }"},
           Row{"prev_kv of each operation",
               "success { request_put { key: 'a' value: 'v' prev_kv: true } } "
               "success { request_delete_range { key: 'b' prev_kv: true } }",
               "header { revision: 5 } succeeded: true responses { response_put { header { revision: 5 } prev_kv { key: \"a\" "
               "create_revision: 2 mod_revision: 2 version: 1 value: \"1\" } } } responses { response_delete_range { header { "
               "revision: 5 } deleted: 1 prev_kvs { key: \"b\" create_revision: 3 mod_revision: 3 version: 1 value: \"2\" } } "
               "}"},
           Row{"a future revision fails all",
               "success { request_put { key: 'x' } } success { request_range { key: 'a' revision: 5 } }", kFuture},
           Row{"...also one that the writes would reach",
               "success { request_put { key: 'x' } } success { request_range { key: 'a' revision: 5 } }", kFuture},
           Row{"a compacted revision fails all",
               "success { request_put { key: 'x' } } success { request_range { key: 'a' revision: 2 } }", kCompacted},
           Row{"a negative revision is below the compacted one", "success { request_range { key: 'a' revision: -1 } }",
               kCompacted},
           Row{"not on the other branch", "success { } failure { request_range { key: 'a' revision: 9 } }",
               "header { revision: 4 } succeeded: true responses { }"},
           Row{"an unknown lease fails all",
               "success { request_put { key: 'x' } } success { request_put { key: 'y' lease: 404 } }", kNoLease},
           Row{"nested: a missing key fails all",
               "success { request_put { key: 'x' } } success { request_txn { success { request_put { key: 'y' ignore_value: "
               "true } } } }",
               kKeyNotFound},
           Row{"ignore_value of what the same transaction puts",
               "success { request_put { key: 'x' value: 'v' } } "
               "success { request_txn { success { request_put { key: 'x' ignore_value: true } } } }",
               kKeyNotFound},
           Row{"what kills real etcd fails all",
               "success { request_delete_range { key: '\\0' range_end: '\\0' } } success { request_put { key: 'a' "
               "ignore_value: true } }",
               kKeyNotFound},
           Row{"...nested",
               "success { request_txn { success { request_delete_range { key: 'a' range_end: 'b' } } } } "
               "success { request_put { key: 'a' ignore_lease: true } }",
               kKeyNotFound},
           Row{"...not on the branch not taken",
               "success { request_txn { compare { key: 'a' version: 9 } success { request_delete_range { key: 'a' range_end: "
               "'b' } } } } "
               "success { request_put { key: 'a' ignore_value: true } }",
               "header { revision: 5 } succeeded: true responses { response_txn { header { } } } "
               "responses { response_put { header { revision: 5 } } }"},
           Row{"...not if it is put again in between",
               "success { request_delete_range { key: 'a' } } success { request_put { key: 'a' value: 'v' } } "
               "success { request_put { key: 'a' ignore_value: true prev_kv: true } }",
               "header { revision: 5 } succeeded: true responses { response_delete_range { header { revision: 5 } deleted: 1 } "
               "} "
               "responses { response_put { header { revision: 5 } } } responses { response_put { header { revision: 5 } "
               "prev_kv { "
               "key: \"a\" create_revision: 5 mod_revision: 5 version: 1 value: \"v\" } } }"},
       }) {
    CAPTURE(row.rule);
    Fixture f;
    f.put("a", "1");
    f.put("b", "2");
    f.put("c", "3");
    f.compact(3);
    const size_t rows = f.rows().size();
    CHECK(say_txn(f, row.text) == row.answer);
    if (!row.answer.starts_with("header")) {
      CHECK(f.rows().size() == rows);
      CHECK(f.store->current_revision() == 4);
    }
    // Without an answer the effects are the same.
    Fixture other;
    other.put("a", "1");
    other.put("b", "2");
    other.put("c", "3");
    other.compact(3);
    (void)say<TxnResponse, TxnRequest>(other, Op::kTxn, row.text, mvcc::Answer::kUnread);
    CHECK(other.rows() == f.rows());
    CHECK(other.store->current_revision() == f.store->current_revision());
  }
}

TEST_CASE("request: up to 3.6 a range that stands directly in a transaction does not keep its writes from being done") {
  struct Row {
    const char* text;
    std::string error;  // beside which the writes are done, unless `refused`
    bool refused;
  };
  const std::string put = "success { request_put { key: 'a' value: '9' } } ";
  for (const Row& row :
       {Row{"success { request_range { key: 'a' revision: 99 } }", kFuture, false},
        Row{"success { request_range { key: 'a' revision: 2 } }", kCompacted, false},
        Row{"success { request_range { key: 'a' revision: 2 } } success { request_range { key: 'a' revision: 99 } }",
            kCompacted, false},
        Row{"failure { request_range { key: 'a' revision: 99 } }", "", false},
        Row{"success { request_range { key: 'a' revision: 3 } }", "", false},
        Row{"success { request_txn { success { request_range { key: 'a' revision: 99 } } } }", kFuture, true},
        Row{"success { request_put { key: 'b' lease: 7 } } success { request_range { key: 'a' revision: 99 } }", kNoLease,
            true}}) {
    CAPTURE(row.text);
    for (const mvcc::Answer answer : {mvcc::Answer::kWanted, mvcc::Answer::kUnread}) {
      Fixture f;
      for (const char* value : {"1", "2", "3"}) f.put("a", value);
      f.compact(3);
      const std::string body = read<TxnRequest>(put + row.text).SerializeAsString();
      const Status before = mvcc::check_ranges(*f.store, body);
      CHECK(before.text() == (row.error == kNoLease ? "" : row.error));
      const auto reply = mvcc::execute(*f.store, Op::kTxn, body, answer, mvcc::Rules::kUpTo36);
      CHECK(reply.status().text() == row.error);
      CHECK(f.store->current_revision() == (row.refused ? 4 : 5));
      CHECK(mvcc::execute(*f.store, Op::kTxn, body, answer).status().text() == row.error);
      CHECK(f.store->current_revision() == (row.refused ? 4 : row.error.empty() ? 6 : 5));
    }
  }
}

TEST_CASE("request: ranges") {
  Fixture f;
  f.put("a", "1");  // 2
  f.put("b", "3");  // 3
  f.put("c", "2");  // 4
  f.put("b", "0");  // 5
  struct Row {
    const char* rule;
    std::string text;
    std::string keys;  // or the error
    int64_t count = 3;
    bool more = false;
  };
  const std::string all = "key: '\\0' range_end: '\\0' ";
  for (const Row& row : {
           Row{"all", all, "abc"},
           Row{"one", "key: 'b'", "b", 1},
           Row{"none", "key: 'x'", "", 0},
           Row{"half-open", "key: 'a' range_end: 'c'", "ab", 2},
           Row{"inverted", "key: 'c' range_end: 'a'", "", 0},
           Row{"limit", all + "limit: 2", "ab", 3, true},
           Row{"limit met exactly", all + "limit: 3", "abc"},
           Row{"a negative limit is none", all + "limit: -1", "abc"},
           Row{"the highest limit", all + "limit: 9223372036854775807", "abc"},
           Row{"descending", all + "sort_order: DESCEND", "cba"},
           Row{"descending, cut", all + "sort_order: DESCEND limit: 1", "c", 3, true},
           Row{"by value", all + "sort_order: ASCEND sort_target: VALUE", "bac"},
           Row{"by mod, descending", all + "sort_order: DESCEND sort_target: MOD limit: 2", "bc", 3, true},
           Row{"by version", all + "sort_order: ASCEND sort_target: VERSION", "acb"},
           Row{"by created", all + "sort_order: DESCEND sort_target: CREATE", "cba"},
           Row{"a target without order cuts first", all + "sort_target: VALUE limit: 1", "b", 3, true},
           Row{"filters do not change count", all + "min_mod_revision: 4", "bc"},
           Row{"filters, cut", all + "min_mod_revision: 4 limit: 1", "b", 3, true},
           Row{"filters, met exactly", all + "max_mod_revision: 2 limit: 1", "a"},
           Row{"filters of creation", all + "min_create_revision: 3 max_create_revision: 3", "b"},
           Row{"count only", all + "count_only: true limit: 1", "", 3},
           Row{"an old revision", all + "revision: 3", "ab", 2},
           Row{"an old revision, cut", all + "revision: 3 limit: 1", "a", 2, true},
           Row{"before the first", all + "revision: 1", "", 0},
           Row{"a negative revision is the present", all + "revision: -5", "abc"},
           Row{"the future", all + "revision: 6", kFuture},
       }) {
    CAPTURE(row.rule);
    const auto response = f.range(read<RangeRequest>(row.text));
    if (!response.ok()) {
      CHECK(response.status().text() == row.keys);
      continue;
    }
    std::string keys;
    for (const auto& kv : response->kvs()) keys += kv.key();
    CHECK(keys == row.keys);
    CHECK(response->count() == row.count);
    CHECK(response->more() == row.more);
    CHECK(response->header().revision() == 5);
    // The way the server takes for them says the same.
    const std::string bytes = read<RangeRequest>(row.text).SerializeAsString();
    const auto opened = mvcc::open_range(*f.store, bytes);
    REQUIRE(opened.ok());
    CHECK(opened->reader == nullptr);
    CHECK(parse_reply<RangeResponse>(opened->reply).ShortDebugString() == response->ShortDebugString());
  }
  f.compact(4);
  CHECK(f.range(read<RangeRequest>("key: 'a' revision: 3")).status().text() == kCompacted);
  CHECK(f.range(read<RangeRequest>("key: 'a' revision: 4"))->count() == 1);
  CHECK(mvcc::open_range(*f.store, read<RangeRequest>("key: 'a' revision: 3").SerializeAsString()).status().text() ==
        kCompacted);
}

TEST_CASE("request: keys_only comes from the index, without the lease, unless sorted by value") {
  FakeLeases leases;
  leases.keys[5];
  Fixture f(&leases);
  f.put("a", "1", 5);
  CHECK(f.range(read<RangeRequest>("key: 'a' keys_only: true"))->ShortDebugString() ==
        "header { revision: 2 } kvs { key: \"a\" create_revision: 2 mod_revision: 2 version: 1 } count: 1");
  CHECK(f.range(read<RangeRequest>("key: 'a' keys_only: true sort_target: VALUE"))->ShortDebugString() ==
        "header { revision: 2 } kvs { key: \"a\" create_revision: 2 mod_revision: 2 version: 1 lease: 5 } count: 1");
  CHECK(f.range(read<RangeRequest>("key: 'a' keys_only: true sort_target: MOD sort_order: DESCEND"))->ShortDebugString() ==
        "header { revision: 2 } kvs { key: \"a\" create_revision: 2 mod_revision: 2 version: 1 } count: 1");
}

TEST_CASE("request: a negative revision inside a transaction passes until the first compaction") {
  Fixture f;
  f.put("a", "1");
  const std::string at_minus_1 = "success { request_range { key: 'a' revision: -1 count_only: true } }";
  CHECK(say_txn(f, at_minus_1) ==
        "header { revision: 2 } succeeded: true responses { response_range { header { revision: 2 } count: 1 } }");
  CHECK(say_txn(f, "success { request_range { key: 'a' revision: -2 } }") == kCompacted);
  REQUIRE(f.store->compact(0).ok());
  CHECK(say_txn(f, at_minus_1) == kCompacted);
}

TEST_CASE("request: a read-only transaction runs on a store that cannot be changed") {
  Fixture f;
  f.put("a", "1");
  const std::string request =
      read<TxnRequest>("compare { key: 'a' version: 2 } failure { request_range { key: 'a' } }").SerializeAsString();
  const auto reply = mvcc::execute_read(*f.store, Op::kTxn, request);
  REQUIRE(reply.ok());
  CHECK(parse_reply<TxnResponse>(*reply).ShortDebugString() ==
        "header { revision: 2 } responses { response_range { header { revision: 2 } kvs { key: \"a\" create_revision: 2 "
        "mod_revision: 2 version: 1 value: \"1\" } count: 1 } }");
}

TEST_CASE("request: what requests cost the quota") {
  const auto cost = [](Op op, const auto& message) { return mvcc::request_cost(op, message.SerializeAsString()); };
  CHECK(cost(Op::kPut, read<PutRequest>("key: 'abc' value: '12345'")) == 256 + 8);
  CHECK(cost(Op::kDeleteRange, read<DeleteRangeRequest>("key: 'abc'")) == 0);
  CHECK(mvcc::request_cost(Op::kLeaseGrant, "") == 64);
  const std::string two = "success { request_put { key: 'a' } } success { request_put { key: 'b' } }";
  CHECK(cost(Op::kTxn, read<TxnRequest>(two)) == 514);
  CHECK(cost(Op::kTxn, read<TxnRequest>(two + " failure { request_put { key: 'abc' } }")) == 514);
  CHECK(cost(Op::kTxn, read<TxnRequest>("failure { request_txn { " + two + " } }")) == 514);
  CHECK(cost(Op::kTxn, read<TxnRequest>("success { request_delete_range { key: 'a' } }")) == 0);
  CHECK(mvcc::request_cost(Op::kTxn, "\xff") == 0);
}
