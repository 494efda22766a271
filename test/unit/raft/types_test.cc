#include "raft/types.h"

#include <doctest/doctest.h>

#include "base/bytes.h"
#include "raft/describe.h"

using namespace raft;

TEST_CASE("types: encoded size of an entry is that of its protobuf form") {
  struct Row {
    const char* rule;
    Entry entry;
    size_t size;
  };
  const auto data = [](size_t size) { return std::make_shared<const std::string>(size, 'x'); };
  for (const Row& row :
       {Row{"a new leader's", {EntryType::kNormal, Term(1), Index(1), nullptr}, 4},
        Row{"data present but empty", {EntryType::kNormal, Term(1), Index(1), data(0)}, 6},
        Row{"one byte", {EntryType::kNormal, Term(1), Index(1), data(1)}, 7},
        Row{"type set", {EntryType::kConfChange, Term(1), Index(1), data(1)}, 9},
        Row{"two-byte numbers", {EntryType::kNormal, Term(128), Index(16383), data(127)}, 135},
        Row{"two-byte length", {EntryType::kNormal, Term(127), Index(16384), data(128)}, 2 + 1 + 3 + 1 + 2 + 128},
        Row{"largest numbers", {EntryType::kNormal, Term(UINT64_MAX), Index(UINT64_MAX), nullptr}, 22}}) {
    CAPTURE(row.rule);
    CHECK(encoded_size(row.entry) == row.size);
  }
}

TEST_CASE("types: limits always let one entry pass") {
  std::vector<Entry> entries;
  for (uint64_t i = 1; i <= 3; ++i) {
    entries.push_back(make_entry("12345"));
    entries.back().term = Term(1);
    entries.back().index = Index(i);
  }
  const uint64_t one = encoded_size(entries.front());
  CHECK(one == 11);
  CHECK(encoded_size(std::span<const Entry>(entries)) == 3 * one);
  CHECK(payload_size(entries) == 15);
  CHECK(count_within(entries, 0) == 1);
  CHECK(count_within(entries, one) == 1);
  CHECK(count_within(entries, 2 * one - 1) == 1);
  CHECK(count_within(entries, 2 * one) == 2);
  CHECK(count_within(entries, kNoLimit) == 3);
  CHECK(count_within({}, 5) == 0);
}

TEST_CASE("types: conf changes as protobuf") {
  const ConfChange change{300, ConfChangeType::kAddLearnerNode, NodeId(0x8e9e05c52164694d), "ctx"};
  CHECK(base::hex_bytes(encode(change)) == "08ac02100318cdd2918bd2b881cf8e012203637478");
  CHECK(*decode_conf_change(encode(change)) == change);
  CHECK(*decode_conf_change(encode(ConfChange{})) == ConfChange{});
  CHECK(*decode_conf_change(std::string_view{}) == ConfChange{});

  const ConfChangeV2 v2{ConfChangeTransition::kJointExplicit,
                        {{ConfChangeType::kAddNode, NodeId(4)}, {ConfChangeType::kRemoveNode, NodeId(1)}},
                        "c"};
  CHECK(base::hex_bytes(encode(v2)) ==
        "0802"
        "120408001004"
        "120408011001"
        "1a0163");
  CHECK(*decode_conf_change_v2(encode(v2)) == v2);
  CHECK(decode_conf_change_v2(std::string_view{})->leaves_joint());

  Entry entry{EntryType::kConfChange, Term(1), Index(1), std::make_shared<const std::string>(encode(change))};
  CHECK(*decode_conf_change(entry) == as_v2(change));
  entry.type = EntryType::kNormal;
  CHECK_FALSE(decode_conf_change(entry).ok());
}

TEST_CASE("types: bytes that are no conf change") {
  using namespace std::string_literals;
  // Unknown fields of every kind are skipped: 9 = varint, 10 = fixed64, 11 = bytes, 12 = fixed32.
  CHECK(decode_conf_change("\x48\x05\x51"
                           "12345678"
                           "\x5a\x01x\x65"
                           "1234"
                           "\x18\x07"s)
            ->node_id == NodeId(7));
  for (const std::string& bytes : {"\x08"s, "\x08\x80"s,
                                   "\x22\x05"
                                   "abc"s,
                                   "\x07"s, "\x00\x01"s,
                                   "\x51"
                                   "1234567"s,
                                   "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"s}) {
    CAPTURE(base::hex_bytes(bytes));
    CHECK_FALSE(decode_conf_change(bytes).ok());
    CHECK_FALSE(decode_conf_change_v2(bytes).ok());
  }
  CHECK_FALSE(decode_conf_change_v2("\x12\x01\x08"s).ok());
}

TEST_CASE("types: which messages never cross a network, and which are answers") {
  std::string local, response;
  for (int i = 0; i < kMessageTypes; ++i) {
    if (is_local(static_cast<MessageType>(i))) local += std::to_string(i) + " ";
    if (is_response(static_cast<MessageType>(i))) response += std::to_string(i) + " ";
  }
  CHECK(local == "0 1 10 11 12 19 20 21 22 ");
  CHECK(response == "4 6 9 10 16 18 20 22 ");
}

TEST_CASE("types: names and quotes") {
  CHECK(name_of(MessageType::kHup) == "MsgHup");
  CHECK(name_of(MessageType::kReadIndexResp) == "MsgReadIndexResp");
  CHECK(name_of(MessageType::kForgetLeader) == "MsgForgetLeader");
  CHECK(name_of(Role::kPreCandidate) == "StatePreCandidate");
  CHECK(name_of(EntryType::kConfChangeV2) == "EntryConfChangeV2");
  CHECK(name_of(static_cast<MessageType>(99)) == "unknown");
  using namespace std::string_literals;
  CHECK(quote("a\"b\\c\n\t\x01\x7f"s) == R"("a\"b\\c\n\t\x01\x7f")");
  CHECK(quote("\xff\xc3\xa9\xc2\x85"s) == "\"\\xff\xc3\xa9\\u0085\"");
}
