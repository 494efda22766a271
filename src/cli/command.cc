#include "cli/command.h"

#include <algorithm>
#include <cctype>
#include <iostream>
#include <utility>

#include "base/flags.h"
#include "base/log.h"
#include "base/verify.h"

namespace cli {

using base::Result;
using base::Status;

constexpr size_t kNameWidthMin = 11;       // cobra's minimum padding of command names
constexpr size_t kSuggestionDistance = 2;  // edits between what was typed and what is suggested

// The parts of execute() that need to see into commands.
struct CommandTree {
  static void add_help_flag(Command& command) {
    if (command.flags_.find("help") != nullptr) return;
    Flag& help = command.flags_.add("help", &command.help_requested_, "help for " + command.name(), 'h');
    help.hidden = command.hide_help_flag;
  }
  static bool help_requested(const Command& command) { return command.help_requested_; }
};

namespace {

bool takes_next(const Flag* flag) { return flag == nullptr || !flag->is_boolean; }

// True if `argument` is a flag whose value is the argument after it. Unknown flags count as such, as in cobra.
bool swallows_next(const FlagSets& flags, std::string_view argument) {
  if (argument.find('=') != std::string_view::npos) return false;
  if (argument.starts_with("--")) return takes_next(find_flag(flags, argument.substr(2)));
  return argument.size() == 2 && argument[0] == '-' && takes_next(find_shorthand(flags, argument[1]));
}

std::vector<std::string> without_flags(Command& command, const std::vector<std::string>& arguments) {
  const FlagSets flags = command.visible_flags();
  std::vector<std::string> words;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") break;
    if (swallows_next(flags, argument)) {
      ++i;
    } else if (!argument.empty() && argument[0] != '-') {
      words.push_back(argument);
    }
  }
  return words;
}

// Without the first `word` that is not a flag's value.
std::vector<std::string> without_word(Command& command, std::vector<std::string> arguments, std::string_view word) {
  const FlagSets flags = command.visible_flags();
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--") break;
    if (swallows_next(flags, arguments[i])) {
      ++i;
    } else if (arguments[i] == word) {
      arguments.erase(arguments.begin() + static_cast<ptrdiff_t>(i));
      break;
    }
  }
  return arguments;
}

Command* child_named(Command& command, std::string_view word) {
  Command* by_prefix = nullptr;
  size_t prefixes = 0;
  for (const auto& child : command.children()) {
    const std::string name = child->name();
    if (name == word) return child.get();
    if (command.root().prefix_matching && name.starts_with(word)) {
      by_prefix = child.get();
      ++prefixes;
    }
  }
  return prefixes == 1 ? by_prefix : nullptr;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// Levenshtein distance without regard to case.
size_t distance(std::string_view a_text, std::string_view b_text) {
  const std::string a = lower(a_text), b = lower(b_text);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, changed}));
    }
  }
  return row[b.size()];
}

std::string suggestions(const Command& command, std::string_view word) {
  std::string out;
  for (const auto& child : command.children()) {
    const std::string name = child->name();
    if (name == "help" || child->hidden) continue;  // cobra makes the first after it has looked
    if (distance(word, name) <= kSuggestionDistance || lower(name).starts_with(lower(word))) out += "\t" + name + "\n";
  }
  return out.empty() ? out : "\n\nDid you mean this?\n" + out;
}

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

std::string trim_end(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  return text;
}

std::vector<const Command*> sorted_children(const Command& command) {
  std::vector<const Command*> sorted;
  for (const auto& child : command.children()) {
    if (!child->hidden) sorted.push_back(child.get());
  }
  std::sort(sorted.begin(), sorted.end(), [](const Command* a, const Command* b) { return a->name() < b->name(); });
  return sorted;
}

void append_children(const Command& command, std::string& out) {
  const std::vector<const Command*> children = sorted_children(command);
  size_t width = kNameWidthMin;
  for (const Command* child : children) width = std::max(width, child->name().size());
  const auto append_group = [&](const std::string& title, const std::function<bool(const Command&)>& belongs) {
    std::string lines;
    for (const Command* child : children) {
      if (belongs(*child)) lines += "\n  " + padded(child->name(), width) + " " + child->brief();
    }
    if (!lines.empty()) out += "\n\n" + title + lines;
  };
  if (command.group_titles.empty()) {
    append_group("Available Commands:", [](const Command&) { return true; });
    return;
  }
  for (const std::string& title : command.group_titles) {
    append_group(title, [&](const Command& child) { return child.group == title; });
  }
  append_group("Additional Commands:", [](const Command& child) { return child.group.empty(); });
}

std::unique_ptr<Command> make_help_command(Command& root) {
  auto help = std::make_unique<Command>("help [command]", "Help about any command");
  help->details =
      "Shows the help of any command of the program.\nType " + root.name() + " help [path to command] for the whole of it.";
  help->run = [&root](const Invocation& invocation) {
    const Result<Found> found = find_command(root, invocation.arguments);
    if (!found.ok()) {
      std::string topics;
      for (const std::string& topic : invocation.arguments) topics += (topics.empty() ? "`" : " `") + topic + "`";
      invocation.terminal.err << "Unknown help topic [" << topics << "]\n" << usage_text(root);
      return Exit();
    }
    CommandTree::add_help_flag(*found->command);
    invocation.terminal.out << help_text(*found->command);
    return Exit();
  };
  return help;
}

Executed usage_error(Exit exit) { return Executed{std::move(exit), true}; }

}  // namespace

Exit fail(int code, std::string error) { return Exit{code, std::move(error)}; }

Command& Command::add(std::unique_ptr<Command> child) {
  child->parent_ = this;
  children_.push_back(std::move(child));
  return *children_.back();
}

std::string Command::name() const { return use_.substr(0, use_.find(' ')); }

std::string Command::path() const { return parent_ == nullptr ? name() : parent_->path() + " " + name(); }

const Command& Command::root() const { return parent_ == nullptr ? *this : parent_->root(); }

FlagSets Command::inherited_flags() const {
  FlagSets sets;
  for (Command* above = parent_; above != nullptr; above = above->parent_) sets.push_back(&above->handed_down_);
  return sets;
}

FlagSets Command::visible_flags() {
  FlagSets sets = inherited_flags();
  sets.insert(sets.begin(), {&flags_, &handed_down_});
  return sets;
}

Result<Found> find_command(Command& root, const std::vector<std::string>& arguments) {
  Found found{&root, arguments};
  for (;;) {
    const std::vector<std::string> words = without_flags(*found.command, found.arguments);
    if (words.empty()) return found;
    Command* child = child_named(*found.command, words[0]);
    if (child == nullptr) {
      if (found.command != &root || root.children().empty()) return found;
      return Status(base::Code::kInvalidArgument, "unknown command " + base::flags::quote(words[0]) + " for " +
                                                      base::flags::quote(root.path()) + suggestions(root, words[0]));
    }
    found.arguments = without_word(*found.command, std::move(found.arguments), words[0]);
    found.command = child;
  }
}

std::string usage_text(Command& command) {
  std::string out = "Usage:";
  FlagSet local;  // own flags and those handed down, in one sorted list
  for (FlagSet* set : {&command.flags(), &command.handed_down()}) {
    for (const auto& [name, flag] : set->all()) local.all().emplace(name, flag);
  }
  FlagSet inherited;
  for (FlagSet* set : command.inherited_flags()) {
    for (const auto& [name, flag] : set->all()) inherited.all().emplace(name, flag);
  }
  if (command.run) {
    const Command* parent = command.parent();
    out += "\n  " + (parent == nullptr ? command.use() : parent->path() + " " + command.use());
    if (!command.plain_usage_line && (local.any_visible() || inherited.any_visible())) out += " [flags]";
  }
  if (!command.children().empty()) {
    out += "\n  " + command.path() + " [command]";
  }
  if (!command.examples.empty()) out += "\n\nExamples:\n" + command.examples;
  if (!command.children().empty()) {
    append_children(command, out);
  }
  if (local.any_visible()) out += "\n\nFlags:\n" + trim_end(flag_usages(local));
  if (inherited.any_visible()) out += "\n\nGlobal Flags:\n" + trim_end(flag_usages(inherited));
  if (!command.children().empty()) {
    out += "\n\nUse \"" + command.path() + " [command] --help\" for more information about a command.";
  }
  return out + "\n";
}

std::string help_text(Command& command) {
  const std::string text = trim_end(command.details.empty() ? command.brief() : command.details);
  std::string out = text.empty() ? text : text + "\n\n";
  if (command.run || !command.children().empty()) out += usage_text(command);
  return out + command.root().help_footer;
}

namespace {

std::string missing_flags(const FlagSet& flags) {
  std::string names;
  for (const auto& [name, flag] : flags.all()) {
    if (flag.required && !flag.changed) names += (names.empty() ? "\"" : ", \"") + name + "\"";
  }
  return names.empty() ? names : "required flag(s) " + names + " not set";
}

}  // namespace

Executed execute(Command& root, const std::vector<std::string>& arguments, Terminal& terminal) {
  if (!root.children().empty() && child_named(root, "help") == nullptr) {
    Command& help = root.add(make_help_command(root));
    if (!root.group_titles.empty()) help.group = root.group_titles.back();
  }
  CommandTree::add_help_flag(root);
  Result<Found> found = find_command(root, arguments);
  if (!found.ok()) {
    if (!root.silent_errors) {
      terminal.err << "Error: " << found.status().text() << "\nRun '" << root.path() << " --help' for usage.\n";
    }
    return usage_error(fail(kExitError, std::string(found.status().text())));
  }
  Command& command = *found->command;
  CommandTree::add_help_flag(command);
  Invocation invocation{command, {}, terminal, arguments};
  if (command.takes_all) {
    invocation.arguments = found->arguments;
    return Executed{command.run(invocation), false};
  }
  Status parsed = parse_flags(command.visible_flags(), found->arguments, invocation.arguments);
  if (parsed.ok() && command.check_arguments && !CommandTree::help_requested(command)) {
    std::string wrong = command.check_arguments(command, invocation.arguments);
    if (!wrong.empty()) parsed = Status(base::Code::kInvalidArgument, std::move(wrong));
  }
  if (!parsed.ok()) {
    if (!root.silent_errors) terminal.err << "Error: " << parsed.text() << "\n";
    terminal.err << usage_text(command) << "\n";
    return usage_error(fail(kExitError, std::string(parsed.text())));
  }
  if (CommandTree::help_requested(command) || !command.run) {
    terminal.out << help_text(command);
    return Executed{};
  }
  if (const std::string missing = missing_flags(command.flags()); !missing.empty()) {
    if (!root.silent_errors) terminal.err << "Error: " << missing << "\n";
    terminal.err << usage_text(command) << "\n";
    return usage_error(fail(kExitError, missing));
  }
  return Executed{command.run(invocation), false};
}

int run_program(Command& root, int argc, char** argv, bool repeats_usage_errors) {
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  Terminal terminal{std::cin, std::cout, std::cerr};
  const Executed executed = execute(root, std::vector<std::string>(argv + 1, argv + argc), terminal);
  std::cout.flush();
  base::log::flush();
  const bool told = executed.usage_error && !repeats_usage_errors;
  if (!told && !executed.exit.error.empty()) std::cerr << "Error: " << executed.exit.error << "\n";
  return executed.exit.code;
}

}  // namespace cli
