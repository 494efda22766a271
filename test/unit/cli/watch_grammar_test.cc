#include "cli/ctl/watch_grammar.h"

#include <doctest/doctest.h>
#include <google/protobuf/text_format.h>

namespace cli::ctl {
namespace {

using Words = std::vector<std::string>;

TEST_CASE("watch: arguments, as etcdctl takes them apart") {
  struct Row {
    const char* rule;
    Words arguments, raw;
    WatchEnvironment environment;
    Words range, exec;
    std::string error;
  };
  for (const Row& row : {
           Row{"a key", {"foo"}, {"watch", "foo"}, {}, {"foo"}, {}, ""},
           Row{"a range", {"a", "b"}, {"--hex", "watch", "a", "--rev", "1", "b"}, {}, {"a", "b"}, {}, ""},
           Row{"a program", {"a", "echo", "x"}, {"watch", "a", "--", "echo", "x"}, {}, {"a"}, {"echo", "x"}, ""},
           Row{"a program that repeats a word",
               {"a", "ls", "ls"},
               {"watch", "a", "--", "ls", "ls"},
               {},
               {"a"},
               {"ls", "ls"},
               ""},
           Row{"no key", {}, {"watch"}, {}, {}, {}, "bad number of arguments"},
           Row{"no program",
               {"a"},
               {"watch", "a", "--"},
               {},
               {},
               {},
               "bad number of arguments (found separator --, but no commands)"},
           Row{"the environment's key", {}, {"watch"}, {"k", ""}, {"k"}, {}, ""},
           Row{"the environment's range", {}, {"watch", "--rev", "2"}, {"k", "l"}, {"k", "l"}, {}, ""},
           Row{"the environment's key, a program", {"ls"}, {"watch", "--", "ls"}, {"k", ""}, {"k"}, {"ls"}, ""},
           Row{"two keys",
               {"a"},
               {"watch", "a"},
               {"k", ""},
               {},
               {},
               "bad number of arguments (found conflicting environment key)"},
           Row{"two keys and a program",
               {"a", "ls"},
               {"watch", "a", "--", "ls"},
               {"k", ""},
               {},
               {},
               "bad number of arguments (found conflicting environment key)"},
       }) {
    CAPTURE(row.rule);
    WatchTarget target;
    const Exit exit = read_watch_arguments(row.arguments, row.raw, row.environment, target);
    CHECK(exit.error == row.error);
    CHECK(exit.code == (row.error.empty() ? kExitOk : kExitBadArguments));
    if (!row.error.empty()) continue;
    CHECK(target.range == row.range);
    CHECK(target.exec == row.exec);
  }
}

TEST_CASE("watch: lines of the interactive mode") {
  struct Row {
    const char* line;
    WatchLine::Kind kind;
    std::string complaint, request;
    Words exec;
    int code = kExitOk;
    std::string error = "";
  };
  using Kind = WatchLine::Kind;
  for (const Row& row : {
           Row{"watch foo", Kind::kWatch, "", "key: \"foo\"", {}},
           Row{"watch 'a b' c --rev 7 --prev-kv",
               Kind::kWatch,
               "",
               "start_revision: 7 key: \"a b\" range_end: \"c\" prev_kv: true",
               {}},
           Row{"watch a --prefix --progress-notify -- sh -c 'echo 1'",
               Kind::kWatch,
               "",
               "key: \"a\" range_end: \"b\" progress_notify: true",
               {"sh", "-c", "echo 1"}},
           Row{"watch --prefix \"\"", Kind::kWatch, "", "key: \"\\000\" range_end: \"\\000\"", {}},
           Row{"progress", Kind::kProgress, "", "", {}},
           Row{"progress x", Kind::kProgress, "", "", {}},
           Row{"", Kind::kWrong, "Invalid command:  (watch and progress supported)", "", {}},
           Row{"get a", Kind::kWrong, "Invalid command get a (only support watch)", "", {}},
           Row{"watch", Kind::kWrong, "Invalid command watch (command type or key is not provided)", "", {}},
           Row{"watch a b --prefix",
               Kind::kWrong,
               "Invalid command watch a b --prefix (`range_end` and `--prefix` are mutually exclusive)",
               "",
               {}},
           Row{"watch a --",
               Kind::kWrong,
               "",
               "",
               {},
               kExitBadArguments,
               "bad number of arguments (found separator --, but no commands)"},
           Row{"watch --rev 1", Kind::kWrong, "", "", {}, kExitBadArguments, "bad number of arguments"},
           Row{"watch a --help", Kind::kWrong, "", "", {}, kExitBadArguments, "pflag: help requested"},
           Row{"watch a --foo", Kind::kWrong, "", "", {}, kExitBadArguments, "unknown flag: --foo"},
           Row{"watch \"\\q\"", Kind::kWrong, "", "", {}, kExitInvalidInput, "invalid syntax"},
       }) {
    CAPTURE(row.line);
    WatchLine line;
    const Exit exit = read_watch_line(row.line, WatchEnvironment(), line);
    CHECK(exit.code == row.code);
    CHECK(exit.error == row.error);
    if (row.code != kExitOk) continue;
    CHECK(line.kind == row.kind);
    CHECK(line.complaint == row.complaint);
    CHECK(line.exec == row.exec);
    etcdserverpb::WatchCreateRequest expected;
    REQUIRE(google::protobuf::TextFormat::ParseFromString(row.request, &expected));
    CHECK(line.request.SerializeAsString() == expected.SerializeAsString());
  }
}

}  // namespace
}  // namespace cli::ctl
