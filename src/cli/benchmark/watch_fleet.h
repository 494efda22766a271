// Many watchers over several streams, for load: each stream creates its watchers one after the other and then only counts
// events; messages are scanned, not decoded. Owner: the loop of the load. Streams are not resumed: a broken one ends the run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "cli/benchmark/load.h"
#include "rpc.pb.h"

namespace cli::benchmark {

// What counts in a WatchResponse.
struct WatchMessage {
  bool created = false, canceled = false;
  int64_t watch_id = 0;
  uint64_t events = 0;
};
// kInternal: no message of the wire format.
base::Result<WatchMessage> scan_watch_response(std::string_view bytes);

class WatchFleet {
 public:
  struct Plan {
    uint64_t streams = 1;
    std::vector<uint64_t> watchers;  // of each stream
    // The request of watcher `watcher` of stream `stream`.
    std::function<etcdserverpb::WatchCreateRequest(uint64_t stream, uint64_t watcher)> request;
  };
  struct Listener {
    // A watcher exists; it took `took` to make.
    std::function<void(base::Duration took)> on_created = [](base::Duration) {};
    // Events came for a watcher, numbered within its stream from 0.
    std::function<void(uint64_t stream, uint64_t watcher, uint64_t events)> on_events = [](uint64_t, uint64_t, uint64_t) {};
    std::function<void(base::Status why)> on_failure = [](const base::Status&) {};
  };

  // Opens the streams over the connections of `load` and makes the watchers. `load` must outlive the loop's work.
  WatchFleet(Load& load, Plan plan, Listener listener);

  // `count` watchers spread over `streams` streams as evenly as can be.
  static std::vector<uint64_t> spread(uint64_t count, uint64_t streams);

 private:
  struct State;
  static asio::awaitable<void> serve(std::shared_ptr<State> state, uint64_t stream);
  std::shared_ptr<State> state_;
};

}  // namespace cli::benchmark
