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
