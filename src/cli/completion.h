// Completion in shells: the programs themselves answer what may come next, the scripts of the shells only ask. The question and
// the answer are cobra's (`__complete WORD...`, candidates with descriptions, `:DIRECTIVE`), so that scripts made by etcd's own
// programs work with ours too. Source of behaviour: spf13/cobra completions.go.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace cli {

struct Candidate {
  std::string text, description;
};
struct Completions {
  std::vector<Candidate> candidates;
  bool files_too = true;  // the shell may offer file names when there is nothing else
};

// What may stand for the last of `words`, the one being typed; those before it are finished.
Completions complete(Command& root, const std::vector<std::string>& words);

// The script for "bash", "zsh", "fish" or "powershell" that asks `program`; empty for another shell.
std::string completion_script(std::string_view shell, std::string_view program);

// `completion [bash|zsh|fish|powershell]`.
std::unique_ptr<Command> make_completion_command();
// The hidden commands that the scripts call.
void add_complete_commands(Command& root);

}  // namespace cli
