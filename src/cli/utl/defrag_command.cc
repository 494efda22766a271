#include "cli/utl/commands.h"
#include "cli/utl/lock_wait.h"
#include "io/real_disk.h"
#include "server/stopped_member.h"

namespace cli::utl {
namespace {

Exit run(const Invocation& invocation, const std::string& data_dir) {
  io::RealDisk disk;
  auto member = server::StoppedMember::open(disk, data_dir, wait_for_lock(global_flags(invocation.command).lock_timeout));
  const base::Status done = member.ok() ? (*member)->defragment() : member.status();
  if (done.ok()) return Exit();
  return fail(kExitError, "Failed to defragment etcd data[" + data_dir + "] (" + std::string(done.text()) + ")");
}

}  // namespace

std::unique_ptr<Command> make_defrag_command() {
  auto command = std::make_unique<Command>("defrag", "Gives back the disk space of what was erased");
  auto data_dir = std::make_shared<std::string>();
  command->flags().add("data-dir", data_dir.get(), "the data directory of a member that does not run (required)").required =
      true;
  command->state = data_dir;
  command->run = [data_dir = data_dir.get()](const Invocation& invocation) { return run(invocation, *data_dir); };
  return command;
}

}  // namespace cli::utl
