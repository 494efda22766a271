#include "server/leases.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "lease.pb.h"
#include "rpc.pb.h"
#include "server/errors.h"
#include "server/member_client.h"
#include "server/metrics.h"
#include "server/node.h"
#include "server/raft_driver.h"

namespace server {
namespace {

using base::Code;
using base::Instant;
using base::LeaseId;
using base::Result;
using base::Status;

Status lease_not_found() { return Status(Code::kNotFound, "etcdserver: requested lease not found"); }

bool at_least_3_6(const std::string& version) {
  int parts[2] = {0, 0};
  size_t part = 0;
  for (const char c : version) {
    if (c == '.' && ++part == 2) break;
    if (c >= '0' && c <= '9') parts[part] = parts[part] * 10 + (c - '0');
  }
  return parts[0] > 3 || (parts[0] == 3 && parts[1] >= 6);
}

// What is in the log must parse: it did when it was proposed.
template <class Message>
bool read(std::string_view bytes, Message* out) {
  return out->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}
Outcome malformed() { return {Status(Code::kInternal, "etcdserver: the log entry holds a malformed request"), 0, {}}; }

lease::Options lessor_options(const Config& config) {
  lease::Options options;
  const uint64_t ms = uint64_t{3} * config.election_ticks() / 2 * config.heartbeat_ms;
  options.ttl_seconds_min = static_cast<int64_t>((ms + 999) / 1000);
  options.checkpoints = config.feature_gates.enabled(Feature::kLeaseCheckpoint);
  options.persist_checkpoints = config.feature_gates.enabled(Feature::kLeaseCheckpointPersist);
  return options;
}

// %016x, as etcd writes ids of leases.
std::string id_text(LeaseId id) {
  std::string bytes;
  base::append_be64(bytes, static_cast<uint64_t>(id.value()));
  return base::hex_bytes(bytes);
}

class CheckpointWaiter final : public Waiter {
 public:
  explicit CheckpointWaiter(std::function<void()> done) : done_(std::move(done)) {}
  void done(Outcome) override { done_(); }

 private:
  std::function<void()> done_;
};

std::string checkpoint_body(const std::vector<lease::Checkpoint>& checkpoints) {
  etcdserverpb::LeaseCheckpointRequest request;
  for (const lease::Checkpoint& checkpoint : checkpoints) {
    etcdserverpb::LeaseCheckpoint* out = request.add_checkpoints();
    out->set_id(checkpoint.id.value());
    out->set_remaining_ttl(checkpoint.remaining_ttl_s);
  }
  return request.SerializeAsString();
}

}  // namespace

class RevokeWaiter final : public Waiter {
 public:
  RevokeWaiter(Leases& leases, LeaseId id) : leases_(leases), id_(id) {}
  void done(Outcome outcome) override { leases_.revoke_done(id_, outcome.status); }

 private:
  Leases& leases_;
  const LeaseId id_;
};

Leases::Leases(Node& node)
    : node_(node),
      lessor_(node.backend(), lessor_options(node.config())),
      fast_keep_alive_(node.config().feature_gates.enabled(Feature::kFastLeaseKeepAlive)) {}

Status Leases::recover() {
  on_cluster_version();
  return lessor_.recover();
}

std::unique_ptr<lease::LessorImage> Leases::restart(std::unique_ptr<lease::LessorImage> image) {
  on_cluster_version();
  return lessor_.restart(std::move(image));
}

void Leases::on_cluster_version() {
  lessor_.set_persist_checkpoints(node_.config().feature_gates.enabled(Feature::kLeaseCheckpointPersist) ||
                                  at_least_3_6(node_.cluster_version()));
}

bool Leases::may_work() const { return lessor_.is_primary() && !node_.stopping(); }

// --- entries of the log -----------------------------------------------------------------------------------------------------

Outcome Leases::grant(std::string_view body) {
  etcdserverpb::LeaseGrantRequest request;
  if (!read(body, &request)) return malformed();
  Result<int64_t> granted = lessor_.grant(LeaseId(request.id()), request.ttl(), node_.environment().loop.clock().now());
  if (!granted.ok()) return {granted.status(), 0, {}};
  node_.metrics().lease_granted.add();
  node_.metrics().lease_ttl.observe(static_cast<double>(*granted));
  arm();
  etcdserverpb::LeaseGrantResponse response;
  response.set_id(request.id());
  response.set_ttl(*granted);
  return {Status(), node_.store().current_revision(), response.SerializeAsString()};
}

// The keys and the row go in one commit of the engine: one entry, one batch.
Outcome Leases::revoke(std::string_view body) {
  etcdserverpb::LeaseRevokeRequest request;
  if (!read(body, &request)) return malformed();
  const LeaseId id(request.id());
  Result<std::vector<std::string>> keys = lessor_.keys(id);
  if (!keys.ok()) return {keys.status(), 0, {}};
  if (!keys->empty()) {
    mvcc::Store::WriteTxn txn(node_.store());
    for (const std::string& key : *keys) (void)txn.delete_range(key, {});
    txn.commit();
  }
  lessor_.erase(id);
  node_.metrics().lease_revoked.add();
  const auto waiting = revoke_waits_.find(id);
  if (waiting != revoke_waits_.end()) {
    const std::vector<GoOn> all = std::move(waiting->second);
    revoke_waits_.erase(waiting);
    revoke_waits_count_ -= all.size();
    for (const GoOn& go_on : all) go_on(Status());
  }
  return {Status(), node_.store().current_revision(), {}};
}

Outcome Leases::checkpoint(std::string_view body) {
  etcdserverpb::LeaseCheckpointRequest request;
  if (!read(body, &request)) return malformed();
  const Instant now = node_.environment().loop.clock().now();
  for (const etcdserverpb::LeaseCheckpoint& one : request.checkpoints()) {
    lessor_.checkpoint(LeaseId(one.id()), one.remaining_ttl(), now);
  }
  arm();
  return {Status(), node_.store().current_revision(), {}};
}

// --- what happens to the member ---------------------------------------------------------------------------------------------

// Once a term: leases that are over get no new time while their revokes are on the way.
void Leases::on_leading(base::Term term) {
  if (std::exchange(leading_term_, term) == term) return;
  const auto extend = std::chrono::milliseconds(node_.config().election_ms);
  lessor_.promote(node_.environment().loop.clock().now(), extend);
  stood_still_ = false;
  end_waits(leader_waits_, Status());
  arm();
}

void Leases::on_following() {
  lessor_.demote();
  node_.environment().loop.cancel(timer_);
  timer_ = base::kNoTimer;
  // Who waits for the end of a lease asks again: the new leader may have given it time.
  const auto all = std::exchange(revoke_waits_, {});
  revoke_waits_count_ = 0;
  for (const auto& [id, waits] : all) {
    for (const GoOn& go_on : waits) go_on(Status());
  }
  // Who leads is asked, by those who waited for somebody to lead.
  if (node_.leader() != base::kNoNode && !node_.stopping()) end_waits(leader_waits_, Status());
}

void Leases::on_applied() {
  if (applied_waits_.empty()) return;
  const base::Index applied = node_.applied_index();
  std::vector<Wait> all;
  all.swap(applied_waits_);
  for (Wait& wait : all) {
    if (wait.applied <= applied) {
      wait.go_on(Status());
    } else {
      applied_waits_.push_back(std::move(wait));
    }
  }
}

// A quorum's word from before a pause, or from while another member was told to lead, says nothing about now.
void Leases::tick(Instant now) {
  const auto late = kTicksMissedMax * std::chrono::milliseconds(node_.config().heartbeat_ms);
  if ((last_tick_ != Instant() && now - last_tick_ > late) || node_.driver().hands_over()) {
    stood_still_ = true;
    stood_still_at_ = now;
  }
  last_tick_ = now;
  const auto expire = [now](std::vector<Wait>& waits, const Status& status) {
    if (waits.empty()) return;
    std::vector<Wait> all;
    all.swap(waits);
    for (Wait& wait : all) {
      if (wait.deadline <= now) {
        wait.go_on(status);
      } else {
        waits.push_back(std::move(wait));
      }
    }
  };
  expire(applied_waits_, errors::timeout_waiting_applied());
  expire(leader_waits_, errors::no_leader());
}

void Leases::stop() {
  on_following();
  end_waits(applied_waits_, errors::stopped());
  end_waits(leader_waits_, errors::stopped());
}

// --- who waits --------------------------------------------------------------------------------------------------------------

void Leases::add_wait(std::vector<Wait>& waits, Wait wait) {
  if (node_.stopping()) return wait.go_on(errors::stopped());
  if (waits.size() >= kWaitsMax) return wait.go_on(errors::too_many_requests());
  waits.push_back(std::move(wait));
}

void Leases::end_waits(std::vector<Wait>& waits, const Status& status) {
  const std::vector<Wait> all = std::exchange(waits, {});
  for (const Wait& wait : all) wait.go_on(status);
}

// What is committed now may hold the lease that is asked for.
void Leases::wait_applied(GoOn go_on) {
  const base::Index committed = node_.committed_index();
  if (committed <= node_.applied_index()) return go_on(Status());
  add_wait(applied_waits_, {committed, node_.environment().loop.clock().now() + kAppliedWaitMax, std::move(go_on)});
}

bool Leases::leadership_in_doubt() const {
  if (stood_still_ || node_.driver().hands_over()) return true;
  const base::Duration span = node_.environment().loop.clock().now() - last_tick_;
  return span > kTicksMissedMax * std::chrono::milliseconds(node_.config().heartbeat_ms);
}

// etcd's ensureLeadership. A read that comes back may have been confirmed by another leader: then we are no longer it.
void Leases::ensure_leading(GoOn go_on) {
  if (!leadership_in_doubt()) return go_on(Status());
  const Instant asked = node_.environment().loop.clock().now();
  node_.linearizable_barrier([this, asked, go_on = std::move(go_on)](const Status& read) {
    if (!read.ok() || !may_work() || !node_.driver().leads()) return go_on(errors::not_primary());
    if (stood_still_at_ <= asked) stood_still_ = false;
    go_on(Status());
  });
}

// For as long as any request waits. Alone, a leader other than us cannot come.
void Leases::wait_leader(GoOn go_on) {
  add_wait(leader_waits_, {base::Index(0), node_.environment().loop.clock().now() + node_.request_timeout(), std::move(go_on)});
}

// --- questions --------------------------------------------------------------------------------------------------------------

std::optional<Result<int64_t>> Leases::renew_now(LeaseId id) {
  if (FAILPOINT_ARMED(beforeCheckpointInLeaseRenew)) return std::nullopt;  // It may hold up the renewal alone.
  if (!may_work() || leadership_in_doubt() || !fast_keep_alive_) return std::nullopt;
  if (!lessor_.exists(id) || lessor_.renewal_needs_checkpoint(id)) return std::nullopt;
  Result<int64_t> ttl = lessor_.renew(id, node_.environment().loop.clock().now());
  if (!ttl.ok() && ttl.status().code() == Code::kAborted) return std::nullopt;
  if (ttl.ok()) renewed();
  return ttl;
}

// sim lease seed 3: a lease that a promotion gave more than its TTL ends earlier once it is renewed.
void Leases::renewed() {
  node_.metrics().lease_renewed.add();
  arm();
}

// After a pause, unless the client has given up by then.
template <class Done>
void Leases::ask_again(Instant deadline, const Done& done, std::function<void()> again) {
  base::Loop& loop = node_.environment().loop;
  if (node_.stopping()) return done(errors::stopped());
  if (loop.clock().now() + kAskLeaderPause > deadline) return done(errors::timeout());
  loop.after(kAskLeaderPause, std::move(again));
}

void Leases::renew(LeaseId id, Renewed done) {
  renew_until(id, node_.environment().loop.clock().now() + node_.request_timeout(), std::move(done));
}

void Leases::renew_until(LeaseId id, Instant deadline, Renewed done) {
  if (std::optional<Result<int64_t>> now = renew_now(id)) return done(std::move(*now));
  if (may_work()) {
    return renew_here(id, [this, id, deadline, done = std::move(done)](Result<int64_t> ttl) {
      if (ttl.ok() || ttl.status().code() != Code::kFailedPrecondition) return done(std::move(ttl));
      // We no longer lead, or do not know: whoever does is asked.
      if (!may_work()) return renew_until(id, deadline, done);
      ask_again(deadline, done, [this, id, deadline, done] { renew_until(id, deadline, done); });
    });
  }
  if (node_.leader() != base::kNoNode && node_.leader() != node_.id()) {
    etcdserverpb::LeaseKeepAliveRequest request;
    request.set_id(id.value());
    return ask_leader("/leases", request.SerializeAsString(),
                      [this, id, deadline, done = std::move(done)](Result<std::string> answer) {
                        if (answer.ok()) {
                          etcdserverpb::LeaseKeepAliveResponse response;
                          if (response.ParseFromString(*answer)) return done(response.ttl());
                        } else if (answer.status().code() == Code::kNotFound || node_.stopping()) {
                          return done(answer.status());
                        }
                        ask_again(deadline, done, [this, id, deadline, done] { renew_until(id, deadline, done); });
                      });
  }
  wait_leader([this, id, deadline, done = std::move(done)](const Status& led) {
    if (!led.ok()) return done(led);
    renew_until(id, deadline, done);
  });
}

void Leases::ask_leader(std::string path, std::string body, std::function<void(Result<std::string>)> done) {
  const Member* leader = node_.membership().find(node_.leader());
  MemberClient* members = node_.environment().members;
  if (leader == nullptr || members == nullptr) return done(errors::no_leader());
  peer::Question question;
  question.method = "POST";
  question.target = std::move(path);
  question.fields.emplace_back("Content-Type", "application/protobuf");
  question.body = std::move(body);
  members->ask(*leader, std::move(question), kAskLeaderTimeout, [done = std::move(done)](Result<peer::Answer> answer) {
    if (!answer.ok()) return done(Status(Code::kUnavailable, std::string(answer.status().text())));
    if (answer->status == 200) return done(std::move(answer->body));
    if (answer->status == 404) return done(lease_not_found());
    done(Status(Code::kUnavailable, "the leader answered " + std::to_string(answer->status)));
  });
}

void Leases::renew_here(LeaseId id, Renewed done) {
  ensure_leading([this, id, done = std::move(done)](const Status& leads) {
    if (!leads.ok()) return done(leads);
    wait_applied([this, id, done](const Status& applied) {
      if (!applied.ok()) return done(applied);
      if (!lessor_.is_primary()) return done(errors::not_primary());
      base::failpoint::Gate gate;  // this renewal's own
      const auto go_on = [this, id, done] { checkpoint_and_finish(id, done); };
      if (FAILPOINT_PASS(beforeCheckpointInLeaseRenew, gate, node_.environment().loop, go_on)) go_on();
    });
  });
}

void Leases::checkpoint_and_finish(LeaseId id, const Renewed& done) {
  if (!lessor_.renewal_needs_checkpoint(id)) return finish_renewal(id, done);
  // The followers must not take what the last checkpoint left for what there is.
  node_.propose(wire::Op::kLeaseCheckpoint, checkpoint_body({{id, 0}}),
                std::make_unique<CheckpointWaiter>([this, id, done] { finish_renewal(id, done); }));
}

void Leases::finish_renewal(LeaseId id, Renewed done) {
  Result<int64_t> ttl = lessor_.renew(id, node_.environment().loop.clock().now());
  if (ttl.ok()) renewed();
  if (ttl.ok() || ttl.status().code() != Code::kAborted) return done(std::move(ttl));
  // Over: the answer is there once the keys are gone.
  if (revoke_waits_count_ >= kWaitsMax) return done(errors::too_many_requests());
  ++revoke_waits_count_;
  revoke_waits_[id].push_back([this, id, done = std::move(done)](const Status&) { finish_renewal(id, done); });
}

void Leases::find(LeaseId id, bool with_keys, FoundDone done) {
  find_until(id, with_keys, node_.environment().loop.clock().now() + node_.request_timeout(), std::move(done));
}

void Leases::find_until(LeaseId id, bool with_keys, Instant deadline, FoundDone done) {
  if (may_work()) {
    return find_here(id, with_keys, [this, id, with_keys, deadline, done = std::move(done)](Result<Found> found) {
      if (!found.ok() && found.status().code() == Code::kFailedPrecondition) return find_until(id, with_keys, deadline, done);
      done(std::move(found));
    });
  }
  if (node_.leader() != base::kNoNode && node_.leader() != node_.id()) {
    leasepb::LeaseInternalRequest request;
    request.mutable_leasetimetoliverequest()->set_id(id.value());
    request.mutable_leasetimetoliverequest()->set_keys(with_keys);
    return ask_leader("/leases/internal", request.SerializeAsString(),
                      [this, id, with_keys, deadline, done = std::move(done)](Result<std::string> answer) {
                        leasepb::LeaseInternalResponse response;
                        if (answer.ok() && response.ParseFromString(*answer)) {
                          const etcdserverpb::LeaseTimeToLiveResponse& inner = response.leasetimetoliveresponse();
                          Found found;
                          found.granted_ttl_s = inner.grantedttl();
                          found.remaining_s = inner.ttl();
                          found.keys.assign(inner.keys().begin(), inner.keys().end());
                          return done(std::move(found));
                        }
                        if (!answer.ok() && (answer.status().code() == Code::kNotFound || node_.stopping())) {
                          return done(answer.status());
                        }
                        ask_again(deadline, done,
                                  [this, id, with_keys, deadline, done] { find_until(id, with_keys, deadline, done); });
                      });
  }
  wait_leader([this, id, with_keys, deadline, done = std::move(done)](const Status& led) {
    if (!led.ok()) return done(led);
    find_until(id, with_keys, deadline, done);
  });
}

void Leases::find_here(LeaseId id, bool with_keys, FoundDone done) {
  wait_applied([this, id, with_keys, done = std::move(done)](const Status& applied) {
    if (!applied.ok()) return done(applied);
    if (lessor_.exists(id) && !lessor_.is_primary()) return done(errors::not_primary());
    done(look_up(id, with_keys));
  });
}

Result<Leases::Found> Leases::look_up(LeaseId id, bool with_keys) const {
  FAILPOINT(beforeLookupWhenLeaseTimeToLive);
  Result<lease::Info> info = lessor_.find(id, node_.environment().loop.clock().now());
  if (!info.ok()) return info.status();
  Found found{info->granted_ttl_s, std::chrono::duration_cast<std::chrono::seconds>(info->remaining).count(), {}};
  if (with_keys) found.keys = *lessor_.keys(id);
  return found;
}

// --- the primary's work -----------------------------------------------------------------------------------------------------

// The next scan: when the earliest lease may be over, a checkpoint is due or, behind a batch of revokes, half of it is applied.
void Leases::arm() {
  if (!may_work()) return;
  Instant next = Instant::max();
  if (revokes_in_flight_ <= kRevokesInFlightMax / 2) next = std::max(lessor_.next_deadline(), paused_until_);
  if (!checkpoint_in_flight_) next = std::min(next, lessor_.next_checkpoint());
  if (next == Instant::max()) return;
  if (!backlog_) next = std::max(next, last_scan_ + kScanSpacing);
  if (timer_ != base::kNoTimer) {
    if (timer_at_ <= next) return;
    node_.environment().loop.cancel(timer_);
  }
  timer_at_ = next;
  timer_ = node_.environment().loop.at(next, [this] {
    timer_ = base::kNoTimer;
    scan();
  });
}

void Leases::scan() {
  if (!may_work()) return;
  last_scan_ = node_.environment().loop.clock().now();
  // What another leader would be told of the time that is left is older than what it knows.
  if (!checkpoint_in_flight_ && node_.driver().leads()) propose_checkpoints(last_scan_);
  if (last_scan_ >= paused_until_) revoke_expired(last_scan_);
  arm();
}

void Leases::revoke_expired(Instant now) {
  // A leader that stood still may have been replaced without knowing it yet; handed on to the new leader, what it has to say of
  // ends would take leases that were renewed there (etcd's TestLeaseRevoke_IgnoreOldLeader).
  if (!node_.driver().leads()) {
    paused_until_ = now + kRevokePause;
    return;
  }
  const size_t room = kRevokesInFlightMax - revokes_in_flight_;
  const std::vector<LeaseId> over = lessor_.expired(now, room);
  backlog_ = over.size() == room;
  etcdserverpb::LeaseRevokeRequest request;
  for (const LeaseId id : over) {
    request.set_id(id.value());
    ++revokes_in_flight_;
    node_.propose_in_term(wire::Op::kLeaseRevoke, request.SerializeAsString(), std::make_unique<RevokeWaiter>(*this, id));
  }
}

void Leases::revoke_done(LeaseId id, const Status& status) {
  --revokes_in_flight_;
  if (status.ok()) {
    node_.metrics().lease_expired.add();
  } else if (!node_.stopping()) {
    base::log::warn("failed to revoke lease", {{"lease-id", id_text(id)}, {"error", status}});
    // Somebody else revoked it meanwhile: no reason to hold back.
    if (status.code() != Code::kNotFound) paused_until_ = node_.environment().loop.clock().now() + kRevokePause;
  }
  arm();
}

void Leases::propose_checkpoints(Instant now) {
  const std::vector<lease::Checkpoint> due = lessor_.due_checkpoints(now, kCheckpointsPerEntryMax);
  if (due.empty()) return;
  checkpoint_in_flight_ = true;
  node_.propose_in_term(wire::Op::kLeaseCheckpoint, checkpoint_body(due), std::make_unique<CheckpointWaiter>([this] {
                          checkpoint_in_flight_ = false;
                          arm();
                        }));
}

}  // namespace server
