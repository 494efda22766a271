// Which backend gets the next connection: of those that are active the best priority class, in it by weight, without weights in
// turn. Pure. Source of behaviour: etcd server/proxy/tcpproxy; unlike there, a turn never leaves the class.
#pragma once

#include <optional>
#include <vector>

#include "base/rng.h"

namespace cli::gateway {

struct Rank {
  uint16_t priority = 0;  // the lowest is served first
  uint16_t weight = 0;
};

class Balancer {
 public:
  // Those without a weight get one of so many connections when others of their class have one.
  static constexpr uint64_t kUnweightedShare = 100;

  Balancer(const std::vector<Rank>& ranks, uint64_t seed);
  // Its number; nothing if none is active. O(backends).
  std::optional<size_t> pick();
  bool active(size_t backend) const { return backends_[backend].active; }
  void set_active(size_t backend, bool active) { backends_[backend].active = active; }

 private:
  struct Backend {
    Rank rank;
    bool active = true;
  };
  std::vector<Backend> backends_;
  size_t turn_ = 0;
  base::Rng rng_;
};

}  // namespace cli::gateway
