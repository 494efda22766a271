#include "server/errors.h"
#include "server/leader_guard.h"
#include "server/metrics.h"
#include "server/services.h"
#include "wire/utf8.h"

namespace server {
namespace {

using base::Status;

Status admit_as(std::string_view kind, const Node& node, const rpc::CallContext& context, OnLearner on_learner) {
  if (node.stopping()) return errors::stopped();
  if (node.cluster_version().empty()) return errors::not_capable();
  if (on_learner == OnLearner::kRefused && node.is_learner()) return errors::learner_unsupported();
  const std::string_view version =
      context.metadata == nullptr ? std::string_view() : context.metadata->find("client-api-version");
  if (!version.empty() && !wire::valid_utf8(version)) return errors::invalid_client_api_version();
  node.metrics().record_client_request(kind, version);
  if (needs_leader(context) && node.leader() == base::kNoNode) return errors::no_leader();
  return {};
}

}  // namespace

Status admit(const Node& node, const rpc::CallContext& context, OnLearner on_learner) {
  return admit_as("unary", node, context, on_learner);
}

Status admit_stream(Node& node, const std::shared_ptr<rpc::ServerStream>& stream, OnLearner on_learner) {
  Status admitted = admit_as("stream", node, stream->context(), on_learner);
  if (admitted.ok() && needs_leader(stream->context())) node.leader_guard().add(stream);
  return admitted;
}

}  // namespace server
