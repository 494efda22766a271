// etcd gateway: a TCP proxy in front of members; see README.md here.
#pragma once

#include "base/clock.h"

#include <string>
#include <vector>

namespace cli {

namespace gateway {

struct Options {
  std::string listen_addr = "127.0.0.1:23790";
  std::string discovery_srv, discovery_srv_name;
  bool insecure_discovery = false;
  std::string trusted_ca_file;
  std::vector<std::string> endpoints{"127.0.0.1:2379"};
  base::Duration retry_delay = std::chrono::minutes(1);
};

// Until a signal ends it; the exit code.
int run(const Options& options, const std::vector<std::string>& command_line);

}  // namespace gateway

// argv as etcd was given it: argv[1] is "gateway".
int gateway_main(int argc, char** argv);

}  // namespace cli
