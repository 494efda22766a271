// One Watch stream: its requests go to the hub, what the hub has for its watchers goes out as responses. Owner: core loop; the
// stream's coroutine holds it. Source: etcd v3rpc/watch.go.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "mvcc/watch_hub.h"
#include "rpc/server.h"
#include "server/node.h"
#include "server/watchers.h"
#include "wire/watch.h"

namespace etcdserverpb {
class WatchCreateRequest;
}

namespace server {

// Whether the client of a stream may watch the keys; asked once for each watcher. Not ok: its text is the cancel reason.
using WatchCheck = std::function<base::Status(const rpc::CallContext& context, const mvcc::RangeKey& range)>;

class WatchSession final : public mvcc::WatchSink, public std::enable_shared_from_this<WatchSession> {
 public:
  // `check` empty: everybody may watch everything.
  WatchSession(Node& node, std::shared_ptr<rpc::ServerStream> stream, WatchCheck check);
  ~WatchSession() override;

  // A WatchRequest. The response that answers it, empty if none does; kInternal: the bytes are no message.
  base::Result<std::string> handle(std::string_view message);
  // No more of it: the hub forgets the watchers.
  void close();

  bool full() const override { return queued_bytes() > watchers_.queue_limit(); }
  void events(const mvcc::WatchEvents& events) override;
  void progress(int64_t watch_id, int64_t revision) override;
  void compacted(int64_t watch_id, int64_t compact_revision) override;

  size_t queued_bytes() const { return stream_->queued_bytes(); }
  // About how many events wait in the queue.
  double pending_events() const;
  void drained();

 private:
  std::string create(const etcdserverpb::WatchCreateRequest& request);
  std::string refuse(std::string_view reason) const;
  std::string head(const wire::WatchHead& head) const;
  void send(std::string prefix, mvcc::WatchBody body, size_t count);
  void send_in_fragments(const mvcc::WatchEvents& events, wire::WatchHead head);
  void arm_progress();
  void tick_progress();

  Node& node_;
  Watchers& watchers_;
  const std::shared_ptr<rpc::ServerStream> stream_;
  const WatchCheck check_;
  mvcc::WatchStream* watch_stream_;  // null: closed
  uint64_t number_ = 0;              // among the sessions
  bool ticking_ = false;
  uint64_t queue_events_ = 0, queue_bytes_ = 0;  // put into the queue since it was last seen empty
};

}  // namespace server
