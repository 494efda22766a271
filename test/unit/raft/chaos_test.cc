// Groups under bad luck: messages are lost, doubled and reordered, members die with their unsaved state and come back, the
// membership changes. Whatever happens: one leader a term, one history, no vote taken back; and with peace comes progress.
#include <doctest/doctest.h>

#include <deque>
#include <map>
#include <set>

#include "base/rng.h"
#include "unit/raft/support.h"

using namespace raft;

namespace {

constexpr int kStepsOfTrouble = 10000;
constexpr int kStepsOfPeace = 1000;
constexpr size_t kMessagesMax = 2000;  // on the network; more are lost

struct Node {
  raft::test::Lines lines;
  MemoryLog log;
  Config config;
  std::unique_ptr<RawNode> raft;
  std::deque<Message> appends, applies;  // asynchronous work
  Index applied;                         // of the state machine, which survives
  ConfState conf_state;
};

class Chaos {
 public:
  Chaos(uint64_t seed, size_t members, bool async) : rng_(seed), async_(async) {
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->index = Index(1);
    snapshot->term = Term(1);
    for (uint64_t id = 1; id <= members; ++id) snapshot->conf_state.voters.emplace_back(id);
    for (uint64_t id = 1; id <= members + 1; ++id) {  // One more, who may be added.
      auto node = std::make_unique<Node>();
      node->lines.keep(false);
      if (id <= members) VERIFY(node->log.apply_snapshot(snapshot).ok());
      node->applied = node->log.last_index();
      node->conf_state = node->log.conf_state();
      Config& config = node->config;
      config.id = NodeId(id);
      config.storage = &node->log;
      config.logger = &node->lines;
      config.seed = rng_.next();
      config.pre_vote = rng_.one_in(2);
      config.check_quorum = rng_.one_in(2);
      config.async_storage_writes = async_;
      config.message_bytes_max = 64;
      config.inflight_messages_max = 4;
      nodes_.push_back(std::move(node));
      start(*nodes_.back());
    }
  }

  void trouble() {
    for (int i = 0; i < kStepsOfTrouble; ++i) {
      Node& node = *nodes_[rng_.below(nodes_.size())];
      switch (rng_.below(24)) {
        case 0:
          if (rng_.one_in(5)) crash(node);
          break;
        case 1:
          propose(node);
          break;
        case 2:
          change_members(node);
          break;
        case 3:
          compact(node);
          break;
        case 4:
          if (rng_.one_in(10)) node.raft->transfer_leader(NodeId(1 + rng_.below(nodes_.size())));
          break;
        case 5:
          node.raft->report_unreachable(NodeId(1 + rng_.below(nodes_.size())));
          break;
        case 6:
          if (rng_.one_in(4)) (void)node.raft->forget_leader();
          break;
        case 7:
        case 8:
        case 9:
          node.raft->tick();
          break;
        case 10:
        case 11:
        case 12:
        case 13:
          work(node);
          break;
        case 14:
          storage_work(node);
          break;
        default:
          deliver(true);
      }
    }
  }

  // Nothing is lost any more: somebody leads, and what is proposed is applied by every voter.
  void peace() {
    for (int i = 0; i < kStepsOfPeace && !settled(); ++i) {
      for (auto& node : nodes_) {
        node->raft->tick();
        for (const auto& [id, progress] : node->raft->status().progress) {
          if (progress.state != ProgressState::kSnapshot) continue;
          // An older snapshot may not name a member that came later: that one refuses it.
          snapshot(*node);
          node->raft->report_snapshot(id, false);
        }
        // What was handed out earlier than a leader change may be lost for it: it proposes again.
        if (i % 20 == 0 && node->raft->raft().role() == Role::kLeader) propose(*node);
      }
      drain();
    }
    CHECK(settled());
  }

  size_t history() const { return history_.size(); }
  size_t leaders() const { return leader_of_.size(); }
  size_t conf_changes() const { return conf_changes_; }

 private:
  void start(Node& node) {
    node.config.applied = node.applied;
    node.raft = std::make_unique<RawNode>(node.config);
    node.appends.clear();
    node.applies.clear();
  }

  void crash(Node& node) {
    // The state machine may be ahead of the commit index on disk: that one is not synced alone.
    HardState state = node.log.hard_state();
    state.commit = std::max(state.commit, node.applied);
    node.log.set_hard_state(state);
    snapshot(node);
    start(node);
  }

  void snapshot(Node& node) {
    if (node.applied <= node.log.snapshot()->index) return;
    VERIFY(node.log.create_snapshot(node.applied, &node.conf_state, "").ok());
  }

  void compact(Node& node) {
    if (node.applied < node.log.first_index()) return;
    snapshot(node);
    VERIFY(node.log.compact(node.applied).ok());
  }

  void propose(Node& node) { (void)node.raft->propose(std::make_shared<const std::string>(std::to_string(++proposals_))); }

  void change_members(Node& node) {
    if (!rng_.one_in(3)) return;
    ConfChangeV2 change;
    change.transition = static_cast<ConfChangeTransition>(rng_.below(3));
    const size_t count = rng_.below(3);
    for (size_t i = 0; i < count; ++i) {
      change.changes.push_back({static_cast<ConfChangeType>(rng_.below(4)), NodeId(1 + rng_.below(nodes_.size()))});
    }
    // Never remove so many that the others cannot go on without those that do not know it.
    NodeSet voters = node.raft->raft().group().config().voters.incoming;
    size_t removed = 0;
    for (const ConfChangeSingle& one : change.changes) {
      removed += one.type == ConfChangeType::kRemoveNode || one.type == ConfChangeType::kAddLearnerNode;
    }
    if (voters.size() < removed + 2) return;
    (void)node.raft->propose_conf_change(change);
  }

  void apply(Node& node, const std::vector<Entry>& entries) {
    for (const Entry& entry : entries) {
      REQUIRE(entry.index == node.applied + 1);
      node.applied = entry.index;
      const auto [known, fresh] = history_.try_emplace(entry.index, entry);
      REQUIRE(known->second == entry);  // One history for all.
      if (entry.type == EntryType::kNormal) continue;
      const base::Result<ConfChangeV2> change = decode_conf_change(entry);
      REQUIRE(change.ok());
      node.conf_state = node.raft->apply_conf_change(*change);
      conf_changes_ += fresh;
    }
  }

  void save(Node& node, const HardState& state, const std::vector<Entry>& entries, const SnapshotPtr& snapshot) {
    if (!state.empty()) {
      const HardState before = node.log.hard_state();
      REQUIRE(state.term >= before.term);
      if (state.term == before.term && before.vote != kNoNode) REQUIRE(state.vote == before.vote);
      node.log.set_hard_state(state);
    }
    if (snapshot != nullptr) {
      // Entries of the same save come behind the snapshot.
      if (!entries.empty()) REQUIRE(entries.front().index == snapshot->index + 1);
      VERIFY(node.log.apply_snapshot(snapshot).ok());
      node.applied = snapshot->index;
      node.conf_state = snapshot->conf_state;
    }
    node.log.append(entries);
  }

  void work(Node& node) {
    if (!node.raft->has_ready()) return;
    Ready ready = node.raft->take_ready();
    if (node.raft->raft().role() == Role::kLeader) {
      const auto [known, fresh] = leader_of_.try_emplace(node.raft->raft().term(), node.config.id);
      REQUIRE(known->second == node.config.id);  // One leader a term.
    }
    if (async_) {
      for (Message& m : ready.messages) {
        if (m.to == kLocalAppendThread) {
          node.appends.push_back(std::move(m));
        } else if (m.to == kLocalApplyThread) {
          node.applies.push_back(std::move(m));
        } else {
          send(std::move(m));
        }
      }
      return;
    }
    // A leader's messages leave before its own save, as they do in a member.
    for (Message& m : ready.messages) send(std::move(m));
    if (rng_.one_in(60) && !calm_) {
      crash(node);
      return;
    }
    save(node, ready.hard_state.value_or(HardState{}), ready.entries, ready.snapshot);
    for (Message& m : ready.messages_after_save) send(std::move(m));
    apply(node, ready.committed);
    node.raft->advance();
  }

  void storage_work(Node& node) {
    std::vector<Message> responses;
    if (!node.appends.empty() && (calm_ || rng_.one_in(2))) {
      Message m = std::move(node.appends.front());
      node.appends.pop_front();
      save(node, {m.term, m.vote, m.commit}, m.entries, m.snapshot);
      responses = std::move(m.responses);
    } else if (!node.applies.empty()) {
      Message m = std::move(node.applies.front());
      node.applies.pop_front();
      apply(node, m.entries);
      responses = std::move(m.responses);
    }
    for (Message& m : responses) {
      if (m.to == node.config.id) {
        (void)node.raft->step(std::move(m));
      } else {
        send(std::move(m));
      }
    }
  }

  void send(Message&& m) {
    if (network_.size() >= kMessagesMax) network_.pop_front();
    network_.push_back(std::move(m));
  }

  void deliver(bool trouble) {
    if (network_.empty()) return;
    const size_t at = trouble && rng_.one_in(4) ? rng_.below(network_.size()) : 0;
    Message m = network_[at];
    if (!trouble || !rng_.one_in(20)) network_.erase(network_.begin() + static_cast<ptrdiff_t>(at));  // Else: once more later.
    if (trouble && rng_.one_in(10)) return;
    Node& node = *nodes_.at(m.to.value() - 1);
    (void)node.raft->step(std::move(m));
  }

  void drain() {
    calm_ = true;
    for (int round = 0; round < 20; ++round) {
      for (auto& node : nodes_) {
        work(*node);
        while (!node->appends.empty() || !node->applies.empty()) storage_work(*node);
      }
      for (size_t count = network_.size(); count > 0; --count) deliver(false);
    }
  }

  // A leader is known to every voter of its own configuration, and they all have applied what it has.
  bool settled() const {
    if (network_.size() > 100) return false;
    for (const auto& node : nodes_) {
      const Raft& raft = node->raft->raft();
      if (raft.role() != Role::kLeader || node->applied < Index(history_.size())) continue;
      bool all =
          raft.log().committed() == raft.log().last_index() && raft.log().term_or_zero(raft.log().committed()) == raft.term();
      for (const NodeId id : raft.group().config().voters.all()) {
        const Node& other = *nodes_.at(id.value() - 1);
        all = all && other.applied == node->applied && other.raft->raft().leader() == raft.id();
      }
      if (all) return true;
    }
    return false;
  }

  base::Rng rng_;
  const bool async_;
  bool calm_ = false;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::deque<Message> network_;
  std::map<Index, Entry> history_;
  std::map<Term, NodeId> leader_of_;
  uint64_t proposals_ = 0;
  size_t conf_changes_ = 0;
};

}  // namespace

TEST_CASE("raft: safety under trouble, progress in peace") {
  size_t history = 0, leaders = 0, conf_changes = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    Chaos chaos(seed, 1 + seed % 5, seed % 2 == 0);
    chaos.trouble();
    chaos.peace();
    history += chaos.history();
    leaders += chaos.leaders();
    conf_changes += chaos.conf_changes();
  }
  // The trouble was not so bad that nothing happened.
  MESSAGE(history, " entries, ", leaders, " leaders, ", conf_changes, " conf changes");
  CHECK(history > 8000);
  CHECK(leaders > 1000);
  CHECK(conf_changes > 300);
}
