#include "cli/completion.h"

#include <algorithm>
#include <array>
#include <ostream>

#include "base/flags.h"

namespace cli {
namespace {

// cobra's directives; others are not used here.
constexpr int kDefaultDirective = 0, kNoFilesDirective = 4;

constexpr std::array<std::string_view, 4> kShells{"bash", "zsh", "fish", "powershell"};

// Each script has PROGRAM where the program's name belongs.
constexpr std::string_view kBash = R"(# bash completion for PROGRAM
__PROGRAM_candidates() {
  local line=${COMP_LINE:0:COMP_POINT} words answer directive current candidate
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  answer=$("${words[0]}" __complete "${words[@]:1}" 2>/dev/null) || return
  directive=${answer##*:}
  answer=${answer%:*}
  current=${words[${#words[@]}-1]}
  [[ $current == -*=* ]] && current=${current#*=}
  # bash splits words at = and : too; what it has split off must not come again.
  local split_off=${current%"${COMP_WORDS[COMP_CWORD]}"}
  [[ ${COMP_WORDS[COMP_CWORD]} == [=:] ]] && split_off=$current
  COMPREPLY=()
  while IFS=$'\t' read -r candidate _; do
    [[ -n $candidate && $candidate == "$current"* ]] && COMPREPLY+=("${candidate#"$split_off"}")
  done <<< "$answer"
  if [[ ${#COMPREPLY[@]} -eq 0 ]] && ! ((directive & 4)); then compopt -o default; fi
}
complete -F __PROGRAM_candidates PROGRAM
)";

constexpr std::string_view kZsh = R"(#compdef PROGRAM
_PROGRAM() {
  local -a answer shown
  local directive line
  answer=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  (( $#answer )) || return 1
  directive=${answer[-1]#:}
  answer[-1]=()
  for line in "${answer[@]}"; do
    [[ -n $line ]] && shown+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  if (( $#shown )); then
    [[ ${words[CURRENT]} == -*=* ]] && compset -P '*='
    _describe PROGRAM shown
  elif ! (( directive & 4 )); then
    _files
  fi
}
if [[ ${funcstack[1]} == _PROGRAM ]]; then
  _PROGRAM "$@"
else
  compdef _PROGRAM PROGRAM
fi
)";

constexpr std::string_view kFish = R"(# fish completion for PROGRAM
function __PROGRAM_candidates
  set -l words (commandline -opc) (commandline -ct)
  set -l before (string match -r -- '^-[^=]*=' "$words[-1]")
  for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
    string match -q ':*' -- $line; or echo "$before$line"
  end
end
function __PROGRAM_no_files
  set -l words (commandline -opc) (commandline -ct)
  set -l answer ($words[1] __complete $words[2..-1] 2>/dev/null)
  test (count $answer) -gt 0; and string match -q ':4' -- $answer[-1]
end
complete -c PROGRAM -e
complete -c PROGRAM -n __PROGRAM_no_files -f
complete -c PROGRAM -a '(__PROGRAM_candidates)'
)";

constexpr std::string_view kPowershell = R"(# powershell completion for PROGRAM
Register-ArgumentCompleter -Native -CommandName 'PROGRAM' -ScriptBlock {
  param($word, $command, $position)
  $line = "$command".PadRight($position).Substring(0, $position)
  $words = @($line -split '\s+' | Where-Object { $_ -ne '' })
  $program = $words[0]
  $rest = @($words | Select-Object -Skip 1)
  if ($line -match '\s$') { $rest += '""' }
  $before = if ($rest.Count -gt 0 -and $rest[-1] -match '^(-[^=]*=)') { $Matches[1] } else { '' }
  & $program __complete @rest 2>$null | Where-Object { $_ -and -not $_.StartsWith(':') } | ForEach-Object {
    $text, $tip = $_ -split "`t", 2
    if (-not $tip) { $tip = $text }
    [System.Management.Automation.CompletionResult]::new("$before$text", $text, 'ParameterValue', $tip)
  }
}
)";

std::string with_program(std::string_view script, std::string_view program) {
  constexpr std::string_view kMark = "PROGRAM";
  std::string out;
  for (;;) {
    const size_t at = script.find(kMark);
    out += script.substr(0, at);
    if (at == std::string_view::npos) return out;
    out += program;
    script.remove_prefix(at + kMark.size());
  }
}

// The flag whose value is being typed: "--name=va", or the word after "--name" or "-n". `typed`: the value so far.
Flag* flag_of_value(const FlagSets& flags, const std::vector<std::string>& words, std::string& typed) {
  const std::string& last = words.back();
  if (last.starts_with("-")) {
    const size_t equals = last.find('=');
    if (equals == std::string::npos) return nullptr;
    typed = last.substr(equals + 1);
    const std::string_view name = std::string_view(last).substr(0, equals);
    return name.starts_with("--") ? find_flag(flags, name.substr(2)) : find_shorthand(flags, name.back());
  }
  if (words.size() < 2) return nullptr;
  const std::string_view before = words[words.size() - 2];
  if (before.size() < 2 || before[0] != '-' || before == "--" || before.find('=') != std::string_view::npos) return nullptr;
  typed = last;
  Flag* flag = before[1] == '-' ? find_flag(flags, before.substr(2)) : find_shorthand(flags, before.back());
  return flag == nullptr || flag->is_boolean ? nullptr : flag;
}

void add_flags(const FlagSets& flags, std::string_view typed, Completions& out) {
  std::vector<Candidate> all;
  for (FlagSet* set : flags) {
    for (const auto& [name, flag] : set->all()) {
      if (flag.hidden) continue;
      all.push_back({"--" + name, flag.usage});
      if (flag.shorthand != 0) all.push_back({std::string("-") + flag.shorthand, flag.usage});
    }
  }
  for (Candidate& candidate : all) {
    if (candidate.text.starts_with(typed)) out.candidates.push_back(std::move(candidate));
  }
}

Exit print_completions(const Invocation& invocation, Command& root, bool described) {
  if (invocation.arguments.empty()) return fail(kExitError, "no word to complete");
  const Completions found = complete(root, invocation.arguments);
  for (const Candidate& candidate : found.candidates) {
    invocation.terminal.out << candidate.text;
    if (described && !candidate.description.empty()) invocation.terminal.out << "\t" << candidate.description;
    invocation.terminal.out << "\n";
  }
  invocation.terminal.out << ":" << (found.files_too ? kDefaultDirective : kNoFilesDirective) << "\n";
  invocation.terminal.err << "Completion ended with directive: "
                          << (found.files_too ? "ShellCompDirectiveDefault" : "ShellCompDirectiveNoFileComp") << "\n";
  return Exit();
}

std::string wrong_arguments(const Command& command, const std::vector<std::string>& arguments) {
  if (arguments.size() != 1) return "accepts 1 arg(s), received " + std::to_string(arguments.size());
  const std::vector<std::string>& valid = command.valid_arguments;
  if (std::find(valid.begin(), valid.end(), arguments[0]) != valid.end()) return {};
  return "invalid argument " + base::flags::quote(arguments[0]) + " for " + base::flags::quote(command.path());
}

}  // namespace

Completions complete(Command& root, const std::vector<std::string>& words) {
  Completions out;
  if (words.empty()) return out;
  const std::vector<std::string> finished(words.begin(), words.end() - 1);
  const base::Result<Found> found = find_command(root, finished);
  if (!found.ok()) return out;
  Command& command = *found->command;
  const FlagSets flags = command.visible_flags();
  std::string typed;
  if (const Flag* flag = flag_of_value(flags, words, typed)) {
    for (const std::string& value : flag->values) {
      if (value.starts_with(typed)) out.candidates.push_back({value, ""});
    }
    return out;
  }
  const std::string& last = words.back();
  if (last.starts_with("-")) {
    add_flags(flags, last, out);
    out.candidates.push_back({"--help", "help for " + command.name()});
    if (command.flags().find("help") != nullptr || !out.candidates.back().text.starts_with(last)) out.candidates.pop_back();
    std::sort(out.candidates.begin(), out.candidates.end(),
              [](const Candidate& a, const Candidate& b) { return a.text < b.text; });
    out.files_too = false;
    return out;
  }
  std::vector<std::string> arguments;
  (void)parse_flags(flags, found->arguments, arguments);
  if (!arguments.empty()) return out;
  for (const auto& child : command.children()) {
    if (!child->hidden && child->name().starts_with(last)) out.candidates.push_back({child->name(), child->brief()});
  }
  for (const std::string& argument : command.valid_arguments) {
    if (argument.starts_with(last)) out.candidates.push_back({argument, ""});
  }
  std::sort(out.candidates.begin(), out.candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.text < b.text; });
  out.files_too = command.children().empty() && command.valid_arguments.empty();
  return out;
}

std::string completion_script(std::string_view shell, std::string_view program) {
  if (shell == "bash") return with_program(kBash, program);
  if (shell == "zsh") return with_program(kZsh, program);
  if (shell == "fish") return with_program(kFish, program);
  if (shell == "powershell") return with_program(kPowershell, program);
  return {};
}

std::unique_ptr<Command> make_completion_command() {
  auto command =
      std::make_unique<Command>("completion [bash|zsh|fish|powershell]", "Prints a script for completion in a shell");
  command->details = R"(Prints a script after which the shell completes commands and flags.

  bash:        source <(etcdctl completion bash)
               for all sessions: etcdctl completion bash > /etc/bash_completion.d/etcdctl
  zsh:         etcdctl completion zsh > "${fpath[1]}/_etcdctl"
  fish:        etcdctl completion fish > ~/.config/fish/completions/etcdctl.fish
  powershell:  etcdctl completion powershell | Out-String | Invoke-Expression)";
  command->plain_usage_line = true;
  command->valid_arguments.assign(kShells.begin(), kShells.end());
  command->check_arguments = wrong_arguments;
  command->run = [](const Invocation& invocation) {
    invocation.terminal.out << completion_script(invocation.arguments[0], invocation.command.root().name());
    return Exit();
  };
  return command;
}

void add_complete_commands(Command& root) {
  for (const bool described : {true, false}) {
    auto command = std::make_unique<Command>(described ? "__complete" : "__completeNoDesc", "");
    command->hidden = true;
    command->takes_all = true;
    command->run = [&root, described](const Invocation& invocation) { return print_completions(invocation, root, described); };
    root.add(std::move(command));
  }
}

}  // namespace cli
