#include <doctest/doctest.h>

#include <map>

#include "cli/gateway/balancer.h"
#include "cli/gateway/discovery.h"

using cli::gateway::Balancer;
using cli::gateway::Rank;

namespace {

std::map<size_t, int> picks(Balancer& balancer, int times) {
  std::map<size_t, int> counts;
  for (int i = 0; i < times; ++i) {
    const auto picked = balancer.pick();
    if (picked) ++counts[*picked];
  }
  return counts;
}

}  // namespace

TEST_CASE("gateway: without weights they come in turn, and only those that are active") {
  Balancer balancer({Rank(), Rank(), Rank()}, 1);
  CHECK(picks(balancer, 30) == std::map<size_t, int>{{0, 10}, {1, 10}, {2, 10}});
  balancer.set_active(1, false);
  CHECK(picks(balancer, 30) == std::map<size_t, int>{{0, 15}, {2, 15}});
  balancer.set_active(0, false);
  balancer.set_active(2, false);
  CHECK_FALSE(balancer.pick().has_value());
  balancer.set_active(1, true);
  CHECK(balancer.pick() == std::optional<size_t>(1));
}

TEST_CASE("gateway: the best class that has an active one serves, the lowest and highest numbers too") {
  Balancer balancer({{65535, 0}, {7, 1}, {0, 0}, {7, 0}, {0, 0}}, 2);
  CHECK(picks(balancer, 20) == std::map<size_t, int>{{2, 10}, {4, 10}});
  balancer.set_active(2, false);
  balancer.set_active(4, false);
  const auto mixed = picks(balancer, 10000);  // one with a weight, one without: the latter has its hundredth
  CHECK(mixed.size() == 2);
  CHECK(mixed.at(3) > 40);
  CHECK(mixed.at(3) < 200);
  balancer.set_active(1, false);
  CHECK(picks(balancer, 5) == std::map<size_t, int>{{3, 5}});
  balancer.set_active(3, false);
  CHECK(picks(balancer, 5) == std::map<size_t, int>{{0, 5}});
}

TEST_CASE("gateway: shares are as the weights") {
  Balancer balancer({{1, 10}, {1, 30}, {1, 60}}, 3);
  const auto counts = picks(balancer, 100000);
  CHECK(counts.at(0) == doctest::Approx(10000).epsilon(0.05));
  CHECK(counts.at(1) == doctest::Approx(30000).epsilon(0.05));
  CHECK(counts.at(2) == doctest::Approx(60000).epsilon(0.05));
  Balancer heaviest({{1, 65535}, {1, 65535}}, 4);
  CHECK(picks(heaviest, 1000).size() == 2);
}

TEST_CASE("gateway: names of services") {
  CHECK(cli::gateway::service_of(true, "") == "etcd-client-ssl");
  CHECK(cli::gateway::service_of(false, "") == "etcd-client");
  CHECK(cli::gateway::service_of(true, "blue") == "etcd-client-ssl-blue");
}
