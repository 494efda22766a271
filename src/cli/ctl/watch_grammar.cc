#include "cli/ctl/watch_grammar.h"

#include <algorithm>

#include "cli/ctl/requests.h"
#include "cli/ctl/txn_grammar.h"

namespace cli::ctl {
namespace {

constexpr const char* kBadNumber = "bad number of arguments";
constexpr const char* kConflict = "bad number of arguments (found conflicting environment key)";
constexpr const char* kNoCommand = "bad number of arguments (found separator --, but no commands)";

Exit bad_arguments(const char* text) { return fail(kExitBadArguments, text); }

// The key and the end of the range, of which the environment may be the source.
std::vector<std::string> with_environment(const WatchEnvironment& environment, std::vector<std::string> range) {
  if (environment.key.empty()) return range;
  std::vector<std::string> all{environment.key};
  if (!environment.range_end.empty()) all.push_back(environment.range_end);
  all.insert(all.end(), range.begin(), range.end());
  return all;
}

// `separator`: where "--" stands in `words`, words.size() if nowhere.
Exit split(const std::vector<std::string>& arguments, const std::vector<std::string>& words, size_t separator,
           const WatchEnvironment& environment, WatchTarget& target) {
  const bool has_exec = separator < words.size();
  if (has_exec) target.exec.assign(words.begin() + static_cast<ptrdiff_t>(separator) + 1, words.end());
  // What follows "--" is among the arguments too, at their end.
  const size_t count = arguments.size() - std::min(arguments.size(), target.exec.size());
  if (count > 0 && !environment.key.empty()) return bad_arguments(kConflict);
  target.range.assign(arguments.begin(), arguments.begin() + static_cast<ptrdiff_t>(count));
  target.range = with_environment(environment, std::move(target.range));
  return Exit();
}

Exit read_watch_words(const std::vector<std::string>& words, const WatchEnvironment& environment, WatchOptions& options,
                      WatchTarget& target) {
  const size_t separator = static_cast<size_t>(std::find(words.begin(), words.end(), "--") - words.begin());
  if (separator + 1 == words.size()) return bad_arguments(kNoCommand);
  FlagSet flags;
  add_watch_flags(flags, options);
  std::vector<std::string> arguments;
  const base::Status parsed = parse_flags({&flags}, words, arguments);
  if (!parsed.ok()) {
    const std::string_view text = parsed.text();
    const bool help = text == "unknown flag: --help" || text.starts_with("unknown shorthand flag: 'h'");
    return fail(kExitBadArguments, help ? "pflag: help requested" : std::string(text));
  }
  if (separator == words.size() && environment.key.empty() && arguments.empty()) return bad_arguments(kBadNumber);
  return split(arguments, words, separator, environment, target);
}

}  // namespace

void add_watch_flags(FlagSet& flags, WatchOptions& options) {
  flags.add("interactive", &options.interactive, "read what to watch line by line", 'i');
  flags.add("prefix", &options.prefix, "all keys that begin with the given key");
  flags.add("rev", &options.revision, "from this revision on");
  flags.add("prev-kv", &options.prev_kv, "also print the pair that was there before");
  flags.add("progress-notify", &options.progress_notify, "have the server tell from time to time how far the watch is");
}

Exit read_watch_arguments(const std::vector<std::string>& arguments, const std::vector<std::string>& raw,
                          const WatchEnvironment& environment, WatchTarget& target) {
  // Only what follows the command's name counts; a name cut short is not found, and then all does.
  std::vector<std::string> words = raw;
  const auto name = std::find(words.begin(), words.end(), "watch");
  if (name != words.end()) words.erase(words.begin(), name + 1);
  const size_t separator = static_cast<size_t>(std::find(words.begin(), words.end(), "--") - words.begin());
  if (separator + 1 == words.size()) return bad_arguments(kNoCommand);
  if (words.empty() && environment.key.empty()) return bad_arguments(kBadNumber);
  return split(arguments, words, separator, environment, target);
}

std::string make_watch_request(const WatchOptions& options, const std::vector<std::string>& range,
                               etcdserverpb::WatchCreateRequest& request) {
  if (range.empty()) return kBadNumber;
  if (range.size() == 2 && options.prefix) return "`range_end` and `--prefix` are mutually exclusive";
  request.set_key(range[0]);
  if (range.size() == 2) request.set_range_end(range[1]);
  if (options.prefix) {
    if (range[0].empty()) request.set_key(std::string(1, '\0'));
    request.set_range_end(prefix_range_end(range[0]));
  }
  request.set_start_revision(options.revision);
  request.set_prev_kv(options.prev_kv);
  request.set_progress_notify(options.progress_notify);
  return {};
}

Exit read_watch_line(std::string_view text, const WatchEnvironment& environment, WatchLine& line) {
  line = WatchLine();
  const std::string shown(text);
  std::vector<std::string> words;
  if (Exit exit = split_words(text, words); exit.code != kExitOk) return exit;
  if (words.empty()) {
    line.complaint = "Invalid command: " + shown + " (watch and progress supported)";
    return Exit();
  }
  if (words[0] == "progress") {
    line.kind = WatchLine::Kind::kProgress;
    return Exit();
  }
  if (words[0] != "watch") {
    line.complaint = "Invalid command " + shown + " (only support watch)";
    return Exit();
  }
  if (words.size() < 2 && environment.key.empty()) {
    line.complaint = "Invalid command " + shown + " (command type or key is not provided)";
    return Exit();
  }
  words.erase(words.begin());
  WatchOptions options;
  WatchTarget target;
  if (Exit exit = read_watch_words(words, environment, options, target); exit.code != kExitOk) return exit;
  line.exec = std::move(target.exec);
  const std::string wrong = make_watch_request(options, target.range, line.request);
  if (wrong.empty()) {
    line.kind = WatchLine::Kind::kWatch;
  } else {
    line.complaint = "Invalid command " + shown + " (" + wrong + ")";
  }
  return Exit();
}

}  // namespace cli::ctl
