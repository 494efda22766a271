#include "cli/ctl/commands.h"
#include "cli/ctl/requests.h"
#include "cli/ctl/session.h"

namespace cli::ctl {
namespace {

constexpr const char* kDetails = R"(Writes a key.

A value that begins with '-' would be read as a flag; put '--' before it:

$ put <key> -- <value>
$ put -- <key> <value>

Without <value> and --ignore-value the value is read from standard input, to its end:

$ put <key> < file
)";

Exit run_put(const Invocation& invocation, const PutOptions& options) {
  etcdserverpb::PutRequest request;
  Exit exit = make_put_request(options, invocation.arguments, invocation.terminal, request);
  if (exit.code != kExitOk) return exit;
  Setup setup;
  Connection connection;
  exit = prepare(invocation, setup);
  const Client::Deadline deadline = connection.deadline(setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::PutResponse response;
  const base::Status status =
      connection.client->call("/etcdserverpb.KV/Put", request, Retry::kWrite, deadline, response);
  return status.ok() ? setup.printer->put(response) : failed(status);
}

}  // namespace

std::unique_ptr<Command> make_put_command() {
  auto command =
      std::make_unique<Command>("put [options] <key> <value> (<value> can also be given from stdin)", "Writes a key");
  auto options = std::make_shared<PutOptions>();
  add_put_flags(command->flags(), *options);
  command->details = kDetails;
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_put(invocation, *options); };
  return command;
}

}  // namespace cli::ctl
