#include <ostream>

#include "cli/ctl/commands.h"
#include "server/config.h"

namespace cli::ctl {

std::unique_ptr<Command> make_version_command() {
  auto command = std::make_unique<Command>("version", "Shows the version of etcdctl");
  command->run = [](const Invocation& invocation) {
    invocation.terminal.out << "etcdctl version: " << server::kVersion << "\nAPI version: " << server::kMinorVersion << "\n";
    return Exit();
  };
  return command;
}

}  // namespace cli::ctl
