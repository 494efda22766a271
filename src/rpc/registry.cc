#include "rpc/registry.h"

#include <memory>

#include "base/verify.h"
#include "rpc/grpc_text.h"

namespace rpc {

void Registry::add(Method method) {
  const size_t slash = method.path.rfind('/');
  VERIFY(slash != std::string::npos && slash > 0 && method.path[0] == '/');
  services_.insert(method.path.substr(1, slash - 1));
  // The key views the text inside the node, so the node is made with a key that is replaced before it is linked.
  std::unordered_map<std::string_view, Method> one;
  const std::string path = method.path;
  one.emplace(std::string_view(path), std::move(method));
  auto node = one.extract(one.begin());
  node.key() = node.mapped().path;
  const bool added = methods_.insert(std::move(node)).inserted;
  VERIFY(added);
}

const Method* Registry::find(std::string_view path) const {
  const auto found = methods_.find(path);
  return found == methods_.end() ? nullptr : &found->second;
}

std::string Registry::unknown_text(std::string_view path) const {
  const size_t slash = path.rfind('/');
  if (path.empty() || path[0] != '/' || slash == 0) return "malformed method name: " + quote(path);
  const std::string service(path.substr(1, slash - 1));
  if (services_.count(service) == 0) return "unknown service " + service;
  return "unknown method " + std::string(path.substr(slash + 1)) + " for service " + service;
}

}  // namespace rpc
