// The transport over etcd's own peer protocol: one Member for each we talk to, and what the peer port hands in. Owner: core
// loop.
#pragma once

#include <asio.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "peer/handshake.h"
#include "peer/member.h"
#include "peer/transport.h"

namespace peer {

// Members that talk to us and that we do not know yet (they were added, our log lags): how many we answer by POST.
inline constexpr size_t kRemotesMax = 16;

class HttpTransport final : public Transport {
 public:
  // All but `us` outlive it; the loop must have run dry of it before (stop()).
  HttpTransport(asio::io_context& loop, const base::Clock& clock, Dialer& dialer, Metrics& metrics, Identity us,
                Timeouts timeouts);
  ~HttpTransport() override;

  void start(Events& events) override;
  void add_peer(base::NodeId id, const std::vector<std::string>& urls) override;
  void update_peer(base::NodeId id, const std::vector<std::string>& urls) override;
  void remove_peer(base::NodeId id, bool for_ever) override;
  void remove_all() override;
  void send(std::vector<wire::RaftMessage> messages) override;
  void send_snapshot(wire::RaftMessage message, std::unique_ptr<SnapshotBody> body) override;
  std::optional<base::Instant> active_since(base::NodeId id) const override;
  size_t active_peers() const override;
  bool reaches(base::NodeId id) const override;
  void stop(std::function<void()> done) override;

  // --- for the peer port ---
  const Identity& us() const { return shared_->us; }
  // GET /raft/stream/...: null, and the caller begins the answer and calls open_stream(); or what to answer.
  std::optional<Refusal> admit_stream(const Request& request, Channel* channel, base::NodeId* from);
  void open_stream(base::NodeId from, Channel channel, std::shared_ptr<Outlet> outlet);
  // Of all members, as this one is about to stop: they see the streams end instead of break.
  void end_streams();
  // POST /raft and /raft/snapshot, before the body is looked at.
  std::optional<Refusal> admit_post(const Request& request);
  // The body of POST /raft. Null: 204.
  std::optional<Refusal> take_message(std::string_view body);
  // Whether a message that came in may be given to raft; logs why not.
  bool accepts(const wire::RaftMessage& message) const;
  Metrics& metrics() { return shared_->metrics; }

 private:
  void add_remote(const Request& request);
  std::shared_ptr<Member> find(base::NodeId id) const;

  const std::shared_ptr<Shared> shared_;
  std::map<base::NodeId, std::shared_ptr<Member>> peers_;
  std::map<base::NodeId, std::shared_ptr<Member>> remotes_;  // not among peers_
  std::set<base::NodeId> removed_;
};

}  // namespace peer
