#include "cli/gateway/balancer.h"

namespace cli::gateway {

Balancer::Balancer(const std::vector<Rank>& ranks, uint64_t seed) : rng_(seed) {
  for (const Rank& rank : ranks) backends_.push_back({rank});
}

std::optional<size_t> Balancer::pick() {
  std::vector<size_t> weighted, unweighted;
  std::optional<uint16_t> best;
  uint64_t weights = 0;
  for (size_t i = 0; i < backends_.size(); ++i) {
    const auto& [rank, active] = backends_[i];
    if (!active || (best && rank.priority > *best)) continue;
    if (!best || rank.priority < *best) {
      best = rank.priority;
      weights = 0;
      weighted.clear();
      unweighted.clear();
    }
    (rank.weight > 0 ? weighted : unweighted).push_back(i);
    weights += rank.weight;
  }
  if (!best) return std::nullopt;
  const bool in_turn = weighted.empty() || (!unweighted.empty() && rng_.one_in(kUnweightedShare));
  if (in_turn) return unweighted[turn_++ % unweighted.size()];
  uint64_t left = rng_.below(weights);
  size_t chosen = 0;
  while (left >= backends_[weighted[chosen]].rank.weight) left -= backends_[weighted[chosen++]].rank.weight;
  return weighted[chosen];
}

}  // namespace cli::gateway
