#include "server/membership.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "server/alarms.h"
#include "server/reconfiguration.h"
#include "server/v2_store_json.h"
#include "storage/memory_engine.h"

namespace {

using base::NodeId;
using raft::ConfChange;
using raft::ConfChangeType;
using server::Member;
using server::Membership;

struct Fixture {
  storage::MemoryEngine engine;
  storage::Backend backend{engine};
  Membership membership{backend, NodeId(1), 77, 1};
};

ConfChange change_of(ConfChangeType type, const Member& member) { return {0, type, member.id, server::member_json(member)}; }
Member voter(uint64_t id, const std::string& url) { return {NodeId(id), "m" + std::to_string(id), {url}, {}, false}; }
Member learner(uint64_t id, const std::string& url) { return {NodeId(id), "", {url}, {}, true}; }

}  // namespace

TEST_CASE("membership: ids are those of running etcd members") {
  struct Row {
    const char* token;
    std::vector<std::string> urls;
    uint64_t id;
  };
  for (const Row& row :
       {Row{"tok-A", {"http://127.0.0.1:43380"}, 0xed5a6ec93d6f4a4e}, Row{"t3", {"http://127.0.0.1:43380"}, 0xcfdf6804355e827b},
        Row{"t3", {"http://127.0.0.1:43680"}, 0x38d01719dba056e4}, Row{"t3", {"http://127.0.0.1:43580"}, 0x7e2d6476897add3f}}) {
    CHECK(server::member_id(row.urls, row.token).value() == row.id);
  }
  CHECK(server::cluster_id({NodeId(0xed5a6ec93d6f4a4e)}) == 0xcf09836c19704da8);
  CHECK(server::cluster_id({NodeId(0xcfdf6804355e827b), NodeId(0x38d01719dba056e4), NodeId(0x7e2d6476897add3f)}) ==
        0x8b1778ccc6f63672);
  CHECK(server::member_id({"http://b:2", "http://a:1"}, "t") == server::member_id({"http://a:1", "http://b:2"}, "t"));
}

TEST_CASE("membership: a member's JSON is etcd's, and comes back") {
  const Member plain{NodeId(10749374845332093364u), "m1", {"http://127.0.0.1:43380"}, {}, false};
  CHECK(server::member_json(plain) == R"({"id":10749374845332093364,"peerURLs":["http://127.0.0.1:43380"],"name":"m1"})");
  const Member full{NodeId(3), "a<b>&\"c\"", {"http://x:1", "http://y:2"}, {"http://z:3"}, true};
  const std::string json = server::member_json(full);
  CHECK(json == R"({"id":3,"peerURLs":["http://x:1","http://y:2"],"isLearner":true,)"
                R"("name":"a\u003cb\u003e\u0026\"c\"","clientURLs":["http://z:3"]})");
  const auto back = server::parse_conf_change_context(json);
  REQUIRE(back.ok());
  CHECK(back->member == full);
  CHECK_FALSE(back->is_promote);
  CHECK(server::parse_conf_change_context(R"({"id":9,"peerURLs":null,"isPromote":true})")->is_promote);
  for (const char* bad :
       {"", "{", "[]", R"({"id":"9"})", R"({"id":-1})", R"({"id":1,"peerURLs":[1]})", R"({"id":1,"name":5})"}) {
    CAPTURE(bad);
    CHECK_FALSE(server::parse_conf_change_context(bad).ok());
  }
}

TEST_CASE("membership: what the log may change and what it may not") {
  Fixture f;
  f.membership.apply(change_of(ConfChangeType::kAddNode, voter(1, "http://a:1")));
  f.membership.apply(change_of(ConfChangeType::kAddNode, voter(2, "http://b:1")));
  f.membership.apply(change_of(ConfChangeType::kAddLearnerNode, learner(3, "http://c:1")));
  f.membership.apply(change_of(ConfChangeType::kAddNode, voter(4, "http://d:1")));
  f.membership.apply({0, ConfChangeType::kRemoveNode, NodeId(4), ""});
  CHECK(f.membership.voter_count() == 2);
  CHECK(f.membership.is_learner(NodeId(3)));

  Member moved = voter(2, "http://a:1");
  struct Row {
    const char* rule;
    ConfChange change;
    const char* text;
  };
  const std::string promote3 = R"({"id":3,"peerURLs":null,"isPromote":true})",
                    promote2 = R"({"id":2,"peerURLs":null,"isPromote":true})",
                    promote9 = R"({"id":9,"peerURLs":null,"isPromote":true})";
  for (const Row& row :
       {Row{"a removed id never comes back", change_of(ConfChangeType::kAddNode, voter(4, "http://e:1")),
            "membership: ID removed"},
        Row{"an id once", change_of(ConfChangeType::kAddNode, voter(2, "http://e:1")), "membership: ID exists"},
        Row{"a URL once", change_of(ConfChangeType::kAddNode, voter(5, "http://b:1")), "membership: peerURL exists"},
        Row{"one learner", change_of(ConfChangeType::kAddLearnerNode, learner(5, "http://e:1")),
            "membership: too many learner members in cluster"},
        Row{"promote a learner", {0, ConfChangeType::kAddNode, NodeId(3), promote3}, ""},
        Row{"promote a voter",
            {0, ConfChangeType::kAddNode, NodeId(2), promote2},
            "membership: can only promote a learner member"},
        Row{"promote a stranger", {0, ConfChangeType::kAddNode, NodeId(9), promote9}, "membership: ID not found"},
        Row{"remove a stranger", {0, ConfChangeType::kRemoveNode, NodeId(9), ""}, "membership: ID not found"},
        Row{"update to another's URL", change_of(ConfChangeType::kUpdateNode, moved), "membership: peerURL exists"},
        Row{"update a stranger", change_of(ConfChangeType::kUpdateNode, voter(9, "http://e:1")), "membership: ID not found"},
        Row{"context of somebody else",
            {0, ConfChangeType::kAddNode, NodeId(8), server::member_json(voter(7, "http://e:1"))},
            "membership: conf change names two different members"}}) {
    CAPTURE(row.rule);
    CHECK(f.membership.validate(row.change).text() == row.text);
  }
  f.membership.apply({0, ConfChangeType::kAddNode, NodeId(3), promote3});
  CHECK(f.membership.voter_count() == 3);
  CHECK(f.membership.find(NodeId(3))->peer_urls == std::vector<std::string>{"http://c:1"});
}

TEST_CASE("membership: everything comes back from the rows; damage is named") {
  Fixture f;
  f.membership.apply(change_of(ConfChangeType::kAddNode, voter(1, "http://a:1")));
  f.membership.apply(change_of(ConfChangeType::kAddNode, voter(0xab, "http://b:1")));
  f.membership.apply({0, ConfChangeType::kRemoveNode, NodeId(0xab), ""});
  CHECK(f.membership.set_attributes(NodeId(1), "one", {"http://a:2"}));
  CHECK_FALSE(f.membership.set_attributes(NodeId(0xab), "gone", {}));
  f.membership.set_cluster_version("3.7.0");

  Membership again(f.backend, NodeId(1), 77, 1);
  REQUIRE(again.recover().ok());
  CHECK(again.members() == f.membership.members());
  CHECK(again.is_removed(NodeId(0xab)));
  CHECK(again.cluster_version() == "3.7.0");
  CHECK(again.find(NodeId(1))->client_urls == std::vector<std::string>{"http://a:2"});

  // A member that is promoted or moves is so in the rows; who is gone from them is gone from a list that was there before.
  const std::string promotion = R"({"id":5,"peerURLs":null,"isPromote":true})";
  f.membership.apply(change_of(ConfChangeType::kAddLearnerNode, learner(5, "http://e:1")));
  f.membership.apply({0, ConfChangeType::kAddNode, NodeId(5), promotion});
  f.membership.apply(change_of(ConfChangeType::kAddNode, voter(6, "http://f:1")));
  f.membership.apply(change_of(ConfChangeType::kUpdateNode, voter(1, "http://a:9")));
  REQUIRE(again.recover().ok());
  CHECK(again.members() == f.membership.members());
  CHECK_FALSE(again.is_learner(NodeId(5)));
  CHECK(again.find(NodeId(1))->peer_urls == std::vector<std::string>{"http://a:9"});
  f.membership.apply({0, ConfChangeType::kRemoveNode, NodeId(6), ""});
  REQUIRE(again.recover().ok());
  CHECK(again.members() == f.membership.members());

  f.backend.put("h1", "{not json");
  const base::Status damaged = again.recover();
  CHECK(damaged.code() == base::Code::kDataLoss);
  CHECK(damaged.text().find("members/1") != std::string_view::npos);
}

TEST_CASE("membership: who counts when voters come, go or are promoted: those that have a name, no learners") {
  struct Row {
    const char* rule;
    int started, not_started, learners_started;
    bool add, remove_started, promote;
  };
  for (const Row& row : {Row{"alone: may always grow", 1, 0, 0, true, true, true},
                         Row{"alone with a learner", 1, 0, 1, true, true, true}, Row{"two", 2, 0, 0, true, true, true},
                         Row{"one of two has started", 1, 1, 0, false, false, true},
                         Row{"two of three", 2, 1, 0, false, false, true},
                         Row{"two of three; learners do not help", 2, 1, 2, false, false, true}}) {
    CAPTURE(row.rule);
    Fixture f;
    uint64_t id = 0;
    const auto add = [&](int count, bool started, bool learns) {
      for (int i = 0; i < count; ++i) {
        Member member = learns ? learner(++id, "http://x:1") : voter(++id, "http://x:1");
        member.name = started ? "m" : "";
        f.membership.apply(change_of(learns ? ConfChangeType::kAddLearnerNode : ConfChangeType::kAddNode, member));
      }
    };
    add(row.started, true, false);
    add(row.not_started, false, false);
    add(row.learners_started, true, true);
    CHECK(server::may_add_voter(f.membership) == row.add);
    CHECK(server::may_promote(f.membership) == row.promote);
    if (row.started + row.not_started > 1) CHECK(server::may_remove_voter(f.membership, NodeId(1)) == row.remove_started);
  }
}

TEST_CASE("membership: the v2 JSON of snapshots names members, removed ids and the version") {
  Fixture f;
  f.membership.apply(change_of(ConfChangeType::kAddNode, voter(0x1a, "http://a:1")));
  f.membership.apply(change_of(ConfChangeType::kAddNode, voter(0x2b, "http://b:1")));
  f.membership.apply({0, ConfChangeType::kRemoveNode, NodeId(0x2b), ""});
  f.membership.set_cluster_version("3.7.0");
  const auto json = nlohmann::json::parse(server::v2_store_json(f.membership));
  const auto& cluster = json["Root"]["Children"]["0"]["Children"];
  CHECK(cluster["version"]["Value"] == "3.7.0");
  CHECK(cluster["removed_members"]["Children"].contains("2b"));
  CHECK(cluster["members"]["Children"]["1a"]["Children"]["raftAttributes"]["Value"] == R"({"peerURLs":["http://a:1"]})");
  CHECK(json["WatcherHub"]["EventHistory"]["Queue"]["Events"].size() == 1000);
}

TEST_CASE("alarms: raised once, listed by type, cleared, kept in rows") {
  storage::MemoryEngine engine;
  storage::Backend backend(engine);
  server::Alarms alarms(backend);
  using server::AlarmType;
  CHECK(alarms.activate({NodeId(1), AlarmType::kNoSpace}));
  CHECK_FALSE(alarms.activate({NodeId(1), AlarmType::kNoSpace}));
  CHECK_FALSE(alarms.activate({NodeId(1), AlarmType::kNone}));
  CHECK(alarms.activate({NodeId(2), AlarmType::kCorrupt}));
  CHECK(alarms.list(AlarmType::kNone).size() == 2);
  CHECK(alarms.list(AlarmType::kCorrupt).size() == 1);
  server::Alarms again(backend);
  REQUIRE(again.recover().ok());
  CHECK(again.all() == alarms.all());
  CHECK(again.deactivate({NodeId(1), AlarmType::kNoSpace}));
  CHECK_FALSE(again.deactivate({NodeId(1), AlarmType::kNoSpace}));
  CHECK_FALSE(again.any(AlarmType::kNoSpace));
  REQUIRE(alarms.recover().ok());
  CHECK(alarms.all() == again.all());
}
