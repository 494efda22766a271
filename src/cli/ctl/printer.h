// How answers are shown: one class a format of --write-out. Each command calls the method of its answer.
// Source of behaviour: etcdctl's printers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/ctl/table.h"
#include "rpc.pb.h"

namespace cli::ctl {

struct EndpointHealth {
  std::string endpoint;
  bool healthy = false;
  std::string took;
  std::string error;
};
struct EndpointStatus {
  std::string endpoint;
  etcdserverpb::StatusResponse status;
};
struct EndpointHash {
  std::string endpoint;
  etcdserverpb::HashKVResponse hash;
};

// An answer to member add, remove, update or promote.
struct MemberChange {
  uint64_t id = 0;
  std::string what;  // "added as learner to", "removed from"
  const etcdserverpb::ResponseHeader& header;
  const google::protobuf::RepeatedPtrField<etcdserverpb::Member>& members;
  const etcdserverpb::Member* added;  // null: nobody
  const google::protobuf::Message& response;  // the whole
};

enum class Format { kSimple, kFields, kJson, kProtobuf, kTable };

// A method that a format does not have fails with `table not supported as output format`, exit code 4.
class Printer {
 public:
  Printer(Format format, std::string_view name, bool hex, Terminal& terminal)
      : format_(format), name_(name), hex_(hex), terminal_(terminal) {}
  virtual ~Printer() = default;
  Format format() const { return format_; }
  // Simple only: values without their keys.
  virtual void set_values_only() {}

  virtual Exit range(const etcdserverpb::RangeResponse&) { return unsupported(); }
  virtual Exit put(const etcdserverpb::PutResponse&) { return unsupported(); }
  virtual Exit delete_range(const etcdserverpb::DeleteRangeResponse&) { return unsupported(); }
  virtual Exit txn(const etcdserverpb::TxnResponse&) { return unsupported(); }
  // `response`: only what the Go client keeps of it counts (no id, no fragments).
  virtual Exit watch(const etcdserverpb::WatchResponse&) { return unsupported(); }
  virtual Exit lease_grant(const etcdserverpb::LeaseGrantResponse&) { return unsupported(); }
  virtual Exit lease_revoke(int64_t /*id*/, const etcdserverpb::LeaseRevokeResponse&) { return unsupported(); }
  virtual Exit lease_keep_alive(const etcdserverpb::LeaseKeepAliveResponse&) { return unsupported(); }
  virtual Exit lease_time_to_live(const etcdserverpb::LeaseTimeToLiveResponse&, bool /*keys*/) { return unsupported(); }
  virtual Exit lease_list(const etcdserverpb::LeaseLeasesResponse&) { return unsupported(); }
  virtual Exit alarm(const etcdserverpb::AlarmResponse&) { return unsupported(); }
  virtual Exit member_list(const etcdserverpb::MemberListResponse&) { return unsupported(); }
  virtual Exit member_change(const MemberChange&) { return unsupported(); }
  virtual Exit move_leader(uint64_t /*from*/, uint64_t /*to*/, const etcdserverpb::MoveLeaderResponse&) {
    return unsupported();
  }
  virtual Exit endpoint_health(const std::vector<EndpointHealth>&) { return unsupported(); }
  virtual Exit endpoint_status(const std::vector<EndpointStatus>&) { return unsupported(); }
  virtual Exit endpoint_hash(const std::vector<EndpointHash>&) { return unsupported(); }

 protected:
  Exit unsupported() const;
  bool hex() const { return hex_; }
  std::ostream& out() const { return terminal_.out; }
  std::ostream& err() const { return terminal_.err; }

 private:
  Format format_;
  std::string_view name_;
  bool hex_;
  Terminal& terminal_;
};

// Null if there is no such format: "simple", "fields", "json", "protobuf", "table".
std::unique_ptr<Printer> make_printer(std::string_view format, bool hex, Terminal& terminal);

std::unique_ptr<Printer> make_simple_printer(bool hex, Terminal& terminal);
std::unique_ptr<Printer> make_fields_printer(bool hex, Terminal& terminal);
std::unique_ptr<Printer> make_json_printer(bool hex, Terminal& terminal);
std::unique_ptr<Printer> make_protobuf_printer(bool hex, Terminal& terminal);
std::unique_ptr<Printer> make_table_printer(bool hex, Terminal& terminal);

// "PUT", "DELETE"; a type that is not known yet is its number.
std::string event_type_text(const mvccpb::Event& event);
std::string alarm_type_text(etcdserverpb::AlarmType type);
// Sixteen digits in hexadecimal.
std::string lease_text(int64_t id);

// What simple and table share: titles and cells.
struct Cells {
  Row titles;
  std::vector<Row> rows;
};
Cells member_cells(const etcdserverpb::MemberListResponse& response);
Cells health_cells(const std::vector<EndpointHealth>& list);
Cells status_cells(const std::vector<EndpointStatus>& list);
Cells hash_cells(const std::vector<EndpointHash>& list);

}  // namespace cli::ctl
