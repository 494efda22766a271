#include "cli/command.h"

#include <doctest/doctest.h>

#include <sstream>

namespace cli {
namespace {

// A small tree: prog {get, put, endpoint {health}}, with a global flag; each run writes what it got.
struct Program {
  std::string format = "simple";
  bool prefix = false, cluster = false;
  std::unique_ptr<Command> root;

  Program() : root(std::make_unique<Command>("prog", "A program.")) {
    root->prefix_matching = true;
    root->handed_down().add("write-out", &format, "the format", 'w');
    Command& get = root->add(std::make_unique<Command>("get [options] <key>", "Reads"));
    get.flags().add("prefix", &prefix, "all of them");
    get.run = say("get");
    root->add(std::make_unique<Command>("put <key>", "Writes")).run = say("put");
    Command& endpoint = root->add(std::make_unique<Command>("endpoint <subcommand>", "Members"));
    endpoint.handed_down().add("cluster", &cluster, "all members");
    endpoint.add(std::make_unique<Command>("health", "Whether they are well")).run = say("health");
  }

  std::function<Exit(const Invocation&)> say(const std::string& name) {
    return [this, name](const Invocation& invocation) {
      invocation.terminal.out << name << " " << format << (prefix ? " prefix" : "") << (cluster ? " cluster" : "") << ":";
      for (const std::string& argument : invocation.arguments) invocation.terminal.out << " " << argument;
      return Exit();
    };
  }

  std::string out, err;
  int run(const std::vector<std::string>& arguments) {
    std::istringstream input;
    std::ostringstream output, errors;
    Terminal terminal{input, output, errors};
    const int code = execute(*root, arguments, terminal).exit.code;
    out = output.str();
    err = errors.str();
    return code;
  }
};

TEST_CASE("commands: found among flags, by unique prefixes, at any depth") {
  struct Row {
    std::vector<std::string> line;
    const char* out;
  };
  for (const Row& row : std::vector<Row>{
           {{"get", "a"}, "get simple: a"},
           {{"g", "a", "b"}, "get simple: a b"},
           {{"-w", "json", "get", "a"}, "get json: a"},
           {{"--write-out=json", "get", "get"}, "get json: get"},
           {{"get", "--prefix", "a", "-wjson"}, "get json prefix: a"},
           {{"get", "--", "--prefix"}, "get simple: --prefix"},
           {{"endpoint", "health", "--cluster"}, "health simple cluster:"},
           {{"endpoint", "--cluster", "health", "x"}, "health simple cluster: x"},
           {{"end", "he"}, "health simple:"},
       }) {
    CAPTURE(row.line);
    Program program;
    CHECK(program.run(row.line) == 0);
    CHECK(program.out == row.out);
    CHECK(program.err.empty());
  }
}

TEST_CASE("commands: unknown names are answered with those that are near") {
  Program program;
  CHECK(program.run({"zzz"}) == kExitError);
  CHECK(program.err == "Error: unknown command \"zzz\" for \"prog\"\nRun 'prog --help' for usage.\n");
  CHECK(program.run({"gte"}) == kExitError);
  CHECK(program.err ==
        "Error: unknown command \"gte\" for \"prog\"\n\nDid you mean this?\n\tget\n\nRun 'prog --help' for usage.\n");
  CHECK(program.run({"--unknown", "get", "put"}) == kExitError);  // a flag nobody knows takes the next word with it
  CHECK(program.err.starts_with("Error: unknown flag: --unknown\n"));
}

TEST_CASE("commands: help to stdout, usage after a mistake to stderr") {
  Program program;
  program.root->help_footer = "The end.\n";
  CHECK(program.run({"get", "--help"}) == 0);
  CHECK(program.out ==
        "Reads\n\nUsage:\n  prog get [options] <key> [flags]\n\nFlags:\n  -h, --help     help for get\n"
        "      --prefix   all of them\n\nGlobal Flags:\n"
        "  -w, --write-out string   the format (default \"simple\")\nThe end.\n");
  CHECK(program.run({"endpoint", "nothing"}) == 0);
  CHECK(program.out ==
        "Members\n\nUsage:\n  prog endpoint [command]\n\nAvailable Commands:\n  health      Whether they are well\n\nFlags:\n"
        "      --cluster   all members\n  -h, --help      help for endpoint\n\nGlobal Flags:\n"
        "  -w, --write-out string   the format (default \"simple\")\n\n"
        "Use \"prog endpoint [command] --help\" for more information about a command.\nThe end.\n");
  CHECK(program.run({"put", "--bad"}) == kExitError);
  CHECK(program.out.empty());
  CHECK(program.err ==
        "Error: unknown flag: --bad\nUsage:\n  prog put <key> [flags]\n\nFlags:\n  -h, --help   help for put\n\nGlobal Flags:\n"
        "  -w, --write-out string   the format (default \"simple\")\n\n");
}

TEST_CASE("commands: groups in the order of the root, empty ones left out") {
  Program program;
  program.root->group_titles = {"Empty", "Keys", "Rest"};
  program.root->children()[0]->group = "Keys";
  program.root->children()[1]->group = "Keys";
  program.root->children()[2]->group = "Rest";
  CHECK(program.run({}) == 0);
  CHECK(program.out.find("Usage:\n  prog [command]\n\nKeys\n  get         Reads\n  put         Writes\n\nRest\n"
                         "  endpoint    Members\n  help        Help about any command\n\nFlags:\n") != std::string::npos);
}

TEST_CASE("commands: help finds the command, or says that it is none") {
  Program program;
  CHECK(program.run({"help", "endpoint", "health"}) == 0);
  CHECK(program.out.starts_with("Whether they are well\n\nUsage:\n  prog endpoint health [flags]\n"));
  CHECK(program.run({"help", "nope", "x"}) == 0);
  CHECK(program.err.starts_with("Unknown help topic [`nope` `x`]\nUsage:\n"));
}

}  // namespace
}  // namespace cli
