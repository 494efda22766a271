#include <algorithm>
#include <ostream>

#include "base/rng.h"
#include "cli/benchmark/commands.h"
#include "cli/benchmark/load.h"
#include "cli/benchmark/phase.h"
#include "cli/benchmark/watch_fleet.h"
#include "net/spawn.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli::benchmark {
namespace {

constexpr int64_t kSamplesMax = 500'000'000;  // 8 bytes each
constexpr int64_t kStreamsMax = 1'000'000;
constexpr int64_t kBytesMax = 1 << 30;

constexpr const char* kDetails = "Measures how long after a put its event reaches each of many watchers of the key.";

struct Options {
  int64_t streams = 10, per_stream = 10;
  bool prev_kv = false;
  int64_t put_total = 1000, put_rate = 100;
  int64_t key_size = 32, value_size = 32;
};

Exit check_options(const Options& options) {
  if (options.streams < 1 || options.streams > kStreamsMax || options.per_stream < 0 || options.put_total < 0 ||
      options.per_stream > kSamplesMax / options.streams / std::max<int64_t>(options.put_total, 1)) {
    return fail(kExitError, "expected --streams from 1 to " + std::to_string(kStreamsMax) + " and at most " +
                                std::to_string(kSamplesMax) + " events in all");
  }
  if (options.key_size < 1 || options.key_size > kBytesMax || options.value_size < 0 || options.value_size > kBytesMax) {
    return fail(kExitError, "expected --key-size from 1 and --val-size from 0 to " + std::to_string(kBytesMax));
  }
  return Exit();
}

std::string random_bytes(base::Rng& random, int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\0');
  for (char& c : bytes) c = static_cast<char>(random.next());
  return bytes;
}

// When what happened; the reports are made of it at the end.
struct Times {
  std::vector<base::Instant> put_began, put_ended;
  std::vector<std::vector<base::Instant>> events;  // of each watcher
};

// As many puts a second as wanted, one after the other; a second's worth may come at once after a pause, as Go's limiter has
// it.
asio::awaitable<void> put_all(Load& load, Client& client, const Options& options, std::string request, Times& times,
                              Phase& phase) {
  base::Duration slot(0);
  if (options.put_rate > 0) slot = std::chrono::nanoseconds(1'000'000'000) / options.put_rate;
  const base::Duration burst = slot * std::max<int64_t>(options.put_rate, 1);
  asio::steady_timer timer(load.loop());
  base::Instant next = load.clock().now() - burst;
  for (int64_t i = 0; i < options.put_total && phase.failure().ok(); ++i) {
    next = std::max(next + slot, load.clock().now() - burst);
    if (next > load.clock().now()) {
      timer.expires_at(next);
      co_await timer.async_wait(asio::use_awaitable);
    }
    times.put_began.push_back(load.clock().now());
    rpc::CallOptions call = load.call_options();
    const base::Result<std::string> answer = co_await client.channel().unary("/etcdserverpb.KV/Put", request, std::move(call));
    if (!answer.ok()) {
      const std::string text(in_words(answer.status(), false).text());
      phase.give_up(base::Status(answer.status().code(), "Failed to Put for watch latency benchmark: " + text));
      break;
    }
    times.put_ended.push_back(load.clock().now());
  }
}

Exit run_watch_latency(const Invocation& invocation, const Options& options) {
  if (Exit exit = check_options(options); exit.code != kExitOk) return exit;
  Load load(invocation, LoadFlags{});
  if (Exit exit = load.connect(); exit.code != kExitOk) return exit;
  const base::Result<std::unique_ptr<Client>> put_client = load.open_client();
  if (!put_client.ok()) return fail(kExitError, "dial error: " + std::string(put_client.status().text()));
  base::Rng random(static_cast<uint64_t>(load.clock().unix_ns()));
  etcdserverpb::PutRequest put;
  put.set_key(random_bytes(random, options.key_size));
  put.set_value(random_bytes(random, options.value_size));

  const auto streams = static_cast<uint64_t>(options.streams), per_stream = static_cast<uint64_t>(options.per_stream);
  const auto puts = static_cast<uint64_t>(options.put_total);
  Times times;
  times.events.resize(streams * per_stream);
  for (auto& list : times.events) list.reserve(puts);
  uint64_t made = 0;
  base::Status failure;
  Phase* phase = nullptr;
  WatchFleet::Plan plan;
  plan.streams = streams;
  plan.watchers.assign(streams, per_stream);
  plan.request = [&](uint64_t, uint64_t) {
    etcdserverpb::WatchCreateRequest request;
    request.set_key(put.key());
    request.set_prev_kv(options.prev_kv);
    return request;
  };
  WatchFleet::Listener listener;
  listener.on_created = [&](base::Duration) { ++made; };
  listener.on_events = [&](uint64_t stream, uint64_t watcher, uint64_t events) {
    auto& list = times.events[stream * per_stream + watcher];
    const uint64_t counted = std::min(events, puts - list.size());
    list.insert(list.end(), counted, load.clock().now());
    if (phase != nullptr) phase->add(counted);
  };
  listener.on_failure = [&](base::Status why) {
    failure = why;
    if (phase != nullptr) phase->give_up(std::move(why));
  };
  WatchFleet fleet(load, std::move(plan), std::move(listener));
  while (made < streams * per_stream && failure.ok()) {
    if (load.loop().stopped()) load.loop().restart();
    load.loop().run_one();
  }
  if (!failure.ok()) return fail(kExitError, std::string(failure.text()));

  Phase receiving(load.loop(), load.clock(), invocation.terminal, puts * streams * per_stream);
  phase = &receiving;
  net::spawn(load.loop().get_executor(), "puts",
             put_all(load, **put_client, options, put.SerializeAsString(), times, receiving));
  base::Status status = receiving.run();
  while (status.ok() && times.put_ended.size() < puts) {  // an event may come before the answer to its put
    load.loop().run_one();
    status = receiving.failure();
  }
  if (!status.ok()) return fail(kExitError, std::string(status.text()));

  Report put_report(load.report_options(), puts);
  const int64_t unix_offset_ns = load.clock().unix_ns() - load.clock().now().time_since_epoch().count();
  const auto unix_ns = [&](base::Instant when) { return when.time_since_epoch().count() + unix_offset_ns; };
  for (uint64_t i = 0; i < puts; ++i) put_report.add(unix_ns(times.put_began[i]), times.put_ended[i] - times.put_began[i]);
  print_report(invocation, load, put_report, "watch-latency-put", receiving.elapsed(), "\nPut summary:\n");
  Report event_report(load.report_options(), puts * times.events.size());
  for (const auto& list : times.events) {
    for (uint64_t i = 0; i < puts; ++i) {
      const base::Instant began = std::min(times.put_ended[i], list[i]);
      event_report.add(unix_ns(began), list[i] - began);
    }
  }
  print_report(invocation, load, event_report, "watch-latency-watch", receiving.elapsed(), "\nWatch events summary:\n");
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_watch_latency_command() {
  auto command = std::make_unique<Command>("watch-latency", "Time between a put and its events");
  auto options = std::make_shared<Options>();
  FlagSet& flags = command->flags();
  flags.add("streams", &options->streams, "number of watch streams");
  flags.add("watchers-per-stream", &options->per_stream, "watchers on each stream");
  flags.add("prevkv", &options->prev_kv, "events with the pair that was there before");
  flags.add("put-total", &options->put_total, "number of puts");
  flags.add("put-rate", &options->put_rate, "puts a second");
  flags.add("key-size", &options->key_size, "bytes of the key");
  flags.add("val-size", &options->value_size, "bytes of a value");
  command->details = kDetails;
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_watch_latency(invocation, *options); };
  return command;
}

}  // namespace cli::benchmark
