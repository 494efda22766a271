// A tree of commands with flags, as cobra builds etcd's tools: how the command is found among the arguments, unique prefixes,
// suggestions, the layout of help and usage, and what goes to stdout or stderr are cobra's. Pure but for the streams given.
// Source of behaviour: spf13/cobra, spf13/pflag.
#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/flag_set.h"

namespace cli {

// etcdctl's exit codes.
enum ExitCode : int {
  kExitOk = 0,
  kExitError = 1,
  kExitBadConnection = 2,
  kExitInvalidInput = 3,
  kExitBadFeature = 4,
  kExitInterrupted = 5,
  kExitIo = 6,
  kExitBadArguments = 128,
};

// How a command ended: with a text the caller prints "Error: text" to stderr.
struct Exit {
  int code = kExitOk;
  std::string error;
};
Exit fail(int code, std::string error);

// Where a command reads and writes; the tests put strings here.
struct Terminal {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
};

class Command;

struct Invocation {
  Command& command;
  std::vector<std::string> arguments;  // without flags
  Terminal& terminal;
  std::vector<std::string> raw = {};  // all that execute() was given
};

class Command {
 public:
  // `use`: the name, then what follows it in the usage line ("get [options] <key> [range_end]").
  Command(std::string use, std::string brief) : use_(std::move(use)), brief_(std::move(brief)) {}
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  Command& add(std::unique_ptr<Command> child);
  std::string name() const;   // first word of `use`
  std::string path() const;   // "etcdctl endpoint health"
  const Command& root() const;
  Command* parent() const { return parent_; }
  const std::string& use() const { return use_; }
  const std::string& brief() const { return brief_; }
  const std::vector<std::unique_ptr<Command>>& children() const { return children_; }

  FlagSet& flags() { return flags_; }                 // of this command only
  FlagSet& handed_down() { return handed_down_; }     // of this command and all below
  // All that this command understands: own, handed down, its parents'.
  FlagSets visible_flags();
  // Those of the parents alone, nearest first.
  FlagSets inherited_flags() const;

  std::string details;  // long text of the help; empty: the brief one
  std::string examples;  // shown below the usage lines, each line indented by two
  std::string group;    // title of the root's group of commands
  std::vector<std::string> valid_arguments;  // for completion
  bool plain_usage_line = false;             // without "[flags]"
  bool hidden = false;                       // not listed
  // Judges the arguments before `run`; an error text is shown with the usage, as a wrong flag is. Empty: all are welcome.
  std::function<std::string(const Command&, const std::vector<std::string>&)> check_arguments;
  std::function<Exit(const Invocation&)> run;
  std::shared_ptr<void> state;  // what the flags write to

  // Reads its flags itself: all that follows its name are arguments.
  bool takes_all = false;

  // Of the root only.
  bool prefix_matching = false;          // a unique prefix names a command
  bool silent_errors = false;            // "Error: ..." is left to the caller
  std::vector<std::string> group_titles;  // in the order of the help
  std::string help_footer;               // after each help text
  bool hide_help_flag = false;

 private:
  friend struct CommandTree;
  std::string use_, brief_;
  Command* parent_ = nullptr;
  std::vector<std::unique_ptr<Command>> children_;
  FlagSet flags_, handed_down_;
  bool help_requested_ = false;
};

// A command and what the user meant for it.
struct Found {
  Command* command = nullptr;
  std::vector<std::string> arguments;
};

// Walks down the tree. Error: `unknown command "x" for "etcdctl"` with suggestions.
base::Result<Found> find_command(Command& root, const std::vector<std::string>& arguments);

// The text after an error and at the end of a help text; ends with a newline.
std::string usage_text(Command& command);
std::string help_text(Command& command);

// Finds, parses, runs or shows help; prints errors. Adds the command "help" and the flag --help where they are missing.
// A kFlagError tells the caller that nothing was run.
struct Executed {
  Exit exit;
  bool usage_error = false;  // flags or command name were wrong: exit.error says how, already printed unless silent_errors
};
Executed execute(Command& root, const std::vector<std::string>& arguments, Terminal& terminal);

// The whole of a program: executes what it was started with, flushes output and log, prints "Error: ..." of what failed and
// returns the exit code. etcdutl prints an error of usage below the usage once more, etcdctl does not.
int run_program(Command& root, int argc, char** argv, bool repeats_usage_errors = false);

}  // namespace cli
