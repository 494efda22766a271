#include "cli/utl/utl_main.h"

#include <iostream>

#include "base/log.h"
#include "cli/completion.h"
#include "cli/utl/commands.h"

namespace cli {
namespace utl {

const GlobalFlags& global_flags(const Command& command) { return *static_cast<const GlobalFlags*>(command.root().state.get()); }

std::string write_out(Command& command) { return find_flag(command.visible_flags(), "write-out")->text(); }

bool is_format(std::string_view text) {
  return text == "simple" || text == "table" || text == "fields" || text == "json" || text == "protobuf";
}

std::unique_ptr<Command> make_utl_commands() {
  auto root = std::make_unique<Command>("etcdutl", "Works on the files of members that do not run.");
  auto flags = std::make_shared<GlobalFlags>();
  root->handed_down().add("timeout", &flags->lock_timeout, "how long to wait for the lock of a data directory; 0: for ever");
  root->handed_down().add("write-out", &flags->write_out, "form of the output (fields, json, protobuf, simple, table)", 'w');
  root->state = flags;
  root->prefix_matching = true;
  auto snapshot = std::make_unique<Command>("snapshot <subcommand>", "Snapshot files of members");
  snapshot->add(make_snapshot_restore_command());
  snapshot->add(make_snapshot_status_command());
  root->add(std::move(snapshot));
  root->add(make_check_command());
  root->add(make_completion_command());
  root->add(make_defrag_command());
  root->add(make_hashkv_command());
  root->add(make_migrate_command());
  root->add(make_version_command());
  add_complete_commands(*root);
  return root;
}

}  // namespace utl

int utl_main(int argc, char** argv) {
  base::log::Options options;
  options.console = true;
  if (const base::Status status = base::log::configure(options); !status.ok()) {
    std::cerr << "Error: " << status.text() << "\n";
    return kExitError;
  }
  const std::unique_ptr<Command> root = utl::make_utl_commands();
  return run_program(*root, argc, argv, /*repeats_usage_errors=*/true);
}

}  // namespace cli
