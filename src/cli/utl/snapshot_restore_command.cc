#include <unistd.h>

#include <ostream>

#include "base/split.h"
#include "cli/utl/commands.h"
#include "io/real_disk.h"
#include "server/restore.h"

namespace cli::utl {
namespace {

constexpr uint64_t kInitialMemoryMapBytes = uint64_t{10} << 30;
constexpr const char* kDefaultPeerUrl = "http://localhost:2380";

struct RestoreFlags {
  std::string data_dir, wal_dir;
  std::string initial_cluster = std::string("default=") + kDefaultPeerUrl;
  std::string initial_cluster_token = "etcd-cluster";
  std::string peer_urls = kDefaultPeerUrl;
  std::string name = "default";
  bool skip_hash_check = false, mark_compacted = false;
  uint64_t initial_memory_map_bytes = kInitialMemoryMapBytes;
  uint64_t bump_revision = 0;
};

// A line for people who watch. It leaves the cursor at its begin: what is logged meanwhile writes over it.
constexpr std::string_view kEraseLine = "\r\x1b[K";

server::RestoreProgress progress_bar(std::ostream& err) {
  if (::isatty(STDERR_FILENO) == 0) return nullptr;
  return [&err, shown = uint64_t{UINT64_MAX}](uint64_t done, uint64_t total) mutable {
    const uint64_t percent = total == 0 ? 100 : done * 100 / total;
    if (percent == shown) return;
    shown = percent;
    err << kEraseLine << "restoring " << percent << " %\r" << std::flush;
  };
}

Exit run(const Invocation& invocation, const RestoreFlags& flags) {
  if (invocation.arguments.size() != 1) return fail(kExitBadArguments, "snapshot restore requires exactly one argument");
  if ((flags.bump_revision > 0) != flags.mark_compacted) {
    return fail(kExitBadArguments, "--mark-compacted required if --revision-bump > 0");
  }
  server::RestoreOptions options;
  options.snapshot_path = invocation.arguments[0];
  options.name = flags.name;
  options.data_dir = flags.data_dir.empty() ? flags.name + ".etcd" : flags.data_dir;
  while (options.data_dir.size() > 1 && options.data_dir.back() == '/') options.data_dir.pop_back();
  options.wal_dir = flags.wal_dir.empty() ? options.data_dir + "/member/wal" : flags.wal_dir;
  options.peer_urls = base::split(flags.peer_urls, ',');
  options.initial_cluster = flags.initial_cluster;
  options.initial_cluster_token = flags.initial_cluster_token;
  options.skip_hash_check = flags.skip_hash_check;
  options.initial_memory_map_bytes = flags.initial_memory_map_bytes;
  options.bump_revision = flags.bump_revision;
  options.mark_compacted = flags.mark_compacted;
  io::RealDisk disk;
  const server::RestoreProgress progress = progress_bar(invocation.terminal.err);
  const base::Status restored = server::restore_snapshot(disk, options, progress);
  if (progress) invocation.terminal.err << kEraseLine << std::flush;
  return restored.ok() ? Exit() : fail(kExitError, std::string(restored.text()));
}

}  // namespace

std::unique_ptr<Command> make_snapshot_restore_command() {
  auto command = std::make_unique<Command>("restore <filename> --data-dir {output dir} [options]",
                                           "Makes a member's data directory out of a snapshot file");
  auto values = std::make_shared<RestoreFlags>();
  FlagSet& flags = command->flags();
  flags.add("data-dir", &values->data_dir, "the data directory to make (default: the name and .etcd)");
  flags.add("wal-dir", &values->wal_dir, "where the log goes (default: inside of --data-dir)");
  flags.add("initial-cluster", &values->initial_cluster, "members of the new cluster: name=peer URL, with commas between");
  flags.add("initial-cluster-token", &values->initial_cluster_token, "what tells the new cluster from others of the same URLs");
  flags.add("initial-advertise-peer-urls", &values->peer_urls, "this member's peer URLs, as --initial-cluster has them");
  flags.add("name", &values->name, "this member's name");
  flags.add("skip-hash-check", &values->skip_hash_check,
            "do not check the digest at the end of the file (a database copied from a data directory has none)");
  flags.add("initial-memory-map-size", &values->initial_memory_map_bytes,
            "accepted for compatibility: nothing is mapped into memory");
  flags.add("bump-revision", &values->bump_revision, "raise the newest revision by so many, with --mark-compacted");
  flags.add("mark-compacted", &values->mark_compacted,
            "compact up to the raised revision, so that old watches notice (with --bump-revision only)");
  command->state = values;
  command->run = [values = values.get()](const Invocation& invocation) { return run(invocation, *values); };
  return command;
}

}  // namespace cli::utl
