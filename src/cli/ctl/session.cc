#include "cli/ctl/session.h"

#include <unistd.h>

#include <cstdlib>
#include <ostream>
#include <set>

#include "base/flags.h"
#include "base/log.h"
#include "cli/password.h"
#include "cli/text.h"

namespace cli::ctl {
namespace {

using base::Status;

constexpr std::string_view kPrefix = "ETCDCTL";

// The parents' flags in one sorted map.
std::map<std::string, Flag*> inherited_flags(const Command& command) {
  std::map<std::string, Flag*> all;
  for (FlagSet* set : command.inherited_flags()) {
    for (auto& [name, flag] : set->all()) all.emplace(name, &flag);
  }
  return all;
}

// Flags not given take their values from the environment; a value that does not parse is passed over.
void read_environment(const Command& command) {
  std::set<std::string, std::less<>> given, used;
  if (command.name() == "watch") used = {"ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"};
  for (const auto& [name, flag] : inherited_flags(command)) {
    const std::string variable = base::flags::environment_name(kPrefix, name);
    if (flag->changed) {
      given.insert(variable);
      continue;
    }
    const char* value = std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0') continue;
    used.insert(variable);
    (void)set_flag(*flag, value);
  }
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    if (name.size() == text.size()) base::log::warn("found invalid environment variable", {{"environment-variable", text}});
    if (used.contains(name)) continue;
    if (given.contains(name)) {
      base::log::exit_fatal(
          "conflicting environment variable is shadowed by corresponding command-line flag (either unset environment variable "
          "or disable flag))",
          {{"environment-variable", name}});
    }
    if (text.starts_with("ETCDCTL_")) base::log::warn("unrecognized environment variable", {{"environment-variable", text}});
  }
}

// Files named by an empty text are a mistake; not named at all they are not.
Exit check_files(const Command& command, const GlobalFlags& flags) {
  const FlagSet& set = const_cast<Command&>(command.root()).handed_down();
  const auto empty = [&](const char* name, const std::string& value) { return value.empty() && set.changed(name); };
  for (const auto& [name, value] : {std::pair<const char*, const std::string&>{"cert", flags.certificate},
                                    {"key", flags.key},
                                    {"cacert", flags.trusted_ca}}) {
    if (empty(name, value)) {
      return fail(kExitBadArguments, "empty string is passed to --" + std::string(name) + " option");
    }
  }
  return Exit();
}

void set_user(const GlobalFlags& flags, Terminal& terminal, ClientConfig& config) {
  config.token = flags.token;
  if (!flags.token.empty() || flags.user.empty()) return;
  config.user = flags.user;
  config.password = flags.password;
  if (!config.password.empty()) return;
  const size_t colon = flags.user.find(':');
  if (colon == std::string::npos) {
    config.password = ask_password(terminal);
  } else {
    config.user = flags.user.substr(0, colon);
    config.password = flags.user.substr(colon + 1);
  }
}

}  // namespace

void add_global_flags(FlagSet& flags, GlobalFlags& values) {
  flags.add("endpoints", &values.endpoints, "where the members listen, comma separated");
  flags.add("debug", &values.debug, "print the environment variables read and log the client's work");
  flags.add("write-out", &values.write_out, "output format (fields, json, protobuf, simple, table)", 'w').values = {
      "fields", "json", "protobuf", "simple", "table"};
  flags.add("hex", &values.hex, "print keys, values and ids in hexadecimal");
  flags.add("dial-timeout", &values.dial_timeout, "how long connecting may take");
  flags.add("command-timeout", &values.command_timeout, "how long a short command may take (without connecting)");
  flags.add("keepalive-time", &values.keepalive_time, "silence after which the connection is probed");
  flags.add("keepalive-timeout", &values.keepalive_timeout, "wait for the answer to a probe");
  flags.add("max-request-bytes", &values.request_bytes_max, "largest request sent, in bytes (0: 2 MiB)");
  flags.add("max-recv-bytes", &values.receive_bytes_max, "largest answer taken, in bytes (0: 2 GiB)");
  flags.add("insecure-transport", &values.insecure_transport, "no TLS unless an endpoint or a certificate asks for it");
  flags.add("insecure-discovery", &values.insecure_discovery, "take SRV records that name endpoints without TLS");
  flags.add("insecure-skip-tls-verify", &values.insecure_skip_verify, "do not check the server's certificate (only for tests)");
  flags.add("cert", &values.certificate, "file of the client's TLS certificate");
  flags.add("key", &values.key, "file of the client's TLS key");
  flags.add("cacert", &values.trusted_ca, "file of the CA certificates that the servers' certificates are checked against");
  flags.add("auth-jwt-token", &values.token, "JWT to authenticate with, instead of --user and --password");
  flags.add("user", &values.user, "name[:password] to authenticate with (asks for the password if it is missing)");
  flags.add("password", &values.password, "password of --user, whose name then stands alone");
  flags.add("discovery-srv", &values.discovery_domain, "domain whose SRV records name the endpoints", 'd');
  flags.add("discovery-srv-name", &values.discovery_service, "service name to ask for in SRV discovery");
}

GlobalFlags& global_flags(const Command& command) { return *static_cast<GlobalFlags*>(command.root().state.get()); }

Exit prepare(const Invocation& invocation, Setup& setup) {
  read_environment(invocation.command);
  GlobalFlags& flags = global_flags(invocation.command);
  if (flags.debug) {
    for (const auto& [name, flag] : inherited_flags(invocation.command)) {
      invocation.terminal.err << base::flags::environment_name(kPrefix, name) << "=" << flag->text() << "\n";
    }
  }
  if (!flags.discovery_domain.empty()) {
    invocation.terminal.err << "Warning: --discovery-srv is not served yet; --endpoints is used\n";
  }
  ClientConfig& config = setup.config;
  for (const std::string& endpoint : flags.endpoints) config.endpoints.emplace_back(trimmed(endpoint));
  config.dial_timeout = flags.dial_timeout;
  config.keepalive_time = flags.keepalive_time;
  config.keepalive_timeout = flags.keepalive_timeout;
  config.send_bytes_max = flags.request_bytes_max > 0 ? static_cast<size_t>(flags.request_bytes_max) : 0;
  config.receive_bytes_max = flags.receive_bytes_max > 0 ? static_cast<size_t>(flags.receive_bytes_max) : 0;
  if (Exit exit = check_files(invocation.command, flags); exit.code != kExitOk) return exit;
  config.tls.certificate = flags.certificate;
  config.tls.key = flags.key;
  config.tls.trusted_ca = flags.trusted_ca;
  config.tls.insecure_transport = flags.insecure_transport;
  config.tls.insecure_skip_verify = flags.insecure_skip_verify;
  if (!flags.insecure_discovery) config.tls.server_name = flags.discovery_domain;
  set_user(flags, invocation.terminal, config);
  setup.command_timeout = flags.command_timeout;
  setup.printer = make_printer(flags.write_out, flags.hex, invocation.terminal);
  if (setup.printer == nullptr) return fail(kExitBadFeature, "unsupported output format");
  return Exit();
}

Exit connect(const ClientConfig& config, Connection& connection) {
  if (config.endpoints.empty()) {
    const auto tls = make_tls_context(config.tls, "");
    if (!tls.ok()) return fail(kExitBadArguments, std::string(tls.status().text()));
    return fail(kExitBadConnection, "etcdclient: no available endpoints");
  }
  if (config.receive_bytes_max > 0 && config.send_bytes_max > config.receive_bytes_max) {
    return fail(kExitBadConnection,
                formatted("gRPC message recv limit (%zu bytes) must be greater than send limit (%zu bytes)",
                          config.receive_bytes_max, config.send_bytes_max));
  }
  auto client = Client::open(connection.loop, connection.clock, config);
  if (client.ok()) {
    connection.client = std::move(*client);
    return Exit();
  }
  const bool bad_files = client.status().code() == base::Code::kInvalidArgument;
  return fail(bad_files ? kExitBadArguments : kExitBadConnection, std::string(client.status().text()));
}

Exit list_endpoints(const Setup& setup, bool cluster, std::vector<std::string>& endpoints) {
  if (!cluster) {
    endpoints = setup.config.endpoints;
    return Exit();
  }
  Connection connection;
  Exit exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return fail(kExitError, exit.error);
  etcdserverpb::MemberListRequest request;
  request.set_linearizable(true);
  etcdserverpb::MemberListResponse response;
  const Status status = connection.client->call("/etcdserverpb.Cluster/MemberList", request, Retry::kRead,
                                                connection.deadline(setup), response);
  if (!status.ok()) {
    return fail(kExitError, "failed to fetch endpoints from etcd cluster member list: " + std::string(status.text()));
  }
  for (const etcdserverpb::Member& member : response.members()) {
    endpoints.insert(endpoints.end(), member.clienturls().begin(), member.clienturls().end());
  }
  return Exit();
}

ClientConfig config_for(const Setup& setup, const std::string& endpoint) {
  ClientConfig config = setup.config;
  config.endpoints = {endpoint};
  return config;
}

Exit failed(const Status& status) { return fail(kExitError, std::string(status.text())); }

}  // namespace cli::ctl
