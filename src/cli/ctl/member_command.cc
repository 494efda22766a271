#include "cli/ctl/commands.h"
#include "cli/ctl/requests.h"
#include "cli/ctl/session.h"

namespace cli::ctl {
namespace {

constexpr const char* kListDetails =
    "Lists the members. With --write-out=simple a line has, with commas between: id, status, name, peer addresses, client\n"
    "addresses, whether it is a learner.\n";

struct ListOptions {
  std::string consistency = "l";
};

Exit run_list(const Invocation& invocation, const ListOptions& options) {
  bool serializable = false;
  // etcdctl quotes the default of another command's flag in this error.
  Exit exit = read_consistency(options.consistency, "l", serializable);
  if (exit.code != kExitOk) return exit;
  Setup setup;
  Connection connection;
  exit = prepare(invocation, setup);
  const Client::Deadline deadline = connection.deadline(setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::MemberListRequest request;
  request.set_linearizable(!serializable);
  etcdserverpb::MemberListResponse response;
  const base::Status status =
      connection.client->call("/etcdserverpb.Cluster/MemberList", request, Retry::kRead, deadline, response);
  return status.ok() ? setup.printer->member_list(response) : failed(status);
}

std::unique_ptr<Command> make_list_command() {
  auto command = std::make_unique<Command>("list", "Lists the members of the cluster");
  auto options = std::make_shared<ListOptions>();
  command->flags().add("consistency", &options->consistency, "l: linearizable, s: serializable");
  command->details = kListDetails;
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_list(invocation, *options); };
  return command;
}

}  // namespace

std::unique_ptr<Command> make_member_command() {
  auto command =
      std::make_unique<Command>("member <subcommand>", "Members of the cluster. `etcdctl member --help` lists the subcommands");
  command->details = "Members of the cluster";
  command->add(make_list_command());
  return command;
}

}  // namespace cli::ctl
