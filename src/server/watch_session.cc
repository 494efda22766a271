#include "server/watch_session.h"

#include "base/failpoint.h"
#include "base/log.h"
#include "mvcc/request.h"
#include "rpc.pb.h"
#include "server/errors.h"
#include "server/metrics.h"
#include "wire/watch.h"

namespace server {

using base::Code;
using base::Result;
using base::Status;

namespace {
constexpr int64_t kNoWatcher = -1;  // the id in responses that are about none
}

WatchSession::WatchSession(Node& node, std::shared_ptr<rpc::ServerStream> stream, WatchCheck check)
    : node_(node),
      watchers_(node.watchers()),
      stream_(std::move(stream)),
      check_(std::move(check)),
      watch_stream_(watchers_.hub().open(*this)) {
  number_ = watchers_.add(this);
}

WatchSession::~WatchSession() { close(); }

void WatchSession::close() {
  if (watch_stream_ == nullptr) return;
  watchers_.remove(number_);
  watchers_.hub().close(std::exchange(watch_stream_, nullptr));
}

// --- requests
// -----------------------------------------------------------------------------------------------------------------

Result<std::string> WatchSession::handle(std::string_view message) {
  etcdserverpb::WatchRequest request;
  if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return Status(Code::kInternal,
                  "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data");
  }
  if (watch_stream_ == nullptr) return errors::stopped();
  switch (request.request_union_case()) {
    case etcdserverpb::WatchRequest::kCreateRequest: {
      const base::Clock& clock = node_.environment().loop.clock();
      const base::Instant before = clock.now();
      std::string answer = create(request.create_request());
      node_.metrics().watch_control_duration.observe_ns((clock.now() - before).count());
      return answer;
    }
    case etcdserverpb::WatchRequest::kCancelRequest: {
      const int64_t id = request.cancel_request().watch_id();
      if (!watchers_.hub().cancel(watch_stream_, id)) return std::string();
      return head({.header = node_.header(), .watch_id = id, .canceled = true});
    }
    case etcdserverpb::WatchRequest::kProgressRequest:
      watchers_.hub().request_progress(watch_stream_);
      return std::string();
    case etcdserverpb::WatchRequest::REQUEST_UNION_NOT_SET:
      break;
  }
  base::log::info("invalid watch request type received in gRPC stream");
  return std::string();
}

std::string WatchSession::create(const etcdserverpb::WatchCreateRequest& request) {
  static constexpr std::string_view kSmallestKey("\0", 1);
  mvcc::WatchRequest watch;
  watch.range = {request.key().empty() ? kSmallestKey : std::string_view(request.key()), request.range_end()};
  if (request.start_revision() < 0) return refuse(mvcc::errors::compacted().text());
  if (check_) {
    const Status allowed = check_(stream_->context(), watch.range);
    if (!allowed.ok()) return refuse(allowed.text());
  }
  watch.start_revision = request.start_revision();
  watch.watch_id = request.watch_id();
  watch.prev_kv = request.prev_kv();
  watch.fragment = request.fragment();
  watch.progress_notify = request.progress_notify();
  for (const int filter : request.filters()) {
    watch.no_put = watch.no_put || filter == etcdserverpb::WatchCreateRequest::NOPUT;
    watch.no_delete = watch.no_delete || filter == etcdserverpb::WatchCreateRequest::NODELETE;
  }
  const Result<int64_t> id = watchers_.hub().watch(watch_stream_, watch);
  if (!id.ok()) return refuse(id.status().text());
  if (watch.progress_notify) arm_progress();
  return head({.header = node_.header(), .watch_id = *id, .created = true});
}

std::string WatchSession::refuse(std::string_view reason) const {
  return head({.header = node_.header(), .watch_id = kNoWatcher, .created = true, .canceled = true, .cancel_reason = reason});
}

std::string WatchSession::head(const wire::WatchHead& head) const {
  std::string bytes;
  wire::append(head, bytes);
  return bytes;
}

// --- responses
// ----------------------------------------------------------------------------------------------------------------

void WatchSession::send(std::string prefix, mvcc::WatchBody body, size_t count) {
  FAILPOINT(beforeSendWatchResponse);
  if (queued_bytes() == 0) queue_events_ = queue_bytes_ = 0;
  const size_t bytes = prefix.size() + (body ? body->size() : 0);
  queue_events_ += count;
  queue_bytes_ += bytes;
  (void)stream_->try_write(std::move(prefix), std::move(body));  // A dead stream is noticed by its reader.
  watchers_.queued(bytes);
}

void WatchSession::events(const mvcc::WatchEvents& events) {
  const wire::WatchHead head{.header = node_.header(events.revision), .watch_id = events.watch_id};
  std::string prefix;
  wire::append(head, prefix);
  const size_t bytes_max = node_.config().max_request_bytes + kRequestOverheadBytes;
  if (events.fragment && events.count > 1 && prefix.size() + events.body->size() >= bytes_max) {
    return send_in_fragments(events, head);
  }
  send(std::move(prefix), events.body, events.count);
}

void WatchSession::send_in_fragments(const mvcc::WatchEvents& events, wire::WatchHead head) {
  const size_t bytes_max = node_.config().max_request_bytes + kRequestOverheadBytes;
  std::string prefix;
  head.fragment = true;
  wire::append(head, prefix);
  std::string_view left = *events.body;
  while (!left.empty()) {
    size_t bytes = 0, count = 0;
    while (bytes < left.size()) {
      const size_t next = wire::first_watch_event(left.substr(bytes)).size();
      if (count > 0 && prefix.size() + bytes + next >= bytes_max) break;
      bytes += next;
      ++count;
    }
    if (bytes == left.size()) {
      prefix.clear();
      head.fragment = false;
      wire::append(head, prefix);
    }
    send(prefix, std::make_shared<const std::string>(left.substr(0, bytes)), count);
    left.remove_prefix(bytes);
  }
}

void WatchSession::progress(int64_t watch_id, int64_t revision) {
  send(head({.header = node_.header(revision), .watch_id = watch_id}), nullptr, 0);
}

void WatchSession::compacted(int64_t watch_id, int64_t compact_revision) {
  send(head({.header = node_.header(0), .watch_id = watch_id, .canceled = true, .compact_revision = compact_revision}), nullptr,
       0);
}

double WatchSession::pending_events() const {
  if (queue_bytes_ == 0) return 0;
  return static_cast<double>(queue_events_) *
         std::min(1.0, static_cast<double>(queued_bytes()) / static_cast<double>(queue_bytes_));
}

void WatchSession::drained() {
  if (watch_stream_ != nullptr) watchers_.hub().drained(watch_stream_);
}

// --- progress by time
// -----------------------------------------------------------------------------------------------------------

// The first watcher that asks for it starts the stream's clock, which runs while there is one.
void WatchSession::arm_progress() {
  if (std::exchange(ticking_, true)) return;
  node_.environment().loop.after(watchers_.next_progress_interval(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->tick_progress();
  });
}

void WatchSession::tick_progress() {
  ticking_ = false;
  if (watch_stream_ == nullptr) return;
  const base::Clock& clock = node_.environment().loop.clock();
  const base::Instant before = clock.now();
  watchers_.hub().tick_progress(watch_stream_);
  node_.metrics().watch_progress_duration.observe_ns((clock.now() - before).count());
  if (watchers_.hub().wants_ticks(watch_stream_)) arm_progress();
}

}  // namespace server
