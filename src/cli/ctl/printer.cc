#include "cli/ctl/printer.h"

#include "base/bytes.h"
#include "cli/text.h"

namespace cli::ctl {
namespace {

std::string yes_no(bool value) { return value ? "true" : "false"; }

template <class Strings>
std::string joined(const Strings& strings, std::string_view between) {
  std::string out;
  for (const std::string& text : strings) {
    if (!out.empty()) out += between;
    out += text;
  }
  return out;
}

// Of the file, how much holds nothing. A server that reports no size yet has nothing unused.
std::string unused_percent(const etcdserverpb::StatusResponse& status) {
  if (status.dbsize() <= 0) return "0%";
  return std::to_string(100 - status.dbsizeinuse() * 100 / status.dbsize()) + "%";
}

}  // namespace

Exit Printer::unsupported() const { return fail(kExitBadFeature, std::string(name_) + " not supported as output format"); }

std::unique_ptr<Printer> make_printer(std::string_view format, bool hex, Terminal& terminal) {
  if (format == "simple") return make_simple_printer(hex, terminal);
  if (format == "fields") return make_fields_printer(hex, terminal);
  if (format == "json") return make_json_printer(hex, terminal);
  if (format == "protobuf") return make_protobuf_printer(hex, terminal);
  if (format == "table") return make_table_printer(hex, terminal);
  return nullptr;
}

std::string event_type_text(const mvccpb::Event& event) {
  const std::string& name = mvccpb::Event_EventType_Name(event.type());
  return name.empty() ? std::to_string(event.type()) : name;
}

std::string alarm_type_text(etcdserverpb::AlarmType type) {
  const std::string& name = etcdserverpb::AlarmType_Name(type);
  return name.empty() ? std::to_string(type) : name;
}

std::string lease_text(int64_t id) { return formatted("%016llx", static_cast<unsigned long long>(id)); }

Cells member_cells(const etcdserverpb::MemberListResponse& response) {
  Cells cells{{"ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"}, {}};
  for (const etcdserverpb::Member& member : response.members()) {
    cells.rows.push_back({base::hex(member.id()), member.name().empty() ? "unstarted" : "started", member.name(),
                          joined(member.peerurls(), ","), joined(member.clienturls(), ","), yes_no(member.islearner())});
  }
  return cells;
}

Cells health_cells(const std::vector<EndpointHealth>& list) {
  Cells cells{{"endpoint", "health", "took", "error"}, {}};
  for (const EndpointHealth& health : list) {
    cells.rows.push_back({health.endpoint, yes_no(health.healthy), health.took, health.error});
  }
  return cells;
}

Cells status_cells(const std::vector<EndpointStatus>& list) {
  Cells cells{{"endpoint", "ID", "version", "storage version", "db size", "in use", "percentage not in use", "quota",
               "is leader", "is learner", "raft term", "raft index", "raft applied index", "errors", "downgrade target version",
               "downgrade enabled"},
              {}};
  for (const auto& [endpoint, status] : list) {
    cells.rows.push_back({endpoint,
                          base::hex(status.header().member_id()),
                          status.version(),
                          status.storageversion(),
                          humanize_bytes(static_cast<uint64_t>(status.dbsize())),
                          humanize_bytes(static_cast<uint64_t>(status.dbsizeinuse())),
                          unused_percent(status),
                          humanize_bytes(static_cast<uint64_t>(status.dbsizequota())),
                          yes_no(status.leader() == status.header().member_id()),
                          yes_no(status.islearner()),
                          std::to_string(status.raftterm()),
                          std::to_string(status.raftindex()),
                          std::to_string(status.raftappliedindex()),
                          joined(status.errors(), ", "),
                          status.downgradeinfo().targetversion(),
                          yes_no(status.downgradeinfo().enabled())});
  }
  return cells;
}

Cells hash_cells(const std::vector<EndpointHash>& list) {
  Cells cells{{"endpoint", "hash", "hash_revision"}, {}};
  for (const auto& [endpoint, hash] : list) {
    cells.rows.push_back({endpoint, std::to_string(hash.hash()), std::to_string(hash.hash_revision())});
  }
  return cells;
}

}  // namespace cli::ctl
