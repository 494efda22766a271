#include <nlohmann/json.hpp>
#include <ostream>

#include "cli/ctl/table.h"
#include "cli/text.h"
#include "cli/utl/commands.h"
#include "io/real_disk.h"
#include "server/restore.h"

namespace cli::utl {
namespace {

constexpr const char* kDetails =
    "Reads a whole snapshot file and shows what it holds. With --write-out=simple one line has, with commas between: hash,\n"
    "revision, number of keys, size, storage version.\n";

Exit show(const server::SnapshotFileStatus& status, const std::string& format, std::ostream& out) {
  const ctl::Row titles{"hash", "revision", "total keys", "total size", "version"};
  const ctl::Row cells{formatted("%x", status.hash), std::to_string(status.revision), std::to_string(status.keys),
                       humanize_bytes(status.size_bytes), status.version};
  if (format == "simple") {
    for (size_t i = 0; i < cells.size(); ++i) out << (i > 0 ? ", " : "") << cells[i];
    out << "\n";
  } else if (format == "table") {
    out << ctl::draw_table(titles, {cells});
  } else if (format == "fields") {
    out << "\"Hash\" : " << status.hash << "\n\"Revision\" : " << status.revision << "\n\"Keys\" : " << status.keys
        << "\n\"Size\" : " << status.size_bytes << "\n\"Version\" : " << status.version << "\n";
  } else {
    nlohmann::ordered_json json;
    json["hash"] = status.hash;
    json["revision"] = status.revision;
    json["totalKey"] = status.keys;
    json["totalSize"] = status.size_bytes;
    json["version"] = status.version;
    out << json.dump() << "\n";
  }
  return Exit();
}

Exit run(const Invocation& invocation) {
  if (invocation.arguments.size() != 1) return fail(kExitBadArguments, "snapshot status requires exactly one argument");
  const std::string& path = invocation.arguments[0];
  const std::string format = write_out(invocation.command);
  io::RealDisk disk;
  if (base::Result<io::FileInfo> info = disk.stat(path); !info.ok()) {
    return fail(kExitError, std::string(info.status().text()));
  }
  if (!is_format(format)) return fail(kExitBadFeature, "unsupported output format");
  base::Result<server::SnapshotFileStatus> status = server::snapshot_file_status(disk, path);
  if (!status.ok()) return fail(kExitError, std::string(status.status().text()));
  if (format == "protobuf") return fail(kExitBadFeature, "protobuf not supported as output format");
  return show(*status, format, invocation.terminal.out);
}

}  // namespace

std::unique_ptr<Command> make_snapshot_status_command() {
  auto command = std::make_unique<Command>("status <filename>", "Shows what a snapshot file holds");
  command->details = kDetails;
  command->run = run;
  return command;
}

}  // namespace cli::utl
