#include "cli/benchmark/benchmark_main.h"

#include <iostream>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/benchmark/commands.h"
#include "cli/benchmark/load.h"
#include "cli/completion.h"

namespace cli {
namespace benchmark {

std::unique_ptr<Command> make_benchmark_commands() {
  auto root = std::make_unique<Command>("benchmark", "Puts load on an etcd cluster and measures how it answers.");
  auto flags = std::make_shared<GlobalFlags>();
  add_global_flags(root->handed_down(), *flags);
  root->state = flags;
  root->add(make_put_command());
  root->add(make_range_command());
  root->add(make_txn_mixed_command());
  root->add(make_txn_put_command());
  root->add(make_watch_command());
  root->add(make_watch_get_command());
  root->add(make_watch_latency_command());
  root->add(make_lease_keepalive_command());
  root->add(make_stm_command());
  root->add(make_mvcc_command());
  root->add(make_completion_command());
  add_complete_commands(*root);
  return root;
}

}  // namespace benchmark

int benchmark_main(int argc, char** argv) {
  constexpr int kExitUsage = 255;
  Terminal terminal{std::cin, std::cout, std::cerr};
  const std::unique_ptr<Command> root = benchmark::make_benchmark_commands();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const Executed executed = execute(*root, arguments, terminal);
  std::cout.flush();
  base::log::flush();
  if (!executed.exit.error.empty()) std::cerr << executed.exit.error << "\n";
  return executed.usage_error ? kExitUsage : executed.exit.code;
}

}  // namespace cli
