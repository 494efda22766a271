#include "cli/child_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "base/flags.h"
#include "base/verify.h"
#include "net/sys.h"

namespace cli {
namespace {

bool is_program(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

// Empty if PATH has no such program.
std::string look_up(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::string_view folders = path == nullptr ? "" : path;
  while (!folders.empty()) {
    const size_t colon = folders.find(':');
    const std::string_view folder = folders.substr(0, colon);
    if (const std::string file = std::string(folder.empty() ? "." : folder) + "/" + name; is_program(file)) return file;
    folders = colon == std::string_view::npos ? std::string_view() : folders.substr(colon + 1);
  }
  return {};
}

std::vector<std::string> with_variables(const std::vector<std::pair<std::string, std::string>>& variables) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    const bool replaced = std::any_of(variables.begin(), variables.end(), [&](const auto& pair) { return pair.first == name; });
    if (!replaced) all.emplace_back(text);
  }
  for (const auto& [name, value] : variables) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

std::string signal_text(int number) {
  std::string text = ::strsignal(number);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return "signal: " + text;
}

}  // namespace

asio::awaitable<std::string> run_child(asio::io_context& loop, std::vector<std::string> words,
                                       std::vector<std::pair<std::string, std::string>> variables) {
  VERIFY(!words.empty());
  const std::string program = look_up(words[0]);
  if (program.empty()) co_return "exec: " + base::flags::quote(words[0]) + ": executable file not found in $PATH";
  asio::signal_set children(loop, SIGCHLD);  // before there is a child, so that no signal is missed
  std::vector<std::string> environment = with_variables(variables);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  pid_t child = 0;
  const int failed =
      ::posix_spawn(&child, program.c_str(), &actions, nullptr, pointers(words).data(), pointers(environment).data());
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) co_return "fork/exec " + program + ": " + net::errno_text(failed);
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) co_await children.async_wait(asio::use_awaitable);
  if (WIFSIGNALED(status)) co_return signal_text(WTERMSIG(status));
  const int code = WEXITSTATUS(status);
  co_return code == 0 ? std::string() : "exit status " + std::to_string(code);
}

}  // namespace cli
