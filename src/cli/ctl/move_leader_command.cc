#include "cli/ctl/commands.h"
#include "cli/ctl/session.h"
#include "cli/text.h"

namespace cli::ctl {
namespace {

std::string list(const std::vector<std::string>& words) {
  std::string out = "[";
  for (const std::string& word : words) out += (out.size() > 1 ? " " : "") + word;
  return out + "]";
}

// Asks each endpoint whether it leads; the first that does is told.
Exit run(const Invocation& invocation) {
  if (invocation.arguments.size() != 1) return fail(kExitBadArguments, "move-leader command needs 1 argument");
  const base::Result<uint64_t> target = parse_hex_id(invocation.arguments[0]);
  if (!target.ok()) return fail(kExitBadArguments, std::string(target.status().text()));
  Setup setup;
  Exit exit = prepare(invocation, setup);
  if (exit.code != kExitOk) return exit;
  const Client::Deadline deadline = base::RealClock().now() + setup.command_timeout;
  for (const std::string& endpoint : setup.config.endpoints) {
    Connection connection;
    exit = connect(config_for(setup, endpoint), connection);
    if (exit.code != kExitOk) return exit;
    etcdserverpb::StatusResponse status;
    base::Status called = connection.client->call("/etcdserverpb.Maintenance/Status", etcdserverpb::StatusRequest(),
                                                  Retry::kRead, deadline, status);
    if (!called.ok()) return failed(called);
    if (status.header().member_id() != status.leader()) continue;
    etcdserverpb::MoveLeaderRequest request;
    request.set_targetid(*target);
    etcdserverpb::MoveLeaderResponse response;
    called = connection.client->call("/etcdserverpb.Maintenance/MoveLeader", request, Retry::kWrite, deadline, response);
    return called.ok() ? setup.printer->move_leader(status.leader(), *target, response) : failed(called);
  }
  return fail(kExitBadArguments, "no leader endpoint given at " + list(setup.config.endpoints));
}

}  // namespace

std::unique_ptr<Command> make_move_leader_command() {
  auto command = std::make_unique<Command>("move-leader <transferee-member-id>", "Hands leadership to another member");
  command->run = run;
  return command;
}

}  // namespace cli::ctl
