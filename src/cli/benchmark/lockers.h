// Locks around the transactions of `stm`: none, the mutex of etcd's client library, the server's Lock service. Owner: the loop
// of the load. Source of behaviour: etcd client/v3/concurrency/{session,mutex}.go.
#pragma once

#include <asio.hpp>
#include <memory>

#include "base/status.h"
#include "cli/benchmark/load.h"

namespace cli::benchmark {

// One client's lock; all of them compete for the same name.
class Locker {
 public:
  virtual ~Locker() = default;
  // Once, before the first lock().
  virtual asio::awaitable<base::Status> open() = 0;
  virtual asio::awaitable<base::Status> lock() = 0;
  virtual asio::awaitable<base::Status> unlock() = 0;
};

// "stm", "lock-client", "lock-rpc"; null: no such locker. Load and channel must outlive the loop's work.
std::unique_ptr<Locker> make_locker(std::string_view name, Load& load, rpc::Channel& channel);

}  // namespace cli::benchmark
