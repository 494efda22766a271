// c-ares tells which sockets it waits on and for how long; the loop waits for them and tells it what came.
#include "net/dns.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <sys/time.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "net/resolve.h"
#include "net/sys.h"
#include "net/wake.h"

namespace net {

using base::Code;
using base::Result;
using base::Status;

void order_by_priority(std::vector<SrvRecord>& records, base::Rng& rng) {
  std::ranges::sort(records, {}, [](const SrvRecord& record) { return std::pair(record.priority, record.weight); });
  for (size_t first = 0; first < records.size();) {
    size_t last = first;
    uint64_t weights = 0;
    for (; last < records.size() && records[last].priority == records[first].priority; ++last) weights += records[last].weight;
    for (; weights > 0 && first + 1 < last; ++first) {
      uint64_t left = rng.below(weights);
      size_t chosen = first;
      while (left >= records[chosen].weight) left -= records[chosen++].weight;
      std::rotate(records.begin() + static_cast<ptrdiff_t>(first), records.begin() + static_cast<ptrdiff_t>(chosen),
                  records.begin() + static_cast<ptrdiff_t>(chosen) + 1);
      weights -= records[first].weight;
    }
    first = last;
  }
}

// Shared with what waits on the loop, which may outlive the Dns.
struct Dns::Channel : std::enable_shared_from_this<Dns::Channel> {
  using Descriptor = asio::posix::basic_stream_descriptor<asio::io_context::executor_type>;
  struct Ear {
    Ear(asio::io_context& the_loop, int fd) : descriptor(the_loop, fd) {}
    Descriptor descriptor;
    bool reads = false, writes = false;     // what c-ares wants to know
    bool reading = false, writing = false;  // what the loop waits for
  };

  explicit Channel(asio::io_context& the_loop) : loop(the_loop), timer(the_loop) {}

  void end() {
    if (ares != nullptr) ares_destroy(std::exchange(ares, nullptr));
    timer.cancel();
  }

  static void socket_changed(void* data, ares_socket_t fd, int readable, int writable) {
    auto* self = static_cast<Channel*>(data);
    if (readable == 0 && writable == 0) {
      const auto known = self->ears.find(fd);
      if (known == self->ears.end()) return;
      (void)known->second->descriptor.release();  // c-ares closes it
      self->ears.erase(known);
      return;
    }
    std::shared_ptr<Ear>& ear = self->ears[fd];
    if (ear == nullptr) ear = std::make_shared<Ear>(self->loop, fd);
    ear->reads = readable != 0;
    ear->writes = writable != 0;
    self->listen(fd, ear);
  }

  void listen(int fd, const std::shared_ptr<Ear>& ear) {
    if (ear->reads && !std::exchange(ear->reading, true)) {
      ear->descriptor.async_wait(Descriptor::wait_read, [self = shared_from_this(), fd, ear](const asio::error_code& error) {
        ear->reading = false;
        if (!error) self->heard(fd, ear, fd, ARES_SOCKET_BAD);
      });
    }
    if (ear->writes && !std::exchange(ear->writing, true)) {
      ear->descriptor.async_wait(Descriptor::wait_write, [self = shared_from_this(), fd, ear](const asio::error_code& error) {
        ear->writing = false;
        if (!error) self->heard(fd, ear, ARES_SOCKET_BAD, fd);
      });
    }
  }

  void heard(int fd, const std::shared_ptr<Ear>& ear, ares_socket_t readable, ares_socket_t writable) {
    const auto known = ears.find(fd);
    if (ares == nullptr || known == ears.end() || known->second != ear) return;
    ares_process_fd(ares, readable, writable);
    if (ares == nullptr) return;
    const auto still = ears.find(fd);
    if (still != ears.end() && still->second == ear) listen(fd, ear);
    watch_time();
  }

  void watch_time() {
    timeval most{kDnsTimeoutMs / 1000, 0}, next{};
    const timeval* wait = ares_timeout(ares, &most, &next);
    if (ears.empty()) {
      timer.cancel();
      return;
    }
    timer.expires_after(std::chrono::seconds(wait->tv_sec) + std::chrono::microseconds(wait->tv_usec) +
                        std::chrono::milliseconds(1));
    timer.async_wait([self = shared_from_this()](const asio::error_code& error) {
      if (error || self->ares == nullptr) return;
      ares_process_fd(self->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
      if (self->ares != nullptr) self->watch_time();
    });
  }

  std::string first_server() const {
    ares_addr_port_node* servers = nullptr;
    if (ares_get_servers_ports(ares, &servers) != ARES_SUCCESS || servers == nullptr) return "localhost";
    char text[INET6_ADDRSTRLEN] = "";
    (void)inet_ntop(servers->family, &servers->addr, text, sizeof text);
    const int port = servers->udp_port == 0 ? NAMESERVER_PORT : servers->udp_port;
    ares_free_data(servers);
    return join_host_port(text, static_cast<uint16_t>(port));
  }

  Status failed(const std::string& name, int why) const {
    const char* text = "server misbehaving";
    if (why == ARES_ENOTFOUND || why == ARES_ENODATA || why == ARES_EBADNAME) text = "no such host";
    if (why == ARES_ETIMEOUT) text = "i/o timeout";
    if (why == ARES_ECONNREFUSED) text = "connection refused";
    return Status(Code::kUnavailable, "lookup " + name + " on " + first_server() + ": " + text);
  }

  asio::io_context& loop;
  ares_channel ares = nullptr;
  std::map<ares_socket_t, std::shared_ptr<Ear>> ears;
  asio::steady_timer timer;
};

// What c-ares answers; it holds one reference until it has called back, the coroutine the other.
struct Dns::Query {
  explicit Query(asio::io_context& loop) : answered(loop) {}

  static void* hold(const std::shared_ptr<Query>& query) { return new std::shared_ptr<Query>(query); }
  static std::shared_ptr<Query> take(void* held) {
    auto* holder = static_cast<std::shared_ptr<Query>*>(held);
    std::shared_ptr<Query> query = std::move(*holder);
    delete holder;
    return query;
  }

  static void on_records(void* held, int status, int, unsigned char* bytes, int size) {
    const std::shared_ptr<Query> query = take(held);
    ares_srv_reply* replies = nullptr;
    query->status = status == ARES_SUCCESS ? ares_parse_srv_reply(bytes, size, &replies) : status;
    for (const ares_srv_reply* reply = replies; reply != nullptr; reply = reply->next) {
      if (query->records.size() == kSrvRecordsMax) break;
      query->records.push_back({std::string(reply->host) + ".", reply->port, reply->priority, reply->weight});
    }
    if (replies != nullptr) ares_free_data(replies);
    query->answered.notify();
  }

  static void on_addresses(void* held, int status, int, ares_addrinfo* found) {
    const std::shared_ptr<Query> query = take(held);
    query->status = status;
    for (const int family : {AF_INET, AF_INET6}) {
      for (const ares_addrinfo_node* node = found != nullptr ? found->nodes : nullptr; node != nullptr; node = node->ai_next) {
        if (node->ai_family != family || query->addresses.size() == kResolvedAddressesMax) continue;
        char text[INET6_ADDRSTRLEN] = "";
        const void* address = &reinterpret_cast<const sockaddr_in*>(node->ai_addr)->sin_addr;
        if (family == AF_INET6) address = &reinterpret_cast<const sockaddr_in6*>(node->ai_addr)->sin6_addr;
        (void)inet_ntop(family, address, text, sizeof text);
        if (std::ranges::count(query->addresses, text) == 0) query->addresses.emplace_back(text);
      }
    }
    if (found != nullptr) ares_freeaddrinfo(found);
    query->answered.notify();
  }

  Wake answered;
  int status = ARES_SUCCESS;
  std::vector<SrvRecord> records;
  std::vector<std::string> addresses;
};

Dns::Dns(asio::io_context& loop, std::shared_ptr<Channel> channel) : loop_(loop), channel_(std::move(channel)) {}

Dns::~Dns() { channel_->end(); }

Result<std::unique_ptr<Dns>> Dns::open(asio::io_context& loop) {
  static const int library = ares_library_init(ARES_LIB_INIT_ALL);
  if (library != ARES_SUCCESS) return Status(Code::kInternal, ares_strerror(library));
  auto channel = std::make_shared<Channel>(loop);
  ares_options options{};
  options.timeout = kDnsTimeoutMs;
  options.tries = kDnsTries;
  options.sock_state_cb = Channel::socket_changed;
  options.sock_state_cb_data = channel.get();
  const int made = ares_init_options(&channel->ares, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
  if (made != ARES_SUCCESS) return Status(Code::kUnavailable, std::string("dns: ") + ares_strerror(made));
  std::unique_ptr<Dns> dns(new Dns(loop, channel));
  const char* servers = std::getenv("ETCD_DNS_SERVERS");
  if (servers != nullptr && ares_set_servers_ports_csv(channel->ares, servers) != ARES_SUCCESS) {
    return Status(Code::kInvalidArgument, std::string("ETCD_DNS_SERVERS: not a list of host:port: ") + servers);
  }
  return dns;
}

asio::awaitable<Result<std::vector<SrvRecord>>> Dns::srv(std::string name) {
  const std::shared_ptr<Channel> channel = channel_;
  const auto query = std::make_shared<Query>(loop_);
  ares_search(channel->ares, name.c_str(), C_IN, ns_t_srv, Query::on_records, Query::hold(query));
  channel->watch_time();
  co_await query->answered.wait();
  if (query->status != ARES_SUCCESS) co_return channel->failed(name, query->status);
  if (query->records.empty()) co_return channel->failed(name, ARES_ENODATA);
  co_return std::move(query->records);
}

asio::awaitable<Result<std::vector<std::string>>> Dns::host(std::string name) {
  asio::error_code not_an_address;
  const asio::ip::address address = asio::ip::make_address(name, not_an_address);
  if (!not_an_address) co_return std::vector<std::string>(1, address.to_string());
  const std::shared_ptr<Channel> channel = channel_;
  const auto query = std::make_shared<Query>(loop_);
  std::string asked = name;  // the hosts file has no final dots
  if (asked.ends_with('.')) asked.pop_back();
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_NOSORT;
  ares_getaddrinfo(channel->ares, asked.c_str(), nullptr, &hints, Query::on_addresses, Query::hold(query));
  channel->watch_time();
  co_await query->answered.wait();
  if (query->status != ARES_SUCCESS || query->addresses.empty()) {
    co_return channel->failed(name, query->status == ARES_SUCCESS ? ARES_ENODATA : query->status);
  }
  co_return std::move(query->addresses);
}

}  // namespace net
