#include <ostream>

#include "cli/ctl/commands.h"
#include "cli/ctl/session.h"

namespace cli::ctl {
namespace {

struct Options {
  bool physical = false;
};

Exit run_compaction(const Invocation& invocation, const Options& options) {
  if (invocation.arguments.size() != 1) return fail(kExitBadArguments, "compaction command needs 1 argument");
  const base::Result<int64_t> revision = parse_int(invocation.arguments[0], 10);
  if (!revision.ok()) return failed(revision.status());
  Setup setup;
  Connection connection;
  Exit exit = prepare(invocation, setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::CompactionRequest request;
  request.set_revision(*revision);
  request.set_physical(options.physical);
  etcdserverpb::CompactionResponse response;
  const base::Status status = connection.client->call("/etcdserverpb.KV/Compact", request, Retry::kWrite,
                                                      connection.deadline(setup), response);
  if (!status.ok()) return failed(status);
  invocation.terminal.out << "compacted revision " << *revision << "\n";
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_compaction_command() {
  auto command = std::make_unique<Command>("compaction [options] <revision>", "Drops the history before a revision");
  auto options = std::make_shared<Options>();
  command->flags().add("physical", &options->physical, "wait until the old revisions are gone from the disk");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_compaction(invocation, *options); };
  return command;
}

}  // namespace cli::ctl
