#include "base/bytes.h"
#include "base/log.h"
#include "server/defragmenter.h"
#include "server/errors.h"
#include "server/maintainer.h"
#include "server/proto_call.h"
#include "server/reconfiguration.h"
#include "server/services.h"

namespace server {
namespace {

using base::Code;
using base::Status;

void answer_status(Node& node, rpc::UnaryCall call) {
  etcdserverpb::StatusRequest request;
  if (!begin(node, call, OnLearner::kServed, &request)) return;
  etcdserverpb::StatusResponse response;
  fill_header(node, node.store().current_revision(), response.mutable_header());
  response.set_version(std::string(kVersion));
  response.set_leader(node.leader().value());
  response.set_raftindex(node.committed_index().value());
  response.set_raftappliedindex(node.applied_index().value());
  response.set_raftterm(node.term().value());
  response.set_dbsize(static_cast<int64_t>(node.db_size_bytes()));
  response.set_dbsizeinuse(static_cast<int64_t>(node.db_size_in_use_bytes()));
  response.set_islearner(node.is_learner());
  response.set_dbsizequota(node.config().quota_backend_bytes == 0 ? kQuotaBytesDefault : node.config().quota_backend_bytes);
  response.set_storageversion(node.storage_version());
  const std::string& downgrade = node.membership().downgrade_target();
  response.mutable_downgradeinfo()->set_enabled(!downgrade.empty());
  response.mutable_downgradeinfo()->set_targetversion(downgrade);
  if (node.leader() == base::kNoNode) response.add_errors(std::string(errors::no_leader().text()));
  for (const Alarm& alarm : node.alarms().all()) {
    response.add_errors("memberID:" + std::to_string(alarm.member.value()) + " alarm:" + std::string(alarm_name(alarm.type)));
  }
  call.finish(response.SerializeAsString());
}

void answer_hash_kv(Node& node, rpc::UnaryCall call) {
  etcdserverpb::HashKVRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  auto shared = std::make_shared<rpc::UnaryCall>(std::move(call));
  node.maintainer().hash_kv(request.revision(), [&node, shared](const base::Result<HashAnswer>& hash) {
    if (!hash.ok()) return shared->finish(hash.status());
    etcdserverpb::HashKVResponse response;
    fill_header(node, hash->current_revision, response.mutable_header());
    response.set_hash(hash->hash);
    response.set_compact_revision(hash->compact_revision);
    response.set_hash_revision(hash->revision);
    shared->finish(response.SerializeAsString());
  });
}

void answer_hash(Node& node, rpc::UnaryCall call) {
  etcdserverpb::HashRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  auto shared = std::make_shared<rpc::UnaryCall>(std::move(call));
  node.maintainer().hash_database([&node, shared](const base::Result<DatabaseHashAnswer>& hash) {
    if (!hash.ok()) return shared->finish(hash.status());
    etcdserverpb::HashResponse response;
    fill_header(node, hash->current_revision, response.mutable_header());
    response.set_hash(hash->hash);
    shared->finish(response.SerializeAsString());
  });
}

void answer_defragment(Node& node, rpc::UnaryCall call) {
  etcdserverpb::DefragmentRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  base::log::info("starting defragment");
  if (node.config().feature_gates.enabled(Feature::kStopGrpcServiceOnDefrag)) node.health().stop_serving("defrag is active");
  auto shared = std::make_shared<rpc::UnaryCall>(std::move(call));
  node.defragmenter().run([&node, shared](const Status& done) {
    node.health().start_serving();
    if (!done.ok()) {
      base::log::warn("failed to defragment", {{"error", done}});
      return shared->finish(done);
    }
    base::log::info("finished defragment");
    shared->finish(etcdserverpb::DefragmentResponse().SerializeAsString());
  });
}

void answer_move_leader(Node& node, rpc::UnaryCall call) {
  etcdserverpb::MoveLeaderRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  auto shared = std::make_shared<rpc::UnaryCall>(std::move(call));
  node.reconfiguration().move_leader(base::NodeId(request.targetid()), node.request_timeout(),
                                     [&node, shared](const Status& done) {
                                       if (!done.ok()) return shared->finish(done);
                                       shared->finish(etcdserverpb::MoveLeaderResponse().SerializeAsString());
                                     });
}

// The answer of an applied alarm request; the header's revision is the store's.
class AlarmWaiter final : public Waiter {
 public:
  AlarmWaiter(Node& node, rpc::UnaryCall call) : node_(node), call_(std::move(call)) {}
  void done(Outcome outcome) override {
    if (!outcome.status.ok()) return call_.finish(std::move(outcome.status));
    etcdserverpb::AlarmResponse response;
    VERIFY(response.ParseFromString(outcome.fields));
    fill_header(node_, node_.store().current_revision(), response.mutable_header());
    call_.finish(response.SerializeAsString());
  }

 private:
  Node& node_;
  rpc::UnaryCall call_;
};

void answer_alarm(Node& node, rpc::UnaryCall call) {
  etcdserverpb::AlarmRequest request;
  if (!begin(node, call, OnLearner::kRefused, &request)) return;
  if (!etcdserverpb::AlarmRequest::AlarmAction_IsValid(request.action())) {  // Real etcd dies of it.
    return call.finish(Status(Code::kInvalidArgument, "etcdserver: unknown alarm action " + std::to_string(request.action())));
  }
  const std::string body = request.SerializeAsString();
  node.propose(wire::Op::kAlarm, body, std::make_unique<AlarmWaiter>(node, std::move(call)));
}

}  // namespace

void add_maintenance_service(rpc::Server& server, Node& node) {
  server.add_unary("/etcdserverpb.Maintenance/Status", [&node](rpc::UnaryCall call) { answer_status(node, std::move(call)); });
  server.add_unary("/etcdserverpb.Maintenance/HashKV", [&node](rpc::UnaryCall call) { answer_hash_kv(node, std::move(call)); });
  server.add_unary("/etcdserverpb.Maintenance/Hash", [&node](rpc::UnaryCall call) { answer_hash(node, std::move(call)); });
  server.add_unary("/etcdserverpb.Maintenance/Defragment",
                   [&node](rpc::UnaryCall call) { answer_defragment(node, std::move(call)); });
  server.add_unary("/etcdserverpb.Maintenance/MoveLeader",
                   [&node](rpc::UnaryCall call) { answer_move_leader(node, std::move(call)); });
  server.add_unary("/etcdserverpb.Maintenance/Alarm", [&node](rpc::UnaryCall call) { answer_alarm(node, std::move(call)); });
}

}  // namespace server
