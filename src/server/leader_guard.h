// Streams whose clients asked for a member that knows a leader (metadata `hasleader: true`): they are ended when there has been
// none for three election timeouts, so that the client looks for another member. Owner: core loop.
// Source: etcd v3rpc/interceptor.go, monitorLeader.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "rpc/server.h"

namespace server {

bool needs_leader(const rpc::CallContext& context);

class LeaderGuard {
 public:
  static constexpr int kElectionTimeoutsMax = 3;

  explicit LeaderGuard(base::Duration election_timeout) : patience_(kElectionTimeoutsMax * election_timeout) {}
  void add(const std::shared_ptr<rpc::ServerStream>& stream);
  // Called every tick of raft's clock.
  void tick(base::Instant now, bool has_leader);
  size_t size() const { return streams_.size(); }

 private:
  const base::Duration patience_;
  std::optional<base::Instant> leaderless_since_;
  std::vector<std::weak_ptr<rpc::ServerStream>> streams_;
  size_t sweep_at_ = 64;  // dead ones are dropped when there are so many
};

}  // namespace server
