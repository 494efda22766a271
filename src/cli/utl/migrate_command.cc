#include <algorithm>
#include <utility>

#include "base/log.h"
#include "cli/flag_set.h"
#include "cli/utl/commands.h"
#include "cli/utl/lock_wait.h"
#include "io/overlay_disk.h"
#include "io/real_disk.h"
#include "raft_internal.pb.h"
#include "server/bootstrap.h"
#include "server/config.h"
#include "server/stopped_member.h"
#include "storage/wal/wal.h"

namespace cli::utl {
namespace {

using base::Code;
using base::Result;
using base::Status;
using server::MinorVersion;

constexpr MinorVersion kOldest{3, 5};
constexpr MinorVersion kVersionRowSince{3, 6};

struct MigrateFlags {
  std::string data_dir, target_version;
  bool force = false;
};

std::string in_quotes(const std::string& text) { return '"' + text + '"'; }
std::string text_of(MinorVersion version) { return std::to_string(version.major) + "." + std::to_string(version.minor); }

Result<MinorVersion> parse_target(const std::string& text) {
  if (std::count(text.begin(), text.end(), '.') != 1) {
    return Status(Code::kInvalidArgument, "wrong target version format, expected \"X.Y\", got " + in_quotes(text));
  }
  const size_t dot = text.find('.');
  MinorVersion version;
  for (const auto& [part, into] :
       {std::pair(text.substr(0, dot), &version.major), std::pair(text.substr(dot + 1), &version.minor)}) {
    Result<int64_t> number = parse_int(part, 10);
    if (!number.ok()) {
      return Status(Code::kInvalidArgument, "failed to parse target version: " + std::string(number.status().text()));
    }
    *into = static_cast<int>(*number);
  }
  if (version < kOldest) {
    return Status(Code::kInvalidArgument, "target version \"" + text_of(version) + "\" not supported. Minimal \"3.5\"");
  }
  return version;
}

// The storage version that a store says, or the one that its rows tell.
Result<MinorVersion> detect(const server::StoppedMember& member) {
  Result<std::optional<std::string>> row = member.meta("storageVersion");
  if (!row.ok()) return row.status();
  if (row->has_value()) {
    if (std::optional<MinorVersion> version = server::parse_minor_version(**row)) return *version;
    return Status(Code::kDataLoss, "the storage version " + in_quotes(**row) + " is no version");
  }
  Result<std::optional<std::string>> term = member.meta("term");
  if (!term.ok()) return term.status();
  if (!term->has_value() || **term == std::string(8, '\0')) return Status(Code::kNotFound, "missing term information");
  return kOldest;
}

// The oldest etcd that understands what is in the log behind its newest snapshot. Of what etcd 3.5 does not know, the log can
// only hold a test entry, which names a version.
Result<MinorVersion> needed_by_log(io::Disk& disk, const std::string& wal_dir) {
  Result<std::vector<storage::WalSnapshot>> snapshots = storage::Wal::valid_snapshots(disk, wal_dir);
  if (!snapshots.ok()) {
    return Status(snapshots.status().code(), "failed to get the lastest snapshot: " + std::string(snapshots.status().text()));
  }
  const storage::WalSnapshot newest = snapshots->empty() ? storage::WalSnapshot() : snapshots->back();
  io::OverlayDisk unchanged(disk);
  auto log = storage::Wal::open(unchanged, wal_dir, newest.index, newest.term);
  if (!log.ok()) return Status(log.status().code(), "failed to open wal: " + std::string(log.status().text()));
  MinorVersion needed = kOldest;
  for (const storage::WalEntry& entry : log->second.entries) {
    if (entry.type != storage::kEntryNormal || entry.data == nullptr) continue;
    etcdserverpb::InternalRaftRequest request;
    if (!request.ParseFromString(*entry.data) || !request.has_downgrade_version_test()) continue;
    const auto named = server::parse_minor_version(request.downgrade_version_test().ver());
    needed = std::max({needed, kVersionRowSince, named.value_or(kOldest)});
  }
  return needed;
}

Status check_plan(MinorVersion current, MinorVersion target, MinorVersion needed) {
  const std::optional<MinorVersion> ours = server::parse_minor_version(server::kVersion);
  if (current.major != target.major) {
    base::log::error("Changing major storage version is not supported",
                     {{"storage-version", text_of(current) + ".0"}, {"target-storage-version", text_of(target) + ".0"}});
    return Status(Code::kInvalidArgument, "cannot create migration plan: changing major storage version is not supported");
  }
  if (ours.has_value() && *ours < std::max(current, target)) {
    // The first step that nobody knows: up from what is known, or down from what is not.
    const MinorVersion unknown = *ours < current ? current : MinorVersion{ours->major, ours->minor + 1};
    return Status(Code::kInvalidArgument,
                  "cannot create migration plan: version \"" + text_of(unknown) + ".0\" is not supported");
  }
  if (target < current && target < needed) {
    return Status(Code::kFailedPrecondition, "cannot downgrade storage, WAL contains newer entries, as the target version (" +
                                                 text_of(target) + ".0) is lower than the version (" + text_of(needed) +
                                                 ".0) detected from WAL logs");
  }
  return {};
}

Status set_version(server::StoppedMember& member, MinorVersion version) {
  return member.set_storage_version(version < kVersionRowSince ? "" : text_of(version) + ".0");
}

Status migrate(server::StoppedMember& member, io::Disk& disk, const MigrateFlags& flags, MinorVersion target) {
  Result<MinorVersion> current = detect(member);
  if (!current.ok()) {
    base::log::error("failed to detect storage version. Please make sure you are using data dir from etcd v3.5 and older");
    return current.status();
  }
  if (*current == target) {
    base::log::info("storage version up-to-date", {{"storage-version", text_of(target)}});
    return {};
  }
  Result<MinorVersion> needed = needed_by_log(disk, flags.data_dir + "/member/wal");
  if (!needed.ok()) {
    base::log::error("Failed to finalize config", {{"error", needed.status()}});
    return needed.status();
  }
  if (Status possible = check_plan(*current, target, *needed); !possible.ok()) {
    if (!flags.force) return possible;
    base::log::info("normal migrate failed, trying with force", {{"error", possible}});
    Status done = set_version(member, target);
    if (!done.ok()) return done;
    if (target < kVersionRowSince) {
      base::log::warn("forcefully cleared storage version");
    } else {
      base::log::warn("forcefully set storage version", {{"storage-version", text_of(target)}});
    }
    return {};
  }
  Status done = set_version(member, target);
  const int step = *current < target ? 1 : -1;
  for (MinorVersion at = *current; done.ok() && at != target;) {
    at.minor += step;
    base::log::info("updated storage version", {{"new-storage-version", text_of(at) + ".0"}});
  }
  return done;
}

Exit run(const Invocation& invocation, const MigrateFlags& flags) {
  Result<MinorVersion> target = parse_target(flags.target_version);
  if (!target.ok()) return fail(kExitBadArguments, std::string(target.status().text()));
  io::RealDisk disk;
  auto member = server::StoppedMember::open(disk, flags.data_dir, wait_for_lock(global_flags(invocation.command).lock_timeout));
  const Status done = member.ok() ? migrate(**member, disk, flags, *target) : member.status();
  return done.ok() ? Exit() : fail(kExitError, std::string(done.text()));
}

}  // namespace

std::unique_ptr<Command> make_migrate_command() {
  auto command = std::make_unique<Command>("migrate", "Makes a data directory fit for another version of etcd");
  auto values = std::make_shared<MigrateFlags>();
  FlagSet& flags = command->flags();
  flags.add("data-dir", &values->data_dir, "the data directory of a member that does not run").required = true;
  flags.add("target-version", &values->target_version, "the version it is to fit, X.Y, at least 3.5").required = true;
  flags.add("force", &values->force, "if it does not fit, write the version all the same (not recommended)");
  command->state = values;
  command->run = [values = values.get()](const Invocation& invocation) { return run(invocation, *values); };
  return command;
}

}  // namespace cli::utl
