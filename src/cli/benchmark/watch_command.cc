#include <ostream>
#include <unordered_map>

#include "cli/benchmark/commands.h"
#include "cli/benchmark/key_maker.h"
#include "cli/benchmark/load.h"
#include "cli/benchmark/phase.h"
#include "cli/benchmark/watch_fleet.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli::benchmark {
namespace {

constexpr int64_t kStreamsPerConnection = 100;
constexpr int64_t kStreamsMax = 1'000'000, kWatchersMax = 100'000'000, kKeysMax = 100'000'000;

constexpr const char* kDetails =
    "Measures how fast watchers are made and how fast events reach them: every watcher watches one of --watched-key-total\n"
    "keys, then clients put these keys.";

struct Options {
  int64_t streams = 10, per_stream = 100, watched_keys = 1;
  int64_t put_rate = 0, put_total = 1000;
  int64_t key_size = 32, key_space = 1;
  bool sequential = false;
};

// Puts of the watched keys, in turn.
class WatchedPuts final : public Workload {
 public:
  explicit WatchedPuts(const std::vector<std::string>& keys) : keys_(keys) { request_.set_value("data"); }
  void start(uint32_t client, rpc::Channel& channel, Load& load) override {
    request_.set_key(keys_[next_++ % keys_.size()]);
    channel.unary("/etcdserverpb.KV/Put", request_.SerializeAsString(), load.call_options(),
                  [&load, client](base::Result<std::string> answer) { load.finished(client, answer.status()); });
  }

 private:
  const std::vector<std::string>& keys_;
  uint64_t next_ = 0;
  etcdserverpb::PutRequest request_;
};

std::vector<std::string> make_keys(const Options& options, uint64_t seed) {
  KeyMaker maker(KeyFlags{options.key_size, 0, options.key_space}, seed);
  std::vector<std::string> keys;
  for (uint64_t i = 0; i < static_cast<uint64_t>(options.watched_keys); ++i) {
    keys.push_back(maker.key(options.sequential ? i % maker.space() : maker.any()));
  }
  return keys;
}

// Watchers of each of the keys put are told of each put.
uint64_t count_events(const std::vector<std::string>& keys, uint64_t watchers, uint64_t puts) {
  std::unordered_map<std::string_view, uint64_t> by_key;
  for (uint64_t i = 0; i < watchers; ++i) ++by_key[keys[i % keys.size()]];
  uint64_t events = 0;
  for (uint64_t i = 0; i < keys.size(); ++i) {
    const uint64_t puts_of_it = puts / keys.size() + (i < puts % keys.size() ? 1 : 0);
    const auto found = by_key.find(keys[i]);
    if (found != by_key.end()) events += puts_of_it * found->second;
  }
  return events;
}

Exit check_options(const Options& options) {
  const base::Status checked = check(KeyFlags{options.key_size, 0, options.key_space});
  if (!checked.ok()) return fail(kExitError, std::string(checked.text()));
  if (options.streams < 1 || options.streams > kStreamsMax || options.per_stream < 0 ||
      options.per_stream > kWatchersMax / options.streams) {
    return fail(kExitError, "expected --streams from 1 to " + std::to_string(kStreamsMax) + " and at most " +
                                std::to_string(kWatchersMax) + " watchers in all");
  }
  if (options.watched_keys < 1 || options.watched_keys > kKeysMax) {
    return fail(kExitError, "expected --watched-key-total from 1 to " + std::to_string(kKeysMax));
  }
  return Exit();
}

Exit run_watch(const Invocation& invocation, const Options& options) {
  if (Exit exit = check_options(options); exit.code != kExitOk) return exit;
  LoadFlags flags{.total = options.put_total, .rate = options.put_rate, .has_bar = false};
  Load load(invocation, flags);
  const auto connections = static_cast<int64_t>(std::min(load.flags().clients, load.flags().conns));
  if (const int64_t wanted = 1 + options.streams / kStreamsPerConnection; connections < wanted) {
    invocation.terminal.err << "warning: grpc limits " << kStreamsPerConnection << " streams per client connection, have "
                            << connections << " but need " << wanted << "\n";
  }
  if (Exit exit = load.connect(); exit.code != kExitOk) return exit;
  const std::vector<std::string> keys = make_keys(options, static_cast<uint64_t>(load.clock().unix_ns()));
  const auto streams = static_cast<uint64_t>(options.streams), per_stream = static_cast<uint64_t>(options.per_stream);

  Report made(load.report_options(), streams * per_stream);
  Phase making(load.loop(), load.clock(), invocation.terminal, streams * per_stream);
  Phase* phase = &making;
  Report received(load.report_options(), 0);
  WatchFleet::Plan plan;
  plan.streams = streams;
  plan.watchers.assign(streams, per_stream);
  plan.request = [&](uint64_t stream, uint64_t watcher) {
    etcdserverpb::WatchCreateRequest request;
    request.set_key(keys[(stream * per_stream + watcher) % keys.size()]);
    return request;
  };
  WatchFleet::Listener listener;
  listener.on_created = [&](base::Duration took) {
    made.add(load.clock().unix_ns() - took.count(), took);
    making.add(1);
  };
  listener.on_events = [&](uint64_t, uint64_t, uint64_t events) {
    // Their way here is not measured: what counts is how many come in a second.
    const int64_t now = load.clock().unix_ns();
    for (uint64_t i = 0; i < events; ++i) received.add(now, base::Duration(0));
    phase->add(events);
  };
  listener.on_failure = [&](base::Status why) { phase->give_up(std::move(why)); };
  WatchFleet fleet(load, std::move(plan), std::move(listener));
  if (const base::Status status = making.run(); !status.ok()) return fail(kExitError, std::string(status.text()));
  print_report(invocation, load, made, "watch-make", making.elapsed(), "Watch creation summary:\n");

  const uint64_t events =
      count_events(keys, streams * per_stream, static_cast<uint64_t>(std::max<int64_t>(options.put_total, 0)));
  Phase receiving(load.loop(), load.clock(), invocation.terminal, events);
  phase = &receiving;
  WatchedPuts puts(keys);
  Report written(load.report_options(), static_cast<size_t>(std::max<int64_t>(options.put_total, 0)));
  load.run(puts, {&written});
  if (!written.errors().empty()) return fail(kExitError, written.errors().begin()->first);
  const base::Status status = receiving.run();
  if (!status.ok()) return fail(kExitError, std::string(status.text()));
  print_report(invocation, load, received, "watch-put", receiving.elapsed(), "Watch events received summary:\n");
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_watch_command() {
  auto command = std::make_unique<Command>("watch", "Makes watchers and sends them events");
  auto options = std::make_shared<Options>();
  FlagSet& flags = command->flags();
  flags.add("streams", &options->streams, "number of watch streams");
  flags.add("watch-per-stream", &options->per_stream, "watchers on each stream");
  flags.add("watched-key-total", &options->watched_keys, "number of keys to watch");
  flags.add("put-rate", &options->put_rate, "most puts a second (0: no limit)");
  flags.add("put-total", &options->put_total, "number of puts");
  flags.add("key-size", &options->key_size, "bytes of a key");
  flags.add("key-space-size", &options->key_space, "number of different keys");
  flags.add("sequential-keys", &options->sequential, "keys one after the other instead of at random");
  command->details = kDetails;
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_watch(invocation, *options); };
  return command;
}

}  // namespace cli::benchmark
