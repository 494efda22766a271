#include "peer/handshake.h"

#include <doctest/doctest.h>

#include <map>

namespace peer {
namespace {

Identity us() {
  Identity identity;
  identity.self = base::NodeId(0xa);
  identity.cluster_id = 0xcafe;
  identity.version = "3.7.1";
  identity.peer_urls = {"http://127.0.0.1:2380"};
  return identity;
}

using Headers = std::map<std::string, std::string, std::less<>>;
Headers good() { return {{"x-server-version", "3.6.0"}, {"x-min-cluster-version", "3.0.0"}, {"x-etcd-cluster-id", "cafe"}}; }
Request request(std::string_view method, std::string_view path, const Headers& headers) {
  Request out;
  out.method = method;
  out.path = path;
  out.header = [&headers](std::string_view name) {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string_view() : std::string_view(found->second);
  };
  return out;
}

}  // namespace

TEST_CASE("handshake: who may open a stream, and what the others hear") {
  struct Row {
    const char* rule;
    std::string method, path, header, value;
    int status;
    std::string text;
  };
  const std::string path = "/raft/stream/msgapp/b";
  for (const Row& row : {
           Row{"all is well", "GET", path, "", "", 0, ""},
           Row{"the other kind", "GET", "/raft/stream/message/b", "", "", 0, ""},
           Row{"not a GET", "POST", path, "", "", 405, "Method Not Allowed"},
           Row{"too old", "GET", path, "x-server-version", "2.3.8", 412, "incompatible version"},
           Row{"the oldest there is", "GET", path, "x-server-version", "3.0.0", 0, ""},
           Row{"no version counts as 2.0", "GET", path, "x-server-version", "", 412, "incompatible version"},
           Row{"wants a newer cluster", "GET", path, "x-min-cluster-version", "3.8.0", 412, "incompatible version"},
           Row{"patches do not count", "GET", path, "x-min-cluster-version", "3.7.9", 0, ""},
           Row{"a version that is none", "GET", path, "x-server-version", "three", 412, "incompatible version"},
           Row{"another cluster", "GET", path, "x-etcd-cluster-id", "beef", 412, "cluster ID mismatch"},
           Row{"an unknown kind", "GET", "/raft/stream/snap/b", "", "", 404, "invalid path"},
           Row{"no id", "GET", "/raft/stream/msgapp", "", "", 404, "invalid from"},
           Row{"an id that is none", "GET", "/raft/stream/msgapp/xyz", "", "", 404, "invalid from"},
       }) {
    CAPTURE(row.rule);
    Headers headers = good();
    if (!row.header.empty()) headers[row.header] = row.value;
    Channel channel{};
    base::NodeId from;
    const std::optional<Refusal> refusal = check_stream(us(), request(row.method, row.path, headers), &channel, &from);
    CHECK((refusal ? refusal->status : 0) == row.status);
    CHECK((refusal ? refusal->text : "") == row.text);
    if (!refusal) CHECK(from == base::NodeId(0xb));
  }
}

TEST_CASE("handshake: our own fields pass our own checks") {
  const http1::Fields fields = request_fields(us(), base::NodeId(0xb), "application/protobuf");
  Headers headers;
  for (auto [name, value] : fields) {
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    headers[name] = value;
  }
  CHECK(headers["x-raft-to"] == "b");
  CHECK(headers["x-peerurls"] == "http://127.0.0.1:2380");
  CHECK(headers["x-min-cluster-version"] == "3.0.0");
  CHECK_FALSE(check_post(us(), request("POST", "/raft", headers)).has_value());
  const Sender sender = sender_of(request("POST", "/raft", headers));
  CHECK(sender.id == base::NodeId(0xa));
  CHECK(sender.urls == std::vector<std::string>{"http://127.0.0.1:2380"});
}

TEST_CASE("handshake: peer URLs") {
  const std::optional<PeerUrl> v6 = parse_peer_url("http://[::1]:2380/");
  REQUIRE(v6);
  CHECK(v6->host == "::1");
  CHECK(v6->port == 2380);
  CHECK(v6->authority == "[::1]:2380");
  const std::optional<PeerUrl> path = parse_peer_url("unixs://localhost:2380");
  REQUIRE(path);
  CHECK(path->is_unix());
  CHECK(path->is_tls());
  CHECK(path->host == "localhost");
  CHECK(path->authority == "localhost:2380");
  for (const char* bad :
       {"unix://", "127.0.0.1:2380", "http://host", "http://host:", "http://:1", "http://host:70000", "http://host:1x"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_peer_url(bad));
  }
}

}  // namespace peer
