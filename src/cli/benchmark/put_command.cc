#include <ostream>

#include "base/log.h"
#include "cli/benchmark/commands.h"
#include "cli/benchmark/key_maker.h"
#include "cli/benchmark/load.h"
#include "cli/text.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli::benchmark {
namespace {

constexpr base::Duration kCompactTimeout = std::chrono::seconds(5);

struct Options {
  LoadFlags load;
  KeyFlags keys;
  bool sequential = false;
  base::Duration compact_interval{0};
  int64_t compact_delta = 1000;
  bool check_hash = false;
};

class Puts final : public Workload {
 public:
  Puts(const Options& options, uint64_t seed) : keys_(options.keys, seed), sequential_(options.sequential) {}
  void start(uint32_t client, rpc::Channel& channel, Load& load) override {
    const uint64_t number = sequential_ ? next_++ % keys_.space() : keys_.any();
    channel.unary("/etcdserverpb.KV/Put", keys_.put_request(number), load.call_options(),
                  [&load, client](base::Result<std::string> answer) { load.finished(client, answer.status()); });
  }

 private:
  KeyMaker keys_;
  bool sequential_;
  uint64_t next_ = 0;
};

// Drops the history but for the last `delta` revisions, again and again while the load runs.
class Compactor {
 public:
  Compactor(Load& load, base::Duration interval, int64_t delta) : load_(load), interval_(interval), delta_(delta) { wait(); }

 private:
  void wait() {
    timer_.expires_after(interval_);
    timer_.async_wait([this](const std::error_code& error) {
      if (!error && !load_.over()) ask_revision();
    });
  }

  void ask_revision() {
    etcdserverpb::RangeRequest request;
    request.set_key("foo");
    load_.first_client().unary("/etcdserverpb.KV/Range", request.SerializeAsString(), Retry::kRead, deadline(),
                               [this](base::Result<std::string> answer) {
                                 etcdserverpb::RangeResponse response;
                                 if (answer.ok() && response.ParseFromString(*answer)) compact(response.header().revision());
                               });
  }

  void compact(int64_t revision) {
    etcdserverpb::CompactionRequest request;
    request.set_revision(std::max<int64_t>(0, revision - delta_));
    load_.first_client().unary("/etcdserverpb.KV/Compact", request.SerializeAsString(), Retry::kWrite, deadline(),
                               [this](const base::Result<std::string>&) { wait(); });
  }

  Client::Deadline deadline() const { return load_.clock().now() + kCompactTimeout; }

  Load& load_;
  base::Duration interval_;
  int64_t delta_;
  asio::steady_timer timer_{load_.loop()};
};

Exit print_hash(const Invocation& invocation, Load& load) {
  const std::string& endpoint = load.flags().endpoints[0];
  const base::Instant began = load.clock().now();
  etcdserverpb::HashKVResponse hash;
  etcdserverpb::StatusResponse status;
  base::Status asked = load.first_client().call("/etcdserverpb.Maintenance/HashKV", etcdserverpb::HashKVRequest(), Retry::kRead,
                                                std::nullopt, hash);
  if (asked.ok()) {
    asked = load.first_client().call("/etcdserverpb.Maintenance/Status", etcdserverpb::StatusRequest(), Retry::kRead,
                                     std::nullopt, status);
  }
  if (!asked.ok()) {
    return fail(kExitError, "failed to get the hashkv of endpoint " + endpoint + " (" + std::string(asked.text()) + ")");
  }
  invocation.terminal.out << "HashKV Summary:\n\tHashKV: " << hash.hash() << "\n\tEndpoint: " << endpoint
                          << "\n\tTime taken to get hashkv: "
                          << base::log::duration_text((load.clock().now() - began).count())
                          << "\n\tDB size: " << humanize_bytes(static_cast<uint64_t>(status.dbsize())) << "\n";
  return Exit();
}

Exit run_put(const Invocation& invocation, const Options& options) {
  if (const base::Status checked = check(options.keys); !checked.ok()) return fail(kExitError, std::string(checked.text()));
  Load load(invocation, options.load);
  if (Exit exit = load.connect(); exit.code != kExitOk) return exit;
  Report report(load.report_options(), static_cast<size_t>(options.load.total));
  Puts puts(options, static_cast<uint64_t>(load.clock().unix_ns()));
  std::optional<Compactor> compactor;
  if (options.compact_interval.count() > 0) compactor.emplace(load, options.compact_interval, options.compact_delta);
  load.run(puts, {&report});
  print_report(invocation, load, report, "put", true);
  return options.check_hash ? print_hash(invocation, load) : Exit();
}

}  // namespace

std::unique_ptr<Command> make_put_command() {
  auto command = std::make_unique<Command>("put", "Writes keys");
  auto options = std::make_shared<Options>();
  FlagSet& flags = command->flags();
  flags.add("key-size", &options->keys.key_size, "bytes of a key");
  flags.add("val-size", &options->keys.value_size, "bytes of a value");
  flags.add("rate", &options->load.rate, "most puts a second (0: no limit)");
  flags.add("total", &options->load.total, "number of puts");
  flags.add("key-space-size", &options->keys.key_space, "number of different keys");
  flags.add("sequential-keys", &options->sequential, "keys one after the other instead of at random");
  flags.add("compact-interval", &options->compact_interval, "how often to compact the history while the load runs");
  flags.add("compact-index-delta", &options->compact_delta, "revisions that a compaction leaves");
  flags.add("check-hashkv", &options->check_hash, "print the hash over all keys at the end");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_put(invocation, *options); };
  return command;
}

}  // namespace cli::benchmark
