// What `watch` is asked for: on the command line, and line by line with -i. Pure. Errors carry etcdctl's texts and exit codes.
// Source of behaviour: etcdctl watch_command.go.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "rpc.pb.h"

namespace cli::ctl {

struct WatchOptions {
  bool interactive = false, prefix = false, prev_kv = false, progress_notify = false;
  int64_t revision = 0;
};
void add_watch_flags(FlagSet& flags, WatchOptions& options);

// ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END.
struct WatchEnvironment {
  std::string key, range_end;
};

// The key, perhaps an end of the range, and a program to run for each event.
struct WatchTarget {
  std::vector<std::string> range;
  std::vector<std::string> exec;
};

// `arguments`: those that are no flags; `raw`: all, as the shell gave them, for the place of "--".
Exit read_watch_arguments(const std::vector<std::string>& arguments, const std::vector<std::string>& raw,
                          const WatchEnvironment& environment, WatchTarget& target);

// One line of the interactive mode.
struct WatchLine {
  enum class Kind { kWatch, kProgress, kWrong } kind = Kind::kWrong;
  std::string complaint;  // of kWrong: a line for standard error, after which the next one is read
  etcdserverpb::WatchCreateRequest request;
  std::vector<std::string> exec;
};
// An Exit other than ok ends the program.
Exit read_watch_line(std::string_view text, const WatchEnvironment& environment, WatchLine& line);

// Error text: an end of the range together with --prefix.
std::string make_watch_request(const WatchOptions& options, const std::vector<std::string>& range,
                               etcdserverpb::WatchCreateRequest& request);

}  // namespace cli::ctl
