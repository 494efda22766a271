// From the command line, the environment and the configuration file to a server::Config, as etcd 3.7 goes about it (feature map
// 4.1, 4.3). Pure but for the reading of the file; start-up only.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "server/config.h"

namespace cli {

inline constexpr size_t kConfigFileBytesMax = 1 << 20;

// A log line to be written once there is a log to write it to.
struct Note {
  base::log::Level level;
  std::string msg;
  std::vector<base::log::Field> fields;  // keys are literals
};

struct CommandLine {
  enum class Outcome {
    kRun,          // `config` is filled in, not yet validated
    kHelp,         // --help: exit 0
    kVersion,      // --version: exit 0
    kSyntax,       // `error` and the usage on stderr: exit 2
    kPlain,        // `error` alone on stderr: exit 1
    kConflict,     // `error` names the variable that stands against a flag: exit 1
    kInvalid,      // `failed to verify flags` with `error`: exit 1
  };
  Outcome outcome = Outcome::kRun;
  std::string error;
  server::Config config = server::Config::defaults();
  std::string config_file;       // the path, if one was used
  std::vector<Note> notes;       // in order: what was used, ignored, not known
};

using ReadFile = std::function<base::Result<std::string>(const std::string& path)>;
// At most kConfigFileBytesMax bytes; errors as Go's: `open x: no such file or directory`.
base::Result<std::string> read_config_file(const std::string& path);

// `arguments` without the program's name; `environment` as "NAME=value".
CommandLine read_command_line(std::span<const std::string> arguments, std::span<const std::string> environment,
                              const ReadFile& read_file = read_config_file);

// Fills `config` from YAML or JSON text. `plain` is set when etcd prints the error to stderr, before there are logs.
base::Status read_config_text(std::string_view text, server::Config& config, bool& plain);

// Deprecated names (R4.14), and flags given whose part this version does not have: one line each.
std::vector<Note> warnings(const server::Config& config);

}  // namespace cli
