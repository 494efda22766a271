// The commands of benchmark, one file each.
#pragma once

#include <memory>

#include "cli/command.h"

namespace cli::benchmark {

std::unique_ptr<Command> make_put_command();
std::unique_ptr<Command> make_range_command();
std::unique_ptr<Command> make_txn_put_command();
std::unique_ptr<Command> make_txn_mixed_command();
std::unique_ptr<Command> make_watch_command();
std::unique_ptr<Command> make_watch_get_command();
std::unique_ptr<Command> make_watch_latency_command();
std::unique_ptr<Command> make_lease_keepalive_command();
std::unique_ptr<Command> make_stm_command();
std::unique_ptr<Command> make_mvcc_command();

// The whole tree, with the global flags.
std::unique_ptr<Command> make_benchmark_commands();

}  // namespace cli::benchmark
