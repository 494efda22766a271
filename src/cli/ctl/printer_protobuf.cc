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
  Exit alarm(const etcdserverpb::AlarmResponse& response) override { return print(response.SerializeAsString()); }
  Exit lease_revoke(int64_t, const etcdserverpb::LeaseRevokeResponse& response) override {
    return print(response.SerializeAsString());
  }
  // Of the other lease answers etcdctl prints the header alone: its structures hide the rest from protobuf.
  Exit lease_grant(const etcdserverpb::LeaseGrantResponse& response) override { return header(response); }
  Exit lease_keep_alive(const etcdserverpb::LeaseKeepAliveResponse& response) override { return header(response); }
  Exit lease_time_to_live(const etcdserverpb::LeaseTimeToLiveResponse& response, bool) override { return header(response); }
  Exit lease_list(const etcdserverpb::LeaseLeasesResponse& response) override { return header(response); }

  Exit watch(const etcdserverpb::WatchResponse& response) override {
    etcdserverpb::WatchResponse shown = response;
    shown.clear_watch_id();
    shown.clear_fragment();
    shown.clear_cancel_reason();
    (void)shown.mutable_header();
    return print(shown.SerializeAsString());
  }

  Exit member_list(const etcdserverpb::MemberListResponse& response) override { return print(response.SerializeAsString()); }

  Exit member_change(const MemberChange& change) override { return print(change.response.SerializeAsString()); }
  Exit move_leader(uint64_t, uint64_t, const etcdserverpb::MoveLeaderResponse& response) override {
    return print(response.SerializeAsString());
  }

 private:
  template <class Response>
  Exit header(const Response& response) {
    return print(response.header().SerializeAsString());
  }
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
