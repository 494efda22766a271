#include <algorithm>
#include <cctype>
#include <ostream>

#include "base/flags.h"
#include "base/split.h"
#include "cli/ctl/commands.h"
#include "cli/ctl/requests.h"
#include "cli/ctl/session.h"
#include "cli/text.h"
#include "server/url.h"

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

// --- changes

struct ChangeOptions {
  std::string peer_urls;
  bool learner = false;
};

// The one argument of remove, update and promote.
Exit read_member_id(const Invocation& invocation, uint64_t& id) {
  if (invocation.arguments.size() != 1) return fail(kExitBadArguments, "member ID is not provided");
  const base::Result<uint64_t> parsed = parse_hex_id(invocation.arguments[0]);
  if (!parsed.ok()) {
    return fail(kExitBadArguments, "bad member ID arg (" + std::string(parsed.status().text()) + "), expecting ID in Hex");
  }
  id = *parsed;
  return Exit();
}

// The client looks at the URLs before it sends them.
Exit read_peer_urls(const ChangeOptions& options, std::vector<std::string>& urls) {
  if (options.peer_urls.empty()) return fail(kExitBadArguments, "member peer urls not provided");
  urls = base::split(options.peer_urls, ',');
  return Exit();
}
Exit check_urls(const std::vector<std::string>& urls) {
  const base::Result<server::Urls> parsed = server::parse_urls(urls);
  return parsed.ok() ? Exit() : failed(parsed.status());
}

// Sends the change and shows the answer; `setup` and `response` are for what comes after.
template <class Request, class Response>
Exit send(const Invocation& invocation, const char* method, const Request& request, Retry retry, Setup& setup,
          Response& response) {
  Connection connection;
  Exit exit = prepare(invocation, setup);
  const Client::Deadline deadline = connection.deadline(setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  const base::Status status = connection.client->call(method, request, retry, deadline, response);
  return status.ok() ? Exit() : failed(status);
}

std::string argument_error(const std::vector<std::string>& arguments) {
  std::string text = "too many arguments";
  for (const std::string& argument : arguments) {
    std::string lower = argument.substr(0, 4);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (lower == "http") text += ", did you mean --peer-urls=" + argument;
  }
  return text;
}

// What the new member is to be started with.
void print_environment(const std::string& name, const std::string& urls, const etcdserverpb::MemberAddResponse& response,
                       std::ostream& out) {
  std::string cluster;
  for (const etcdserverpb::Member& member : response.members()) {
    for (const std::string& url : member.peerurls()) {
      cluster += (cluster.empty() ? "" : ",") + (member.id() == response.member().id() ? name : member.name()) + "=" + url;
    }
  }
  out << "\nETCD_NAME=" << base::flags::quote(name) << "\nETCD_INITIAL_CLUSTER=" << base::flags::quote(cluster)
      << "\nETCD_INITIAL_ADVERTISE_PEER_URLS=" << base::flags::quote(urls) << "\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n";
}

Exit run_add(const Invocation& invocation, const ChangeOptions& options) {
  if (invocation.arguments.empty()) return fail(kExitBadArguments, "member name not provided");
  if (invocation.arguments.size() > 1) return fail(kExitBadArguments, argument_error(invocation.arguments));
  etcdserverpb::MemberAddRequest request;
  std::vector<std::string> urls;
  Exit exit = read_peer_urls(options, urls);
  if (exit.code == kExitOk) exit = check_urls(urls);
  if (exit.code != kExitOk) return exit;
  for (const std::string& url : urls) request.add_peerurls(url);
  request.set_islearner(options.learner);
  Setup setup;
  etcdserverpb::MemberAddResponse response;
  exit = send(invocation, "/etcdserverpb.Cluster/MemberAdd", request, Retry::kWrite, setup, response);
  if (exit.code != kExitOk) return exit;
  const std::string what = response.member().islearner() ? "added as learner to" : "added to";
  exit = setup.printer->member_change(
      {response.member().id(), what, response.header(), response.members(), &response.member(), response});
  if (setup.printer->format() == Format::kSimple) {
    print_environment(invocation.arguments[0], options.peer_urls, response, invocation.terminal.out);
  }
  return exit;
}

template <class Request, class Response>
Exit change(const Invocation& invocation, const char* method, const char* what, uint64_t id, Request request) {
  Setup setup;
  Response response;
  request.set_id(id);
  const Exit exit = send(invocation, method, request, Retry::kWrite, setup, response);
  if (exit.code != kExitOk) return exit;
  return setup.printer->member_change({id, what, response.header(), response.members(), nullptr, response});
}

Exit run_remove(const Invocation& invocation) {
  uint64_t id = 0;
  if (Exit exit = read_member_id(invocation, id); exit.code != kExitOk) return exit;
  return change<etcdserverpb::MemberRemoveRequest, etcdserverpb::MemberRemoveResponse>(
      invocation, "/etcdserverpb.Cluster/MemberRemove", "removed from", id, {});
}

Exit run_update(const Invocation& invocation, const ChangeOptions& options) {
  uint64_t id = 0;
  std::vector<std::string> urls;
  Exit exit = read_member_id(invocation, id);
  if (exit.code == kExitOk) exit = read_peer_urls(options, urls);
  if (exit.code == kExitOk) exit = check_urls(urls);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::MemberUpdateRequest request;
  for (const std::string& url : urls) request.add_peerurls(url);
  return change<etcdserverpb::MemberUpdateRequest, etcdserverpb::MemberUpdateResponse>(
      invocation, "/etcdserverpb.Cluster/MemberUpdate", "updated in", id, std::move(request));
}

Exit run_promote(const Invocation& invocation) {
  uint64_t id = 0;
  if (Exit exit = read_member_id(invocation, id); exit.code != kExitOk) return exit;
  return change<etcdserverpb::MemberPromoteRequest, etcdserverpb::MemberPromoteResponse>(
      invocation, "/etcdserverpb.Cluster/MemberPromote", "promoted in", id, {});
}

std::unique_ptr<Command> make_add_command() {
  auto command = std::make_unique<Command>("add <memberName> [options]", "Adds a member to the cluster");
  auto options = std::make_shared<ChangeOptions>();
  command->flags().add("peer-urls", &options->peer_urls, "peer URLs of the new member, with commas between");
  command->flags().add("learner", &options->learner, "the member only listens until it is promoted");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_add(invocation, *options); };
  return command;
}

std::unique_ptr<Command> make_update_command() {
  auto command = std::make_unique<Command>("update <memberID> [options]", "Changes the peer URLs of a member");
  auto options = std::make_shared<ChangeOptions>();
  command->flags().add("peer-urls", &options->peer_urls, "its peer URLs from now on, with commas between");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_update(invocation, *options); };
  return command;
}

std::unique_ptr<Command> make_plain_command(const char* use, const char* brief, Exit (*run)(const Invocation&)) {
  auto command = std::make_unique<Command>(use, brief);
  command->run = run;
  return command;
}

}  // namespace

std::unique_ptr<Command> make_member_command() {
  auto command =
      std::make_unique<Command>("member <subcommand>", "Members of the cluster. `etcdctl member --help` lists the subcommands");
  command->details = "Members of the cluster";
  command->add(make_add_command());
  command->add(make_list_command());
  command->add(make_plain_command("promote <memberID>", "Makes a voter of a learner", run_promote));
  command->add(make_plain_command("remove <memberID>", "Removes a member from the cluster", run_remove));
  command->add(make_update_command());
  return command;
}

}  // namespace cli::ctl
