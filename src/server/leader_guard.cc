#include "server/leader_guard.h"

#include "server/errors.h"

namespace server {

bool needs_leader(const rpc::CallContext& context) {
  return context.metadata != nullptr && !context.metadata->empty() && context.metadata->find("hasleader") == "true";
}

void LeaderGuard::add(const std::shared_ptr<rpc::ServerStream>& stream) {
  if (streams_.size() >= sweep_at_) {
    std::erase_if(streams_, [](const auto& weak) {
      const auto alive = weak.lock();
      return alive == nullptr || alive->closed();
    });
    sweep_at_ = 2 * streams_.size() + 64;
  }
  streams_.push_back(stream);
}

void LeaderGuard::tick(base::Instant now, bool has_leader) {
  if (has_leader) return leaderless_since_.reset();
  if (!leaderless_since_) leaderless_since_ = now;
  if (now - *leaderless_since_ < patience_) return;
  for (const auto& weak : std::exchange(streams_, {})) {
    if (const auto stream = weak.lock()) stream->end(errors::no_leader());
  }
}

}  // namespace server
