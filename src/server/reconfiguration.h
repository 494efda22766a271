// Changes of who is in the cluster and who leads it, as clients and operators ask for them: looked at by the rules of
// --strict-reconfig-check, then proposed as one conf change, whose outcome the proposer hears. What is allowed is decided again
// when the entry is applied (membership.h). Owner: core loop.
// Source: wire-and-disk 2.3, 3.8; feature map 3.10; etcd server/etcdserver/server.go.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "peer/fetch.h"
#include "server/membership.h"

namespace server {

class Node;

inline constexpr base::Duration kHealthInterval = std::chrono::seconds(5);    // connected for so long counts as healthy
inline constexpr double kLearnerReadyPart = 0.9;                              // of the leader's log
inline constexpr base::Duration kRemovedStopDelay = std::chrono::seconds(1);  // the others learn of it first

// Whether enough voters have ever started for the cluster to survive the change; etcd's counting.
bool may_add_voter(const Membership& membership);
bool may_remove_voter(const Membership& membership, base::NodeId id);
bool may_promote(const Membership& membership);

class Reconfiguration {
 public:
  // Ok, or an error as it goes on the wire.
  using Done = std::function<void(const base::Status&)>;
  // Whether nobody waits for the answer any more.
  using Gone = std::function<bool()>;

  explicit Reconfiguration(Node& node) : node_(node) {}

  // These wait for a leader, and to be applied, as long as their client does.
  void add(const Member& member, Done done, Gone gone = nullptr);
  void remove(base::NodeId id, Done done, Gone gone = nullptr);
  void update(base::NodeId id, const std::vector<std::string>& peer_urls, Done done, Gone gone = nullptr);
  // On a follower: asks the leader over HTTP until it decides or the request times out. `token`: of the caller, may be "".
  void promote(base::NodeId id, const std::string& token, Done done);
  // The same for a member that asks us. kFailedPrecondition `etcdserver: not leader` when we do not lead.
  void promote_as_leader(base::NodeId id, base::Instant deadline, Done done);
  // Hands leadership to a voter; done when it leads. Errors: not leader, bad leader transferee, and a timeout.
  void move_leader(base::NodeId to, base::Duration timeout, Done done);
  // Before a graceful stop: to the voter that was connected longest. Ok where there is nothing to hand over, and when another
  // took it. Unhealthy as soon as that voter is gone too: a cluster that stops as a whole does not wait for itself.
  void hand_over(Done done);

 private:
  struct Promotion;
  struct Transfer;
  void propose(raft::ConfChange change, Done done, Gone gone);
  void ask_leader(std::shared_ptr<Promotion> promotion);
  void ask_leader_again(std::shared_ptr<Promotion> promotion);
  void transfer(base::NodeId to, base::Duration timeout, bool leaving, Done done);
  void wait_for_leader(std::shared_ptr<Transfer> transfer);
  base::Status check_add(const Member& member) const;
  base::Status check_remove(base::NodeId id) const;
  base::Status check_promote(base::NodeId id) const;
  size_t connected_voters() const;

  Node& node_;
};

}  // namespace server
