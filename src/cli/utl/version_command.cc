#include <ostream>

#include "cli/utl/commands.h"
#include "server/config.h"

namespace cli::utl {

std::unique_ptr<Command> make_version_command() {
  auto command = std::make_unique<Command>("version", "Shows the version of etcdutl");
  command->run = [](const Invocation& invocation) {
    invocation.terminal.out << "etcdutl version: " << server::kVersion << "\nAPI version: " << server::kMinorVersion << "\n";
    return Exit();
  };
  return command;
}

}  // namespace cli::utl
