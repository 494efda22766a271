#include "server/corruption_checker.h"

#include <doctest/doctest.h>

#include "mvcc/request.h"
#include "server/errors.h"

namespace {

using base::Code;
using base::NodeId;
using base::Result;
using base::Status;
using server::HashAnswer;
using server::PeerHash;

const NodeId kSelf{1};

PeerHash told(uint64_t id, uint32_t hash, int64_t compact_revision, int64_t current_revision = 0) {
  return {NodeId(id), {"http://a"}, HashAnswer{hash, compact_revision, 0, current_revision}};
}
PeerHash silent(uint64_t id, Status why = Status(Code::kUnavailable, "connection refused")) {
  return {NodeId(id), {"http://a"}, Result<HashAnswer>(std::move(why))};
}

}  // namespace

TEST_CASE("corruption: a start is refused for another hash at the same compaction only") {
  struct Row {
    const char* rule;
    std::vector<PeerHash> peers;
    int mismatches;
  };
  const HashAnswer own{7, 5, 10, 10};
  for (const Row& row : {
           Row{"no peers", {}, 0},
           Row{"equal hash", {told(2, 7, 5)}, 0},
           Row{"equal hash, whatever the compaction", {told(2, 7, 4)}, 0},
           Row{"other hash at another compaction", {told(2, 8, 4)}, 0},
           Row{"other hash at the same compaction", {told(2, 8, 5)}, 1},
           Row{"each counts", {told(2, 8, 5), told(3, 9, 5), told(4, 7, 5)}, 2},
           Row{"who does not answer is no reason", {silent(2), silent(3, mvcc::errors::future_revision())}, 0},
           Row{"compacted, of another cluster",
               {silent(2, mvcc::errors::compacted()), silent(3, server::errors::cluster_id_mismatch())},
               0},
       }) {
    CAPTURE(row.rule);
    CHECK(server::count_initial_mismatches(kSelf, own, row.peers) == row.mismatches);
  }
}

TEST_CASE("corruption: whom the periodic check blames") {
  struct Row {
    const char* rule;
    HashAnswer own, later;
    std::vector<PeerHash> peers;
    std::optional<NodeId> blamed;
  };
  const HashAnswer own{7, 5, 10, 10};
  for (const Row& row : {
           Row{"nobody asked", own, own, {}, std::nullopt},
           Row{"all equal", own, own, {told(2, 7, 5, 10), told(3, 7, 5, 9)}, std::nullopt},
           Row{"our own hash changed at one revision", own, {8, 5, 10, 10}, {}, kSelf},
           Row{"our own hash changed with the revision", own, {8, 5, 11, 11}, {}, std::nullopt},
           Row{"our own hash changed with the compaction", own, {8, 6, 10, 10}, {}, std::nullopt},
           Row{"a follower is ahead", own, own, {told(2, 7, 5, 11)}, NodeId(2)},
           Row{"a follower is ahead of before, not of now", own, {8, 5, 11, 11}, {told(2, 7, 5, 11)}, std::nullopt},
           Row{"a follower's compaction is ahead", own, own, {told(2, 6, 6, 10)}, NodeId(2)},
           Row{"a follower's compaction is ahead of before, not of now",
               own,
               {8, 6, 10, 10},
               {told(2, 6, 6, 10)},
               std::nullopt},
           Row{"another hash at the same compaction", own, own, {told(2, 8, 5, 10)}, NodeId(2)},
           Row{"another hash at an older compaction", own, own, {told(2, 8, 4, 10)}, std::nullopt},
           Row{"only the first is blamed", own, own, {told(2, 7, 5, 10), told(3, 8, 5, 10), told(4, 9, 5, 10)}, NodeId(3)},
           Row{"we are blamed first", own, {8, 5, 10, 10}, {told(2, 9, 5, 10)}, kSelf},
           Row{"who does not answer is not", own, own, {silent(2)}, std::nullopt},
       }) {
    CAPTURE(row.rule);
    CHECK(server::judge_periodic(kSelf, row.own, row.later, row.peers) == row.blamed);
  }
}

TEST_CASE("corruption: whom the hashes of compactions blame") {
  struct Row {
    const char* rule;
    std::vector<PeerHash> peers;
    bool conclusive, all_equal;
    std::vector<NodeId> corrupt;
  };
  const mvcc::KeyHash own{7, 5, 10};
  for (const Row& row : {
           Row{"all equal", {told(2, 7, 5), told(3, 7, 5)}, true, true, {}},
           Row{"one silent: an older hash may tell", {told(2, 7, 5), silent(3)}, false, false, {}},
           Row{"another compaction is skipped", {told(2, 7, 5), told(3, 8, 4)}, false, false, {}},
           Row{"nobody answers", {silent(2), silent(3)}, false, false, {}},
           Row{"one of three differs", {told(2, 7, 5), told(3, 8, 5)}, true, false, {NodeId(3)}},
           Row{"the leader differs", {told(2, 8, 5), told(3, 8, 5)}, true, false, {kSelf}},
           Row{"one of two: nobody knows who", {told(2, 8, 5)}, true, false, {base::kNoNode}},
           Row{"one differs and one is silent: no majority of all", {told(2, 8, 5), silent(3)}, true, false, {base::kNoNode}},
           Row{"three hashes", {told(2, 8, 5), told(3, 9, 5)}, true, false, {base::kNoNode}},
           Row{"two of five differ, by hash",
               {told(2, 7, 5), told(3, 9, 5), told(4, 7, 5), told(5, 8, 5)},
               true,
               false,
               {NodeId(5), NodeId(3)}},
           Row{"two against two and one silent",
               {told(2, 7, 5), told(3, 8, 5), told(4, 8, 5), silent(5)},
               true,
               false,
               {base::kNoNode}},
       }) {
    CAPTURE(row.rule);
    const server::CompactHashVerdict verdict = server::judge_compact_hash(kSelf, own, row.peers);
    CHECK(verdict.conclusive == row.conclusive);
    CHECK(verdict.all_equal == row.all_equal);
    CHECK(verdict.corrupt == row.corrupt);
  }
}

TEST_CASE("corruption: answers of other members") {
  const auto parse = [](int status, std::string body) {
    peer::Answer answer;
    answer.status = status;
    answer.body = std::move(body);
    return server::parse_hash_answer(answer);
  };
  const Result<HashAnswer> full =
      parse(200, R"({"header":{"revision":7},"hash":4294967295,"compact_revision":-1,"hash_revision":6})");
  REQUIRE(full.ok());
  CHECK(full->hash == 4294967295);
  CHECK(full->compact_revision == -1);
  CHECK(full->revision == 6);
  CHECK(full->current_revision == 7);
  REQUIRE(parse(200, R"({"header":{}})").ok());  // Zeroes are left out.
  CHECK(parse(200, R"({"header":{}})")->hash == 0);
  CHECK(parse(200, "{}").ok());
  CHECK(parse(400, "mvcc: required revision has been compacted\n").status() == mvcc::errors::compacted());
  CHECK(parse(400, "mvcc: required revision is a future revision\n").status() == mvcc::errors::future_revision());
  CHECK(parse(412, "cluster ID mismatch\n").status() == server::errors::cluster_id_mismatch());
  CHECK(parse(404, "404 page not found\n").status().text() == "unknown error: 404 page not found\n");
  for (const char* bad :
       {"", "[]", "7", R"({"hash":"7"})", R"({"hash":1.5})", R"({"header":3})", R"({"header":{"revision":"x"}})"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse(200, bad).ok());
  }
}
