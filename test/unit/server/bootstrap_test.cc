#include "server/bootstrap.h"

#include <doctest/doctest.h>

#include "base/log.h"
#include "server/version_monitor.h"

namespace {

using base::Code;
using base::NodeId;
using base::Result;
using base::Status;
using server::Bootstrap;
using server::Config;
using server::MinorVersion;

constexpr const char* kTwo = "a=http://127.0.0.1:1,b=http://127.0.0.1:2";

Config config_of(const char* initial_cluster, bool existing) {
  base::log::Options quiet;
  quiet.outputs = {"/dev/null"};
  REQUIRE(base::log::configure(quiet).ok());
  Config config = Config::defaults();
  config.name = "a";
  config.initial_cluster = initial_cluster;
  config.existing_cluster = existing;
  config.advertise_peer_urls = server::parse_url_list("http://127.0.0.1:1").value();
  return config;
}

peer::Answer answer(std::string body, std::string cluster = "2f") {
  peer::Answer out;
  out.status = 200;
  out.fields.emplace_back("x-etcd-cluster-id", std::move(cluster));
  out.body = std::move(body);
  return out;
}

// Peers that all say the same; a body of "" is a member that cannot be reached.
server::AskPeer told(std::string members, std::string version = R"({"etcdserver":"3.7.1","etcdcluster":"3.7.0"})") {
  return [=](const server::Url&, const std::string& path, base::Duration) -> Result<peer::Answer> {
    const std::string body = path == "/members" ? members : path == "/version" ? version : "false";
    if (body.empty()) return Status(Code::kUnavailable, "connect: connection refused");
    return answer(body);
  };
}

constexpr const char* kBoth =
    R"([{"id":18446744073709551000,"peerURLs":["http://127.0.0.1:2"],"name":"b","clientURLs":["http://x:1"]},
        {"id":7,"peerURLs":["http://127.0.0.1:1"],"isLearner":true}])";

}  // namespace

TEST_CASE("bootstrap: founders are the same on every member, ascending by id") {
  Config config = config_of(kTwo, false);
  const Result<Bootstrap> a = server::bootstrap(config, told(""));
  config.name = "b";
  config.advertise_peer_urls = server::parse_url_list("http://127.0.0.1:2").value();
  const Result<Bootstrap> b = server::bootstrap(config, told(""));
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  CHECK(a->founders == b->founders);
  CHECK(a->cluster_id == b->cluster_id);
  CHECK(a->founders.size() == 2);
  CHECK(a->founders[0].id < a->founders[1].id);
  CHECK(a->self != b->self);
}

TEST_CASE("bootstrap: a newcomer takes ids and cluster from those who run") {
  const Result<Bootstrap> joined = server::bootstrap(config_of(kTwo, true), told(kBoth));
  REQUIRE(joined.ok());
  CHECK(joined->self == NodeId(7));
  CHECK(joined->cluster_id == 0x2f);
  CHECK(joined->founders.empty());
  CHECK(joined->existing.size() == 2);
}

TEST_CASE("bootstrap: what is refused, in etcd's words") {
  struct Row {
    const char* rule;
    const char* initial_cluster;
    bool existing;
    server::AskPeer ask;
    const char* error;
  };
  const Row rows[] = {
      {"our name is missing", "b=http://127.0.0.1:2", false, told(""),
       "couldn't find local name \"a\" in the initial cluster configuration"},
      {"nobody answers", kTwo, true, told(""),
       "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"},
      {"an empty list", kTwo, true, told("[]"),
       "cannot fetch cluster info from peer urls: failed to get raft cluster member(s) from the given URLs"},
      {"not a list", kTwo, true, told("{}"),
       "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"},
      {"one more than we know of", "a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3", true, told(kBoth),
       "error validating peerURLs {ClusterID:2f Members:[&{ID:7 RaftAttributes:{PeerURLs:[http://127.0.0.1:1] IsLearner:true} "
       "Attributes:{Name: ClientURLs:[]}} &{ID:fffffffffffffd98 RaftAttributes:{PeerURLs:[http://127.0.0.1:2] IsLearner:false} "
       "Attributes:{Name:b ClientURLs:[http://x:1]}}] RemovedMemberIDs:[]}: member count is unequal"},
      {"a cluster of a later version", kTwo, true, told(kBoth, R"({"etcdserver":"3.8.0","etcdcluster":"3.8.0"})"),
       "incompatible with current running cluster"},
      {"a cluster without a version", kTwo, true, told(kBoth, R"({"etcdserver":"3.7.0","etcdcluster":"not_decided"})"),
       "incompatible with current running cluster"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    const Result<Bootstrap> done = server::bootstrap(config_of(row.initial_cluster, row.existing), row.ask);
    CHECK(done.status().text() == row.error);
  }
  const Result<Bootstrap> founders = server::bootstrap(config_of(kTwo, false), told(""));
  const std::string known = "[{\"id\":" + std::to_string(founders->self.value()) +
                            ",\"peerURLs\":[\"http://127.0.0.1:1\"],\"clientURLs\":[\"http://x:1\"]}]";
  const Result<Bootstrap> again = server::bootstrap(config_of(kTwo, false), told(known));
  CHECK(again.status().text().find("has already been bootstrapped") != std::string::npos);
}

TEST_CASE("versions: major and minor of what members tell") {
  CHECK(server::parse_minor_version("3.7.1") == MinorVersion{3, 7});
  CHECK(server::parse_minor_version("3.10.0-rc.1+git") == MinorVersion{3, 10});
  for (const char* bad : {"", "3", "3.7", "3.7.", "a.b.c", "3.7.1.2", "not_decided", "-3.7.1", "3..1", "99999999.1.1"}) {
    CAPTURE(bad);
    CHECK(!server::parse_minor_version(bad));
  }
}

TEST_CASE("versions: the leader proposes the lowest, and only up") {
  using Servers = std::map<NodeId, std::optional<MinorVersion>>;
  const MinorVersion v36{3, 6}, v37{3, 7}, v30{3, 0}, v40{4, 0};
  struct Row {
    const char* rule;
    std::optional<MinorVersion> current;
    Servers servers;
    std::optional<MinorVersion> next;
  };
  for (const Row& row : {Row{"a new cluster", {}, {{NodeId(1), v37}, {NodeId(2), v37}}, v37},
                         Row{"the lowest decides", {}, {{NodeId(1), v37}, {NodeId(2), v36}}, v36},
                         Row{"new, and one is silent", {}, {{NodeId(1), v37}, {NodeId(2), std::nullopt}}, v30},
                         Row{"one is silent", v36, {{NodeId(1), v37}, {NodeId(2), std::nullopt}}, {}},
                         Row{"all were upgraded", v36, {{NodeId(1), v37}, {NodeId(2), v37}}, v37},
                         Row{"never down", v37, {{NodeId(1), v36}}, {}},
                         Row{"equal", v37, {{NodeId(1), v37}}, {}},
                         Row{"not across majors", v37, {{NodeId(1), v40}}, {}}}) {
    CAPTURE(row.rule);
    CHECK(server::decide_cluster_version(row.current, row.servers) == row.next);
  }
}

TEST_CASE("versions: a cluster that goes down does so by one version, and is not raised again") {
  using Servers = std::map<NodeId, std::optional<MinorVersion>>;
  const MinorVersion v35{3, 5}, v36{3, 6}, v37{3, 7};
  struct Row {
    const char* rule;
    MinorVersion current;
    Servers servers;
    MinorVersion target;
    std::optional<MinorVersion> next;
  };
  for (const Row& row : {Row{"all above it", v37, {{NodeId(1), v37}, {NodeId(2), v37}}, v36, v36},
                         Row{"done already", v36, {{NodeId(1), v37}, {NodeId(2), v37}}, v36, {}},
                         Row{"two versions", v37, {{NodeId(1), v37}}, v35, {}},
                         Row{"a member is below already", v37, {{NodeId(1), v37}, {NodeId(2), v36}}, v36, {}},
                         Row{"somebody is silent", v37, {{NodeId(1), v37}, {NodeId(2), std::nullopt}}, v36, {}}}) {
    CAPTURE(row.rule);
    CHECK(server::decide_cluster_version(row.current, row.servers, row.target) == row.next);
  }
}
