#include <ostream>

#include "cli/ctl/commands.h"

namespace cli::ctl {

// The help of the commands hides the global flags; here they are.
std::unique_ptr<Command> make_options_command() {
  auto command = std::make_unique<Command>("options", "Shows the global flags");
  command->run = [](const Invocation& invocation) {
    invocation.terminal.out << "Flags that every command takes:\n\n"
                            << flag_usages(invocation.command.parent()->handed_down(), true);
    return Exit();
  };
  return command;
}

}  // namespace cli::ctl
