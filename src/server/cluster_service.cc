#include "rpc.pb.h"
#include "server/errors.h"
#include "server/proto_call.h"
#include "server/reconfiguration.h"
#include "server/services.h"

namespace server {
namespace {

using base::NodeId;
using base::Status;

void fill_member(const Member& member, etcdserverpb::Member* out) {
  out->set_id(member.id.value());
  out->set_name(member.name);
  for (const std::string& url : member.peer_urls) out->add_peerurls(url);
  for (const std::string& url : member.client_urls) out->add_clienturls(url);
  out->set_islearner(member.is_learner);
}

// Header (without a revision, as etcd's) and members, as of now.
template <class Response>
void fill(const Node& node, Response& response) {
  fill_header(node, 0, response.mutable_header());
  response.mutable_header()->clear_revision();
  for (const auto& [id, member] : node.membership().members()) fill_member(member, response.add_members());
}

// Answers `call` with what `response` holds already and the members after the change.
using SharedCall = std::shared_ptr<rpc::UnaryCall>;

SharedCall share(rpc::UnaryCall call) { return std::make_shared<rpc::UnaryCall>(std::move(call)); }

template <class Response>
Reconfiguration::Done answer(Node& node, SharedCall call, Response response = {}) {
  return [&node, call = std::move(call), response = std::move(response)](const Status& status) mutable {
    if (!status.ok()) return call->finish(status);
    fill(node, response);
    call->finish(response.SerializeAsString());
  };
}

Reconfiguration::Gone gone(SharedCall call) {
  return [call = std::move(call)] { return !*call || call->cancelled(); };
}

class MemberListReader final : public Reader {
 public:
  MemberListReader(Node& node, rpc::UnaryCall call) : node_(node), call_(std::move(call)) {}
  void read(const base::Status& status) override {
    if (!status.ok()) return call_.finish(status);
    etcdserverpb::MemberListResponse response;
    fill(node_, response);
    call_.finish(response.SerializeAsString());
  }

 private:
  Node& node_;
  rpc::UnaryCall call_;
};

void list_members(Node& node, rpc::UnaryCall call) {
  etcdserverpb::MemberListRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  auto reader = std::make_unique<MemberListReader>(node, std::move(call));
  if (request.linearizable()) return node.linearizable_read(std::move(reader));
  reader->read(base::Status());
}

void add_member(Node& node, rpc::UnaryCall call) {
  etcdserverpb::MemberAddRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  base::Result<Urls> urls = parse_urls({request.peerurls().begin(), request.peerurls().end()});
  if (!urls.ok()) return call.finish(errors::bad_member_urls());
  Member member;
  member.peer_urls = texts(*urls);
  member.is_learner = request.islearner();
  member.id = member_id(member.peer_urls, "", node.environment().loop.clock().unix_ns() / 1'000'000'000);
  etcdserverpb::MemberAddResponse response;
  fill_member(member, response.mutable_member());
  const SharedCall shared = share(std::move(call));
  node.reconfiguration().add(member, answer(node, shared, std::move(response)), gone(shared));
}

void remove_member(Node& node, rpc::UnaryCall call) {
  etcdserverpb::MemberRemoveRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  const SharedCall shared = share(std::move(call));
  node.reconfiguration().remove(NodeId(request.id()), answer<etcdserverpb::MemberRemoveResponse>(node, shared), gone(shared));
}

void update_member(Node& node, rpc::UnaryCall call) {
  etcdserverpb::MemberUpdateRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  // Real etcd takes any text here, and dies of it when it dials.
  const std::vector<std::string> urls(request.peerurls().begin(), request.peerurls().end());
  if (!parse_urls(urls).ok()) return call.finish(errors::bad_member_urls());
  const SharedCall shared = share(std::move(call));
  node.reconfiguration().update(NodeId(request.id()), urls, answer<etcdserverpb::MemberUpdateResponse>(node, shared),
                                gone(shared));
}

void promote_member(Node& node, rpc::UnaryCall call) {
  etcdserverpb::MemberPromoteRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  const rpc::Metadata* metadata = call.context().metadata;
  const std::string token(metadata == nullptr ? std::string_view() : metadata->find("token"));
  node.reconfiguration().promote(NodeId(request.id()), token,
                                 answer<etcdserverpb::MemberPromoteResponse>(node, share(std::move(call))));
}

}  // namespace

void add_cluster_service(rpc::Server& server, Node& node) {
  const auto add = [&](const char* path, void (*serve)(Node&, rpc::UnaryCall)) {
    server.add_unary(path, [&node, serve](rpc::UnaryCall call) { serve(node, std::move(call)); });
  };
  add("/etcdserverpb.Cluster/MemberList", list_members);
  add("/etcdserverpb.Cluster/MemberAdd", add_member);
  add("/etcdserverpb.Cluster/MemberRemove", remove_member);
  add("/etcdserverpb.Cluster/MemberUpdate", update_member);
  add("/etcdserverpb.Cluster/MemberPromote", promote_member);
}

}  // namespace server
