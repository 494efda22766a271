#include "rpc.pb.h"
#include "server/errors.h"
#include "server/proto_call.h"
#include "server/services.h"

namespace server {
namespace {

class MemberListReader final : public Reader {
 public:
  MemberListReader(Node& node, rpc::UnaryCall call) : node_(node), call_(std::move(call)) {}
  void read(const base::Status& status) override {
    if (!status.ok()) return call_.finish(status);
    etcdserverpb::MemberListResponse response;
    fill_header(node_, 0, response.mutable_header());
    response.mutable_header()->clear_revision();
    for (const auto& [id, member] : node_.membership().members()) {
      etcdserverpb::Member* out = response.add_members();
      out->set_id(id.value());
      out->set_name(member.name);
      for (const std::string& url : member.peer_urls) out->add_peerurls(url);
      for (const std::string& url : member.client_urls) out->add_clienturls(url);
      out->set_islearner(member.is_learner);
    }
    call_.finish(response.SerializeAsString());
  }

 private:
  Node& node_;
  rpc::UnaryCall call_;
};

}  // namespace

void add_cluster_service(rpc::Server& server, Node& node) {
  server.add_unary("/etcdserverpb.Cluster/MemberList", [&node](rpc::UnaryCall call) {
    etcdserverpb::MemberListRequest request;
    if (!begin(node, call, OnLearner::kRefused, &request)) return;
    auto reader = std::make_unique<MemberListReader>(node, std::move(call));
    if (request.linearizable()) return node.linearizable_read(std::move(reader));
    reader->read(base::Status());
  });
}

}  // namespace server
