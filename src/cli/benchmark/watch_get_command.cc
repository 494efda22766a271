#include <ostream>

#include "cli/benchmark/commands.h"
#include "cli/benchmark/load.h"
#include "cli/benchmark/phase.h"
#include "cli/benchmark/watch_fleet.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli::benchmark {
namespace {

constexpr int64_t kWatchersMax = 100'000'000, kStreamsMax = 1'000'000, kEventsMax = 1'000'000;
constexpr const char* kKey = "watchkey";

struct Options {
  int64_t watchers = 10'000, streams = 1, events = 8;
};

// Serializable reads of one key, one after the other on a connection of their own, until told to stop.
class Getter {
 public:
  Getter(Load& load, Client& client, Report& report) : load_(load), client_(client), report_(report) {
    etcdserverpb::RangeRequest request;
    request.set_key("abc");
    request.set_serializable(true);
    request_ = request.SerializeAsString();
  }
  void start() {
    if (!std::exchange(started_, true)) get();
  }
  void stop() { stopped_ = true; }

 private:
  void get() {
    began_ = load_.clock().now();
    client_.channel().unary("/etcdserverpb.KV/Range", request_, load_.call_options(), [this](base::Result<std::string> answer) {
      if (stopped_) return;
      const base::Duration took = load_.clock().now() - began_;
      if (answer.ok()) {
        report_.add(load_.clock().unix_ns() - took.count(), took);
      } else {
        report_.add_error(std::string(in_words(answer.status(), false).text()));
      }
      asio::post(load_.loop(), [this] {
        if (!stopped_) get();
      });
    });
  }

  Load& load_;
  Client& client_;
  Report& report_;
  std::string request_;
  base::Instant began_{};
  bool started_ = false, stopped_ = false;
};

// Writes the history that the watchers have to catch up with; `revision`: where it begins.
base::Status write_history(Load& load, int64_t events, int64_t& revision) {
  for (int64_t i = 0; i < events; ++i) {
    etcdserverpb::PutRequest request;
    request.set_key(kKey);
    request.set_value(std::to_string(i));
    etcdserverpb::PutResponse response;
    const base::Status status =
        load.first_client().call("/etcdserverpb.KV/Put", request, Retry::kWrite, std::nullopt, response);
    if (!status.ok()) return status;
    if (i == 0) revision = response.header().revision();
  }
  return base::Status();
}

Exit run_watch_get(const Invocation& invocation, const Options& options) {
  if (options.streams < 1 || options.streams > kStreamsMax || options.watchers < 0 || options.watchers > kWatchersMax ||
      options.events < 0 || options.events > kEventsMax) {
    return fail(kExitError, "expected --streams from 1 to " + std::to_string(kStreamsMax) + ", --watchers to " +
                                std::to_string(kWatchersMax) + ", --events to " + std::to_string(kEventsMax));
  }
  Load load(invocation, LoadFlags{});
  if (Exit exit = load.connect(); exit.code != kExitOk) return exit;
  const base::Result<std::unique_ptr<Client>> get_client = load.open_client();
  if (!get_client.ok()) return fail(kExitError, "dial error: " + std::string(get_client.status().text()));
  int64_t revision = 0;
  if (const base::Status status = write_history(load, options.events, revision); !status.ok()) {
    return fail(kExitError, std::string(status.text()));
  }
  const auto watchers = static_cast<uint64_t>(options.watchers), events = static_cast<uint64_t>(options.events);
  Report report(load.report_options(), 0);
  Getter getter(load, **get_client, report);
  Phase phase(load.loop(), load.clock(), invocation.terminal, watchers * events);
  WatchFleet::Plan plan;
  plan.streams = static_cast<uint64_t>(options.streams);
  plan.watchers = WatchFleet::spread(watchers, plan.streams);
  plan.request = [revision](uint64_t, uint64_t) {
    etcdserverpb::WatchCreateRequest request;
    request.set_key(kKey);
    request.set_start_revision(revision);
    return request;
  };
  WatchFleet::Listener listener;
  listener.on_created = [&](base::Duration) { getter.start(); };
  listener.on_events = [&](uint64_t, uint64_t, uint64_t count) { phase.add(count); };
  listener.on_failure = [&](base::Status why) { phase.give_up(std::move(why)); };
  WatchFleet fleet(load, std::move(plan), std::move(listener));
  const base::Status status = phase.run();
  getter.stop();
  if (!status.ok()) return fail(kExitError, std::string(status.text()));
  print_report(invocation, load, report, "watch-get", phase.elapsed(), "Get during watch summary:\n");
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_watch_get_command() {
  auto command = std::make_unique<Command>("watch-get", "Reads a key while many watchers catch up");
  auto options = std::make_shared<Options>();
  FlagSet& flags = command->flags();
  flags.add("watchers", &options->watchers, "number of watchers");
  flags.add("streams", &options->streams, "number of watch streams");
  flags.add("events", &options->events, "events that each watcher has to catch up with");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_watch_get(invocation, *options); };
  return command;
}

}  // namespace cli::benchmark
