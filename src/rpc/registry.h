// Which handler serves a path. Filled before the first listen, read-only after: any thread may look.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "rpc/server.h"

namespace rpc {

struct Method {
  std::string path;
  UnaryHandler unary;  // one of the two is set
  StreamHandler stream;
};

class Registry {
 public:
  void add(Method method);
  const Method* find(std::string_view path) const;
  // Why find() gave nothing, as grpc-go says it.
  std::string unknown_text(std::string_view path) const;

 private:
  std::unordered_map<std::string_view, Method> methods_;  // keys view Method::path
  std::unordered_set<std::string> services_;
};

}  // namespace rpc
