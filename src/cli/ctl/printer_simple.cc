#include <cinttypes>
#include <ostream>

#include "cli/ctl/printer.h"
#include "cli/text.h"

namespace cli::ctl {
namespace {

class SimplePrinter final : public Printer {
 public:
  SimplePrinter(bool hex, Terminal& terminal) : Printer(Format::kSimple, "simple", hex, terminal) {}
  void set_values_only() override { values_only_ = true; }

  Exit range(const etcdserverpb::RangeResponse& response) override {
    for (const mvccpb::KeyValue& pair : response.kvs()) print(pair);
    return Exit();
  }

  Exit put(const etcdserverpb::PutResponse& response) override {
    out() << "OK\n";
    if (response.has_prev_kv()) print(response.prev_kv());
    return Exit();
  }

  Exit delete_range(const etcdserverpb::DeleteRangeResponse& response) override {
    out() << response.deleted() << "\n";
    for (const mvccpb::KeyValue& pair : response.prev_kvs()) print(pair);
    return Exit();
  }

  Exit txn(const etcdserverpb::TxnResponse& response) override {
    out() << (response.succeeded() ? "SUCCESS\n" : "FAILURE\n");
    for (const etcdserverpb::ResponseOp& op : response.responses()) {
      out() << "\n";
      if (op.has_response_delete_range()) {
        (void)delete_range(op.response_delete_range());
      } else if (op.has_response_put()) {
        (void)put(op.response_put());
      } else if (op.has_response_range()) {
        (void)range(op.response_range());
      } else {
        out() << "unexpected response " << op.ShortDebugString() << "\n";
      }
    }
    return Exit();
  }

  Exit watch(const etcdserverpb::WatchResponse& response) override {
    for (const mvccpb::Event& event : response.events()) {
      out() << event_type_text(event) << "\n";
      if (event.has_prev_kv()) print(event.prev_kv());
      print(event.kv());
    }
    return Exit();
  }

  Exit lease_grant(const etcdserverpb::LeaseGrantResponse& response) override {
    out() << "lease " << lease_text(response.id()) << " granted with TTL(" << response.ttl() << "s)\n";
    return Exit();
  }

  Exit lease_revoke(int64_t id, const etcdserverpb::LeaseRevokeResponse&) override {
    out() << "lease " << lease_text(id) << " revoked\n";
    return Exit();
  }

  Exit lease_keep_alive(const etcdserverpb::LeaseKeepAliveResponse& response) override {
    out() << "lease " << lease_text(response.id()) << " keepalived with TTL(" << response.ttl() << ")\n";
    return Exit();
  }

  Exit lease_time_to_live(const etcdserverpb::LeaseTimeToLiveResponse& response, bool keys) override {
    out() << "lease " << lease_text(response.id());
    if (response.grantedttl() == 0 && response.ttl() == -1) {
      out() << " already expired\n";
      return Exit();
    }
    out() << " granted with TTL(" << response.grantedttl() << "s), remaining(" << response.ttl() << "s)";
    if (keys) {
      out() << ", attached keys([";
      for (int i = 0; i < response.keys_size(); ++i) out() << (i == 0 ? "" : " ") << response.keys(i);
      out() << "])";
    }
    out() << "\n";
    return Exit();
  }

  Exit lease_list(const etcdserverpb::LeaseLeasesResponse& response) override {
    out() << "found " << response.leases_size() << " leases\n";
    for (const etcdserverpb::LeaseStatus& lease : response.leases()) out() << lease_text(lease.id()) << "\n";
    return Exit();
  }

  // protobuf's text on one line; Go's has one blank or two between the fields, which a build of it decides at random.
  Exit alarm(const etcdserverpb::AlarmResponse& response) override {
    for (const etcdserverpb::AlarmMember& alarm : response.alarms()) {
      std::string line;
      if (alarm.memberid() != 0) line = "memberID:" + std::to_string(alarm.memberid());
      if (alarm.alarm() != etcdserverpb::NONE) line += (line.empty() ? "alarm:" : " alarm:") + alarm_type_text(alarm.alarm());
      out() << line << "\n";
    }
    return Exit();
  }

  Exit member_change(const MemberChange& change) override {
    out() << formatted("Member %16" PRIx64 " %s cluster %16" PRIx64 "\n", change.id, change.what.c_str(),
                       change.header.cluster_id());
    return Exit();
  }

  Exit move_leader(uint64_t from, uint64_t to, const etcdserverpb::MoveLeaderResponse&) override {
    out() << formatted("Leadership transferred from %16" PRIx64 " to %16" PRIx64 "\n", from, to);
    return Exit();
  }

  Exit member_list(const etcdserverpb::MemberListResponse& response) override { return print(member_cells(response)); }
  Exit endpoint_status(const std::vector<EndpointStatus>& list) override { return print(status_cells(list)); }
  Exit endpoint_hash(const std::vector<EndpointHash>& list) override { return print(hash_cells(list)); }

  Exit endpoint_health(const std::vector<EndpointHealth>& list) override {
    for (const EndpointHealth& health : list) {
      if (health.error.empty()) {
        out() << health.endpoint << " is healthy: successfully committed proposal: took = " << health.took << "\n";
      } else {
        err() << health.endpoint << " is unhealthy: failed to commit proposal: " << health.error << "\n";
      }
    }
    return Exit();
  }

 private:
  void print(const mvccpb::KeyValue& pair) {
    if (!values_only_) out() << (hex() ? hex_escaped(pair.key()) : pair.key()) << "\n";
    out() << (hex() ? hex_escaped(pair.value()) : pair.value()) << "\n";
  }

  Exit print(const Cells& cells) {
    for (const Row& row : cells.rows) {
      for (size_t i = 0; i < row.size(); ++i) out() << (i == 0 ? "" : ", ") << row[i];
      out() << "\n";
    }
    return Exit();
  }

  bool values_only_ = false;
};

}  // namespace

std::unique_ptr<Printer> make_simple_printer(bool hex, Terminal& terminal) {
  return std::make_unique<SimplePrinter>(hex, terminal);
}

}  // namespace cli::ctl
