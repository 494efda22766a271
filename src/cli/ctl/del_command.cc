#include "cli/ctl/commands.h"
#include "cli/ctl/requests.h"
#include "cli/ctl/session.h"

namespace cli::ctl {
namespace {

Exit run_del(const Invocation& invocation, const DelOptions& options) {
  etcdserverpb::DeleteRangeRequest request;
  Exit exit = make_delete_request(options, invocation.arguments, invocation.terminal, request);
  if (exit.code != kExitOk) return exit;
  Setup setup;
  Connection connection;
  exit = prepare(invocation, setup);
  const Client::Deadline deadline = connection.deadline(setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::DeleteRangeResponse response;
  const base::Status status =
      connection.client->call("/etcdserverpb.KV/DeleteRange", request, Retry::kWrite, deadline, response);
  return status.ok() ? setup.printer->delete_range(response) : failed(status);
}

}  // namespace

std::unique_ptr<Command> make_del_command() {
  auto command =
      std::make_unique<Command>("del [options] <key> [range_end]", "Deletes a key or the range of keys [key, range_end)");
  auto options = std::make_shared<DelOptions>();
  add_del_flags(command->flags(), *options);
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_del(invocation, *options); };
  return command;
}

}  // namespace cli::ctl
