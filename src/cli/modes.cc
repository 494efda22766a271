#include "cli/modes.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "cli/benchmark/benchmark_main.h"
#include "cli/ctl/ctl_main.h"
#include "cli/gateway/gateway_main.h"
#include "cli/server/server_main.h"
#include "cli/utl/utl_main.h"

namespace cli {
namespace {

// The Makefile reads the names for the links from these rows.
constexpr Mode kModes[] = {
    {"etcd", "run a member", server_main},
    {"etcdctl", "talk to a cluster", ctl_main},
    {"etcdutl", "work on the files of a stopped member", utl_main},
    {"benchmark", "put load on a cluster", benchmark_main},
};

// argv[1] of etcd, and the mode it stands for; `kept`: the mode gets the word too.
struct Word {
  const char* word;
  const char* mode;
  bool kept;
};
constexpr Word kWords[] = {
    {"ctl", "etcdctl", false}, {"utl", "etcdutl", false}, {"benchmark", "benchmark", false}, {"snapshot", "etcdctl", true}};

// argv[1] of etcd that has no name of its own; it gets the arguments as they are.
int grpc_proxy_main(int, char**) {
  std::fprintf(stderr, "etcd: grpc-proxy comes in a later version; `etcd gateway start` passes TCP connections on\n");
  return 1;
}
constexpr Mode kParts[] = {{"gateway", "pass TCP connections on to members", gateway_main},
                           {"grpc-proxy", "comes in a later version", grpc_proxy_main}};

const Mode* find_mode(std::string_view name) {
  for (const Mode& mode : kModes) {
    if (name == mode.name) return &mode;
  }
  return nullptr;
}

std::string_view base_name(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// Runs the mode with its own name and what follows the first `skipped` arguments.
int run_without(const Mode& mode, int argc, char** argv, int skipped) {
  std::string name = mode.name;
  std::vector<char*> arguments{name.data()};
  for (int i = 1 + skipped; i < argc; ++i) arguments.push_back(argv[i]);
  arguments.push_back(nullptr);
  return mode.run(static_cast<int>(arguments.size()) - 1, arguments.data());
}

void print_help() {
  std::printf(
      "usage: etcd [flags]                run a member; etcd --help lists the flags\n"
      "       etcd server start [flags]   the same\n");
  for (const Word& word : kWords) {
    std::printf("       etcd %-9s ...          %s; the same as %s%s\n", word.word, find_mode(word.mode)->what, word.mode,
                word.kept ? (std::string(" ") + word.word).c_str() : "");
  }
  for (const Mode& part : kParts) std::printf("       etcd %-10s ...         %s\n", part.name, part.what);
}

}  // namespace

std::span<const Mode> modes() { return kModes; }

int run_mode(int argc, char** argv) {
  const Mode* mode = argc > 0 ? find_mode(base_name(argv[0])) : nullptr;
  if (mode != nullptr && mode != &kModes[0]) return mode->run(argc, argv);
  const std::string_view first = argc > 1 ? argv[1] : "", second = argc > 2 ? argv[2] : "";
  // Files are etcdutl's, what asks a member is etcdctl's.
  if (first == "snapshot" && (second == "restore" || second == "status")) {
    return run_without(*find_mode("etcdutl"), argc, argv, 0);
  }
  for (const Word& word : kWords) {
    if (first == word.word) return run_without(*find_mode(word.mode), argc, argv, word.kept ? 0 : 1);
  }
  for (const Mode& part : kParts) {
    if (first == part.name) return part.run(argc, argv);
  }
  if (first == "help") {
    print_help();
    return 0;
  }
  if (first == "server") {
    if (argc > 2 && std::strcmp(argv[2], "start") == 0) return run_without(kModes[0], argc, argv, 2);
    std::fprintf(stderr, "etcd: usage: etcd server start [flags]\n");
    return 1;
  }
  return kModes[0].run(argc, argv);  // says that the word is no flag
}

}  // namespace cli
