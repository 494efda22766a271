#include "raft/group.h"

#include <doctest/doctest.h>

#include "base/rng.h"
#include "raft/describe.h"

using namespace raft;

namespace {

enum class How { kSimple, kJoint, kJointAuto, kLeave };

std::string apply(Group& group, How how, std::string_view text) {
  const std::vector<ConfChangeSingle> changes = *changes_from_string(text);
  base::Result<Members> next = how == How::kSimple  ? group.simple(changes, Index(10))
                               : how == How::kLeave ? group.leave_joint()
                                                    : group.enter_joint(how == How::kJointAuto, changes, Index(10));
  if (!next.ok()) return std::string(next.status().text());
  group.set(std::move(*next));
  return group.config().to_string();
}

struct Step {
  How how;
  const char* changes;
  const char* result;
};

void run(const std::vector<Step>& steps) {
  Group group(10, kNoLimit);
  for (const Step& step : steps) {
    CAPTURE(step.changes);
    CHECK(apply(group, step.how, step.changes) == step.result);
    // Whatever the group became can be written down and read back.
    const base::Result<Members> again = Group(10, kNoLimit).restored(group.config().conf_state(), Index(10));
    REQUIRE(again.ok());
    CHECK(again->config == group.config());
    CHECK(again->progress.size() == group.progress().size());
  }
}

}  // namespace

TEST_CASE("group: one voter at a time without a joint configuration") {
  run({{How::kSimple, "", "removed all voters"},
       {How::kSimple, "l1", "removed all voters"},
       {How::kSimple, "v1 v2", "more than one voter changed without entering joint config"},
       {How::kSimple, "v1", "voters=(1)"},
       {How::kSimple, "v1", "voters=(1)"},
       {How::kSimple, "v2 l3 l4", "voters=(1 2) learners=(3 4)"},
       {How::kSimple, "v5 v6", "more than one voter changed without entering joint config"},
       {How::kSimple, "r1 v5", "more than one voter changed without entering joint config"},
       {How::kSimple, "v3", "voters=(1 2 3) learners=(4)"},
       {How::kSimple, "l3", "voters=(1 2) learners=(3 4)"},
       {How::kSimple, "u1 u99", "voters=(1 2) learners=(3 4)"},
       {How::kSimple, "v0", "voters=(1 2) learners=(3 4)"},
       {How::kSimple, "r4 r3", "voters=(1 2)"},
       {How::kSimple, "r7", "voters=(1 2)"},
       {How::kSimple, "r1", "voters=(2)"},
       {How::kSimple, "r2", "removed all voters"},
       {How::kLeave, "", "can't leave a non-joint config"}});
}

TEST_CASE("group: joint configurations") {
  run({{How::kJoint, "v1", "can't make a zero-voter config joint"},
       {How::kSimple, "v1", "voters=(1)"},
       {How::kJoint, "v2 v3", "voters=(1 2 3)&&(1)"},
       {How::kJoint, "v4", "config is already joint"},
       {How::kSimple, "v4", "can't apply simple config change in joint config"},
       {How::kLeave, "", "voters=(1 2 3)"},
       {How::kJointAuto, "r1 r2 v4 v5 l6", "voters=(3 4 5)&&(1 2 3) learners=(6) autoleave"},
       {How::kLeave, "", "voters=(3 4 5) learners=(6)"},
       {How::kJoint, "r3 r4 r5", "removed all voters"},
       {How::kJoint, "", "voters=(3 4 5)&&(3 4 5) learners=(6)"},
       {How::kLeave, "", "voters=(3 4 5) learners=(6)"}});
}

TEST_CASE("group: a demoted voter becomes a learner when the joint configuration is left") {
  run({{How::kSimple, "v1", "voters=(1)"},
       {How::kJoint, "v2 v3", "voters=(1 2 3)&&(1)"},
       {How::kLeave, "", "voters=(1 2 3)"},
       {How::kJoint, "l2 r3 l4", "voters=(1)&&(1 2 3) learners=(4) learners_next=(2)"},
       {How::kLeave, "", "voters=(1) learners=(2 4)"},
       {How::kJoint, "v2 v2 l2", "voters=(1)&&(1) learners=(2 4)"},
       {How::kLeave, "", "voters=(1) learners=(2 4)"}});
}

TEST_CASE("group: progress comes and goes with the members") {
  Group group(10, kNoLimit);
  apply(group, How::kSimple, "v1");
  Progress* first = group.find(NodeId(1));
  REQUIRE(first != nullptr);
  CHECK(first->next == Index(10));
  first->match = Index(7);
  apply(group, How::kSimple, "v2");
  CHECK(group.find(NodeId(1))->match == Index(7));  // Kept over changes of others.
  CHECK(group.find(NodeId(2))->recent_active);
  CHECK(group.find(NodeId(3)) == nullptr);
  CHECK(describe(group.progress()) == "1: StateProbe match=7 next=10\n2: StateProbe match=0 next=10\n");
  apply(group, How::kJoint, "r2 v3");
  CHECK(group.find(NodeId(2)) != nullptr);  // Still votes.
  apply(group, How::kLeave, "");
  CHECK(group.find(NodeId(2)) == nullptr);
}

TEST_CASE("group: which kind of change is asked for") {
  Group group(10, kNoLimit);
  apply(group, How::kSimple, "v1");
  const auto change = [&](ConfChangeTransition transition, std::string_view text) {
    base::Result<Members> next = group.changed({transition, *changes_from_string(text), {}}, Index(3));
    return next.ok() ? next->config.to_string() : std::string(next.status().text());
  };
  CHECK(change(ConfChangeTransition::kAuto, "v2") == "voters=(1 2)");
  CHECK(change(ConfChangeTransition::kAuto, "v2 v3") == "voters=(1 2 3)&&(1) autoleave");
  CHECK(change(ConfChangeTransition::kJointImplicit, "v2") == "voters=(1 2)&&(1) autoleave");
  CHECK(change(ConfChangeTransition::kJointExplicit, "v2") == "voters=(1 2)&&(1)");
  CHECK(change(ConfChangeTransition::kAuto, "") == "can't leave a non-joint config");
}

TEST_CASE("group: any configuration survives being written down") {
  base::Rng rng(7);
  for (int round = 0; round < 200; ++round) {
    ConfState state;
    // Learners next are outgoing voters that are no incoming ones; learners are neither.
    for (uint64_t id = 1; id <= 10; ++id) {
      const uint64_t place = rng.below(6);
      if (place == 0 || place == 1 || id == 1) state.voters.emplace_back(id);
      if (place == 2 && id != 1) state.learners.emplace_back(id);
    }
    if (rng.one_in(2)) {
      for (uint64_t id = 1; id <= 10; ++id) {
        const NodeId node(id);
        const bool learner = std::count(state.learners.begin(), state.learners.end(), node) > 0;
        const bool voter = std::count(state.voters.begin(), state.voters.end(), node) > 0;
        if (learner || rng.one_in(2)) continue;
        state.voters_outgoing.push_back(node);
        if (!voter && rng.one_in(2)) state.learners_next.push_back(node);
      }
      state.auto_leave = !state.voters_outgoing.empty() && rng.one_in(2);
    }
    CAPTURE(describe(state));
    const base::Result<Members> members = Group(1, kNoLimit).restored(state, Index(1));
    REQUIRE(members.ok());
    CHECK(members->config.conf_state() == state);
  }
}

TEST_CASE("group: votes are counted once, and only those of voters show") {
  Group group(10, kNoLimit);
  apply(group, How::kSimple, "v1");
  apply(group, How::kSimple, "v2");
  apply(group, How::kSimple, "v3 l4");
  group.record_vote(NodeId(1), true);
  group.record_vote(NodeId(2), false);
  group.record_vote(NodeId(2), true);  // Too late to change it.
  group.record_vote(NodeId(4), true);
  Tally tally = group.tally();
  CHECK(tally.granted == 1);
  CHECK(tally.rejected == 1);
  CHECK(tally.result == VoteResult::kPending);
  group.record_vote(NodeId(3), true);
  CHECK(group.tally().result == VoteResult::kWon);
  group.reset_votes();
  tally = group.tally();
  CHECK(tally.granted == 0);
  CHECK(tally.result == VoteResult::kPending);
}

TEST_CASE("group: learners are no part of an active quorum") {
  Group group(10, kNoLimit);
  apply(group, How::kSimple, "v1");
  apply(group, How::kSimple, "v2");
  apply(group, How::kSimple, "v3 l4");
  for (auto& [id, progress] : group.progress()) progress.recent_active = id == NodeId(1) || id == NodeId(4);
  CHECK_FALSE(group.quorum_active());
  group.find(NodeId(2))->recent_active = true;
  CHECK(group.quorum_active());
}
