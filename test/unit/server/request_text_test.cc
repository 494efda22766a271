#include "server/request_text.h"

#include <doctest/doctest.h>

#include "raft_internal.pb.h"
#include "rpc.pb.h"

namespace {

using base::Code;
using base::Status;
using etcdserverpb::Compare;
using etcdserverpb::InternalRaftRequest;
using etcdserverpb::PutRequest;
using etcdserverpb::RangeRequest;
using etcdserverpb::TxnRequest;

PutRequest put_of(const std::string& key, const std::string& value) {
  PutRequest put;
  put.set_key(key);
  put.set_value(value);
  return put;
}

InternalRaftRequest entry_of(uint64_t id) {
  InternalRaftRequest entry;
  entry.mutable_header()->set_id(id);
  return entry;
}

}  // namespace

TEST_CASE("request text: a message is one line of protobuf's text form") {
  RangeRequest range;
  CHECK(server::message_text(range) == "");
  range.set_key("a");
  range.set_range_end(std::string(1, '\0'));
  range.set_limit(-5);
  range.set_sort_order(RangeRequest::DESCEND);
  range.set_keys_only(true);
  CHECK(server::message_text(range) == "key:\"a\" range_end:\"\\x00\" limit:-5 sort_order:DESCEND keys_only:true");
  RangeRequest open;
  REQUIRE(open.ParseFromString("\x28\x09"));
  CHECK(server::message_text(open) == "sort_order:9");
  RangeRequest unknown;
  const std::string fields("\x98\x06\x05\xa2\x06\x02hi\xad\x06\x10\x00\x00\x00\xb3\x06\x08\x01\xb4\x06", 20);
  REQUIRE(unknown.ParseFromString(fields));
  CHECK(server::message_text(unknown) == "99:5 100:\"hi\" 101:0x10 102:{1:1}");
}

TEST_CASE("request text: what cannot be seen is escaped, in the way of either form") {
  struct Row {
    const char* rule;
    std::string key;
    const char* text;
    const char* old_text;
  };
  for (const Row& row : {
           Row{"plain", "a b~", "a b~", "a b~"},
           Row{"quotes", "\"\\'", "\\\"\\\\'", "\\\"\\\\'"},
           Row{"known ones", "\n\r\t", "\\n\\r\\t", "\\n\\r\\t"},
           Row{"control", std::string("\0\x1f\x7f", 3), "\\x00\\x1f\\x7f", "\\000\\037\\177"},
           Row{"no UTF-8", "\x80\xff\xe2\x82", "\\x80\\xff\\xe2\\x82", "\\200\\377\\342\\202"},
           Row{"UTF-8", "ü€", "ü€", "\\303\\274\\342\\202\\254"},
           Row{"control beyond ASCII", "\xc2\x85\xc2\xa0", "\\u0085\xc2\xa0", "\\302\\205\\302\\240"},
           Row{"the replacement itself", "\xef\xbf\xbd", "\xef\xbf\xbd", "\\357\\277\\275"},
       }) {
    CAPTURE(row.rule);
    RangeRequest range;
    range.set_key(row.key);
    CHECK(server::message_text(range) == "key:\"" + std::string(row.text) + "\"");
    CHECK(server::put_text(put_of(row.key, "").SerializeAsString()) == "key:\"" + std::string(row.old_text) + "\" ");
  }
}

TEST_CASE("request text: a put shows the size of its value") {
  PutRequest put = put_of("a", "hello");
  CHECK(server::put_text(put.SerializeAsString()) == "key:\"a\" value_size:5 ");
  put.set_lease(-5);
  put.set_prev_kv(true);
  put.set_ignore_value(true);
  put.set_ignore_lease(true);
  CHECK(server::put_text(put.SerializeAsString()) ==
        "key:\"a\" value_size:5 lease:-5 prev_kv:true ignore_value:true ignore_lease:true ");
  CHECK(server::put_text("\xff") == "");
}

TEST_CASE("request text: a transaction shows no value, however deep") {
  TxnRequest txn;
  CHECK(server::txn_text(txn.SerializeAsString()) == "compare:<> success:<> failure:<>");
  Compare* by_value = txn.add_compare();
  by_value->set_result(Compare::LESS);
  by_value->set_target(Compare::VALUE);
  by_value->set_key("k");
  by_value->set_value("secret");
  by_value->set_range_end(std::string("k\0", 2));
  Compare* by_version = txn.add_compare();
  by_version->set_key("k");
  by_version->set_version(0);
  txn.add_success()->mutable_request_range()->set_key("r");
  *txn.add_success()->mutable_request_put() = put_of("p", "secret");
  TxnRequest* inner = txn.add_failure()->mutable_request_txn();
  *inner->add_success()->mutable_request_put() = put_of("q", "secret");
  txn.add_failure()->mutable_request_delete_range()->set_key("d");
  CHECK(server::txn_text(txn.SerializeAsString()) ==
        "compare:<result:LESS target:VALUE key:\"k\" value_size:6 range_end:\"k\\000\"  key:\"k\" version:0> "
        "success:<request_range:{key:\"r\"} request_put:<key:\"p\" value_size:6 >> "
        "failure:<request_txn:<compare:<> success:<request_put:<key:\"q\" value_size:6 >> failure:<>> "
        "request_delete_range:{key:\"d\"}>");
}

TEST_CASE("request text: nesting as deep as etcd lets through is shown") {
  TxnRequest txn;
  TxnRequest* at = &txn;
  for (int i = 0; i < 128; ++i) at = at->add_success()->mutable_request_txn();
  *at->add_success()->mutable_request_put() = put_of("deep", "1");
  CHECK(server::txn_text(txn.SerializeAsString()).find("key:\"deep\" value_size:1") != std::string::npos);
}

TEST_CASE("request text: entries, and never a password") {
  InternalRaftRequest entry = entry_of(7);
  *entry.mutable_put() = put_of("a", "12345");
  CHECK(server::entry_text(entry.SerializeAsString()) == "header:<ID:7> put:<key:\"a\" value_size:5 >");
  entry = entry_of(7);
  entry.mutable_header()->set_username("root");
  entry.mutable_header()->set_auth_revision(3);
  entry.mutable_txn();
  CHECK(server::entry_text(entry.SerializeAsString()) ==
        "header:<ID:7 username:\"root\" auth_revision:3> txn:<compare:<> success:<> failure:<>>");
  entry = entry_of(7);
  entry.mutable_lease_grant()->set_ttl(60);
  entry.mutable_lease_grant()->set_id(-3);
  CHECK(server::entry_text(entry.SerializeAsString()) == "header:<ID:7> lease_grant:<ttl:60-second id:-000000000000003>");
  entry = entry_of(7);
  entry.mutable_lease_revoke()->set_id(0x123);
  CHECK(server::entry_text(entry.SerializeAsString()) == "header:<ID:7> lease_revoke:<id:0000000000000123>");
  entry = entry_of(7);
  entry.mutable_delete_range()->set_key("a");
  entry.mutable_delete_range()->set_prev_kv(true);
  CHECK(server::entry_text(entry.SerializeAsString()) == "header:{ID:7} delete_range:{key:\"a\" prev_kv:true}");
  entry = entry_of(7);
  entry.mutable_alarm();
  CHECK(server::entry_text(entry.SerializeAsString()) == "header:{ID:7} alarm:{}");
  entry = entry_of(7);
  entry.mutable_auth_user_add()->set_name("u");
  entry.mutable_auth_user_add()->set_password("secret");
  CHECK(server::entry_text(entry.SerializeAsString()) == "header:<ID:7> auth_user_add:<name:u>");
  entry = entry_of(7);
  entry.mutable_auth_user_change_password()->set_name("u");
  entry.mutable_auth_user_change_password()->set_password("secret");
  CHECK(server::entry_text(entry.SerializeAsString()) == "header:<ID:7> auth_user_change_password:<name:u>");
  entry = entry_of(7);
  entry.mutable_authenticate()->set_name("u");
  entry.mutable_authenticate()->set_password("secret");
  entry.mutable_authenticate()->set_simple_token("t");
  CHECK(server::entry_text(entry.SerializeAsString()) == "header:<ID:7> authenticate:<name:u simple_token:t>");
  CHECK(server::entry_text("\x07") == "");
}

TEST_CASE("request text: errors by their name inside") {
  const auto inside = [](const char* text) { return std::string(server::internal_error_text(Status(Code::kUnknown, text))); };
  CHECK(inside("etcdserver: requested lease not found") == "lease not found");
  CHECK(inside("etcdserver: mvcc: required revision has been compacted") == "mvcc: required revision has been compacted");
  CHECK(inside("etcdserver: mvcc: database space exceeded") == "etcdserver: no space");
  CHECK(inside("etcdserver: key not found") == "etcdserver: key not found");
}
