#include <ostream>

#include "cli/utl/commands.h"
#include "cli/utl/lock_wait.h"
#include "io/real_disk.h"
#include "server/data_dir_check.h"

namespace cli::utl {
namespace {

constexpr const char* kDetails =
    "Reads every byte of a stopped member's data directory that matters: the records of the log, the blocks of the store, its\n"
    "rows and what they promise each other, the members, and the snapshot files. It changes nothing. What is wrong is printed\n"
    "with its file and offset, and the exit code is then 1. Directories of an etcd written in Go can be looked at, too.\n";

Exit run(const Invocation& invocation, std::string wal_dir) {
  if (invocation.arguments.size() != 1) return fail(kExitBadArguments, "check requires exactly one argument");
  std::string data_dir = invocation.arguments[0];
  for (std::string* dir : {&data_dir, &wal_dir}) {
    while (dir->size() > 1 && dir->back() == '/') dir->pop_back();
  }
  io::RealDisk disk;
  base::Result<server::DataDirReport> report =
      server::check_data_dir(disk, data_dir, wal_dir, wait_for_lock(global_flags(invocation.command).lock_timeout));
  if (!report.ok()) return fail(kExitError, "cannot check " + data_dir + " (" + std::string(report.status().text()) + ")");
  for (const std::string& line : report->facts) invocation.terminal.out << line << "\n";
  for (const std::string& line : report->problems) invocation.terminal.out << "problem: " << line << "\n";
  if (report->problems.empty()) {
    invocation.terminal.out << "ok\n";
    return Exit();
  }
  return fail(kExitError, "check of " + data_dir + " found " + std::to_string(report->problems.size()) + " problems");
}

}  // namespace

std::unique_ptr<Command> make_check_command() {
  auto command = std::make_unique<Command>("check <data-dir>", "Looks whether a data directory is sound");
  command->details = kDetails;
  auto wal_dir = std::make_shared<std::string>();
  command->flags().add("wal-dir", wal_dir.get(), "where the log is (default: inside of the data directory)");
  command->state = wal_dir;
  command->run = [wal_dir = wal_dir.get()](const Invocation& invocation) { return run(invocation, *wal_dir); };
  return command;
}

}  // namespace cli::utl
