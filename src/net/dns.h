// Names that only DNS knows: SRV records, by c-ares on the loop. The servers are those of /etc/resolv.conf, or those of the
// environment variable ETCD_DNS_SERVERS ("host:port,host"). Owner: the loop's thread. Source of behaviour: Go's net.LookupSRV.
#pragma once

#include <asio.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/status.h"

namespace net {

inline constexpr size_t kSrvRecordsMax = 256;  // of one name; more are left out
inline constexpr int kDnsTimeoutMs = 2000;     // of the first try; it doubles with each
inline constexpr int kDnsTries = 3;            // of each server

struct SrvRecord {
  std::string target;  // "infra0.example.com.", with the dot as the record has it
  uint16_t port = 0, priority = 0, weight = 0;

  friend bool operator==(const SrvRecord&, const SrvRecord&) = default;
};

// By priority; within one at random, heavy ones likely first (RFC 2782).
void order_by_priority(std::vector<SrvRecord>& records, base::Rng& rng);

class Dns {
 public:
  // Error: the servers cannot be made out.
  static base::Result<std::unique_ptr<Dns>> open(asio::io_context& loop);
  ~Dns();  // ends lookups under way

  // Of "_service._tcp.domain", in the answer's order. Errors as Go words them, kUnavailable:
  // "lookup _x._tcp.y on 10.0.0.1:53: no such host", "...: i/o timeout", "...: server misbehaving".
  asio::awaitable<base::Result<std::vector<SrvRecord>>> srv(std::string name);
  // Numeric addresses of a host, IPv4 first: of the hosts file or DNS; of an address itself. Errors likewise.
  asio::awaitable<base::Result<std::vector<std::string>>> host(std::string name);

 private:
  struct Channel;
  struct Query;
  Dns(asio::io_context& loop, std::shared_ptr<Channel> channel);

  asio::io_context& loop_;
  std::shared_ptr<Channel> channel_;
};

}  // namespace net
