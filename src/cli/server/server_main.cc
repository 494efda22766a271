#include "cli/server/server_main.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "base/failpoint.h"
#include "base/log.h"
#include "cli/server/flag_table.h"
#include "cli/server/flags.h"
#include "server/config.h"
#include "server/run.h"
#include "server/version.h"

extern char** environ;  // NOLINT: POSIX names it

namespace cli {
namespace {

using base::Status;
using base::log::Level;
using Outcome = CommandLine::Outcome;

void write_notes(const std::vector<Note>& notes) {
  for (const Note& note : notes) base::log::write_fields(note.level, note.msg, note.fields);
}

void print(std::FILE* to, const std::string& text) { (void)std::fwrite(text.data(), 1, text.size(), to); }

// etcd runs where it is tested; elsewhere only when told so (R4.230).
void check_architecture() {
  const std::string here = server::architecture();
  if (here == "amd64" || here == "arm64" || here == "ppc64le" || here == "s390x") return;
  const char* allowed = std::getenv("ETCD_UNSUPPORTED_ARCH");
  if (allowed == nullptr || here != allowed) {
    base::log::error("Refusing to run etcd on unsupported architecture since ETCD_UNSUPPORTED_ARCH is not set",
                     {{"arch", here}});
    std::exit(1);
  }
  base::log::info("running etcd on unsupported architecture since ETCD_UNSUPPORTED_ARCH is set", {{"arch", here}});
  (void)::unsetenv("ETCD_UNSUPPORTED_ARCH");
}

[[noreturn]] void refuse(const std::string& why) {
  base::log::warn("failed to verify flags", {{"error", why}});
  if (why == server::kAdvertiseUnset) base::log::warn("advertise client URLs are not set", {{"error", why}});
  base::log::flush();
  std::exit(1);
}

// Ends the process for everything but a configuration to run with.
void leave_unless_run(const CommandLine& line) {
  switch (line.outcome) {
    case Outcome::kRun: return;
    case Outcome::kHelp:
      print(stderr, usage_text());
      print(stdout, flags_text());
      std::exit(0);
    case Outcome::kVersion: print(stdout, server::version_text()); std::exit(0);
    case Outcome::kSyntax: print(stderr, line.error + "\n" + usage_text()); std::exit(2);
    case Outcome::kPlain: print(stderr, line.error + "\n"); std::exit(1);
    case Outcome::kConflict:
      base::log::exit_fatal("conflicting environment variable is shadowed by corresponding command-line flag (either unset "
                            "environment variable or disable flag))",
                            {{"environment-variable", line.error}});
    case Outcome::kInvalid: return;  // said after the line with the arguments
  }
}

// "member" or "empty"; ends the process where there cannot be a member.
std::string data_dir_type(const std::string& dir) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(dir, error);
  if (status.type() == fs::file_type::not_found) return "empty";
  if (!error && !fs::is_directory(status)) {
    base::log::exit_fatal("failed to list data directory",
                          {{"dir", dir}, {"error", "readdirent " + dir + ": not a directory"}});
  }
  if (!error) (void)fs::directory_iterator(dir, error);
  if (error) {
    std::string why = error.message();
    why[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(why[0])));
    base::log::exit_fatal("failed to list data directory", {{"dir", dir}, {"error", "open " + dir + ": " + why}});
  }
  const bool member = fs::exists(dir + "/member", error), proxy = fs::exists(dir + "/proxy", error);
  if (member && proxy) base::log::exit_fatal("invalid datadir; both member and proxy directories exist");
  return member ? "member" : "empty";
}

// Said without taking memory; an allocator that gives up says nothing.
void out_of_memory() {
  static constexpr std::string_view kLine = "{\"level\":\"fatal\",\"msg\":\"out of memory\"}\n";
  (void)!::write(STDERR_FILENO, kLine.data(), kLine.size());
  std::abort();
}

void lock_memory() {
  if (::mlockall(MCL_CURRENT | MCL_FUTURE) == 0) return;
  base::log::exit_fatal("memory cannot be locked", {{"error", std::string(std::strerror(errno))}});
}

}  // namespace

int server_main(int argc, char** argv) {
#ifdef ETCD_FAILPOINTS
  base::failpoint::serve_if_asked();
#endif
  check_architecture();
  std::set_new_handler(out_of_memory);
  std::signal(SIGXFSZ, SIG_IGN);  // A file at its limit is a failed write with a message, not a silent end.
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);

  CommandLine line = read_command_line(arguments, environment);
  write_notes(line.notes);
  leave_unless_run(line);
  server::Config& config = line.config;
  std::string error = line.error;
  if (line.outcome == Outcome::kRun) {
    const Status valid = server::validate(config);
    error = valid.text();
    // A file that does not fit together is complained about on stderr, wherever it wants its logs to go.
    if (!valid.ok() && !line.config_file.empty()) (void)base::log::configure({});
  }
  if (!line.config_file.empty() && error.empty()) {
    base::log::info("loaded server configuration, other configuration command line flags and environment variables will be "
                    "ignored if provided",
                    {{"path", line.config_file}});
  }
  if (error.empty() || line.config_file.empty()) write_notes(warnings(config));
  base::log::info("Running: ", {{"args", std::vector<std::string>(argv, argv + argc)}});
  if (!error.empty()) refuse(error);

  server::finish(config);
  const std::string type = data_dir_type(config.data_dir);
  base::log::info(type == "member" ? "server has already been initialized" : "Initialize and start etcd server",
                  {{"data-dir", config.data_dir}, {"dir-type", type}});
  if (const Status ready = server::check_start(config); !ready.ok()) server::exit_after_failed_start(config, ready);
  if (config.memory_mlock) lock_memory();
  const int code = server::run(config);
  base::log::flush();
  return code;
}

}  // namespace cli
