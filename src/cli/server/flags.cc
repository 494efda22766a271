#include "cli/server/flags.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/flags.h"
#include "cli/server/flag_table.h"

namespace cli {
namespace {

using base::Status;
using base::flags::environment_name;
using base::flags::FlagSet;
using base::flags::quote;
using base::log::Field;
using base::log::Level;
using Outcome = CommandLine::Outcome;

constexpr std::string_view kPrefix = "ETCD";
constexpr server::Duration kRaftTimeoutMin = std::chrono::seconds(5);

struct Deprecated {
  std::string_view name, warning;
};
constexpr Deprecated kDeprecated[] = {
    {"max-snapshots", "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8."},
    {"v2-deprecation",
     "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, ignoring user input."},
};

std::map<std::string, std::string> to_map(std::span<const std::string> environment) {
  std::map<std::string, std::string> out;
  for (const std::string& entry : environment) {
    const size_t equals = entry.find('=');
    if (equals != std::string::npos) out.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return out;
}

class CommandLineReader {
 public:
  CommandLineReader(std::span<const std::string> environment, const ReadFile& read_file)
      : environment_(environment), variables_(to_map(environment)), read_file_(read_file) {
    for (const FlagSection& section : flag_sections()) add(section.flags);
    add(legacy_flags());
    for (const std::string_view name : ignored_flags()) {
      const auto ignore = [this, name](std::string_view) {
        note(Level::kWarn, "flag is no longer supported - ignoring", {{"flag-name", name}});
        return Status();
      };
      flags_.add({std::string(name), true, ignore});
    }
    flags_.add({"config-file", false, [this](std::string_view value) {
                  out_.config_file = value;
                  return Status();
                }});
    flags_.add({"version", true, [this](std::string_view value) {
                  const base::Result<bool> on = base::flags::parse_bool(value);
                  if (on.ok()) version_ = *on;
                  return on.status();
                }});
  }

  CommandLine read(std::span<const std::string> arguments) {
    FlagSet::Parsed parsed = flags_.parse(arguments);
    if (parsed.outcome == FlagSet::Outcome::kHelp) return end(Outcome::kHelp);
    if (parsed.outcome == FlagSet::Outcome::kError) return end(Outcome::kSyntax, std::move(parsed.error));
    if (!parsed.rest.empty()) return end(Outcome::kInvalid, quote(parsed.rest.front()) + " is not a valid flag");
    if (version_) return end(Outcome::kVersion);
    if (const auto file = variables_.find("ETCD_CONFIG_FILE"); out_.config_file.empty() && file != variables_.end()) {
      out_.config_file = file->second;
    }
    return out_.config_file.empty() ? read_environment() : read_file();
  }

 private:
  void add(std::span<const ServerFlag> flags) {
    for (const ServerFlag& flag : flags) {
      const auto set = flag.binding.from_word;
      flags_.add({std::string(flag.name), flag.binding.is_boolean,
                  [this, set](std::string_view value) { return set(out_.config, value); }});
    }
  }

  void note(Level level, std::string msg, std::vector<Field> fields) {
    out_.notes.push_back({level, std::move(msg), std::move(fields)});
  }

  CommandLine end(Outcome outcome, std::string error = {}) {
    out_.outcome = outcome;
    out_.error = std::move(error);
    return std::move(out_);
  }

  CommandLine read_file() {
    // What flags said before the file was known counts no more.
    server::Config config = server::Config::defaults();
    const base::Result<std::string> text = read_file_(out_.config_file);
    bool plain = false;
    const Status status = text.ok() ? read_config_text(*text, config, plain) : text.status();
    out_.config = std::move(config);
    out_.notes.clear();
    if (!status.ok()) return end(plain ? Outcome::kPlain : Outcome::kInvalid, std::string(status.text()));
    return end(Outcome::kRun);
  }

  // etcd sets the flags in the order of their names and reports the last that fails, after complaining about the others.
  CommandLine read_environment() {
    if (const auto version = variables_.find("ETCD_VERSION"); version != variables_.end() && !version->second.empty()) {
      note(Level::kWarn, "cannot set special environment variable", {{"key", "ETCD_VERSION"}, {"value", version->second}});
    }
    const std::set<std::string, std::less<>> from_line = flags_.names_set();
    std::set<std::string> used, shadowed;
    std::string error;
    for (const auto& [name, flag] : flags_.all()) {
      const std::string variable = environment_name(kPrefix, name);
      if (from_line.contains(name)) {
        shadowed.insert(variable);
        continue;
      }
      const auto found = variables_.find(variable);
      if (found == variables_.end() || found->second.empty() || variable == "ETCD_VERSION") continue;
      used.insert(variable);
      const Status set = flags_.set(name, found->second);
      if (!set.ok()) {
        error = "invalid value " + quote(found->second) + " for " + variable + ": " + std::string(set.text());
        continue;
      }
      note(Level::kInfo, "recognized and used environment variable",
           {{"variable-name", variable}, {"variable-value", found->second}});
    }
    for (const std::string& entry : environment_) {
      const std::string variable = entry.substr(0, entry.find('='));
      if (used.contains(variable) || variable == "ETCD_VERSION") continue;
      if (shadowed.contains(variable)) return end(Outcome::kConflict, variable);
      if (entry.starts_with("ETCD_")) {
        note(Level::kWarn, "unrecognized environment variable", {{"environment-variable", entry}});
      }
    }
    if (!error.empty()) return end(Outcome::kInvalid, std::move(error));
    return finish_flags();
  }

  CommandLine finish_flags() {
    server::Config& config = out_.config;
    raise(config.raft_read_timeout, "raft-read-timeout");
    raise(config.raft_write_timeout, "raft-write-timeout");
    for (const std::string& name : flags_.names_set()) config.set_explicitly.insert(name);
    // Clients would be sent to an address nobody chose.
    if (flags_.is_set("listen-client-urls") && !flags_.is_set("advertise-client-urls")) config.advertise_client_urls.clear();
    const bool discovers = !config.discovery_srv.empty() || !config.discovery_srv_name.empty() ||
                           !config.discovery.endpoints.empty() || !config.discovery.v2_url.empty();
    if (discovers && !flags_.is_set("initial-cluster")) config.initial_cluster.clear();
    if (config.discovery.fallback == "proxy") {
      return end(Outcome::kInvalid, "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"");
    }
    return end(Outcome::kRun);
  }

  void raise(server::Duration& timeout, const std::string& name) {
    if (timeout >= kRaftTimeoutMin) return;
    timeout = kRaftTimeoutMin;
    note(Level::kInfo, name + " increased to minimum value: 5s", {});
  }

  const std::span<const std::string> environment_;
  const std::map<std::string, std::string> variables_;
  const ReadFile& read_file_;
  FlagSet flags_;
  CommandLine out_;
  bool version_ = false;
};

}  // namespace

CommandLine read_command_line(std::span<const std::string> arguments, std::span<const std::string> environment,
                              const ReadFile& read_file) {
  CommandLine line = CommandLineReader(environment, read_file).read(arguments);
  if (line.config.warning_unary_request_duration.count() == 0) {
    line.config.warning_unary_request_duration = std::chrono::milliseconds(300);
  }
  return line;
}

std::vector<Note> warnings(const server::Config& config) {
  std::vector<Note> out;
  const auto given = [&](std::string_view name) { return config.set_explicitly.contains(std::string(name)); };
  for (const Deprecated& flag : kDeprecated) {
    if (given(flag.name)) out.push_back(Note{Level::kWarn, std::string(flag.warning), {}});
  }
  const auto look = [&](std::span<const ServerFlag> flags) {
    for (const ServerFlag& flag : flags) {
      const std::optional<std::string_view> part = missing_part(flag.part);
      if (!part.has_value() || !given(flag.name)) continue;
      out.push_back({Level::kWarn,
                     "flag has no effect yet; its part comes with a later version",
                     {{"flag", "--" + std::string(flag.name)}, {"part", *part}}});
    }
  };
  for (const FlagSection& section : flag_sections()) look(section.flags);
  look(legacy_flags());
  return out;
}

}  // namespace cli
