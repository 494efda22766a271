// Scripts that tell a story and what came of it:
//
//   # comment
//   command argument key=value key=(one,two)
//   input lines
//   ----
//   expected output, up to an empty line
//
// Output with empty lines in it stands between two pairs of "----" lines. With REWRITE=1 in the environment the file is written
// anew with what the handler really said; a person reviews the difference. Syntax: github.com/cockroachdb/datadriven.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace script {

struct Argument {
  std::string key;
  std::vector<std::string> values;  // none: the key stands alone
};

struct Command {
  std::string name;
  std::vector<Argument> arguments;
  std::string input;
  std::string place;  // "file:line"

  const Argument* find(std::string_view key) const {
    for (const Argument& argument : arguments) {
      if (argument.key == key) return &argument;
    }
    return nullptr;
  }
};

using Handler = std::function<std::string(const Command&)>;

struct Mismatch {
  std::string place;
  std::string command;
  std::string expected;
  std::string actual;

  std::string to_string() const { return place + ": " + command + "\n-- expected\n" + expected + "-- got\n" + actual; }
};

namespace internal {

inline std::string trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}

// Splits at `separators`, but not inside parentheses.
inline std::vector<std::string> split(std::string_view text, std::string_view separators) {
  std::vector<std::string> parts;
  std::string part;
  int depth = 0;
  for (const char c : text) {
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    if (depth == 0 && separators.find(c) != std::string_view::npos) {
      if (!part.empty()) parts.push_back(std::move(part));
      part.clear();
    } else {
      part += c;
    }
  }
  if (!part.empty()) parts.push_back(std::move(part));
  return parts;
}

inline Argument parse_argument(std::string_view text) {
  Argument argument;
  const size_t equals = text.find('=');
  argument.key = text.substr(0, equals);
  if (equals == std::string_view::npos) return argument;
  std::string_view values = text.substr(equals + 1);
  if (values.size() >= 2 && values.front() == '(' && values.back() == ')') {
    values = values.substr(1, values.size() - 2);
    for (const std::string& value : split(values, ", ")) argument.values.push_back(trim(value));
  } else {
    argument.values.emplace_back(values);
  }
  return argument;
}

class Runner {
 public:
  Runner(std::filesystem::path path, const Handler& handler) : path_(std::move(path)), handler_(handler) {
    std::ifstream in(path_);
    for (std::string line; std::getline(in, line);) lines_.push_back(line);
  }

  size_t commands() const { return commands_; }
  std::vector<Mismatch> run() {
    while (at_ < lines_.size()) {
      const std::string text = trim(lines_[at_]);
      if (text.empty() || text.front() == '#') {
        keep(1);
      } else {
        run_command();
      }
    }
    if (rewrite()) {
      std::ofstream out(path_);
      for (const std::string& line : written_) out << line << '\n';
    }
    return std::move(mismatches_);
  }

 private:
  static bool rewrite() { return std::getenv("REWRITE") != nullptr; }
  void keep(size_t count) {
    for (; count > 0; --count) written_.push_back(lines_[at_++]);
  }

  void run_command() {
    Command command;
    command.place = path_.filename().string() + ":" + std::to_string(at_ + 1);
    std::string head = trim(lines_[at_]);
    keep(1);
    while (!head.empty() && head.back() == '\\' && at_ < lines_.size()) {
      head.back() = ' ';
      head += trim(lines_[at_]);
      keep(1);
    }
    std::vector<std::string> words = split(head, " \t");
    command.name = words.front();
    for (size_t i = 1; i < words.size(); ++i) command.arguments.push_back(parse_argument(words[i]));
    while (at_ < lines_.size() && lines_[at_] != "----") {
      command.input += lines_[at_] + "\n";
      keep(1);
    }
    command.input = trim(command.input);
    if (at_ < lines_.size()) keep(1);

    const std::string expected = read_expected();
    ++commands_;
    std::string actual = handler_(command);
    if (!actual.empty() && actual.back() != '\n') actual += '\n';
    if (actual != expected && !rewrite()) mismatches_.push_back({command.place, head, expected, actual});
    write_output(rewrite() ? actual : expected);
  }

  // Also moves behind it.
  std::string read_expected() {
    std::string expected;
    const bool framed = at_ < lines_.size() && lines_[at_] == "----";
    if (framed) {
      for (++at_; at_ < lines_.size(); ++at_) {
        if (lines_[at_] == "----" && at_ + 1 < lines_.size() && lines_[at_ + 1] == "----") {
          at_ += 2;
          break;
        }
        expected += lines_[at_] + "\n";
      }
    } else {
      for (; at_ < lines_.size() && !trim(lines_[at_]).empty(); ++at_) expected += lines_[at_] + "\n";
    }
    return expected;
  }

  void write_output(const std::string& output) {
    const bool framed = output.find("\n\n") != std::string::npos || output.rfind('\n', 0) == 0;
    if (framed) written_.emplace_back("----");
    size_t begin = 0;
    for (size_t end = output.find('\n'); end != std::string::npos; end = output.find('\n', begin)) {
      written_.push_back(output.substr(begin, end - begin));
      begin = end + 1;
    }
    if (framed) written_.insert(written_.end(), {"----", "----"});
  }

  std::filesystem::path path_;
  const Handler& handler_;
  std::vector<std::string> lines_, written_;
  size_t at_ = 0, commands_ = 0;
  std::vector<Mismatch> mismatches_;
};

}  // namespace internal

// Runs all commands of a file; what differs. A file without commands is a mismatch too.
inline std::vector<Mismatch> run_file(const std::filesystem::path& path, const Handler& handler) {
  internal::Runner runner(path, handler);
  std::vector<Mismatch> mismatches = runner.run();
  if (runner.commands() == 0) mismatches.push_back({path.string(), "", "at least one command\n", "none\n"});
  return mismatches;
}

// The .txt files of a folder, by name.
inline std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace script
