// What a request between members says of its sender, and what is answered to one that does not fit. Pure. Texts and statuses
// are etcd's, because the other side acts on them. Wire-and-disk 3.2-3.6.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "http1/parser.h"
#include "peer/frames.h"

namespace peer {

inline constexpr std::string_view kMinClusterVersion = "3.0.0";
inline constexpr std::string_view kStreamPrefix = "/raft/stream/";

// Who we are to others.
struct Identity {
  base::NodeId self;
  uint64_t cluster_id = 0;
  std::string version;                 // "3.7.1"
  std::vector<std::string> peer_urls;  // as advertised
};

// Header fields of a request of ours; `to`: streams only.
http1::Fields request_fields(const Identity& us, std::optional<base::NodeId> to, std::string_view content_type);

// A request that came in. `header` gives the first value of a field (name in lower case), empty when absent.
struct Request {
  std::string_view method;
  std::string_view path;
  std::function<std::string_view(std::string_view)> header;
};
struct Refusal {
  int status = 400;
  std::string text;    // without the line's end
  std::string allow;   // of 405
  std::string reason;  // for the log
};

// Version and cluster id; the checks that every kind of request begins with.
std::optional<Refusal> check_sender(const Identity& us, const Request& request);
// Method, then check_sender.
std::optional<Refusal> check_post(const Identity& us, const Request& request);
// Method, sender, path. Fills in what the path says.
std::optional<Refusal> check_stream(const Identity& us, const Request& request, Channel* channel, base::NodeId* from);
// Of X-Server-From and X-PeerURLs; no URLs: absent.
struct Sender {
  base::NodeId id;
  std::vector<std::string> urls;
};
Sender sender_of(const Request& request);

// <0, 0, >0 by major and minor; nullopt: one of the two is no version. Empty counts as 2.0.0.
std::optional<int> compare_minor(std::string_view a, std::string_view b);

// What an answer to a stream request of ours means.
enum class StreamAnswer { kOpen, kRemoved, kNo };
StreamAnswer judge_stream_answer(int status);

// "http://host:port[/]" apart; of a unix socket's URL all behind the slashes is its path. nullopt: no such URL.
struct PeerUrl {
  std::string scheme, host;
  uint16_t port = 0;
  std::string authority;  // for the Host field; a unix socket's path

  bool is_unix() const { return scheme.starts_with("unix"); }
  bool is_tls() const { return scheme == "https" || scheme == "unixs"; }
};
std::optional<PeerUrl> parse_peer_url(std::string_view url);

}  // namespace peer
