#include "wire/raft_message.h"

#include <doctest/doctest.h>

#include "base/rng.h"
#include "raft.pb.h"

namespace wire {
namespace {

using base::Index;
using base::NodeId;
using base::Term;

RaftMessage random_message(base::Rng& rng) {
  const auto number = [&] { return rng.below(4) == 0 ? 0 : rng.next() >> rng.below(64); };
  const auto text = [&] { return std::string(rng.below(40), static_cast<char>(rng.below(256))); };
  RaftMessage m;
  m.type = static_cast<RaftMessageType>(rng.below(24));
  m.reject = rng.below(2) == 0;
  m.to = NodeId(number());
  m.from = NodeId(number());
  m.term = Term(number());
  m.log_term = Term(number());
  m.index = Index(number());
  m.commit = Index(number());
  m.reject_hint = Index(number());
  m.vote = NodeId(number());
  m.context = text();
  for (uint64_t i = rng.below(4); i > 0; --i) {
    m.entries.push_back({static_cast<uint32_t>(rng.below(3)), Term(number()), Index(number()), nullptr});
    if (rng.below(3) > 0) m.entries.back().data = std::make_shared<const std::string>("x" + text());
  }
  if (rng.below(3) == 0) {
    RaftSnapshot snapshot;
    snapshot.data = text();
    snapshot.index = Index(1 + rng.below(1000));
    snapshot.term = Term(number());
    for (uint64_t i = rng.below(3); i > 0; --i) snapshot.conf_state.voters.push_back(NodeId(number()));
    for (uint64_t i = rng.below(3); i > 0; --i) snapshot.conf_state.learners.push_back(NodeId(number()));
    snapshot.conf_state.auto_leave = rng.below(2) == 0;
    m.snapshot = std::make_shared<const RaftSnapshot>(std::move(snapshot));
  }
  return m;
}

}  // namespace

TEST_CASE("raft message: protobuf reads what we write, and we what protobuf writes") {
  base::Rng rng(7);
  for (int i = 0; i < 2000; ++i) {
    const RaftMessage m = random_message(rng);
    std::string bytes;
    append_message(m, bytes);
    CHECK(bytes.size() == encoded_size(m));
    raftpb::Message proto;
    REQUIRE(proto.ParseFromString(bytes));
    CHECK(proto.to() == m.to.value());
    CHECK(proto.logterm() == m.log_term.value());
    CHECK(proto.rejecthint() == m.reject_hint.value());
    CHECK(proto.reject() == m.reject);
    CHECK(proto.context() == m.context);
    REQUIRE(proto.entries_size() == static_cast<int>(m.entries.size()));
    for (int e = 0; e < proto.entries_size(); ++e)
      CHECK(proto.entries(e).data() == m.entries[static_cast<size_t>(e)].payload());
    CHECK(proto.snapshot().metadata().index() == (m.snapshot ? m.snapshot->index.value() : 0));

    const std::optional<RaftMessage> back = decode_raft_message(proto.SerializeAsString());
    REQUIRE(back);
    std::string again;
    append_message(*back, again);
    CHECK(again == bytes);
  }
}

TEST_CASE("raft message: an empty snapshot is none, responses are skipped, half a message is refused") {
  raftpb::Message proto;
  proto.set_type(raftpb::MsgHeartbeat);
  proto.mutable_snapshot()->mutable_metadata()->mutable_conf_state()->set_auto_leave(false);
  proto.add_responses()->set_to(5);
  const std::optional<RaftMessage> m = decode_raft_message(proto.SerializeAsString());
  REQUIRE(m);
  CHECK(m->snapshot == nullptr);
  CHECK(m->to == base::kNoNode);
  CHECK_FALSE(decode_raft_message("\x08"));
  CHECK_FALSE(decode_raft_message(std::string("\x3a\x05\x08", 3)));
}

}  // namespace wire
