#include "cli/benchmark/commands.h"
#include "cli/benchmark/key_maker.h"
#include "cli/benchmark/load.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli::benchmark {
namespace {

constexpr int64_t kOpsMax = 1 << 20;

struct Options {
  LoadFlags load;
  KeyFlags keys;
  int64_t ops = 1;
};

// Transactions of puts, keys in order.
class TxnPuts final : public Workload {
 public:
  TxnPuts(const Options& options, uint64_t seed) : keys_(options.keys, seed), ops_(options.ops) {}
  void start(uint32_t client, rpc::Channel& channel, Load& load) override {
    request_.clear_success();
    for (int64_t i = 0; i < ops_; ++i) {
      etcdserverpb::PutRequest& put = *request_.add_success()->mutable_request_put();
      put.set_key(keys_.key(next_++ % keys_.space()));
      put.set_value(keys_.value());
    }
    channel.unary("/etcdserverpb.KV/Txn", request_.SerializeAsString(), load.call_options(),
                  [&load, client](base::Result<std::string> answer) { load.finished(client, answer.status()); });
  }

 private:
  KeyMaker keys_;
  int64_t ops_;
  uint64_t next_ = 0;
  etcdserverpb::TxnRequest request_;  // its memory is used again
};

Exit run_txn_put(const Invocation& invocation, const Options& options) {
  if (const base::Status checked = check(options.keys); !checked.ok()) return fail(kExitError, std::string(checked.text()));
  if (options.ops > options.keys.key_space) {
    return fail(kExitError, "expected --txn-ops no larger than --key-space-size, got txn-ops(" + std::to_string(options.ops) +
                                ") key-space-size(" + std::to_string(options.keys.key_space) + ")");
  }
  if (options.ops < 0 || options.ops > kOpsMax) {
    return fail(kExitError, "expected --txn-ops from 0 to " + std::to_string(kOpsMax));
  }
  Load load(invocation, options.load);
  if (Exit exit = load.connect(); exit.code != kExitOk) return exit;
  Report report(load.report_options(), static_cast<size_t>(options.load.total));
  TxnPuts puts(options, static_cast<uint64_t>(load.clock().unix_ns()));
  load.run(puts, {&report});
  print_report(invocation, load, report, "txn-put", true);
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_txn_put_command() {
  auto command = std::make_unique<Command>("txn-put", "Writes keys in transactions");
  auto options = std::make_shared<Options>();
  FlagSet& flags = command->flags();
  flags.add("key-size", &options->keys.key_size, "bytes of a key");
  flags.add("val-size", &options->keys.value_size, "bytes of a value");
  flags.add("txn-ops", &options->ops, "puts in a transaction");
  flags.add("rate", &options->load.rate, "most transactions a second (0: no limit)");
  flags.add("total", &options->load.total, "number of transactions");
  flags.add("key-space-size", &options->keys.key_space, "number of different keys");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_txn_put(invocation, *options); };
  return command;
}

}  // namespace cli::benchmark
