#include <ostream>

#include "base/bytes.h"
#include "cli/ctl/go_json.h"
#include "cli/ctl/printer.h"

namespace cli::ctl {
namespace {

std::string quoted_hex(uint64_t id) { return "\"" + base::hex(id) + "\""; }

template <class Strings>
std::string list(const Strings& strings) {
  std::string out;
  for (const std::string& text : strings) out += (out.empty() ? "[" : ",") + json_string(text);
  return out + "]";
}

std::string hex_header(const etcdserverpb::ResponseHeader& header) {
  std::string out = "{\"cluster_id\":" + quoted_hex(header.cluster_id()) + ",\"member_id\":" + quoted_hex(header.member_id());
  if (header.revision() != 0) out += ",\"revision\":" + std::to_string(header.revision());
  if (header.raft_term() != 0) out += ",\"raft_term\":" + std::to_string(header.raft_term());
  return out + "}";
}

std::string hex_member(const etcdserverpb::Member& member) {
  std::string out = "{\"ID\":" + quoted_hex(member.id());
  if (!member.name().empty()) out += ",\"name\":" + json_string(member.name());
  if (member.peerurls_size() > 0) out += ",\"peerURLs\":" + list(member.peerurls());
  if (member.clienturls_size() > 0) out += ",\"clientURLs\":" + list(member.clienturls());
  if (member.islearner()) out += ",\"isLearner\":true";
  return out + "}";
}

// Go's lease answers are structures of its client, which has the header's fields beside its own.
std::string lease_object(const etcdserverpb::ResponseHeader& header, std::string_view rest) {
  std::string out = json_object(header);
  out.pop_back();
  return out.append(out.size() > 1 ? "," : "").append(rest) + "}";
}

// Go has the steps' answers behind one more name, "Response". Depth is bounded by the parser of the message.
std::string txn_object(const etcdserverpb::TxnResponse& response) {
  std::string out;
  if (response.has_header()) out += ",\"header\":" + json_object(response.header());
  if (response.succeeded()) out += ",\"succeeded\":true";
  std::string steps;
  for (const etcdserverpb::ResponseOp& op : response.responses()) {
    steps += steps.empty() ? "[" : ",";
    const std::string step =
        op.has_response_txn() ? "{\"response_txn\":" + txn_object(op.response_txn()) + "}" : json_object(op);
    steps += "{\"Response\":" + step + "}";
  }
  if (!steps.empty()) out += ",\"responses\":" + steps + "]";
  if (!out.empty()) out.erase(0, 1);
  return "{" + out + "}";
}

class JsonPrinter final : public Printer {
 public:
  JsonPrinter(bool hex, Terminal& terminal) : Printer(Format::kJson, "json", hex, terminal) {}

  Exit range(const etcdserverpb::RangeResponse& response) override { return print(json_object(response)); }
  Exit put(const etcdserverpb::PutResponse& response) override { return print(json_object(response)); }
  Exit delete_range(const etcdserverpb::DeleteRangeResponse& response) override { return print(json_object(response)); }
  Exit txn(const etcdserverpb::TxnResponse& response) override { return print(txn_object(response)); }

  Exit alarm(const etcdserverpb::AlarmResponse& response) override { return print(json_object(response)); }
  Exit lease_revoke(int64_t, const etcdserverpb::LeaseRevokeResponse& response) override {
    return print(json_object(response));
  }

  Exit watch(const etcdserverpb::WatchResponse& response) override {
    std::string events;
    for (const mvccpb::Event& event : response.events()) events += (events.empty() ? "[" : ",") + json_object(event);
    events += events.empty() ? "null" : "]";
    const auto flag = [](bool value) { return value ? "true" : "false"; };
    return print("{\"Header\":" + json_object(response.header()) + ",\"Events\":" + events +
                 ",\"CompactRevision\":" + std::to_string(response.compact_revision()) +
                 ",\"Canceled\":" + flag(response.canceled()) + ",\"Created\":" + flag(response.created()) +
                 ",\"CancelReason\":" + json_string(response.cancel_reason()) + "}");
  }

  Exit lease_grant(const etcdserverpb::LeaseGrantResponse& response) override {
    return print(lease_object(response.header(), "\"ID\":" + std::to_string(response.id()) +
                                                     ",\"TTL\":" + std::to_string(response.ttl()) +
                                                     ",\"Error\":" + json_string(response.error())));
  }

  Exit lease_keep_alive(const etcdserverpb::LeaseKeepAliveResponse& response) override {
    return print(lease_object(response.header(), "\"ID\":" + std::to_string(response.id()) +
                                                     ",\"TTL\":" + std::to_string(response.ttl())));
  }

  Exit lease_time_to_live(const etcdserverpb::LeaseTimeToLiveResponse& response, bool) override {
    std::string keys;
    for (const std::string& key : response.keys()) {
      keys += (keys.empty() ? "[\"" : ",\"") + base::base64_encode(key) + "\"";
    }
    keys += keys.empty() ? "null" : "]";
    return print(lease_object(response.header(), "\"id\":" + std::to_string(response.id()) +
                                                     ",\"ttl\":" + std::to_string(response.ttl()) +
                                                     ",\"granted-ttl\":" + std::to_string(response.grantedttl()) +
                                                     ",\"keys\":" + keys));
  }

  Exit lease_list(const etcdserverpb::LeaseLeasesResponse& response) override {
    std::string leases;
    for (const etcdserverpb::LeaseStatus& lease : response.leases()) {
      leases += (leases.empty() ? "{\"id\":" : ",{\"id\":") + std::to_string(lease.id()) + "}";
    }
    return print(lease_object(response.header(), "\"leases\":[" + leases + "]"));
  }

  // --hex changes ids only, and only here.
  Exit member_list(const etcdserverpb::MemberListResponse& response) override {
    if (!hex()) return print(json_object(response));
    std::string members;
    for (const etcdserverpb::Member& member : response.members()) members += (members.empty() ? "" : ",") + hex_member(member);
    return print("{\"header\":" + hex_header(response.header()) + ",\"members\":[" + members + "]}");
  }

  Exit member_change(const MemberChange& change) override {
    if (!hex()) return print(json_object(change.response));
    std::string members;
    for (const etcdserverpb::Member& member : change.members) members += (members.empty() ? "" : ",") + hex_member(member);
    const std::string added = change.added == nullptr ? "" : ",\"member\":" + hex_member(*change.added);
    return print("{\"header\":" + hex_header(change.header) + added + ",\"members\":[" + members + "]}");
  }

  Exit move_leader(uint64_t, uint64_t, const etcdserverpb::MoveLeaderResponse& response) override {
    return print(json_object(response));
  }

  Exit endpoint_health(const std::vector<EndpointHealth>& list) override {
    std::string out;
    for (const EndpointHealth& health : list) {
      out += ",{\"endpoint\":" + json_string(health.endpoint) + ",\"health\":" + (health.healthy ? "true" : "false") +
             ",\"took\":" + json_string(health.took);
      if (!health.error.empty()) out += ",\"error\":" + json_string(health.error);
      out += "}";
    }
    return print_list(std::move(out));
  }

  Exit endpoint_status(const std::vector<EndpointStatus>& list) override {
    std::string out;
    for (const auto& [endpoint, status] : list) {
      out += ",{\"Endpoint\":" + json_string(endpoint) + ",\"Status\":" + json_object(status) + "}";
    }
    return print_list(std::move(out));
  }

  Exit endpoint_hash(const std::vector<EndpointHash>& list) override {
    std::string out;
    for (const auto& [endpoint, hash] : list) {
      out += ",{\"Endpoint\":" + json_string(endpoint) + ",\"HashKV\":" + json_object(hash) + "}";
    }
    return print_list(std::move(out));
  }

 private:
  Exit print(std::string_view json) {
    out() << json << "\n";
    return Exit();
  }
  // `elements` each begin with a comma. A list without any is Go's nil.
  Exit print_list(std::string elements) {
    if (elements.empty()) return print("null");
    elements[0] = '[';
    return print(elements + "]");
  }
};

}  // namespace

std::unique_ptr<Printer> make_json_printer(bool hex, Terminal& terminal) {
  return std::make_unique<JsonPrinter>(hex, terminal);
}

}  // namespace cli::ctl
