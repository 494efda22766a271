#include <ostream>

#include "cli/ctl/printer.h"

namespace cli::ctl {
namespace {

// The answer's bytes, without an end of line.
class ProtobufPrinter final : public Printer {
 public:
  ProtobufPrinter(bool hex, Terminal& terminal) : Printer(Format::kProtobuf, "protobuf", hex, terminal) {}

  Exit range(const etcdserverpb::RangeResponse& response) override { return print(response.SerializeAsString()); }
  Exit put(const etcdserverpb::PutResponse& response) override { return print(response.SerializeAsString()); }
  Exit delete_range(const etcdserverpb::DeleteRangeResponse& response) override { return print(response.SerializeAsString()); }
  Exit txn(const etcdserverpb::TxnResponse& response) override { return print(response.SerializeAsString()); }
  Exit member_list(const etcdserverpb::MemberListResponse& response) override { return print(response.SerializeAsString()); }

 private:
  Exit print(const std::string& bytes) {
    out() << bytes;
    return Exit();
  }
};

}  // namespace

std::unique_ptr<Printer> make_protobuf_printer(bool hex, Terminal& terminal) {
  return std::make_unique<ProtobufPrinter>(hex, terminal);
}

}  // namespace cli::ctl
