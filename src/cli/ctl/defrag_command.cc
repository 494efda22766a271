#include <ostream>

#include "base/log.h"
#include "cli/ctl/commands.h"
#include "cli/ctl/session.h"

namespace cli::ctl {
namespace {

struct Options {
  bool cluster = false;
};

// One member after the other, so that never two are busy with it.
Exit run_defrag(const Invocation& invocation, const Options& options) {
  Setup setup;
  std::vector<std::string> endpoints;
  Exit exit = prepare(invocation, setup);
  if (exit.code == kExitOk) exit = list_endpoints(setup, options.cluster, endpoints);
  if (exit.code != kExitOk) return exit;
  bool all_done = true;
  for (const std::string& endpoint : endpoints) {
    Connection connection;
    exit = connect(config_for(setup, endpoint), connection);
    if (exit.code != kExitOk) return exit;
    const base::Instant began = connection.clock.now();
    etcdserverpb::DefragmentResponse response;
    const base::Status status =
        connection.client->call("/etcdserverpb.Maintenance/Defragment", etcdserverpb::DefragmentRequest(), Retry::kWrite,
                                connection.deadline(setup), response);
    const std::string took = base::log::duration_text((connection.clock.now() - began).count());
    if (status.ok()) {
      invocation.terminal.out << "Finished defragmenting etcd member[" << endpoint << "]. took " << took << "\n" << std::flush;
    } else {
      all_done = false;
      invocation.terminal.err << "Failed to defragment etcd member[" << endpoint << "]. took " << took << ". (" << status.text()
                              << ")\n"
                              << std::flush;
    }
  }
  return all_done ? Exit() : fail(kExitError, "");
}

}  // namespace

std::unique_ptr<Command> make_defrag_command() {
  auto command = std::make_unique<Command>("defrag", "Gives unused space of the members' files back to the file system");
  auto options = std::make_shared<Options>();
  command->handed_down().add("cluster", &options->cluster, "all members that the member list names");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_defrag(invocation, *options); };
  return command;
}

}  // namespace cli::ctl
