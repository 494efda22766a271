#include "cli/gateway/gateway_main.h"

#include <csignal>
#include <iostream>

#include "base/log.h"
#include "cli/command.h"
#include "net/sys.h"

namespace cli {
namespace {

std::unique_ptr<Command> make_commands(gateway::Options& options, const std::vector<std::string>& command_line) {
  auto root = std::make_unique<Command>("etcd", "A member of a cluster");
  auto group = std::make_unique<Command>("gateway <subcommand>", "A TCP proxy in front of members");
  auto start = std::make_unique<Command>("start", "Run the gateway");
  FlagSet& flags = start->flags();
  flags.add("listen-addr", &options.listen_addr, "address that clients connect to");
  flags.add("discovery-srv", &options.discovery_srv, "DNS domain whose SRV records name the members");
  flags.add("discovery-srv-name", &options.discovery_srv_name, "what the SRV service's name ends with");
  flags.add("insecure-discovery", &options.insecure_discovery, "take members from SRV records that serve clear text, too");
  flags.add("trusted-ca-file", &options.trusted_ca_file,
            "CA certificates (PEM); members from SRV records get connections while their certificates for the domain verify");
  flags.add("endpoints", &options.endpoints, "members to pass connections to, if no SRV record names any");
  flags.add("retry-delay", &options.retry_delay, "pause before a member that did not answer is tried again");
  start->run = [&options, &command_line](const Invocation&) {
    const int code = gateway::run(options, command_line);
    return Exit{code, ""};
  };
  group->add(std::move(start));
  root->add(std::move(group));
  return root;
}

}  // namespace

int gateway_main(int argc, char** argv) {
  const std::vector<std::string> command_line(argv, argv + argc);
  gateway::Options options;
  const std::unique_ptr<Command> root = make_commands(options, command_line);
  Terminal terminal{std::cin, std::cout, std::cerr};
  const Executed executed = execute(*root, {command_line.begin() + 1, command_line.end()}, terminal);
  std::cout.flush();
  base::log::flush();
  if (executed.usage_error) std::cerr << executed.exit.error;  // once more, as etcd
  return executed.exit.code;
}

}  // namespace cli
