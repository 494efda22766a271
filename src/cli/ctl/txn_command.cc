#include <ostream>

#include "cli/ctl/commands.h"
#include "cli/ctl/session.h"
#include "cli/ctl/txn_grammar.h"
#include "cli/line_reader.h"
#include "cli/text.h"

namespace cli::ctl {
namespace {

constexpr const char* kDetails = R"(Reads a transaction from standard input and runs it: all of it or nothing.

It has three parts, each ended by an empty line:
1) compares, all of which must hold,
2) requests to run if they do,
3) requests to run if one does not.

For example:

---
etcdctl txn -i
# compares:
mod("key1") > "0"

# success requests (get, put, del):
put key1 "changed"

# failure requests (get, put, del):
put key1 "new"
put key2 "new as well"
---

Compares are create, mod, version, value or lease of a key, then one of = != < > and a number or text in quotes.)";

struct Options {
  bool interactive = false;
};

// Lines up to an empty one, each given to `parse`.
template <class Parse>
Exit read_part(const Invocation& invocation, const Options& options, const char* title, Parse parse) {
  Terminal& terminal = invocation.terminal;
  if (options.interactive) terminal.out << title << "\n" << std::flush;
  std::string line;
  while (read_line(terminal, line)) {
    const std::string_view text = trimmed(line);
    if (text.empty()) return Exit();
    if (Exit exit = parse(text); exit.code != kExitOk) return exit;
  }
  return fail(kExitInvalidInput, "EOF");
}

Exit run_txn(const Invocation& invocation, const Options& options) {
  if (!invocation.arguments.empty()) return fail(kExitBadArguments, "txn command does not accept argument");
  Setup setup;
  Connection connection;
  Exit exit = prepare(invocation, setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::TxnRequest request;
  exit = read_part(invocation, options, "compares:",
                   [&](std::string_view line) { return parse_compare(line, *request.add_compare()); });
  if (exit.code != kExitOk) return exit;
  exit = read_part(invocation, options, "success requests (get, put, del):",
                   [&](std::string_view line) { return parse_request(line, invocation.terminal, *request.add_success()); });
  if (exit.code != kExitOk) return exit;
  exit = read_part(invocation, options, "failure requests (get, put, del):",
                   [&](std::string_view line) { return parse_request(line, invocation.terminal, *request.add_failure()); });
  if (exit.code != kExitOk) return exit;
  etcdserverpb::TxnResponse response;
  // As in etcdctl --command-timeout does not count here: it waits for the cluster until the user interrupts.
  const base::Status status =
      connection.client->call("/etcdserverpb.KV/Txn", request, Retry::kWrite, std::nullopt, response);
  return status.ok() ? setup.printer->txn(response) : failed(status);
}

}  // namespace

std::unique_ptr<Command> make_txn_command() {
  auto command = std::make_unique<Command>("txn [options]", "Runs several requests as one transaction");
  auto options = std::make_shared<Options>();
  command->flags().add("interactive", &options->interactive, "say what is asked for next", 'i');
  command->details = kDetails;
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_txn(invocation, *options); };
  return command;
}

}  // namespace cli::ctl
