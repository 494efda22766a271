#include "cli/completion.h"

#include <doctest/doctest.h>

#include "cli/ctl/commands.h"

namespace cli {
namespace {

TEST_CASE("completion: what may come next") {
  struct Row {
    std::vector<std::string> words;
    std::string candidates;
    bool files_too;
  };
  for (const Row& row : {
           Row{{"wat"}, "watch", false},
           Row{{"lease", ""}, "grant keep-alive list revoke timetolive", false},
           Row{{"lease", "keep-alive", ""}, "", true},
           Row{{"get", "--sort"}, "--sort-by", false},
           Row{{"get", "a", "--li"}, "--limit", false},
           Row{{"get", "-w", ""}, "fields json protobuf simple table", true},
           Row{{"get", "--write-out=j"}, "json", true},
           Row{{"--endpoints", "x:1", "alarm", "d"}, "disarm", false},
           Row{{"check", "perf", "--load", "m"}, "medium", true},
           Row{{"completion", "b"}, "bash", false},
           Row{{"get", ""}, "", true},
           Row{{"nothing", "x"}, "", true},
       }) {
    const std::unique_ptr<Command> root = ctl::make_ctl_commands();
    const Completions found = complete(*root, row.words);
    std::string shown;
    for (const Candidate& candidate : found.candidates) shown += (shown.empty() ? "" : " ") + candidate.text;
    CAPTURE(row.words.back());
    CHECK(shown == row.candidates);
    CHECK(found.files_too == row.files_too);
  }
}

TEST_CASE("completion: each shell has a script that names the program") {
  for (const char* shell : {"bash", "zsh", "fish", "powershell"}) {
    const std::string script = completion_script(shell, "etcdctl");
    CHECK(script.find("etcdctl") != std::string::npos);
    CHECK(script.find("__complete") != std::string::npos);
    CHECK(script.find("PROGRAM") == std::string::npos);
  }
  CHECK(completion_script("sh", "etcdctl").empty());
}

}  // namespace
}  // namespace cli
