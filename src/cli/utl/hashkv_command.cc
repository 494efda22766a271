#include <nlohmann/json.hpp>
#include <ostream>

#include "cli/ctl/table.h"
#include "cli/utl/commands.h"
#include "cli/utl/lock_wait.h"
#include "io/real_disk.h"
#include "server/stopped_member.h"

namespace cli::utl {
namespace {

constexpr const char* kDetails =
    "Shows the hash over the history of all keys, as HashKV of a running member gives it. The file is a snapshot or the\n"
    "database of an etcd written in Go (member/snap/db); the data directory of a stopped member will do, too.\n";

Exit show(const mvcc::KeyHash& hash, const std::string& format, std::ostream& out) {
  const ctl::Row cells{std::to_string(hash.hash), std::to_string(hash.revision), std::to_string(hash.compact_revision)};
  if (format == "simple") {
    out << cells[0] << ", " << cells[1] << ", " << cells[2] << "\n";
  } else if (format == "table") {
    out << ctl::draw_table({"hash", "hash revision", "compact revision"}, {cells});
  } else if (format == "fields") {
    out << "\"Hash\" : " << cells[0] << "\n\"Hash revision\" : " << cells[1] << "\n\"Compact revision\" : " << cells[2] << "\n";
  } else if (format == "json") {
    nlohmann::ordered_json json;
    json["hash"] = hash.hash;
    json["hashRevision"] = hash.revision;
    json["compactRevision"] = hash.compact_revision;
    out << json.dump() << "\n";
  } else {
    return fail(kExitBadFeature, "protobuf not supported as output format");
  }
  return Exit();
}

std::string wrong_arguments(const Command&, const std::vector<std::string>& arguments) {
  if (arguments.size() == 1) return "";
  return "accepts 1 arg(s), received " + std::to_string(arguments.size());
}

Exit run(const Invocation& invocation, int64_t revision) {
  const std::string& format = global_flags(invocation.command).write_out;
  if (!is_format(format)) return fail(kExitBadFeature, "unsupported output format");
  io::RealDisk disk;
  const base::Result<mvcc::KeyHash> hash = server::hash_of_file(disk, invocation.arguments[0], revision,
                                                                wait_for_lock(global_flags(invocation.command).lock_timeout));
  if (!hash.ok()) return fail(kExitError, std::string(hash.status().text()));
  return show(*hash, format, invocation.terminal.out);
}

}  // namespace

std::unique_ptr<Command> make_hashkv_command() {
  auto command = std::make_unique<Command>("hashkv <filename>", "Shows the hash over the history of all keys");
  command->details = kDetails;
  command->check_arguments = wrong_arguments;
  auto revision = std::make_shared<int64_t>(0);
  command->flags().add("rev", revision.get(), "up to which revision (default: the newest)");
  command->state = revision;
  command->run = [revision = revision.get()](const Invocation& invocation) { return run(invocation, *revision); };
  return command;
}

}  // namespace cli::utl
