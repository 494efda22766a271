// Troubles that are aimed: sequences of cuts, power failures and elections that chance would take years to bring together, each
// at the instant that hurts: a vote that has just been sent, the first acknowledgement of a new leader, an installation half
// done. One at a time; when it ends everything it broke is healed. With members that keep their promises nothing comes of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/cluster.h"
#include "sim/run.h"

namespace sim {

class Plots {
 public:
  Plots(Cluster& cluster, uint32_t faults);
  // One of them, if the cluster as it is has what it takes. While busy() nobody else makes trouble.
  void start();
  bool busy() const { return busy_; }
  // Peace: whatever is under way is forgotten.
  void end();

 private:
  using Step = std::function<void()>;
  // A message that is waited for; the first that `fits` springs the trap, right behind its sending.
  using Fits = std::function<bool(base::NodeId from, const wire::RaftMessage&)>;

  void two_votes();
  void two_halves();
  void figure_eight();
  void power_at_a_message();
  void power_in_an_installation();
  void stale_commit();
  void deposed_leader();
  void ask_cut_off(Machine& leader, const std::vector<Machine*>& company);

  void begin(const std::string& what);
  void finish();
  void after(base::Duration span, Step step);
  // Looks every few ms; what does not come within `limit` ends the plot.
  void when(std::function<bool()> condition, base::Duration limit, Step step);
  void trap(Fits fits, base::Duration limit, Step step);
  void apart(const std::vector<Machine*>& side, const std::vector<Machine*>& other, bool cut);
  void cut_power(Machine& machine);
  void start_again(Machine& machine, base::Duration within);
  void lead(Machine& from, Machine& to);
  void put_big_value(Machine& machine, const std::string& key);
  // A linearizable read, which must be of this revision or later.
  void read(Machine& machine, int64_t at_least);
  bool has(Fault fault) const { return (faults_ & static_cast<uint32_t>(fault)) != 0; }
  Network& network() { return cluster_.network(); }
  base::Rng& rng() { return cluster_.world().rng(); }

  Cluster& cluster_;
  const uint32_t faults_;
  bool busy_ = false, ended_ = false;
  uint64_t act_ = 0;  // so that what was planned for an earlier one knows it is over
  Fits fits_;
  Step sprung_;
  uint64_t big_values_ = 0;
};

}  // namespace sim
