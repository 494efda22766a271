#include "cli/ctl/commands.h"
#include "cli/ctl/session.h"

namespace cli::ctl {
namespace {

using etcdserverpb::AlarmRequest;
using etcdserverpb::AlarmResponse;

constexpr std::string_view kAlarm = "/etcdserverpb.Maintenance/Alarm";

base::Status list_alarms(Client& client, Client::Deadline deadline, AlarmResponse& response) {
  AlarmRequest request;
  request.set_action(AlarmRequest::GET);
  return client.call(kAlarm, request, Retry::kRead, deadline, response);
}

// Each alarm on its own, as the Go client does; the answer has no header.
base::Status disarm_all(Client& client, Client::Deadline deadline, AlarmResponse& all) {
  AlarmResponse active;
  base::Status status = list_alarms(client, deadline, active);
  for (const etcdserverpb::AlarmMember& alarm : active.alarms()) {
    AlarmRequest request;
    request.set_action(AlarmRequest::DEACTIVATE);
    request.set_memberid(alarm.memberid());
    request.set_alarm(alarm.alarm());
    AlarmResponse response;
    if (status.ok()) status = client.call(kAlarm, request, Retry::kRead, deadline, response);
    all.mutable_alarms()->MergeFrom(response.alarms());
  }
  return status;
}

Exit run_alarm(const Invocation& invocation, bool disarm) {
  if (!invocation.arguments.empty()) {
    return fail(kExitBadArguments, std::string("alarm ") + (disarm ? "disarm" : "list") + " command accepts no arguments");
  }
  Setup setup;
  Connection connection;
  Exit exit = prepare(invocation, setup);
  const Client::Deadline deadline = connection.deadline(setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  AlarmResponse response;
  const base::Status status =
      disarm ? disarm_all(*connection.client, deadline, response) : list_alarms(*connection.client, deadline, response);
  return status.ok() ? setup.printer->alarm(response) : failed(status);
}

}  // namespace

std::unique_ptr<Command> make_alarm_command() {
  auto command =
      std::make_unique<Command>("alarm <subcommand>", "Alarms of the members. `etcdctl alarm --help` lists the subcommands");
  command->details = "Alarms of the members";
  auto disarm = std::make_unique<Command>("disarm", "Takes back all alarms");
  disarm->run = [](const Invocation& invocation) { return run_alarm(invocation, true); };
  command->add(std::move(disarm));
  auto list = std::make_unique<Command>("list", "Lists the alarms that are active");
  list->run = [](const Invocation& invocation) { return run_alarm(invocation, false); };
  command->add(std::move(list));
  return command;
}

}  // namespace cli::ctl
