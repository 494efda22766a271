#include <ostream>

#include "base/bytes.h"
#include "base/flags.h"
#include "cli/ctl/printer.h"
#include "cli/text.h"

namespace cli::ctl {
namespace {

using base::flags::quote;

class FieldsPrinter final : public Printer {
 public:
  FieldsPrinter(bool hex, Terminal& terminal) : Printer(Format::kFields, "fields", hex, terminal) {}

  Exit range(const etcdserverpb::RangeResponse& response) override {
    header(response.header());
    for (const mvccpb::KeyValue& pair : response.kvs()) print("", pair);
    field("More", response.more());
    field("Count", response.count());
    return Exit();
  }

  Exit put(const etcdserverpb::PutResponse& response) override {
    header(response.header());
    if (response.has_prev_kv()) print("Prev", response.prev_kv());
    return Exit();
  }

  Exit delete_range(const etcdserverpb::DeleteRangeResponse& response) override {
    header(response.header());
    field("Deleted", response.deleted());
    for (const mvccpb::KeyValue& pair : response.prev_kvs()) print("Prev", pair);
    return Exit();
  }

  Exit txn(const etcdserverpb::TxnResponse& response) override {
    header(response.header());
    field("Succeeded", response.succeeded());
    for (const etcdserverpb::ResponseOp& op : response.responses()) {
      if (op.has_response_delete_range()) {
        (void)delete_range(op.response_delete_range());
      } else if (op.has_response_put()) {
        (void)put(op.response_put());
      } else if (op.has_response_range()) {
        (void)range(op.response_range());
      } else {
        text("Unknown", op.ShortDebugString());
      }
    }
    return Exit();
  }

  Exit watch(const etcdserverpb::WatchResponse& response) override {
    header(response.header());
    for (const mvccpb::Event& event : response.events()) {
      field("Type", event_type_text(event));
      if (event.has_prev_kv()) print("Prev", event.prev_kv());
      print("", event.kv());
    }
    return Exit();
  }

  Exit lease_grant(const etcdserverpb::LeaseGrantResponse& response) override {
    header(response.header());
    lease("ID", response.id());
    field("TTL", response.ttl());
    return Exit();
  }

  Exit lease_revoke(int64_t, const etcdserverpb::LeaseRevokeResponse& response) override {
    header(response.header());
    return Exit();
  }

  Exit lease_keep_alive(const etcdserverpb::LeaseKeepAliveResponse& response) override {
    header(response.header());
    lease("ID", response.id());
    field("TTL", response.ttl());
    return Exit();
  }

  Exit lease_time_to_live(const etcdserverpb::LeaseTimeToLiveResponse& response, bool) override {
    header(response.header());
    lease("ID", response.id());
    field("TTL", response.ttl());
    field("GrantedTTL", response.grantedttl());
    for (const std::string& key : response.keys()) text("Key", key);
    return Exit();
  }

  Exit lease_list(const etcdserverpb::LeaseLeasesResponse& response) override {
    header(response.header());
    for (const etcdserverpb::LeaseStatus& status : response.leases()) lease("ID", status.id());
    return Exit();
  }

  Exit alarm(const etcdserverpb::AlarmResponse& response) override {
    header(response.header());
    for (const etcdserverpb::AlarmMember& member : response.alarms()) {
      id("MemberID", member.memberid());
      field("AlarmType", alarm_type_text(member.alarm()));
      out() << "\n";
    }
    return Exit();
  }

  Exit member_list(const etcdserverpb::MemberListResponse& response) override {
    header(response.header());
    for (const etcdserverpb::Member& member : response.members()) {
      id("ID", member.id());
      text("Name", member.name());
      for (const std::string& url : member.peerurls()) text("PeerURL", url);
      for (const std::string& url : member.clienturls()) text("ClientURL", url);
      field("IsLearner", member.islearner());
      out() << "\n";
    }
    return Exit();
  }

  Exit endpoint_health(const std::vector<EndpointHealth>& list) override {
    for (const EndpointHealth& health : list) {
      text("Endpoint", health.endpoint);
      field("Health", health.healthy);
      field("Took", health.took);
      field("Error", health.error);
      out() << "\n";
    }
    return Exit();
  }

  Exit endpoint_status(const std::vector<EndpointStatus>& list) override {
    for (const auto& [endpoint, status] : list) {
      header(status.header());
      text("Version", status.version());
      text("StorageVersion", status.storageversion());
      field("DBSize", status.dbsize());
      field("DBSizeInUse", status.dbsizeinuse());
      field("DBSizeQuota", status.dbsizequota());
      field("Leader", status.leader());
      field("IsLearner", status.islearner());
      field("RaftIndex", status.raftindex());
      field("RaftTerm", status.raftterm());
      field("RaftAppliedIndex", status.raftappliedindex());
      std::string errors;
      for (const std::string& error : status.errors()) errors += (errors.empty() ? "" : " ") + error;
      field("Errors", "[" + errors + "]");
      text("Endpoint", endpoint);
      text("DowngradeTargetVersion", status.downgradeinfo().targetversion());
      field("DowngradeEnabled", status.downgradeinfo().enabled());
      out() << "\n";
    }
    return Exit();
  }

  Exit endpoint_hash(const std::vector<EndpointHash>& list) override {
    for (const auto& [endpoint, hash] : list) {
      header(hash.header());
      text("Endpoint", endpoint);
      field("Hash", hash.hash());
      field("HashRevision", hash.hash_revision());
      out() << "\n";
    }
    return Exit();
  }

 private:
  void field(std::string_view name, const std::string& value) { out() << '"' << name << "\" : " << value << "\n"; }
  void field(std::string_view name, bool value) { field(name, std::string(value ? "true" : "false")); }
  template <std::integral Number>
    requires(!std::is_same_v<Number, bool>)
  void field(std::string_view name, Number value) {
    field(name, std::to_string(value));
  }
  void text(std::string_view name, std::string_view value) { field(name, quote(value)); }
  void id(std::string_view name, uint64_t value) { field(name, hex() ? base::hex(value) : std::to_string(value)); }

  void lease(const std::string& name, int64_t value) { field(name, hex() ? lease_text(value) : std::to_string(value)); }

  // Answers that are not about keys carry no revision.
  void header(const etcdserverpb::ResponseHeader& header) {
    id("ClusterID", header.cluster_id());
    id("MemberID", header.member_id());
    if (header.revision() > 0) field("Revision", header.revision());
    field("RaftTerm", header.raft_term());
  }

  void print(const std::string& prefix, const mvccpb::KeyValue& pair) {
    text(prefix + "Key", pair.key());
    field(prefix + "CreateRevision", pair.create_revision());
    field(prefix + "ModRevision", pair.mod_revision());
    field(prefix + "Version", pair.version());
    text(prefix + "Value", pair.value());
    lease(prefix + "Lease", pair.lease());
  }
};

}  // namespace

std::unique_ptr<Printer> make_fields_printer(bool hex, Terminal& terminal) {
  return std::make_unique<FieldsPrinter>(hex, terminal);
}

}  // namespace cli::ctl
