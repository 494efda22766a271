// The commands of etcdctl, one function and one file each. A new command is written in its own file, declared here and added to
// the tree in ctl_main.cc.
#pragma once

#include <memory>

#include "cli/command.h"

namespace cli::ctl {

inline constexpr const char* kKeyValueGroup = "Key-value commands";
inline constexpr const char* kMaintenanceGroup = "Cluster maintenance commands";
inline constexpr const char* kUtilityGroup = "Utility commands";

std::unique_ptr<Command> make_get_command();
std::unique_ptr<Command> make_put_command();
std::unique_ptr<Command> make_del_command();
std::unique_ptr<Command> make_txn_command();
std::unique_ptr<Command> make_compaction_command();
std::unique_ptr<Command> make_alarm_command();
std::unique_ptr<Command> make_defrag_command();
std::unique_ptr<Command> make_endpoint_command();
std::unique_ptr<Command> make_watch_command();
std::unique_ptr<Command> make_lease_command();
std::unique_ptr<Command> make_member_command();
std::unique_ptr<Command> make_move_leader_command();
std::unique_ptr<Command> make_snapshot_command();
std::unique_ptr<Command> make_check_command();
std::unique_ptr<Command> make_version_command();
std::unique_ptr<Command> make_options_command();

// The whole tree, with the global flags.
std::unique_ptr<Command> make_ctl_commands();

}  // namespace cli::ctl
