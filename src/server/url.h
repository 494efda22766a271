// URLs as Go's net/url reads and prints them: member ids are hashes over the printed text, so it must be Go's to the byte.
// Peer URL rules: wire-and-disk 1.5. Pure; any thread. Source of behaviour: Go net/url, etcd client/pkg/types.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace server {

struct Url {
  std::string scheme;    // lower case: "http", "https", "unix", "unixs"
  std::string opaque;    // "mailto:opaque" forms; empty otherwise
  std::string userinfo;  // as printed, without '@'; empty if none
  std::string host;      // authority without userinfo: "127.0.0.1:2379", "[::1]:2379", "localhost:0"; percent decoded
  std::string path;      // percent decoded
  std::string text;      // the whole as Go's URL.String() prints it

  bool is_unix() const { return scheme == "unix" || scheme == "unixs"; }
  bool is_tls() const { return scheme == "https" || scheme == "unixs"; }
  // Without port and brackets ("::1"); port: digits after the colon, may be empty. As Go's Hostname() and Port().
  std::string hostname() const;
  std::string port() const;
  // 0 where none stands. Error: `listen tcp: address 99999: invalid port`.
  base::Result<uint16_t> port_number() const;
  // What a listener binds or a client connects to: "host:port", or for unix the path "name:port" as etcd joins it.
  std::string address() const { return is_unix() ? host + path : host; }

  friend bool operator==(const Url& a, const Url& b) { return a.text == b.text; }
  friend auto operator<=>(const Url& a, const Url& b) { return a.text <=> b.text; }
};

using Urls = std::vector<Url>;
using UrlsMap = std::map<std::string, Urls>;  // member name -> its peer URLs, sorted

// Go's url.Parse; errors carry its text: `parse "http://%zz": invalid URL escape "%zz"`.
base::Result<Url> parse_url(std::string_view text);
// etcd's list rules: each trimmed, known scheme, host:port, no path; the result is sorted by text, doubles kept.
// kInvalidArgument with etcd's text (R4.211).
base::Result<Urls> parse_urls(const std::vector<std::string>& texts);
// "a,b" as flags and files write it.
base::Result<Urls> parse_url_list(std::string_view comma_separated);
// "name=url,name=url2,other=url"; later entries add to earlier ones of the same name.
base::Result<UrlsMap> parse_urls_map(std::string_view initial_cluster);
// "a=url,b=url", pairs sorted as text.
std::string urls_map_text(const UrlsMap& map);

std::vector<std::string> texts(const Urls& urls);
std::string joined(const Urls& urls);  // comma between

// Go's net.SplitHostPort: "[::1]:80" -> {"::1", "80"}. Errors: `address x: missing port in address`, ...
struct HostPort {
  std::string host;
  std::string port;
};
base::Result<HostPort> split_host_port(std::string_view host_port);
// An IPv4 or IPv6 address as text (Go's net.ParseIP: no zone, no leading zeros).
bool is_ip(std::string_view host);

}  // namespace server
