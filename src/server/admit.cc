#include "server/errors.h"
#include "server/services.h"

namespace server {
namespace {

// Well-formed UTF-8 as Go's utf8.ValidString judges it: no surrogates, no overlong forms, at most U+10FFFF.
bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
    if (length == 0 || text.size() - i < length) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    }
    const auto second = length > 1 ? static_cast<unsigned char>(text[i + 1]) : 0;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second > 0x8f)) {
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace

base::Status admit(const Node& node, const rpc::CallContext& context, OnLearner on_learner) {
  if (node.stopping()) return errors::stopped();
  if (node.cluster_version().empty()) return errors::not_capable();
  if (on_learner == OnLearner::kRefused && node.is_learner()) return errors::learner_unsupported();
  if (context.metadata == nullptr || context.metadata->empty()) return {};
  const std::string_view version = context.metadata->find("client-api-version");
  if (!version.empty() && !is_utf8(version)) return errors::invalid_client_api_version();
  if (context.metadata->find("hasleader") == "true" && node.leader() == base::kNoNode) return errors::no_leader();
  return {};
}

}  // namespace server
