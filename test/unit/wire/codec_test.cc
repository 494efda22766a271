#include "wire/codec.h"

#include <doctest/doctest.h>

#include "raft_internal.pb.h"
#include "rpc.pb.h"
#include "wire/utf8.h"

namespace wire {
namespace {

etcdserverpb::TxnRequest sample_txn() {
  etcdserverpb::TxnRequest txn;
  auto* compare = txn.add_compare();
  compare->set_result(etcdserverpb::Compare::NOT_EQUAL);
  compare->set_target(etcdserverpb::Compare::VALUE);
  compare->set_key("k");
  compare->set_value("");  // A member of a oneof counts though it is empty.
  compare->set_range_end("z");
  txn.add_compare()->set_lease(0);
  txn.add_success()->mutable_request_put()->set_key("a");
  txn.add_success()->mutable_request_range()->set_limit(-1);
  txn.add_success();
  txn.add_failure()->mutable_request_delete_range()->set_prev_kv(true);
  auto* inner = txn.add_failure()->mutable_request_txn();
  inner->add_success()->mutable_request_put()->set_value(std::string(300, 'v'));
  return txn;
}

TEST_CASE("codec: a transaction of every shape is read and written as protobuf does") {
  const std::string bytes = sample_txn().SerializeAsString();
  TxnRequest txn;
  REQUIRE(parse(bytes, txn));
  REQUIRE(txn.compare.size() == 2);
  CHECK(txn.compare[0].given == Compare::Given::kValue);
  CHECK(txn.compare[0].range_end == "z");
  CHECK(txn.compare[1].given == Compare::Given::kLease);
  REQUIRE(txn.success.size() == 3);
  CHECK(std::get<PutRequest>(txn.success[0]).key == "a");
  CHECK(std::get<RangeRequest>(txn.success[1]).limit == -1);
  CHECK(std::holds_alternative<std::monostate>(txn.success[2]));
  CHECK(std::get<DeleteRangeRequest>(txn.failure[0]).prev_kv);
  CHECK(std::get<std::unique_ptr<TxnRequest>>(txn.failure[1])->success.size() == 1);
  CHECK(encode(txn) == bytes);
  CHECK(encoded_size(txn) == bytes.size());
}

TEST_CASE("codec: what is taken and what is refused") {
  struct Row {
    const char* rule;
    std::string bytes;
    bool taken;
  };
  const Row rows[] = {
      {"empty", "", true},
      {"unknown varint field", "\x78\x01", true},
      {"unknown field of 4 bytes", "\x7d\x01\x02\x03\x04", true},
      {"unknown field of 4 bytes, cut", "\x7d\x01\x02\x03", false},
      {"unknown field of 8 bytes, cut", "\x79\x01\x02\x03\x04", false},
      {"unknown group", "\x7b\x08\x01\x7c", true},
      {"group without end", "\x7b\x08\x01", false},
      {"group end of another field", "\x7b\x08\x01\x74", false},
      {"group end alone", "\x7c", false},
      {"known field, other wire type", std::string("\x08\x01", 2), true},
      {"wire type 6", "\x7e", false},
      {"field number 0", std::string("\x02\x00", 2), false},
      {"tag 0", std::string("\x00", 1), false},
      {"bytes longer than the message",
       "\x0a\x05"
       "ab",
       false},
      {"varint without end", "\x18\xff", false},
      {"varint of eleven bytes", "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", false},
      {"varint of ten bytes", "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", true},
      {"tag in six bytes", std::string("\x98\x80\x80\x80\x80\x00\x01", 7), false},
      {"size in six bytes", std::string("\x0a\x80\x80\x80\x80\x80\x00", 7), false},
      {"size in five bytes", std::string("\x0a\x80\x80\x80\x80\x00", 6), true},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    PutRequest put;
    CHECK(parse(row.bytes, put) == row.taken);
    CHECK(etcdserverpb::PutRequest().ParseFromString(row.bytes) == row.taken);
  }
}

std::string framed(char tag, const std::string& message) {
  std::string bytes(1, tag);
  size_t size = message.size();
  for (; size >= 0x80; size >>= 7) bytes.push_back(static_cast<char>(size | 0x80));
  bytes.push_back(static_cast<char>(size));
  return bytes + message;
}

// A transaction `levels` deep: success { request_txn { success ... } }.
std::string nested_txn(int levels) {
  std::string bytes;
  for (int i = 0; i < levels; ++i) bytes = framed('\x12', framed('\x22', bytes));
  return bytes;
}

TEST_CASE("codec: nesting is bounded, and deep enough for what etcd lets through") {
  TxnRequest txn;
  CHECK(parse(nested_txn(128), txn));
  CHECK(encode(txn) == nested_txn(128));
  CHECK(parse(nested_txn(kDepthMax / 2), txn));
  CHECK_FALSE(parse(nested_txn(kDepthMax / 2 + 1), txn));
  CHECK_FALSE(parse(nested_txn(20000), txn));
  CHECK_FALSE(parse(std::string(100000, '\x7b'), txn));  // groups
}

TEST_CASE("codec: repeated singular messages are merged, oneof members replaced") {
  etcdserverpb::RequestOp first;
  first.mutable_request_put()->set_key("k");
  etcdserverpb::RequestOp second;
  second.mutable_request_put()->set_value("v");
  etcdserverpb::RequestOp other;
  other.mutable_request_range()->set_key("r");
  const auto txn_of = [](const std::string& op) { return framed('\x12', op); };
  TxnRequest txn;
  const std::string merged = txn_of(first.SerializeAsString() + second.SerializeAsString());
  REQUIRE(parse(merged, txn));
  CHECK(std::get<PutRequest>(txn.success.at(0)).key == "k");
  CHECK(std::get<PutRequest>(txn.success.at(0)).value == "v");
  const std::string replaced = txn_of(first.SerializeAsString() + other.SerializeAsString() + second.SerializeAsString());
  REQUIRE(parse(replaced, txn));
  CHECK(std::get<PutRequest>(txn.success.at(0)).key.empty());
  CHECK(std::get<PutRequest>(txn.success.at(0)).value == "v");
}

TEST_CASE("codec: a log entry is the client's bytes in a frame, as protobuf would write it") {
  etcdserverpb::PutRequest put;
  put.set_key("k");
  put.set_value(std::string(1000, 'v'));
  const std::string body = put.SerializeAsString();
  const RequestHeader header{0x1234567890abcdef, "root", 7};

  etcdserverpb::InternalRaftRequest reference;
  reference.mutable_header()->set_id(header.id);
  reference.mutable_header()->set_username("root");
  reference.mutable_header()->set_auth_revision(7);
  *reference.mutable_put() = put;
  const std::string entry = encode_internal_request(header, Op::kPut, body);
  CHECK(entry == reference.SerializeAsString());
  CHECK(internal_request_size(header, Op::kPut, body.size()) == entry.size());

  InternalRequest read;
  REQUIRE(parse(entry, read));
  CHECK(read.id() == header.id);
  CHECK(read.header.username == "root");
  CHECK(read.op == Op::kPut);
  CHECK(read.body == body);
  CHECK(read.body.data() >= entry.data());  // a view, not a copy
  CHECK(read.merged == nullptr);

  reference.clear_put();
  reference.mutable_auth_enable();
  CHECK(encode_internal_request(header, Op::kAuthEnable, "") == reference.SerializeAsString());
}

TEST_CASE("codec: entries that no member writes") {
  etcdserverpb::InternalRaftRequest request;
  request.set_id(5);
  InternalRequest read;
  REQUIRE(parse(request.SerializeAsString(), read));
  CHECK(read.op == Op::kNone);
  CHECK(read.id() == 5);
  CHECK_FALSE(read.has_header);

  // Two requests: etcd's applier would take the first in its own order.
  request.mutable_txn();
  request.mutable_put()->set_key("k");
  request.mutable_alarm();
  REQUIRE(parse(request.SerializeAsString(), read));
  CHECK(read.op == Op::kPut);

  // The same one twice: both pieces.
  etcdserverpb::InternalRaftRequest more;
  more.mutable_put()->set_value("v");
  const std::string twice = request.SerializeAsString() + more.SerializeAsString();
  REQUIRE(parse(twice, read));
  InternalRequest moved = std::move(read);
  PutRequest put;
  REQUIRE(parse(moved.body, put));
  CHECK(put.key == "k");
  CHECK(put.value == "v");

  CHECK_FALSE(parse("\xa2\x06\x03\x12\x01\xff", read));  // a user name that is not UTF-8
}

std::string kv_bytes(int i) {
  mvccpb::KeyValue kv;
  kv.set_key("key" + std::to_string(i));
  kv.set_value(std::string(static_cast<size_t>(i) * 37, 'x'));
  kv.set_mod_revision(i);
  return kv.SerializeAsString();
}

TEST_CASE("codec: answers are what protobuf writes, in one piece and in parts") {
  const ResponseHeader header{14841639068965178418u, 10276657743932975437u, 123456, 7};
  etcdserverpb::ResponseHeader reference_header;
  reference_header.set_cluster_id(header.cluster_id);
  reference_header.set_member_id(header.member_id);
  reference_header.set_revision(header.revision);
  reference_header.set_raft_term(header.raft_term);

  std::vector<std::string> stored;
  for (int i = 0; i < 20; ++i) stored.push_back(kv_bytes(i));
  RangeResponse range;
  range.header = header;
  range.more = true;
  range.count = 1000;
  etcdserverpb::RangeResponse reference;
  *reference.mutable_header() = reference_header;
  reference.set_more(true);
  reference.set_count(1000);
  size_t fields_bytes = 0;
  for (const std::string& kv : stored) {
    range.kvs.push_back(kv);
    REQUIRE(reference.add_kvs()->ParseFromString(kv));
    fields_bytes += kv_field_size(kv.size());
  }
  const std::string whole = encode(range);
  CHECK(whole == reference.SerializeAsString());
  CHECK(encoded_size(range) == whole.size());
  CHECK(range_response_size(header, fields_bytes, true, 1000) == whole.size());
  std::string parts;
  append_range_head(header, parts);
  for (const std::string& kv : stored) {
    append_kv_prefix(kv.size(), parts);
    parts += kv;
  }
  append_range_tail(true, 1000, parts);
  CHECK(parts == whole);

  etcdserverpb::RangeStreamResponse piece;
  *piece.mutable_range_response() = reference;
  std::string streamed;
  append_range_stream(range, streamed);
  CHECK(streamed == piece.SerializeAsString());
}

TEST_CASE("codec: the answer of a nested transaction") {
  const std::string kv = kv_bytes(3);
  TxnResponse txn;
  txn.header.revision = 9;
  txn.succeeded = true;
  RangeResponse range;
  range.kvs = {kv, ""};
  PutResponse put;
  put.header.revision = 9;
  put.has_prev_kv = true;
  put.prev_kv = kv;
  DeleteRangeResponse erase;
  erase.deleted = 2;
  erase.prev_kvs = {kv, kv};
  auto inner = std::make_unique<TxnResponse>();
  inner->responses.emplace_back(std::move(erase));
  inner->responses.emplace_back();
  txn.responses.emplace_back(std::move(range));
  txn.responses.emplace_back(std::move(put));
  txn.responses.emplace_back(std::move(inner));

  etcdserverpb::TxnResponse reference;
  reference.mutable_header()->set_revision(9);
  reference.set_succeeded(true);
  auto* reference_range = reference.add_responses()->mutable_response_range();
  reference_range->mutable_header();  // empty, but there
  REQUIRE(reference_range->add_kvs()->ParseFromString(kv));
  reference_range->add_kvs();
  auto* reference_put = reference.add_responses()->mutable_response_put();
  reference_put->mutable_header()->set_revision(9);
  REQUIRE(reference_put->mutable_prev_kv()->ParseFromString(kv));
  auto* reference_inner = reference.add_responses()->mutable_response_txn();
  reference_inner->mutable_header();
  auto* reference_erase = reference_inner->add_responses()->mutable_response_delete_range();
  reference_erase->mutable_header();
  reference_erase->set_deleted(2);
  REQUIRE(reference_erase->add_prev_kvs()->ParseFromString(kv));
  REQUIRE(reference_erase->add_prev_kvs()->ParseFromString(kv));
  reference_inner->add_responses();

  CHECK(encode(txn) == reference.SerializeAsString());
  CHECK(encoded_size(txn) == reference.ByteSizeLong());
}

TEST_CASE("utf8: what protobuf takes") {
  struct Row {
    std::string text;
    bool valid;
  };
  const Row rows[] = {{"", true},
                      {"a\x7f", true},
                      {"\xc2\x80\xdf\xbf", true},
                      {"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80", true},
                      {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", true},
                      {"\x80", false},
                      {"\xc1\xbf", false},
                      {"\xc2", false},
                      {"\xe0\x9f\xbf", false},
                      {"\xed\xa0\x80", false},
                      {"\xe1\x80", false},
                      {"\xf0\x8f\xbf\xbf", false},
                      {"\xf4\x90\x80\x80", false},
                      {"\xf5\x80\x80\x80", false},
                      {"\xff", false}};
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(valid_utf8(row.text) == row.valid);
  }
}

}  // namespace
}  // namespace wire
