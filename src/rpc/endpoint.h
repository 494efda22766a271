// Where a client connects to, as users write it: "127.0.0.1:2379", "http://host:port", "https://host:port", "unix:///path",
// "unix:path", "unixs:///path". Pure; the forms are those of etcd's Go client.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace rpc {

struct Endpoint {
  enum class Tls { kNever, kIfGiven, kAlways };  // kIfGiven: no scheme said, so the channel's options decide

  bool unix_socket = false;
  Tls tls = Tls::kIfGiven;
  std::string host;       // TCP
  uint16_t port = 0;      // TCP
  std::string path;       // unix socket
  std::string authority;  // what goes into :authority: all after the scheme
};

// kInvalidArgument with Go's text when there is no port, or it is no number below 65536.
base::Result<Endpoint> parse_endpoint(std::string_view text);

}  // namespace rpc
