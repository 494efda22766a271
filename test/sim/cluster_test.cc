// Whole clusters in virtual time, by seed. SEED=n replays one and tells its story; SEEDS=n runs so many from FROM on.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include "base/log.h"
#include "sim/probe.h"
#include "sim/run.h"

namespace {

// Two hours of virtual time.
constexpr uint64_t kSeedsOfACheck = 135;

uint64_t number(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// "seed members faults seconds clients watchers pace_ms": a plan that is not the seed's own.
std::string line_of(const sim::Plan& plan) {
  std::ostringstream out;
  out << plan.seed << " " << plan.members << " " << plan.faults << " " << plan.storm / std::chrono::seconds(1) << " "
      << plan.clients << " " << plan.watchers << " " << plan.pace / std::chrono::milliseconds(1);
  return out.str();
}

bool parse_line(const std::string& line, sim::Plan* plan) {
  std::istringstream in(line);
  int64_t storm_s = 0, pace_ms = 0;
  if (!(in >> plan->seed >> plan->members >> plan->faults >> storm_s >> plan->clients >> plan->watchers >> pace_ms))
    return false;
  plan->storm = std::chrono::seconds(storm_s);
  plan->pace = std::chrono::milliseconds(pace_ms);
  return true;
}

void print_story(const sim::Verdict& verdict) {
  for (const std::string& line : verdict.story) std::cout << line << "\n";
}

}  // namespace

TEST_CASE("cluster: every promise is kept, whatever happens to members, disks and network") {
  base::log::set_level(base::log::Level::kPanic);
  const uint64_t one = number("SEED", 0);
  const uint64_t first = one != 0 ? one : number("FROM", 1);
  const uint64_t count = one != 0 ? 1 : number("SEEDS", kSeedsOfACheck);
  if (one != 0 && std::getenv("LOG") != nullptr) base::log::set_level(base::log::Level::kInfo);
  sim::Verdict total;
  const auto began = std::chrono::steady_clock::now();
  for (uint64_t seed = first; seed < first + count; ++seed) {
    sim::Plan plan = sim::plan_of(seed);
    if (const char* dir = std::getenv("HISTORY"); dir != nullptr && one != 0) plan.for_validator = dir;
    const sim::Verdict verdict = sim::run(plan);
    if (one != 0) {
      print_story(verdict);
      std::cout << sim::describe(plan) << ": " << verdict.steps << " steps, " << verdict.ok << " ok, " << verdict.refused
                << " refused, " << verdict.unknown << " unknown, revision " << verdict.revisions << ", trace "
                << verdict.trace_hash << "\n"
                << "as a line of regressions.txt: " << line_of(plan) << "\n";
    }
    total.steps += verdict.steps;
    total.ok += verdict.ok;
    total.unknown += verdict.unknown;
    total.simulated += verdict.simulated;
    if (one != 0 && !verdict.failure.empty() && std::getenv("SHRINK") != nullptr) {
      const sim::Plan small = sim::shrink(plan);
      print_story(sim::run(small));
      std::cout << "shrunk: " << line_of(small) << "  # " << verdict.failure << "\n";
    }
    CHECK_MESSAGE(verdict.failure.empty(), sim::describe(plan), ": ", verdict.failure);
  }
  if (one != 0) return;
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const double simulated = std::chrono::duration<double>(total.simulated).count();
  std::cout << count << " seeds from " << first << ": " << simulated << " s simulated in " << took << " s, " << simulated / took
            << " times real time; " << total.steps << " steps, " << total.ok << " calls ok, " << total.unknown << " unknown\n";
  if (std::getenv("SEEDS") == nullptr) return;
  for (const auto& [name, times] : sim::probes()) std::cout << "  " << times << "  " << name << "\n";
  for (const std::string& name : sim::probes_missing()) std::cout << "  never: " << name << "\n";
}

TEST_CASE("cluster: what failed once") {
  base::log::set_level(base::log::Level::kPanic);
  std::ifstream file("test/sim/regressions.txt");
  REQUIRE(file.is_open());
  for (std::string line; std::getline(file, line);) {
    sim::Plan plan;
    if (line.starts_with("#") || !parse_line(line, &plan)) continue;
    const sim::Verdict verdict = sim::run(plan);
    CHECK_MESSAGE(verdict.failure.empty(), line, ": ", verdict.failure);
  }
}

TEST_CASE("cluster: the same seed is the same story") {
  base::log::set_level(base::log::Level::kPanic);
  sim::Plan plan = sim::plan_of(7);
  plan.storm = std::chrono::seconds(10);
  const sim::Verdict first = sim::run(plan), second = sim::run(plan);
  CHECK(first.steps == second.steps);
  CHECK(first.trace_hash == second.trace_hash);
  plan.seed = 8;
  CHECK(sim::run(plan).trace_hash != first.trace_hash);
}
