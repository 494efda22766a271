// Each promise of Raft broken once, and honest talk that must pass.
#include "sim/raft_watch.h"

#include <doctest/doctest.h>

#include <vector>

namespace {

using base::Index;
using base::NodeId;
using base::Term;
using sim::RaftWatch;
using wire::RaftMessage;
using wire::RaftMessageType;

struct Said {
  uint64_t from, committed, applied;
  RaftMessage message;
};

Said vote(uint64_t from, uint64_t to, uint64_t term, bool reject = false) {
  RaftMessage message;
  message.type = RaftMessageType::kVoteResp;
  message.from = NodeId(from);
  message.to = NodeId(to);
  message.term = Term(term);
  message.reject = reject;
  return {from, 0, 0, message};
}

Said ask(uint64_t from, uint64_t term, uint64_t last, uint64_t committed) {
  RaftMessage message;
  message.type = RaftMessageType::kVote;
  message.term = Term(term);
  message.index = Index(last);
  return {from, committed, committed, message};
}

Said append(uint64_t from, uint64_t term, uint64_t committed, uint64_t applied, std::vector<wire::RaftEntry> entries = {}) {
  RaftMessage message;
  message.type = RaftMessageType::kApp;
  message.term = Term(term);
  message.commit = Index(committed);
  message.entries = std::move(entries);
  return {from, committed, applied, message};
}

wire::RaftEntry entry(uint64_t index, uint64_t term, const std::string& data, uint32_t type = 0) {
  return {type, Term(term), Index(index), std::make_shared<const std::string>(data)};
}

Said heartbeat(uint64_t from, uint64_t term, uint64_t told, uint64_t committed) {
  Said said = append(from, term, told, committed);
  said.message.type = RaftMessageType::kHeartbeat;
  return said;
}

// What it said when it led, sent when another has told it of more.
Said late(Said said, uint64_t committed) {
  said.committed = said.applied = committed;
  return said;
}

}  // namespace

TEST_CASE("raft watch: a broken promise is found when it is made") {
  struct Row {
    const char* found;
    std::vector<Said> said;
  };
  const Row rows[] = {
      {"", {vote(1, 2, 5), vote(1, 2, 5), vote(1, 3, 6), vote(1, 3, 5, true)}},
      {"voted for", {vote(1, 2, 5), vote(1, 3, 5)}},
      {"voted for", {ask(1, 5, 9, 9), vote(1, 3, 5)}},
      {"", {append(1, 5, 0, 0), append(1, 5, 1, 1), append(2, 6, 1, 1)}},
      {"lead in term 5", {append(1, 5, 0, 0), append(2, 5, 0, 0)}},
      {"", {append(1, 5, 0, 0, {entry(3, 5, "a")}), append(2, 6, 0, 0, {entry(3, 5, "a"), entry(4, 6, "b")})}},
      {"not the same everywhere", {append(1, 5, 0, 0, {entry(3, 5, "a")}), append(2, 6, 0, 0, {entry(3, 5, "b")})}},
      {"behind one of term 6", {append(1, 7, 0, 0, {entry(3, 6, "a"), entry(4, 5, "b")})}},
      // It found entries up to 9 and committed 7 of them: 8 and 9 are committed by its own, 10.
      {"", {ask(1, 6, 9, 7), append(1, 6, 7, 7), append(1, 6, 10, 9)}},
      {"committed entry 9 of an older term", {ask(1, 6, 9, 7), append(1, 6, 7, 7), append(1, 6, 9, 7)}},
      {"", {ask(1, 6, 9, 7), append(1, 6, 10, 9), heartbeat(1, 6, 8, 10)}},
      {"", {ask(1, 6, 9, 7), append(1, 6, 7, 7), append(2, 7, 9, 9), late(append(1, 6, 7, 7), 9)}},
      {"", {append(1, 5, 2, 2, {entry(3, 5, "add", 1)}), append(1, 5, 3, 3, {entry(4, 5, "remove", 1)})}},
      {"while entry 3 is not applied",
       {append(1, 5, 2, 2, {entry(3, 5, "add", 1)}), append(1, 5, 3, 2, {entry(4, 5, "remove", 2)})}},
  };
  for (const Row& row : rows) {
    RaftWatch watch;
    std::string wrong;
    for (const Said& said : row.said) {
      if (!wrong.empty()) break;
      wrong = watch.sent({NodeId(said.from), Index(said.committed), Index(said.applied)}, said.message);
    }
    CAPTURE(wrong);
    const std::string found = row.found;
    CHECK(wrong.empty() == found.empty());
    CHECK(wrong.find(found) != std::string::npos);
  }
}
