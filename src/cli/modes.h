// The names the one executable answers to. `etcd help`, the links beside the program and the packages come from this table.
#pragma once

#include <span>
#include <string_view>

namespace cli {

struct Mode {
  const char* name;
  const char* what;
  int (*run)(int argc, char** argv);  // argv[0] is the name; returns the exit code
};

// Names of argv[0]; the first one is the server.
std::span<const Mode> modes();

// Looks at the base name of argv[0], then, for "etcd", at argv[1]: `etcd ctl get a` is `etcdctl get a`, `etcd server start` is
// `etcd`. Anything else goes to the server, whose first arguments are flags.
int run_mode(int argc, char** argv);

}  // namespace cli
