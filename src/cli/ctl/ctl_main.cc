#include "cli/ctl/ctl_main.h"

#include "cli/completion.h"
#include "cli/ctl/commands.h"
#include "cli/ctl/session.h"

namespace cli {
namespace ctl {

std::unique_ptr<Command> make_ctl_commands() {
  auto root = std::make_unique<Command>("etcdctl", "Command line client of an etcd cluster.");
  auto flags = std::make_shared<GlobalFlags>();
  add_global_flags(root->handed_down(), *flags);
  for (auto& [name, flag] : root->handed_down().all()) flag.hidden = true;  // `etcdctl options` lists them
  root->state = flags;
  root->prefix_matching = true;
  root->hide_help_flag = true;
  root->help_footer = "Use \"etcdctl options\" for a list of global command-line options (applies to all commands).\n";
  root->group_titles = {kKeyValueGroup, kMaintenanceGroup, kUtilityGroup};
  const auto add = [&root](const char* group, std::unique_ptr<Command> command) {
    command->group = group;
    root->add(std::move(command));
  };
  add(kKeyValueGroup, make_get_command());
  add(kKeyValueGroup, make_put_command());
  add(kKeyValueGroup, make_del_command());
  add(kKeyValueGroup, make_txn_command());
  add(kKeyValueGroup, make_compaction_command());
  add(kMaintenanceGroup, make_alarm_command());
  add(kMaintenanceGroup, make_defrag_command());
  add(kMaintenanceGroup, make_endpoint_command());
  add(kKeyValueGroup, make_watch_command());
  add(kUtilityGroup, make_version_command());
  add(kKeyValueGroup, make_lease_command());
  add(kMaintenanceGroup, make_member_command());
  add(kMaintenanceGroup, make_move_leader_command());
  add(kMaintenanceGroup, make_snapshot_command());
  add(kUtilityGroup, make_check_command());
  add(kUtilityGroup, make_completion_command());
  add(kUtilityGroup, make_options_command());
  add_complete_commands(*root);
  return root;
}

}  // namespace ctl

int ctl_main(int argc, char** argv) {
  const std::unique_ptr<Command> root = ctl::make_ctl_commands();
  return run_program(*root, argc, argv);
}

}  // namespace cli
