// /debug/pprof/... and /debug/vars: profiles in the formats that `go tool pprof` and gperftools' pprof read, and the numbers
// that Go programs publish, as far as they mean something here. One CPU profile at a time. Owner: core loop.
// Source of behaviour: Go net/http/pprof, expvar; etcd pkg/debugutil.
#pragma once

#include <asio.hpp>
#include <memory>
#include <string>

#include "rpc/server.h"
#include "server/config.h"
#include "server/http_access.h"

namespace server {

inline constexpr int64_t kProfileSecondsDefault = 30;
inline constexpr int64_t kProfileSecondsMax = 600;

// --enable-pprof, or logs at debug level.
inline bool profiles_enabled(const Config& config) { return config.enable_pprof || config.log.level == "debug"; }

class Profiles {
 public:
  explicit Profiles(asio::io_context& home) : home_(home) {}
  // `name`: what follows /debug/pprof/; "" is the index.
  void serve(std::shared_ptr<rpc::HttpCall> call, const Target& target, const std::string& name, const rpc::Metadata& cors);

 private:
  void serve_stacks(std::shared_ptr<rpc::HttpCall> call, const rpc::Metadata& cors);
  void serve_cpu(std::shared_ptr<rpc::HttpCall> call, const Target& target, const rpc::Metadata& cors);

  asio::io_context& home_;
  bool cpu_busy_ = false;
};

// The page /debug/vars; `raft_status` is JSON.
std::string variables_json(const std::string& raft_status);

}  // namespace server
