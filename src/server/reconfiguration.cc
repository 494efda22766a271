#include "server/reconfiguration.h"

#include "base/bytes.h"
#include "base/log.h"
#include "peer/transport.h"
#include "server/errors.h"
#include "server/member_client.h"
#include "server/node.h"
#include "server/raft_driver.h"

namespace server {
namespace {

using base::Code;
using base::NodeId;
using base::Result;
using base::Status;

constexpr base::Duration kPromoteRetry = std::chrono::milliseconds(50);

struct Counted {
  size_t members = 0;
  size_t started = 0;
};

Counted count_voters(const Membership& membership, NodeId except = base::kNoNode) {
  Counted out;
  for (const auto& [id, member] : membership.members()) {
    if (member.is_learner || id == except) continue;
    ++out.members;
    if (!member.name.empty()) ++out.started;
  }
  return out;
}

size_t quorum(size_t members) { return members / 2 + 1; }

bool enough(const Membership& membership, const Counted& counted, const char* what) {
  if (counted.started >= quorum(counted.members)) return true;
  base::log::warn(what, {{"number-of-started-member", counted.started},
                         {"quorum", quorum(counted.members)},
                         {"cluster-id", base::hex(membership.cluster_id())},
                         {"local-member-id", base::hex(membership.self().value())}});
  return false;
}

// What clients know instead of the membership's own texts.
Status on_the_wire(const Status& status) {
  const std::string_view text = status.text();
  if (text == "membership: ID removed" || text == "membership: ID not found") return errors::member_not_found();
  if (text == "membership: ID exists") return errors::member_exists();
  if (text == "membership: peerURL exists") return errors::peer_urls_exist();
  if (text == "membership: can only promote a learner member") return errors::member_not_learner();
  if (text == "membership: too many learner members in cluster") return errors::too_many_learners();
  return status;
}

std::string_view type_text(raft::ConfChangeType type) { return raft::name_of(type); }

// Hears how a conf change was applied.
class ChangeWaiter final : public Waiter {
 public:
  ChangeWaiter(Node& node, raft::ConfChange change, Reconfiguration::Done done, Reconfiguration::Gone gone)
      : node_(node), change_(std::move(change)), done_(std::move(done)), gone_(std::move(gone)) {}
  bool abandoned() const override { return gone_ && gone_(); }
  void done(Outcome outcome) override {
    // After this turn: by then Raft knows that the change is applied, and would not drop the client's next one.
    node_.environment().loop.post(
        [&node = node_, change = std::move(change_), status = std::move(outcome.status), done = std::move(done_)] {
          base::log::info("applied a configuration change through raft",
                          {{"local-member-id", base::hex(node.id().value())},
                           {"raft-conf-change", type_text(change.type)},
                           {"raft-conf-change-node-id", base::hex(change.node_id.value())}});
          done(on_the_wire(status));
        });
  }

 private:
  Node& node_;
  raft::ConfChange change_;
  Reconfiguration::Done done_;
  Reconfiguration::Gone gone_;
};

}  // namespace

bool may_add_voter(const Membership& membership) {
  Counted counted = count_voters(membership);
  ++counted.members;
  if (counted.started == 1 && counted.members == 2) return true;  // a single member may always grow
  return enough(membership, counted, "rejecting member add; started member will be less than quorum");
}

bool may_remove_voter(const Membership& membership, NodeId id) {
  return enough(membership, count_voters(membership, id), "rejecting member remove; started member will be less than quorum");
}

bool may_promote(const Membership& membership) {
  Counted counted = count_voters(membership);
  ++counted.members;
  ++counted.started;
  return enough(membership, counted, "rejecting member promote; started member will be less than quorum");
}

// Voters, ourselves among them, whose connections have worked for a while.
size_t Reconfiguration::connected_voters() const {
  const base::Instant since = node_.environment().loop.clock().now() - kHealthInterval;
  size_t connected = 0;
  for (const auto& [id, member] : node_.membership().members()) {
    if (member.is_learner) continue;
    if (id == node_.id()) {
      ++connected;
      continue;
    }
    if (node_.environment().peers == nullptr) continue;
    const std::optional<base::Instant> active = node_.environment().peers->active_since(id);
    if (active && *active < since) ++connected;
  }
  return connected;
}

void Reconfiguration::propose(raft::ConfChange change, Done done, Gone gone) {
  auto waiter = std::make_unique<ChangeWaiter>(node_, change, std::move(done), std::move(gone));
  node_.propose_conf_change(std::move(change), std::move(waiter));
}

// --- add, remove, update ----------------------------------------------------------------------------------------------------

Status Reconfiguration::check_add(const Member& member) const {
  if (!node_.config().strict_reconfig_check) return {};
  const std::string self = base::hex(node_.id().value());
  if (!member.is_learner && !may_add_voter(node_.membership())) {
    base::log::warn("rejecting member add request; not enough healthy members",
                    {{"local-member-id", self},
                     {"requested-member-add", go_text(member)},
                     {"error", errors::not_enough_started_members()}});
    return errors::not_enough_started_members();
  }
  const size_t voters = node_.membership().voter_count();
  if (voters > 1 && connected_voters() < quorum(voters + 1)) {
    base::log::warn(
        "rejecting member add request; local member has not been connected to majority peers, reconfigure breaks "
        "active quorum",
        {{"local-member-id", self}, {"requested-member-add", go_text(member)}, {"error", errors::unhealthy()}});
    return errors::unhealthy();
  }
  return {};
}

void Reconfiguration::add(const Member& member, Done done, Gone gone) {
  if (Status allowed = check_add(member); !allowed.ok()) return done(allowed);
  const auto type = member.is_learner ? raft::ConfChangeType::kAddLearnerNode : raft::ConfChangeType::kAddNode;
  propose({0, type, member.id, member_json(member)}, std::move(done), std::move(gone));
}

Status Reconfiguration::check_remove(NodeId id) const {
  if (!node_.config().strict_reconfig_check || node_.membership().is_learner(id)) return {};
  const std::string self = base::hex(node_.id().value()), target = base::hex(id.value());
  if (!may_remove_voter(node_.membership(), id)) {
    base::log::warn(
        "rejecting member remove request; not enough healthy members",
        {{"local-member-id", self}, {"requested-member-remove-id", target}, {"error", errors::not_enough_started_members()}});
    return errors::not_enough_started_members();
  }
  peer::Transport* peers = node_.environment().peers;
  const bool is_down = id != node_.id() && (peers == nullptr || !peers->active_since(id));
  if (is_down) return {};  // it is no part of the quorum at work
  const size_t active = connected_voters();
  if (active < 2 + (node_.membership().voter_count() - 1) / 2) {
    base::log::warn(
        "rejecting member remove request; local member has not been connected to all peers, reconfigure breaks "
        "active quorum",
        {{"local-member-id", self},
         {"requested-member-remove", target},
         {"active-peers", active},
         {"error", errors::unhealthy()}});
    return errors::unhealthy();
  }
  return {};
}

void Reconfiguration::remove(NodeId id, Done done, Gone gone) {
  if (Status allowed = check_remove(id); !allowed.ok()) return done(allowed);
  propose({0, raft::ConfChangeType::kRemoveNode, id, ""}, std::move(done), std::move(gone));
}

void Reconfiguration::update(NodeId id, const std::vector<std::string>& peer_urls, Done done, Gone gone) {
  Member member;
  member.id = id;
  member.peer_urls = peer_urls;
  propose({0, raft::ConfChangeType::kUpdateNode, id, member_json(member)}, std::move(done), std::move(gone));
}

// --- promotion --------------------------------------------------------------------------------------------------------------

Status Reconfiguration::check_promote(NodeId id) const {
  const raft::NodeStatus status = node_.driver().status();
  const auto learner = status.progress.find(id), own = status.progress.find(node_.id());
  if (learner == status.progress.end() || own == status.progress.end()) return errors::member_not_found();
  const double ready = static_cast<double>(learner->second.match.value()) /
                       static_cast<double>(std::max<uint64_t>(own->second.match.value(), 1));
  if (ready < kLearnerReadyPart) {
    base::log::error("rejecting promote learner: learner is not ready",
                     {{"learner-ready-percent", ready}, {"ready-percent-threshold", kLearnerReadyPart}});
    return errors::learner_not_ready();
  }
  if (node_.config().strict_reconfig_check && !may_promote(node_.membership())) {
    base::log::warn("rejecting member promote request; not enough healthy members",
                    {{"local-member-id", base::hex(node_.id().value())},
                     {"requested-member-remove-id", base::hex(id.value())},
                     {"error", errors::not_enough_started_members()}});
    return errors::not_enough_started_members();
  }
  return {};
}

void Reconfiguration::promote_as_leader(NodeId id, base::Instant deadline, Done done) {
  if (!node_.is_leader()) return done(errors::not_leader());
  if (Status allowed = check_promote(id); !allowed.ok()) return done(allowed);
  const std::string context = "{\"id\":" + std::to_string(id.value()) + ",\"peerURLs\":null,\"isPromote\":true}";
  const base::Clock& clock = node_.environment().loop.clock();
  propose({0, raft::ConfChangeType::kAddNode, id, context}, std::move(done),
          [&clock, deadline] { return clock.now() >= deadline; });
}

// One promotion on its way to a leader that is not us.
struct Reconfiguration::Promotion {
  NodeId id;
  std::string token;
  base::Instant deadline;
  Done done;
};

void Reconfiguration::promote(NodeId id, const std::string& token, Done done) {
  const base::Instant deadline = node_.environment().loop.clock().now() + node_.request_timeout();
  ask_leader(std::make_shared<Promotion>(Promotion{id, token, deadline, std::move(done)}));
}

void Reconfiguration::ask_leader_again(std::shared_ptr<Promotion> promotion) {
  node_.environment().loop.after(kPromoteRetry, [this, promotion = std::move(promotion)] { ask_leader(promotion); });
}

void Reconfiguration::ask_leader(std::shared_ptr<Promotion> promotion) {
  const base::Instant now = node_.environment().loop.clock().now();
  if (node_.stopping()) return promotion->done(errors::stopped());
  if (now >= promotion->deadline) {
    return promotion->done(node_.leader() == base::kNoNode ? errors::no_leader() : errors::timeout());
  }
  if (node_.is_leader()) return promote_as_leader(promotion->id, promotion->deadline, promotion->done);
  const Member* leader = node_.membership().find(node_.leader());
  if (leader == nullptr || node_.environment().members == nullptr) return ask_leader_again(std::move(promotion));
  peer::Question question;
  question.method = "POST";
  question.target = "/members/promote/" + std::to_string(promotion->id.value());
  if (!promotion->token.empty()) question.fields.emplace_back("Authorization", promotion->token);
  node_.environment().members->ask(
      *leader, std::move(question), promotion->deadline - now, [this, promotion](const Result<peer::Answer>& answer) {
        if (!answer.ok()) return ask_leader_again(promotion);
        const auto says = [&](const Status& status) { return answer->body.find(status.text()) != std::string::npos; };
        if (answer->status == 200) return promotion->done(Status());
        if (answer->status == 404) return promotion->done(errors::member_not_found());
        if (answer->status == 412 && says(errors::learner_not_ready())) return promotion->done(errors::learner_not_ready());
        if (answer->status == 412 && says(errors::member_not_learner_inside()))
          return promotion->done(errors::member_not_learner());
        ask_leader_again(promotion);
      });
}

// --- who leads --------------------------------------------------------------------------------------------------------------

void Reconfiguration::move_leader(NodeId to, base::Duration timeout, Done done) {
  if (!node_.is_leader()) return done(errors::not_leader());
  const Member* member = node_.membership().find(to);
  if (member == nullptr || member->is_learner) return done(errors::bad_leader_transferee());
  transfer(to, timeout, false, std::move(done));
}

// A leadership on its way to another member.
struct Reconfiguration::Transfer {
  NodeId to;
  base::Instant began, deadline;
  bool leaving;  // this member stops when it is done
  Done done;
};

void Reconfiguration::transfer(NodeId to, base::Duration timeout, bool leaving, Done done) {
  base::log::info("leadership transfer starting", {{"local-member-id", base::hex(node_.id().value())},
                                                   {"current-leader-member-id", base::hex(node_.leader().value())},
                                                   {"transferee-member-id", base::hex(to.value())}});
  const base::Instant now = node_.environment().loop.clock().now();
  node_.driver().transfer_leader(to);
  wait_for_leader(std::make_shared<Transfer>(Transfer{to, now, now + timeout, leaving, std::move(done)}));
}

void Reconfiguration::wait_for_leader(std::shared_ptr<Transfer> transfer) {
  base::Loop& loop = node_.environment().loop;
  const NodeId leader = node_.leader();
  const bool another = leader != base::kNoNode && leader != node_.id();
  if (leader == transfer->to || (transfer->leaving && another)) {
    const base::Duration took = loop.clock().now() - transfer->began;
    base::log::info("leadership transfer finished", {{"local-member-id", base::hex(node_.id().value())},
                                                     {"old-leader-member-id", base::hex(node_.id().value())},
                                                     {"new-leader-member-id", base::hex(leader.value())},
                                                     base::log::Field::duration("took", took.count())});
    return transfer->done(Status());
  }
  if (loop.clock().now() >= transfer->deadline) return transfer->done(errors::timeout_leader_transfer());
  if (transfer->leaving && !node_.environment().peers->active_since(transfer->to)) return transfer->done(errors::unhealthy());
  // A leader is known a round trip after the transfer began; a look each millisecond is for seconds at most.
  loop.after(std::chrono::milliseconds(1),
             [this, transfer = std::move(transfer)]() mutable { wait_for_leader(std::move(transfer)); });
}

void Reconfiguration::hand_over(Done done) {
  const auto skip = [&](const char* why) {
    base::log::info(why, {{"local-member-id", base::hex(node_.id().value())},
                          {"current-leader-member-id", base::hex(node_.leader().value())}});
    done(Status());
  };
  if (!node_.is_leader()) return skip("skipped leadership transfer; local server is not leader");
  if (node_.membership().voter_count() <= 1) return skip("skipped leadership transfer for single voting member cluster");
  NodeId longest = base::kNoNode;
  base::Instant oldest = base::Instant::max();
  for (const auto& [id, member] : node_.membership().members()) {
    if (member.is_learner || id == node_.id() || node_.environment().peers == nullptr) continue;
    const std::optional<base::Instant> active = node_.environment().peers->active_since(id);
    if (active && *active < oldest) {
      oldest = *active;
      longest = id;
    }
  }
  if (longest == base::kNoNode) return done(errors::unhealthy());
  transfer(longest, node_.request_timeout(), true, std::move(done));
}

}  // namespace server
