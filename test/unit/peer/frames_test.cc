#include "peer/frames.h"

#include <doctest/doctest.h>

#include "base/bytes.h"

namespace peer {
namespace {

using base::Index;
using base::NodeId;
using base::Term;
using wire::RaftEntry;
using wire::RaftMessage;
using wire::RaftMessageType;

const NodeId kLocal{0x1}, kRemote{0x2};

RaftMessage append(uint64_t term, uint64_t log_term, uint64_t index, std::vector<std::string> payloads, uint64_t commit) {
  RaftMessage m;
  m.type = RaftMessageType::kApp;
  m.from = kRemote;
  m.to = kLocal;
  m.term = Term(term);
  m.log_term = Term(log_term);
  m.index = Index(index);
  m.commit = Index(commit);
  for (std::string& payload : payloads) {
    m.entries.push_back({0, Term(term), Index(++index), std::make_shared<const std::string>(std::move(payload))});
  }
  return m;
}

std::string bytes_of(const RaftMessage& m) {
  std::string out;
  wire::append_message(m, out);
  return out;
}

}  // namespace

TEST_CASE("frames: a link heartbeat of each stream, as etcd 3.7 and 3.6 write it") {
  std::string beat;
  FrameWriter(Channel::kMessage).append_heartbeat(beat);
  CHECK(beat == std::string("\0\0\0\0\0\0\0\2\x08\x08", 10));
  beat.clear();
  FrameWriter(Channel::kAppend).append_heartbeat(beat);
  CHECK(beat == std::string(1, '\0'));

  // Recorded from a 3.5 member: every scalar, and an empty snapshot.
  const char old[] =
      "\x08\x08\x10\x00\x18\x00\x20\x00\x28\x00\x30\x00\x40\x00\x4a\x0a\x12\x08\x0a\x02\x28\x00\x10\x00\x18\x00\x50\x00\x58"
      "\x00";
  std::string frame;
  base::append_be64(frame, sizeof(old) - 1);
  frame.append(old, sizeof(old) - 1);
  FrameReader reader(Channel::kMessage, kLocal, kRemote);
  std::vector<RaftMessage> out;
  REQUIRE(reader.feed(frame, out).ok());
  CHECK(out.empty());
}

TEST_CASE("frames: an append that continues the one before leaves out what is known") {
  FrameWriter writer(Channel::kAppend);
  std::string first, second, third, fourth;
  writer.append(append(2, 1, 6, {"a"}, 6), first);  // another term before it: whole
  writer.append(append(2, 2, 7, {"abc", "abcd"}, 8), second);
  writer.append(append(2, 2, 9, {}, 9), third);      // only the commit index
  writer.append(append(3, 2, 9, {"x"}, 9), fourth);  // a new term: whole again
  CHECK(first[0] == 2);
  CHECK(second[0] == 1);
  CHECK(base::load_be64(second.data() + 1) == 2);
  CHECK(base::load_be64(second.data() + second.size() - 8) == 8);
  CHECK(third == std::string("\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09", 17));
  CHECK(fourth[0] == 2);

  const std::string all = first + second + third + fourth;
  for (const size_t step : {size_t{1}, size_t{7}, all.size()}) {  // However the bytes are cut.
    CAPTURE(step);
    FrameReader reader(Channel::kAppend, kLocal, kRemote);
    std::vector<RaftMessage> out;
    for (size_t at = 0; at < all.size(); at += step) REQUIRE(reader.feed(std::string_view(all).substr(at, step), out).ok());
    REQUIRE(out.size() == 4);
    CHECK(reader.held_bytes() == 0);
    CHECK(bytes_of(out[0]) == bytes_of(append(2, 1, 6, {"a"}, 6)));
    CHECK(bytes_of(out[1]) == bytes_of(append(2, 2, 7, {"abc", "abcd"}, 8)));
    CHECK(bytes_of(out[2]) == bytes_of(append(2, 2, 9, {}, 9)));
    CHECK(bytes_of(out[3]) == bytes_of(append(3, 2, 9, {"x"}, 9)));
  }
}

TEST_CASE("frames: bytes that are none end the stream") {
  struct Row {
    const char* rule;
    Channel channel;
    std::string bytes;
  };
  std::string huge, many, bad_message, bad_entry;
  base::append_be64(huge, kFrameBytesMax + 1);
  many = "\1";
  base::append_be64(many, kEntriesMax + 1);
  base::append_be64(bad_message, 1);
  bad_message += '\x08';
  bad_entry = "\1";
  base::append_be64(bad_entry, 1);
  base::append_be64(bad_entry, 1);
  bad_entry += '\x22';
  base::append_be64(bad_entry, 0);
  for (const Row& row :
       {Row{"a message over the limit", Channel::kMessage, huge}, Row{"more entries than there can be", Channel::kAppend, many},
        Row{"an entry over the limit", Channel::kAppend, std::string("\1\0\0\0\0\0\0\0\1", 9) + huge},
        Row{"a type that there is not", Channel::kAppend, "\3"}, Row{"no message", Channel::kMessage, bad_message},
        Row{"no entry", Channel::kAppend, bad_entry}}) {
    CAPTURE(row.rule);
    FrameReader reader(row.channel, kLocal, kRemote);
    std::vector<RaftMessage> out;
    CHECK_FALSE(reader.feed(row.bytes, out).ok());
    CHECK(out.empty());
  }
}

TEST_CASE("frames: an unfinished frame holds only what has arrived") {
  std::string claim;
  base::append_be64(claim, kFrameBytesMax);
  FrameReader reader(Channel::kMessage, kLocal, kRemote);
  std::vector<RaftMessage> out;
  REQUIRE(reader.feed(claim + "abc", out).ok());
  CHECK(reader.held_bytes() == 11);
}

}  // namespace peer
