#include <cstdlib>
#include <ostream>

#include "base/flags.h"
#include "base/log.h"
#include "cli/child_process.h"
#include "cli/ctl/commands.h"
#include "cli/ctl/session.h"
#include "cli/ctl/watch_grammar.h"
#include "cli/line_reader.h"
#include "cli/watch_client.h"
#include "net/asio_loop.h"
#include "net/spawn.h"

namespace cli::ctl {
namespace {

using base::flags::quote;

constexpr const char* kDetails = R"(Watches a key or a range of keys and prints each event.

With a program after '--' that program runs for each event and finds it in its environment:

$ watch foo -- sh -c 'env | grep ETCD_WATCH_'

With -i each line of standard input begins another watch, or asks the server how far the watches are:

$ watch -i
watch foo
watch bar baz --rev 5 -- echo event
progress

ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END can name what to watch instead of arguments.)";

// ["a" "b"], as Go prints a list of quoted texts.
std::string quoted_list(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "[" : " ") + quote(word);
  return out + "]";
}

// The watches of one run, and how it ends.
class Session {
 public:
  Session(Setup& setup, Connection& connection, Terminal& terminal)
      : printer_(*setup.printer), loop_(connection.loop), terminal_(terminal), watcher_(*connection.client, connection.loop) {}

  void add(const etcdserverpb::WatchCreateRequest& request, std::vector<std::string> exec, bool only_one) {
    watcher_.watch(request, [this, exec = std::move(exec), only_one](std::optional<WatchUpdate> update) {
      return show(std::move(update), &exec, only_one);
    });
  }

  // Reads lines until they end or one is beyond repair.
  asio::awaitable<void> read_lines(WatchEnvironment environment) {
    // Never destroyed: its thread may be waiting for a line when the program ends.
    auto* reader = new net::WorkerThread(loop_, "lines");
    net::Wake wake(loop_);
    while (!ended_) {
      std::string text;
      bool got = false;
      reader->submit([&] { got = read_line(terminal_, text); }, [&] { wake.notify(); });
      co_await wake.wait();
      if (!got) {
        end(fail(kExitInvalidInput, "error reading watch request line: EOF"));
        break;
      }
      WatchLine line;
      if (Exit exit = read_watch_line(text, environment, line); exit.code != kExitOk) {
        end(std::move(exit));
      } else if (line.kind == WatchLine::Kind::kWatch) {
        add(line.request, std::move(line.exec), false);
      } else if (line.kind == WatchLine::Kind::kProgress) {
        co_await watcher_.request_progress();
      } else {
        terminal_.err << line.complaint << "\n" << std::flush;
      }
    }
  }

  Exit run() {
    const auto work = asio::make_work_guard(loop_);  // a line may be all there is to wait for
    while (!ended_) {
      if (loop_.stopped()) loop_.restart();
      loop_.run_one();
    }
    return *ended_;
  }

 private:
  void end(Exit exit) {
    if (!ended_) ended_ = std::move(exit);
  }

  asio::awaitable<void> show(std::optional<WatchUpdate> update, const std::vector<std::string>* exec, bool only_one) {
    if (ended_) co_return;
    if (!update) {
      if (only_one) end(fail(kExitInterrupted, "watch is canceled by the server"));
      co_return;
    }
    const etcdserverpb::WatchResponse& response = update->response;
    if (response.canceled()) terminal_.err << "watch was canceled (" << update->error << ")\n" << std::flush;
    if (is_progress(response)) terminal_.out << "progress notify: " << response.header().revision() << "\n";
    Exit printed = printer_.watch(response);
    terminal_.out << std::flush;
    if (printed.code != kExitOk) {
      end(std::move(printed));
      co_return;
    }
    if (exec->empty()) co_return;
    for (const mvccpb::Event& event : response.events()) {
      std::vector<std::pair<std::string, std::string>> variables;
      variables.emplace_back("ETCD_WATCH_REVISION", std::to_string(response.header().revision()));
      variables.emplace_back("ETCD_WATCH_EVENT_TYPE", quote(mvccpb::Event_EventType_Name(event.type())));
      variables.emplace_back("ETCD_WATCH_KEY", quote(event.kv().key()));
      variables.emplace_back("ETCD_WATCH_VALUE", quote(event.kv().value()));
      const std::string failure = co_await run_child(loop_, *exec, std::move(variables));
      if (failure.empty()) continue;
      terminal_.err << "command " << quoted_list(*exec) << " error (" << failure << ")\n" << std::flush;
      end(fail(kExitError, ""));
      co_return;
    }
  }

  Printer& printer_;
  asio::io_context& loop_;
  Terminal& terminal_;
  WatchClient watcher_;
  std::optional<Exit> ended_;
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Exit run_watch(const Invocation& invocation, const WatchOptions& options) {
  const WatchEnvironment environment{variable("ETCDCTL_WATCH_KEY"), variable("ETCDCTL_WATCH_RANGE_END")};
  if (environment.key.empty() && !environment.range_end.empty()) {
    return fail(kExitBadArguments,
                "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=" + quote(environment.range_end));
  }
  WatchTarget target;
  Exit exit;
  if (!options.interactive) exit = read_watch_arguments(invocation.arguments, invocation.raw, environment, target);
  if (exit.code != kExitOk) return exit;
  Setup setup;
  Connection connection;
  exit = prepare(invocation, setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::WatchCreateRequest request;
  if (!options.interactive) {
    const std::string wrong = make_watch_request(options, target.range, request);
    if (!wrong.empty()) return fail(kExitBadArguments, wrong);
  }
  Session session(setup, connection, invocation.terminal);
  if (options.interactive) {
    net::spawn(connection.loop.get_executor(), "watch lines", session.read_lines(environment));
  } else {
    session.add(request, std::move(target.exec), true);
  }
  exit = session.run();
  // Coroutines and a reading thread may be in the middle of something: no destructors.
  invocation.terminal.out.flush();
  if (!exit.error.empty()) invocation.terminal.err << "Error: " << exit.error << "\n" << std::flush;
  base::log::flush_and_exit(exit.code);
}

}  // namespace

std::unique_ptr<Command> make_watch_command() {
  auto command = std::make_unique<Command>("watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
                                           "Watches a key or a range of keys");
  auto options = std::make_shared<WatchOptions>();
  add_watch_flags(command->flags(), *options);
  command->details = kDetails;
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_watch(invocation, *options); };
  return command;
}

}  // namespace cli::ctl
