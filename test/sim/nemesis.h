// Who makes trouble: cuts, kills, slows down, breaks disks, moves the leader, changes the members; and heals, in pieces or all.
// Mostly it leaves a quorum alone, so that something happens meanwhile; now and then it takes everybody.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "sim/cluster.h"
#include "sim/plots.h"
#include "sim/run.h"

namespace sim {

class Nemesis {
 public:
  Nemesis(Cluster& cluster, uint32_t faults) : cluster_(cluster), plots_(cluster, faults), faults_(faults) {}
  void start() { rest(); }
  // No more trouble; what is there is healed, whoever is down comes back.
  void end();
  // Machines that are still to join, leave or be promoted.
  bool busy() const { return changing_; }

 private:
  bool has(Fault fault) const { return (faults_ & static_cast<uint32_t>(fault)) != 0; }
  void rest();
  void act();
  bool recover_something();
  Machine* victim();
  void cut();
  void keep_state(Machine& machine);
  void break_disk(Machine& machine);
  bool may_lose_state(const Machine& machine);
  bool may_start_anew(const Machine& machine);
  void damage(Machine& machine);
  void change_members();
  void add();
  void change_nothing();
  void join(base::NodeId id, const std::string& url);
  void promote(Machine& machine, int tries);
  void remove(base::NodeId id);
  Machine* any_server();
  size_t impaired();

  Cluster& cluster_;
  Plots plots_;
  const uint32_t faults_;
  bool ended_ = false;
  bool changing_ = false;
  // Who votes, since when, as the leader has it; and who did when a machine's disk was kept, by its number.
  std::vector<base::NodeId> voters_;
  base::Instant voters_since_{};
  std::map<size_t, std::vector<base::NodeId>> kept_voters_;
  bool damage_due_ = false;  // as soon as it harms nobody else
};

}  // namespace sim
