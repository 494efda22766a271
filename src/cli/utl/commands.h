// The commands of etcdutl, one function and one file each. Source of behaviour: etcdutl 3.7.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "cli/command.h"

namespace cli::utl {

struct GlobalFlags {
  base::Duration lock_timeout = std::chrono::seconds(10);
  std::string write_out = "simple";
};
const GlobalFlags& global_flags(const Command& command);
// What --write-out says; for commands that etcdctl has, too, whose global flags are others.
std::string write_out(Command& command);
// Whether --write-out may be that.
bool is_format(std::string_view text);

std::unique_ptr<Command> make_check_command();
std::unique_ptr<Command> make_defrag_command();
std::unique_ptr<Command> make_hashkv_command();
std::unique_ptr<Command> make_migrate_command();
std::unique_ptr<Command> make_snapshot_restore_command();
std::unique_ptr<Command> make_snapshot_status_command();
std::unique_ptr<Command> make_version_command();

// The whole tree, with the global flags.
std::unique_ptr<Command> make_utl_commands();

}  // namespace cli::utl
