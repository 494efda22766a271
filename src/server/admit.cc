#include "server/errors.h"
#include "server/metrics.h"
#include "server/services.h"
#include "wire/utf8.h"

namespace server {
base::Status admit(const Node& node, const rpc::CallContext& context, OnLearner on_learner) {
  if (node.stopping()) return errors::stopped();
  if (node.cluster_version().empty()) return errors::not_capable();
  if (on_learner == OnLearner::kRefused && node.is_learner()) return errors::learner_unsupported();
  const std::string_view version =
      context.metadata == nullptr ? std::string_view() : context.metadata->find("client-api-version");
  if (!version.empty() && !wire::valid_utf8(version)) return errors::invalid_client_api_version();
  node.metrics().record_client_request("unary", version);
  if (context.metadata == nullptr || context.metadata->empty()) return {};
  if (context.metadata->find("hasleader") == "true" && node.leader() == base::kNoNode) return errors::no_leader();
  return {};
}

}  // namespace server
