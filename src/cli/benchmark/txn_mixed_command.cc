#include <ostream>

#include "cli/benchmark/commands.h"
#include "cli/benchmark/key_maker.h"
#include "cli/benchmark/load.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli::benchmark {
namespace {

enum : size_t { kReads = 0, kWrites = 1 };
constexpr uint64_t kDice = uint64_t{1} << 32;

struct Options {
  LoadFlags load;
  KeyFlags keys;
  std::string end_key, consistency = "l";
  int64_t limit = 1000;
  double read_write_ratio = 1;
};

// Transactions of one read (of all keys, up to the limit) or one put, in the given proportion.
class MixedTxns final : public Workload {
 public:
  MixedTxns(const Options& options, uint64_t seed) : keys_(options.keys, seed), random_(seed + 1) {
    const double ratio = options.read_write_ratio;
    read_below_ = static_cast<uint64_t>(ratio / (1 + ratio) * static_cast<double>(kDice));
    etcdserverpb::TxnRequest request;
    etcdserverpb::RangeRequest& range = *request.add_success()->mutable_request_range();
    range.set_key(std::string(1, '\0'));
    range.set_range_end(std::string(1, '\0'));
    range.set_limit(options.limit);
    range.set_serializable(options.consistency == "s");
    read_ = request.SerializeAsString();
  }

  void start(uint32_t client, rpc::Channel& channel, Load& load) override {
    const bool read = random_.below(kDice) < read_below_;
    ++count_[read ? kReads : kWrites];
    if (read) {
      channel.unary("/etcdserverpb.KV/Txn", read_, load.call_options(), [&load, client](base::Result<std::string> answer) {
        load.finished(client, answer.status(), kReads);
      });
      return;
    }
    etcdserverpb::PutRequest& put = *write_.mutable_success(0)->mutable_request_put();
    put.set_key(keys_.key(next_++ % keys_.space()));
    put.set_value(keys_.value());
    channel.unary("/etcdserverpb.KV/Txn", write_.SerializeAsString(), load.call_options(),
                  [&load, client](base::Result<std::string> answer) { load.finished(client, answer.status(), kWrites); });
  }

  uint64_t count(size_t kind) const { return count_[kind]; }

 private:
  static etcdserverpb::TxnRequest one_success() {
    etcdserverpb::TxnRequest request;
    request.add_success();
    return request;
  }

  KeyMaker keys_;
  base::Rng random_;
  uint64_t read_below_ = 0, next_ = 0;
  std::string read_;
  etcdserverpb::TxnRequest write_ = one_success();
  uint64_t count_[2] = {};
};

Exit run_txn_mixed(const Invocation& invocation, const Options& options) {
  if (const base::Status checked = check(options.keys); !checked.ok()) return fail(kExitError, std::string(checked.text()));
  if (!(options.read_write_ratio >= 0)) return fail(kExitError, "expected --rw-ratio not below 0");
  if (options.consistency != "l" && options.consistency != "s") {
    invocation.terminal.err << usage_text(invocation.command);
    return Exit{kExitError, ""};
  }
  std::ostream& out = invocation.terminal.out;
  out << (options.consistency == "l" ? "bench with linearizable range\n" : "bench with serializable range\n") << std::flush;
  Load load(invocation, options.load);
  if (Exit exit = load.connect(); exit.code != kExitOk) return exit;
  Report reads(load.report_options(), static_cast<size_t>(options.load.total));
  Report writes(load.report_options(), static_cast<size_t>(options.load.total));
  MixedTxns txns(options, static_cast<uint64_t>(load.clock().unix_ns()));
  load.run(txns, {&reads, &writes});
  out << "Total Read Ops: " << txns.count(kReads) << "\nDetails:";
  print_report(invocation, load, reads, "txn-mixed-read", true);
  out << "Total Write Ops: " << txns.count(kWrites) << "\nDetails:";
  print_report(invocation, load, writes, "txn-mixed-write", true);
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_txn_mixed_command() {
  auto command = std::make_unique<Command>("txn-mixed key [end-range]", "Reads and writes in transactions");
  auto options = std::make_shared<Options>();
  FlagSet& flags = command->flags();
  flags.add("key-size", &options->keys.key_size, "bytes of a key");
  flags.add("val-size", &options->keys.value_size, "bytes of a value");
  flags.add("rate", &options->load.rate, "most transactions a second (0: no limit)");
  flags.add("total", &options->load.total, "number of transactions");
  flags.add("end-key", &options->end_key, "taken for compatibility: reads go over all keys up to the limit");
  flags.add("limit", &options->limit, "largest number of keys in an answer");
  flags.add("key-space-size", &options->keys.key_space, "number of different keys");
  flags.add("consistency", &options->consistency, "l: linearizable, s: serializable");
  flags.add("rw-ratio", &options->read_write_ratio, "reads for each write");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_txn_mixed(invocation, *options); };
  return command;
}

}  // namespace cli::benchmark
