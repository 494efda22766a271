#include <algorithm>
#include <ostream>
#include <set>

#include "base/flags.h"
#include "base/rng.h"
#include "cli/benchmark/commands.h"
#include "cli/benchmark/key_maker.h"
#include "cli/benchmark/load.h"
#include "cli/benchmark/lockers.h"
#include "cli/benchmark/stm.h"
#include "net/spawn.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli::benchmark {
namespace {

constexpr int64_t kKeyBytes = 16;
constexpr int64_t kValueBytesMax = 1 << 30;
constexpr int64_t kPercent = 100;

struct Options {
  LoadFlags load;
  std::string isolation = "r", locker = "stm";
  int64_t keys = 1, keys_per_txn = 1, write_percent = 50, value_size = 8;
};

// Transactions that read some keys and write a part of them, each again and again until it goes through.
class Transactions final : public Workload {
 public:
  Transactions(const Options& options, Isolation isolation, Load& load, uint64_t seed)
      : options_(options), isolation_(isolation), keys_(KeyFlags{kKeyBytes, options.value_size, options.keys}, seed) {
    const uint64_t total = static_cast<uint64_t>(std::max<int64_t>(options.load.total, 0));
    for (uint64_t i = 0; i < load.flags().clients && i < total; ++i) {
      lockers_.push_back(make_locker(options.locker, load, load.channel(i)));
    }
  }

  // Makes what the lockers need.
  base::Status open(Load& load) {
    size_t open = 0;
    base::Status status;
    for (auto& locker : lockers_) net::spawn(load.loop().get_executor(), "locker", open_one(*locker, open, status));
    while (open < lockers_.size()) {
      if (load.loop().stopped()) load.loop().restart();
      load.loop().run_one();
    }
    return status;
  }

  void start(uint32_t client, rpc::Channel& channel, Load& load) override {
    net::spawn(load.loop().get_executor(), "stm", run(client, channel, load));
  }

 private:
  static asio::awaitable<void> open_one(Locker& locker, size_t& open, base::Status& status) {
    const base::Status opened = co_await locker.open();
    if (!opened.ok()) status = opened;
    ++open;
  }

  asio::awaitable<void> run(uint32_t client, rpc::Channel& channel, Load& load) {
    Locker& locker = *lockers_[client];
    base::Status status = co_await locker.lock();
    if (status.ok()) {
      status = co_await transact(channel, load);
      const base::Status unlocked = co_await locker.unlock();
      if (status.ok()) status = unlocked;
    }
    load.finished(client, status);
  }

  asio::awaitable<base::Status> transact(rpc::Channel& channel, Load& load) {
    std::set<std::string> keys;
    while (keys.size() < static_cast<size_t>(options_.keys_per_txn)) keys.insert(keys_.key(keys_.any()));
    const size_t writes_max = keys.size() * static_cast<size_t>(options_.write_percent) / kPercent;
    StmAttempt attempt(isolation_);
    for (;;) {
      attempt.begin();
      size_t writes = 0;
      for (const std::string& key : keys) {
        const std::optional<etcdserverpb::TxnRequest> request = attempt.read(key);
        if (request) {
          etcdserverpb::TxnResponse response;
          const base::Status status = co_await call(channel, load, request->SerializeAsString(), &response);
          if (!status.ok()) co_return status;
          attempt.take_read(key, response);
        }
        if (writes < writes_max) {
          attempt.write(key, keys_.value());
          ++writes;
        }
      }
      etcdserverpb::TxnResponse response;
      const base::Status status = co_await call(channel, load, attempt.commit().SerializeAsString(), &response);
      if (!status.ok() || attempt.take_commit(response)) co_return status;
    }
  }

  static asio::awaitable<base::Status> call(rpc::Channel& channel, Load& load, std::string request,
                                            etcdserverpb::TxnResponse* response) {
    rpc::CallOptions options = load.call_options();
    const base::Result<std::string> answer =
        co_await channel.unary("/etcdserverpb.KV/Txn", std::move(request), std::move(options));
    if (!answer.ok()) co_return answer.status();
    if (response->ParseFromString(*answer)) co_return base::Status();
    co_return base::Status(base::Code::kInternal, "grpc: failed to unmarshal the received message");
  }

  const Options& options_;
  const Isolation isolation_;
  KeyMaker keys_;
  std::vector<std::unique_ptr<Locker>> lockers_;  // by client
};

Exit check_options(const Options& options) {
  const auto wrong = [](const char* what, const std::string& range, int64_t got) {
    return fail(kExitError, "expected " + std::string(what) + range + ", got (" + std::to_string(got) + ")");
  };
  if (options.keys <= 0) return wrong("positive --keys", "", options.keys);
  if (options.write_percent < 0 || options.write_percent > kPercent) {
    return wrong("[0, 100] --txn-wr-percent", "", options.write_percent);
  }
  if (options.keys_per_txn < 0 || options.keys_per_txn > options.keys) {
    return wrong("--keys-per-txn between 0 and ", std::to_string(options.keys), options.keys_per_txn);
  }
  if (options.value_size < 0 || options.value_size > kValueBytesMax) return wrong("--val-size", "", options.value_size);
  return Exit();
}

Exit run_stm(const Invocation& invocation, const Options& options) {
  if (Exit exit = check_options(options); exit.code != kExitOk) return exit;
  Isolation isolation{};
  if (options.isolation == "c") {
    isolation = Isolation::kReadCommitted;
  } else if (options.isolation == "r") {
    isolation = Isolation::kRepeatableReads;
  } else if (options.isolation == "s") {
    isolation = Isolation::kSerializable;
  } else if (options.isolation == "ss") {
    isolation = Isolation::kSerializableSnapshot;
  } else {
    invocation.terminal.err << usage_text(invocation.command);
    return Exit{kExitError, ""};
  }
  if (options.locker != "stm" && options.locker != "lock-client" && options.locker != "lock-rpc") {
    return fail(kExitError, "unexpected stm locker " + base::flags::quote(options.locker));
  }
  Load load(invocation, options.load);
  if (Exit exit = load.connect(); exit.code != kExitOk) return exit;
  Report report(load.report_options(), static_cast<size_t>(std::max<int64_t>(options.load.total, 0)));
  Transactions transactions(options, isolation, load, static_cast<uint64_t>(load.clock().unix_ns()));
  if (const base::Status opened = transactions.open(load); !opened.ok()) {
    return fail(kExitError, std::string(in_words(opened, false).text()));
  }
  load.run(transactions, {&report});
  print_report(invocation, load, report, "stm", false);
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_stm_command() {
  auto command = std::make_unique<Command>("stm", "Transactions that are tried until nobody else was in between");
  auto options = std::make_shared<Options>();
  FlagSet& flags = command->flags();
  flags.add("isolation", &options->isolation,
            "c: read committed, r: repeatable reads, s: serializable, ss: serializable snapshot");
  flags.add("keys", &options->keys, "number of different keys");
  flags.add("total", &options->load.total, "number of transactions");
  flags.add("keys-per-txn", &options->keys_per_txn, "keys that a transaction reads");
  flags.add("txn-wr-percent", &options->write_percent, "how many of them in a hundred it writes");
  flags.add("stm-locker", &options->locker, "lock around each transaction: stm (none), lock-client, lock-rpc");
  flags.add("val-size", &options->value_size, "bytes of a value");
  flags.add("rate", &options->load.rate, "most transactions a second (0: no limit)");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_stm(invocation, *options); };
  return command;
}

}  // namespace cli::benchmark
