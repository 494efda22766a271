// The member's leases at work: the lessor between the log, the clock and those who ask. On the primary it proposes the end of
// leases that are over and what long ones have left; who must wait (for an entry, for a revoke, for a leader) waits here.
// Owner: core loop. Source: feature map 3.8; wire-and-disk 5.6; etcd server/lease, etcdserver/v3_server.go.
//
// Invariants: a lease ends by an entry of the log, never before its time; at most kRevokesInFlightMax of those entries are
// under way, so a million leases that end together neither crowd out other proposals nor wait longer than the log needs.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "base/status.h"
#include "lease/lessor.h"
#include "mvcc/store.h"
#include "server/waiters.h"

namespace server {

class Node;

class Leases final : public mvcc::LeaseHooks {
 public:
  // A batch that one sync of the log takes together, and that is applied in about a millisecond.
  static constexpr size_t kRevokesInFlightMax = 512;
  // Ends within this time of each other are looked for together.
  static constexpr base::Duration kScanSpacing = std::chrono::milliseconds(20);
  // After a revoke that failed (an alarm, no leader): about the rate etcd never exceeds.
  static constexpr base::Duration kRevokePause = std::chrono::milliseconds(500);
  static constexpr size_t kCheckpointsPerEntryMax = 1000;
  static constexpr base::Duration kAppliedWaitMax = std::chrono::seconds(1);
  static constexpr size_t kWaitsMax = 100'000;
  // A member that misses so many ticks has stood still.
  static constexpr int kTicksMissedMax = 3;
  // Between two questions to a leader that does not answer as one; for one question.
  static constexpr base::Duration kAskLeaderPause = std::chrono::milliseconds(50);
  static constexpr base::Duration kAskLeaderTimeout = std::chrono::seconds(2);

  explicit Leases(Node& node);
  Leases(const Leases&) = delete;
  Leases& operator=(const Leases&) = delete;

  // Before the store's.
  base::Status recover();
  // From an image with its keys, instead; gives back what was known before.
  std::unique_ptr<lease::LessorImage> restart(std::unique_ptr<lease::LessorImage> image);

  // --- mvcc::LeaseHooks
  bool exists(base::LeaseId id) const override { return lessor_.exists(id); }
  void attach(base::LeaseId id, std::string_view key) override { lessor_.attach(id, key); }
  void detach(base::LeaseId id, std::string_view key) override { lessor_.detach(id, key); }

  // --- entries of the log; `body` as in the request of that name ------------------------------------------------------------
  Outcome grant(std::string_view body);
  Outcome revoke(std::string_view body);
  Outcome checkpoint(std::string_view body);

  // --- what happens to the member -------------------------------------------------------------------------------------------
  void on_leading(base::Term term);  // the first entry of our term is applied; what comes again for a term is nothing new
  void on_following();               // somebody else leads, or nobody
  void on_cluster_version();
  void on_applied();
  void tick(base::Instant now);  // of raft's clock
  void stop();

  // --- questions for the primary --------------------------------------------------------------------------------------------
  // Each runs `done` once, maybe at once. They wait for a leader as long as any request, then ask it: alone, it is us.
  // The TTL after renewing. kNotFound: no such lease (any more).
  using Renewed = std::function<void(base::Result<int64_t>)>;
  void renew(base::LeaseId id, Renewed done);
  // The same when nothing has to be waited for; nullopt: call renew().
  std::optional<base::Result<int64_t>> renew_now(base::LeaseId id);
  struct Found {
    int64_t granted_ttl_s = 0;
    int64_t remaining_s = 0;
    std::vector<std::string> keys;
  };
  using FoundDone = std::function<void(base::Result<Found>)>;
  void find(base::LeaseId id, bool with_keys, FoundDone done);

  // --- questions that came from another member: kFailedPrecondition unless we are the primary -------------------------------
  void renew_here(base::LeaseId id, Renewed done);
  void find_here(base::LeaseId id, bool with_keys, FoundDone done);

  const lease::Lessor& lessor() const { return lessor_; }

 private:
  friend class RevokeWaiter;
  using GoOn = std::function<void(const base::Status&)>;
  struct Wait {
    base::Index applied;  // 0: for a leader
    base::Instant deadline;
    GoOn go_on;
  };

  void renew_until(base::LeaseId id, base::Instant deadline, Renewed done);
  void find_until(base::LeaseId id, bool with_keys, base::Instant deadline, FoundDone done);
  // Asks the leader on its peer port. `done` gets the body of its answer; kNotFound: it has no such lease; kUnavailable: ask
  // again, whoever leads then.
  void ask_leader(std::string path, std::string body, std::function<void(base::Result<std::string>)> done);
  template <class Done>
  void ask_again(base::Instant deadline, const Done& done, std::function<void()> again);
  // We may have stood still for so long that somebody else leads by now: nothing is promised before a quorum says no.
  bool leadership_in_doubt() const;
  void ensure_leading(GoOn go_on);
  void wait_applied(GoOn go_on);
  void wait_leader(GoOn go_on);
  void add_wait(std::vector<Wait>& waits, Wait wait);
  void end_waits(std::vector<Wait>& waits, const base::Status& status);
  void checkpoint_and_finish(base::LeaseId id, const Renewed& done);
  void finish_renewal(base::LeaseId id, Renewed done);
  void renewed();
  base::Result<Found> look_up(base::LeaseId id, bool with_keys) const;
  void arm();
  void scan();
  void revoke_expired(base::Instant now);
  void revoke_done(base::LeaseId id, const base::Status& status);
  void propose_checkpoints(base::Instant now);
  bool may_work() const;

  Node& node_;
  lease::Lessor lessor_;
  const bool fast_keep_alive_;

  size_t revokes_in_flight_ = 0;
  bool checkpoint_in_flight_ = false;
  bool backlog_ = false;  // the last scan left leases that are over
  base::Instant paused_until_{}, last_scan_{}, timer_at_{};
  base::TimerId timer_ = base::kNoTimer;
  base::Instant last_tick_{}, stood_still_at_{};
  bool stood_still_ = false;  // and no quorum has confirmed us since
  base::Term leading_term_;   // of the last promotion

  std::vector<Wait> applied_waits_, leader_waits_;
  absl::flat_hash_map<base::LeaseId, std::vector<GoOn>> revoke_waits_;  // renewals of leases that are over
  size_t revoke_waits_count_ = 0;
};

}  // namespace server
