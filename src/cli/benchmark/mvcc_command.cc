// `mvcc put`: how fast the store takes keys, without a server: no network, no raft, no log.
#include <ostream>

#include "base/rng.h"
#include "cli/benchmark/commands.h"
#include "cli/benchmark/load.h"
#include "cli/benchmark/report.h"
#include "io/real_disk.h"
#include "io/tree.h"
#include "mvcc/store.h"
#include "storage/backend.h"
#include "storage/leveldb_engine.h"

namespace cli::benchmark {
namespace {

constexpr const char* kStoreDir = "mvcc-bench";  // in the current folder; gone when the run is over
constexpr int64_t kBytesMax = int64_t{1} << 30;

struct BatchFlags {
  int64_t interval_ms = 100, limit = 10'000;
};

struct PutFlags {
  int64_t total = 100, key_size = 64, value_size = 64, txn_ops = 1;
  bool txn = false;
  std::string cpu_profile, memory_profile;
};

std::string check(const BatchFlags& batch, const PutFlags& put) {
  if (batch.interval_ms <= 0 || batch.limit <= 0) return "--batch-interval and --batch-limit must be positive";
  if (put.total < 0 || put.txn_ops < 1) return "--total must not be negative, --txn-ops must be positive";
  if (put.key_size < 1 || put.key_size > kBytesMax || put.value_size < 0 || put.value_size > kBytesMax) {
    return "--key-size and --value-size are out of bounds";
  }
  return "";
}

std::string random_bytes(base::Rng& rng, int64_t n) {
  std::string out(static_cast<size_t>(n), '\0');
  for (char& c : out) c = static_cast<char>(rng.next());
  return out;
}

base::Status run_puts(const BatchFlags& batch, const PutFlags& put, io::Disk& disk, Report& report, base::Duration& took) {
  base::Result<std::unique_ptr<storage::LevelDbEngine>> engine = storage::LevelDbEngine::open(disk, kStoreDir);
  if (!engine.ok()) return engine.status();
  storage::BackendOptions options;
  options.commit_interval = std::chrono::milliseconds(batch.interval_ms);
  options.commit_changes_max = static_cast<uint64_t>(batch.limit);
  storage::Backend backend(**engine, options);
  mvcc::Store store(backend);
  if (base::Status recovered = store.recover(); !recovered.ok()) return recovered;
  const base::RealClock clock;
  base::Rng rng(static_cast<uint64_t>(clock.unix_ns()));
  const int64_t ops = put.txn ? put.txn_ops : 1;
  const base::Instant start = clock.now();
  base::Duration elsewhere{0};  // keys and values are made between the puts
  for (int64_t i = 0; i < put.total; ++i) {
    const base::Instant prepare = clock.now();
    std::vector<std::pair<std::string, std::string>> pairs(static_cast<size_t>(ops));
    for (auto& [key, value] : pairs) {
      key = random_bytes(rng, put.key_size);
      value = random_bytes(rng, put.value_size);
    }
    const int64_t unix_ns = clock.unix_ns();
    const base::Instant began = clock.now();
    elsewhere += began - prepare;
    {
      mvcc::Store::WriteTxn txn(store);
      for (const auto& [key, value] : pairs) txn.put(key, value, base::LeaseId(0));
      txn.commit();
    }
    if (backend.commit_due(clock.now())) {
      if (base::Status done = backend.commit_now(); !done.ok()) return done;
    }
    const base::Duration each = (clock.now() - began) / ops;
    for (int64_t op = 0; op < ops; ++op) report.add(unix_ns, each);
  }
  took = clock.now() - start - elsewhere;
  return backend.commit_now();
}

Exit run(const Invocation& invocation, const BatchFlags& batch, const PutFlags& put) {
  if (const std::string wrong = check(batch, put); !wrong.empty()) return fail(kExitError, wrong);
  if (!put.cpu_profile.empty() || !put.memory_profile.empty()) {
    return fail(kExitBadFeature, "--cpuprofile and --memprofile write profiles of Go programs, which this is not; use perf");
  }
  const GlobalFlags& global = global_flags(invocation.command);
  Report report({global.precise, global.sample}, static_cast<size_t>(put.total));
  io::RealDisk disk;
  base::Duration took{0};
  base::Status done = io::remove_tree(disk, kStoreDir);
  if (done.ok()) done = run_puts(batch, put, disk, report, took);
  const base::Status removed = io::remove_tree(disk, kStoreDir);
  if (done.ok()) done = removed;
  if (!done.ok()) return fail(kExitError, std::string(done.text()));
  invocation.terminal.out << (global.report_perfdash ? report.perfdash("put") : report.text(took));
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_mvcc_command() {
  auto mvcc = std::make_unique<Command>("mvcc", "Measures the store, without a server");
  auto batch = std::make_shared<BatchFlags>();
  mvcc->handed_down().add("batch-interval", &batch->interval_ms, "milliseconds between commits of the store");
  mvcc->handed_down().add("batch-limit", &batch->limit, "changes that make a commit due before that");
  auto command = std::make_unique<Command>("put", "Writes keys into a store in ./mvcc-bench, which is removed afterwards");
  auto put = std::make_shared<PutFlags>();
  FlagSet& flags = command->flags();
  flags.add("total", &put->total, "number of puts, or of transactions with --txn");
  flags.add("key-size", &put->key_size, "bytes of a key");
  flags.add("value-size", &put->value_size, "bytes of a value");
  flags.add("txn", &put->txn, "put in transactions");
  flags.add("txn-ops", &put->txn_ops, "puts of a transaction");
  flags.add("cpuprofile", &put->cpu_profile, "not for this program: refused");
  flags.add("memprofile", &put->memory_profile, "not for this program: refused");
  command->state = put;
  command->run = [batch = batch.get(), put = put.get()](const Invocation& invocation) { return run(invocation, *batch, *put); };
  mvcc->state = batch;
  mvcc->add(std::move(command));
  return mvcc;
}

}  // namespace cli::benchmark
