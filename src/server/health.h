// What grpc.health.v1 says of this server: one service, the empty name, SERVING but while a defragmentation is under way with
// the feature gate StopGRPCServiceOnDefrag. Owner: core loop. Source: etcd v3rpc/health.go, grpc-go health.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string_view>

namespace server {

class Health {
 public:
  bool serving() const { return serving_; }
  // Logs the change as etcd does, and tells who listens if it is one. `reason`: why not serving.
  void start_serving();
  void stop_serving(std::string_view reason);

  // `changed` runs on each change until unsubscribe(). It must not subscribe or unsubscribe.
  uint64_t subscribe(std::function<void()> changed);
  void unsubscribe(uint64_t id) { listeners_.erase(id); }

 private:
  void set(bool serving);

  bool serving_ = true;
  uint64_t last_id_ = 0;
  std::map<uint64_t, std::function<void()>> listeners_;
};

}  // namespace server
