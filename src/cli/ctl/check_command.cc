#include <algorithm>
#include <deque>
#include <optional>
#include <ostream>

#include "base/flags.h"
#include "cli/benchmark/key_maker.h"
#include "cli/benchmark/progress_bar.h"
#include "cli/benchmark/report.h"
#include "cli/ctl/commands.h"
#include "cli/ctl/requests.h"
#include "cli/ctl/session.h"
#include "cli/page_reader.h"
#include "cli/text.h"

namespace cli::ctl {
namespace {

using base::Result;
using base::Status;
using benchmark::Report;

constexpr std::chrono::seconds kPerfTime(60);
constexpr base::Duration kCleanupTimeout = std::chrono::seconds(30);
constexpr base::Duration kPageTimeout = std::chrono::seconds(30);
constexpr double kThroughputShareMin = 0.9;
constexpr double kSlowestMaxSeconds = 0.5, kStddevMaxSeconds = 0.1;
constexpr double kMegabyte = 1024 * 1024;
constexpr const char* kMemoryMetric = "process_resident_memory_bytes";

struct Options {
  std::string load = "s", prefix;
  bool auto_compact = false, auto_defrag = false;
};

struct Model {
  const char *name, *long_name;
  int64_t perf_rate;  // writes a second
  uint64_t perf_clients;
  uint64_t scale_keys;  // of datascale
  uint64_t scale_clients;
};
constexpr Model kModels[] = {{"s", "small", 150, 50, 10'000, 50},
                             {"m", "medium", 1000, 200, 100'000, 200},
                             {"l", "large", 8000, 500, 1'000'000, 500},
                             {"xl", "xLarge", 15'000, 1000, 3'000'000, 1000}};
constexpr int64_t kPairBytes = 1024;

const Model* find_model(std::string_view name) {
  for (const Model& model : kModels) {
    if (name == model.name || name == model.long_name) return &model;
  }
  return nullptr;
}

// Puts of random keys by many clients, each with a connection of its own and one request under way.
class Writers {
 public:
  // `rate`: most puts a second, 0 for no limit.
  Writers(const Options& options, int64_t key_bytes, int64_t value_bytes, int64_t rate, uint64_t seed)
      : prefix_(options.prefix),
        keys_(benchmark::KeyFlags{key_bytes, value_bytes, INT64_MAX}, seed),
        report_(benchmark::ReportOptions{}, 0) {
    if (rate > 0) slot_ = std::chrono::nanoseconds(1'000'000'000) / rate;
  }

  Exit connect(const ClientConfig& config, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      Result<std::unique_ptr<Client>> client = Client::open(loop_, clock_, config);
      if (!client.ok()) {
        const bool bad_files = client.status().code() == base::Code::kInvalidArgument;
        return fail(bad_files ? kExitBadArguments : kExitBadConnection, std::string(client.status().text()));
      }
      clients_.push_back(std::move(*client));
      idle_.push_back(i);
    }
    return Exit();
  }

  // Runs until `puts` are answered, or nullopt: until stop(); `on_answer` after each.
  void run(std::optional<uint64_t> puts, std::function<void()> on_answer) {
    left_ = puts;
    on_answer_ = std::move(on_answer);
    began_ = next_slot_ = clock_.now();
    refill();
    while (!stopped_ || idle_.size() < clients_.size()) {
      if (loop_.stopped()) loop_.restart();
      loop_.run_one();
    }
    slot_timer_.cancel();
    elapsed_ = clock_.now() - began_;
  }
  // Begins no more puts; run() returns when those under way are answered.
  void stop() {
    stopped_ = true;
    slot_timer_.cancel();
  }

  asio::io_context& loop() { return loop_; }
  const base::Clock& clock() const { return clock_; }
  Client& first() { return *clients_.front(); }
  Report& report() { return report_; }
  base::Duration elapsed() const { return elapsed_; }

 private:
  // Gives work to idle clients as far as the rate allows.
  void refill() {
    while (!stopped_ && !idle_.empty()) {
      if (slot_.count() > 0) {
        if (next_slot_ > clock_.now()) return wait_for_slot();
        // No credit for time in which all clients were busy.
        next_slot_ = std::max(next_slot_, clock_.now() - slot_ * static_cast<int64_t>(clients_.size())) + slot_;
      }
      const size_t client = idle_.front();
      idle_.pop_front();
      put(client);
      if (left_ && --*left_ == 0) stop();
    }
  }

  void wait_for_slot() {
    slot_timer_.expires_at(next_slot_);
    slot_timer_.async_wait([this](const std::error_code& error) {
      if (!error) refill();
    });
  }

  void put(size_t client) {
    etcdserverpb::PutRequest request;
    request.set_key(prefix_ + keys_.key(keys_.any()));
    request.set_value(keys_.value());
    const base::Instant began = clock_.now();
    clients_[client]->unary("/etcdserverpb.KV/Put", request.SerializeAsString(), Retry::kWrite, std::nullopt,
                            [this, client, began](const Result<std::string>& answer) { answered(client, began, answer); });
  }

  void answered(size_t client, base::Instant began, const Result<std::string>& answer) {
    if (answer.ok()) {
      report_.add(0, clock_.now() - began);
    } else {
      report_.add_error(std::string(answer.status().text()));
    }
    idle_.push_back(client);
    on_answer_();
    refill();
  }

  const std::string& prefix_;
  benchmark::KeyMaker keys_;
  Report report_;
  asio::io_context loop_{1};
  base::RealClock clock_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::deque<size_t> idle_;
  base::Duration slot_{0}, elapsed_{0};
  base::Instant began_{}, next_slot_{};
  asio::steady_timer slot_timer_{loop_};
  std::optional<uint64_t> left_;
  bool stopped_ = false;
  std::function<void()> on_answer_;
};

// Refuses to run over keys that somebody needs. `del`: the command that would remove them, as the error text names it.
Exit check_prefix(Client& client, const std::string& prefix, const std::string& del) {
  etcdserverpb::RangeRequest request;
  request.set_key(prefix.empty() ? std::string(1, '\0') : prefix);
  request.set_range_end(prefix_range_end(prefix));
  request.set_limit(1);
  etcdserverpb::RangeResponse response;
  const Status status = client.call("/etcdserverpb.KV/Range", request, Retry::kRead, std::nullopt, response);
  if (!status.ok()) return failed(status);
  if (response.kvs_size() == 0) return Exit();
  return fail(kExitInvalidInput, "prefix " + base::flags::quote(prefix) + " has keys. Delete with " + del + " first");
}

Status delete_prefix(Client& client, const std::string& prefix, Client::Deadline deadline, int64_t& revision) {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(prefix.empty() ? std::string(1, '\0') : prefix);
  request.set_range_end(prefix_range_end(prefix));
  etcdserverpb::DeleteRangeResponse response;
  const Status status = client.call("/etcdserverpb.KV/DeleteRange", request, Retry::kWrite, deadline, response);
  revision = response.header().revision();
  return status;
}

Exit compact(Client& client, const base::Clock& clock, int64_t revision, std::ostream& out) {
  out << "Compacting with revision " << revision << "\n" << std::flush;
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  request.set_physical(true);
  etcdserverpb::CompactionResponse response;
  const Status status =
      client.call("/etcdserverpb.KV/Compact", request, Retry::kWrite, clock.now() + kCleanupTimeout, response);
  if (!status.ok()) return failed(status);
  out << "Compacted with revision " << revision << "\n" << std::flush;
  return Exit();
}

Exit defrag(const Setup& setup, std::ostream& out) {
  for (const std::string& endpoint : setup.config.endpoints) {
    const std::string quoted = base::flags::quote(endpoint);
    out << "Defragmenting " << quoted << "\n" << std::flush;
    Connection connection;
    if (Exit exit = connect(config_for(setup, endpoint), connection); exit.code != kExitOk) return exit;
    etcdserverpb::DefragmentResponse response;
    const Status status = connection.client->call("/etcdserverpb.Maintenance/Defragment", etcdserverpb::DefragmentRequest(),
                                                  Retry::kWrite, connection.clock.now() + kCleanupTimeout, response);
    if (!status.ok()) return failed(status);
    out << "Defragmented " << quoted << "\n" << std::flush;
  }
  return Exit();
}

bool print_errors(const Report& report, std::ostream& out) {
  if (report.errors().empty()) return false;
  out << "FAIL: too many errors\n";
  for (const auto& [text, count] : report.errors()) out << "FAIL: ERROR(" << text << ") -> " << count << "\n";
  return true;
}

Exit judge_perf(Writers& writers, int64_t rate, std::ostream& out) {
  const Report::Numbers numbers = writers.report().numbers(writers.elapsed());
  bool passed = !print_errors(writers.report(), out);
  const auto per_second = std::to_string(static_cast<int64_t>(numbers.per_second) + 1);
  if (numbers.per_second / static_cast<double>(rate) <= kThroughputShareMin) {
    out << "FAIL: Throughput too low: " << per_second << " writes/s\n";
    passed = false;
  } else {
    out << "PASS: Throughput is " << per_second << " writes/s\n";
  }
  if (numbers.slowest > kSlowestMaxSeconds) {
    out << formatted("Slowest request took too long: %fs\n", numbers.slowest);
    passed = false;
  } else {
    out << formatted("PASS: Slowest request took %fs\n", numbers.slowest);
  }
  if (numbers.stddev > kStddevMaxSeconds) {
    out << formatted("Stddev too high: %fs\n", numbers.stddev);
    passed = false;
  } else {
    out << formatted("PASS: Stddev is %fs\n", numbers.stddev);
  }
  out << (passed ? "PASS\n" : "FAIL\n");
  return passed ? Exit() : fail(kExitError, "");
}

// Draws a bar a second, ends the writers when the time is over.
class Countdown {
 public:
  Countdown(Writers& writers, std::ostream& err)
      : writers_(writers), bar_(err, static_cast<uint64_t>(kPerfTime.count())), timer_(writers.loop()) {
    tick();
  }
  void finish() {
    timer_.cancel();
    bar_.finish(seconds_, std::chrono::seconds(seconds_));
  }

 private:
  void tick() {
    bar_.draw(seconds_, std::chrono::seconds(seconds_));
    timer_.expires_after(std::chrono::seconds(1));
    timer_.async_wait([this](const std::error_code& error) {
      if (error) return;
      if (++seconds_ >= static_cast<uint64_t>(kPerfTime.count())) return writers_.stop();
      tick();
    });
  }

  Writers& writers_;
  benchmark::ProgressBar bar_;
  asio::steady_timer timer_;
  uint64_t seconds_ = 0;
};

Exit run_perf(const Invocation& invocation, const Options& options) {
  const Model* model = find_model(options.load);
  if (model == nullptr) return fail(kExitBadFeature, "unknown load option " + options.load);
  std::ostream& out = invocation.terminal.out;
  Setup setup;
  Exit exit = prepare(invocation, setup);
  if (exit.code != kExitOk) return exit;
  Connection probe;  // judges the configuration with the right exit codes
  exit = connect(setup.config, probe);
  if (exit.code != kExitOk) return exit;
  Writers writers(options, 256, kPairBytes, model->perf_rate, static_cast<uint64_t>(probe.clock.unix_ns()));
  exit = writers.connect(setup.config, model->perf_clients);
  if (exit.code == kExitOk) {
    exit = check_prefix(writers.first(), options.prefix, "'etcdctl del --prefix " + options.prefix + "'");
  }
  if (exit.code != kExitOk) return exit;

  asio::signal_set interrupt(writers.loop(), SIGINT);  // ends early, with the keys deleted and a report of what there is
  interrupt.async_wait([&writers](const std::error_code& error, int) {
    if (!error) writers.stop();
  });
  Countdown countdown(writers, invocation.terminal.err);
  writers.run(std::nullopt, [] {});
  countdown.finish();
  interrupt.cancel();

  int64_t revision = 0;
  const Status deleted = delete_prefix(writers.first(), options.prefix, writers.clock().now() + kCleanupTimeout, revision);
  if (!deleted.ok()) {
    out << "FAIL: Cleanup failed during key deletion: ERROR(" << deleted.text() << ")\n";
  } else if (options.auto_compact) {
    exit = compact(writers.first(), writers.clock(), revision, out);
    if (exit.code != kExitOk) return exit;
  }
  if (options.auto_defrag) exit = defrag(setup, out);
  return exit.code == kExitOk ? judge_perf(writers, model->perf_rate, out) : exit;
}

// Bytes of memory of the first endpoint's member; 0, with the reason on standard output, if that cannot be found out.
double resident_bytes(Writers& writers, const Setup& setup, std::ostream& out) {
  const std::string& endpoint = setup.config.endpoints[0];
  const Result<std::string> page =
      read_page(writers.loop(), writers.clock(), endpoint, "/metrics", setup.config.tls, kPageTimeout);
  if (!page.ok()) {
    out << "fetch error: " << page.status().text() << "\n";
    return 0;
  }
  std::string_view text = *page;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.starts_with(kMemoryMetric)) {
      return std::strtod(std::string(trimmed(line.substr(std::string_view(kMemoryMetric).size()))).c_str(), nullptr);
    }
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  out << "could not find: " << kMemoryMetric << "\n";
  return 0;
}

Exit no_memory(const char* when, std::ostream& out) {
  out << "FAIL: Could not read " << kMemoryMetric << " " << when << " the put operations.\n";
  return fail(kExitError, "");
}

Exit run_datascale(const Invocation& invocation, const Options& options) {
  const Model* model = find_model(options.load);
  if (model == nullptr) return fail(kExitBadFeature, "unknown load option " + options.load);
  std::ostream& out = invocation.terminal.out;
  Setup setup;
  Exit exit = prepare(invocation, setup);
  if (exit.code != kExitOk) return exit;
  Connection probe;
  exit = connect(setup.config, probe);
  if (exit.code != kExitOk) return exit;
  constexpr int64_t kHalf = kPairBytes / 2;
  Writers writers(options, kHalf, kHalf, 0, static_cast<uint64_t>(probe.clock.unix_ns()));
  exit = writers.connect(setup.config, model->scale_clients);
  if (exit.code == kExitOk) {
    exit = check_prefix(writers.first(), options.prefix, "etcdctl del --prefix " + options.prefix);
  }
  if (exit.code != kExitOk) return exit;
  const double before = resident_bytes(writers, setup, out);
  if (before == 0) return no_memory("before", out);
  out << "Start data scale check for work load [" << model->scale_keys << " key-value pairs, " << kPairBytes
      << " bytes per key-value, " << model->scale_clients << " concurrent clients].\n"
      << std::flush;
  const base::Instant began = writers.clock().now();
  benchmark::ProgressBar bar(invocation.terminal.err, model->scale_keys);
  uint64_t done = 0;
  base::Instant drawn = began;
  writers.run(model->scale_keys, [&] {
    ++done;
    const base::Instant now = writers.clock().now();
    if (now - drawn < benchmark::kRedrawInterval) return;
    drawn = now;
    bar.draw(done, now - began);
  });
  bar.finish(done, writers.elapsed());
  const double after = resident_bytes(writers, setup, out);
  if (after == 0) return no_memory("after", out);
  int64_t revision = 0;
  const Status deleted = delete_prefix(writers.first(), options.prefix, std::nullopt, revision);
  if (!deleted.ok()) return failed(deleted);
  if (options.auto_compact) exit = compact(writers.first(), writers.clock(), revision, out);
  if (exit.code == kExitOk && options.auto_defrag) exit = defrag(setup, out);
  if (exit.code != kExitOk) return exit;
  if (print_errors(writers.report(), out)) return fail(kExitError, "");
  out << formatted("PASS: Approximate system memory used : %.2f MB.\n", (after - before) / kMegabyte);
  return Exit();
}

std::unique_ptr<Command> make_check(std::string use, std::string brief, const char* prefix,
                                    Exit (*run)(const Invocation&, const Options&)) {
  auto command = std::make_unique<Command>(std::move(use), std::move(brief));
  auto options = std::make_shared<Options>();
  options->prefix = prefix;
  FlagSet& flags = command->flags();
  Flag& load = flags.add("load", &options->load, "how much: s(small), m(medium), l(large) or xl(xLarge)");
  load.values = {"small", "medium", "large", "xLarge"};
  flags.add("prefix", &options->prefix, "what the keys begin with that are written and deleted");
  flags.add("auto-compact", &options->auto_compact, "compact the history at the end");
  flags.add("auto-defrag", &options->auto_defrag, "defragment the members at the end");
  command->state = options;
  command->run = [run, options = options.get()](const Invocation& invocation) { return run(invocation, *options); };
  return command;
}

}  // namespace

std::unique_ptr<Command> make_check_command() {
  auto command = std::make_unique<Command>("check <subcommand>",
                                           "Whether a cluster is up to a load. `etcdctl check --help` lists the subcommands");
  command->details = "Whether a cluster is up to a load";
  command->add(
      make_check("perf [options]", "Writes for a minute and judges speed and delays", "/etcdctl-check-perf/", run_perf));
  auto scale = make_check("datascale [options]", "Writes keys and tells how much memory the first member needs for them",
                          "/etcdctl-check-datascale/", run_datascale);
  scale->details =
      "Writes keys and tells how much memory the member behind the first endpoint needs for them, then deletes them.";
  command->add(std::move(scale));
  return command;
}

}  // namespace cli::ctl
