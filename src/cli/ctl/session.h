// What etcdctl's commands share: the global flags with their environment variables, the printer, the connection.
#pragma once

#include <asio.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/ctl/printer.h"

namespace cli::ctl {

struct GlobalFlags {
  std::vector<std::string> endpoints{"127.0.0.1:2379"};
  bool debug = false;
  std::string write_out = "simple";
  bool hex = false;
  base::Duration dial_timeout = std::chrono::seconds(2);
  base::Duration command_timeout = std::chrono::seconds(5);
  base::Duration keepalive_time = std::chrono::seconds(2);
  base::Duration keepalive_timeout = std::chrono::seconds(6);
  int64_t request_bytes_max = 0;
  int64_t receive_bytes_max = 0;
  bool insecure_transport = true;
  bool insecure_discovery = true;
  bool insecure_skip_verify = false;
  std::string certificate, key, trusted_ca;
  std::string token, user, password;
  std::string discovery_domain, discovery_service;
};

void add_global_flags(FlagSet& flags, GlobalFlags& values);

// The global flags of the root above `command`.
GlobalFlags& global_flags(const Command& command);

// What the flags of one run mean.
struct Setup {
  ClientConfig config;
  std::unique_ptr<Printer> printer;
  base::Duration command_timeout{0};
};

// Reads ETCDCTL_* for the flags not given, checks what belongs together, asks for a missing password.
// A variable for a flag that is given too ends the process, as in etcdctl.
Exit prepare(const Invocation& invocation, Setup& setup);

// A loop and the client on it.
struct Connection {
  asio::io_context loop{1};
  base::RealClock clock;
  std::unique_ptr<Client> client;

  Client::Deadline deadline(const Setup& setup) const { return clock.now() + setup.command_timeout; }
};

// Makes the client, logs in.
Exit connect(const ClientConfig& config, Connection& connection);

// The endpoints given, or with `cluster` the client URLs of all members.
Exit list_endpoints(const Setup& setup, bool cluster, std::vector<std::string>& endpoints);

// The same configuration for one endpoint alone.
ClientConfig config_for(const Setup& setup, const std::string& endpoint);

// `Error: text`, exit code 1.
Exit failed(const base::Status& status);

}  // namespace cli::ctl
