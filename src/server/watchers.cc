#include "server/watchers.h"

#include "base/log.h"
#include "mvcc/watch_catch_up.h"
#include "server/metrics.h"
#include "server/watch_session.h"

namespace server {
namespace {

constexpr base::Duration kProgressIntervalDefault = std::chrono::minutes(10);
constexpr base::Duration kProgressIntervalMin = std::chrono::milliseconds(100);

base::Duration progress_interval(const Config& config) {
  const base::Duration wanted = config.watch_progress_notify_interval;
  if (wanted <= base::Duration(0)) return kProgressIntervalDefault;
  if (wanted >= kProgressIntervalMin) return wanted;
  base::log::warn("adjusting watch progress notify interval to minimum period",
                  {base::log::Field::duration("min-watch-progress-notify-interval", kProgressIntervalMin.count())});
  return kProgressIntervalMin;
}

}  // namespace

Watchers::Watchers(const Environment& environment, const Config& config, mvcc::Store& store)
    : environment_(environment),
      hub_(store, environment.seed),
      rng_(environment.seed),
      progress_interval_(progress_interval(config)) {
  hub_.set_wake([this] { schedule(); });
}

Watchers::~Watchers() {
  stop();
  catch_up_.reset();
}

void Watchers::on_commit(int64_t main, std::span<const mvcc::Event> events) {
  if (stopped_) return;
  if (hub_.statistics().watchers == 0) return hub_.on_commit(main, events);
  const base::Instant before = environment_.loop.clock().now();
  const mvcc::WatchHub::Statistics was = hub_.statistics();
  hub_.on_commit(main, events);
  const uint64_t responses = hub_.statistics().responses - was.responses;
  if (responses == 0) return;
  const auto took = std::chrono::duration<double>(environment_.loop.clock().now() - before).count();
  const uint64_t sent = hub_.statistics().events - was.events;
  environment_.metrics.watch_stream_duration.observe_many(took / static_cast<double>(responses), responses);
  environment_.metrics.watch_event_duration.observe_many(took / static_cast<double>(sent), responses);
}

void Watchers::stop() {
  stopped_ = true;
  environment_.loop.cancel(relief_timer_);
  while (!sessions_.empty()) sessions_.begin()->second->close();  // Which takes it from the list.
}

// --- the hub's work, a piece at a time --------------------------------------------------------------------------------------

void Watchers::schedule() {
  if (scheduled_ || stopped_) return;
  scheduled_ = true;
  environment_.loop.post([this] { work(); });
}

void Watchers::work() {
  scheduled_ = false;
  if (stopped_) return;
  std::unique_ptr<mvcc::WatchCatchUp> catch_up = hub_.work();
  if (catch_up != nullptr) {
    catch_up_ = std::move(catch_up);
    go_on();
  }
  if (hub_.has_work()) schedule();
}

void Watchers::go_on() {
  if (stopped_) return;
  mvcc::Task* task = catch_up_.get();
  if (!task->wants_read()) return environment_.loop.post([this] { step(); });
  environment_.helper.submit([task] { task->read(); }, [this] { step(); });
}

void Watchers::step() {
  if (stopped_) return;
  if (!catch_up_->step()) return go_on();
  if (!catch_up_->status().ok()) base::fatal("store: a watch met damage: " + catch_up_->status().to_string());
  catch_up_.reset();
  if (hub_.has_work()) schedule();
}

// --- room -------------------------------------------------------------------------------------------------------------------

size_t Watchers::count_queued() const {
  size_t bytes = 0;
  for (const auto& [number, session] : sessions_) bytes += session->queued_bytes();
  return bytes;
}

void Watchers::queued(size_t bytes) {
  queued_bytes_ += bytes;
  if (queued_bytes_ <= kWatchQueuedBytesTotalMax || short_of_room_) return;
  queued_bytes_ = count_queued();
  if (queued_bytes_ <= kWatchQueuedBytesTotalMax / 2) return;
  short_of_room_ = true;
  relief_timer_ = environment_.loop.after(kWatchReliefInterval, [this] { relieve(); });
}

// Little room for all: a stream below the limit of its queue will not say that it has drained.
void Watchers::relieve() {
  queued_bytes_ = count_queued();
  short_of_room_ = queued_bytes_ > kWatchQueuedBytesTotalMax / 4;
  for (const auto& [number, session] : sessions_) {
    if (!session->full()) session->drained();
  }
  if (short_of_room_) relief_timer_ = environment_.loop.after(kWatchReliefInterval, [this] { relieve(); });
}

// --- time and figures
// ---------------------------------------------------------------------------------------------------------

base::Duration Watchers::next_progress_interval() {
  const auto jitter = static_cast<uint64_t>(progress_interval_.count()) / 10;
  return progress_interval_ + base::Duration(static_cast<int64_t>(rng_.below(jitter)));
}

void Watchers::refresh_metrics() {
  Metrics& metrics = environment_.metrics;
  const mvcc::WatchHub::Statistics& statistics = hub_.statistics();
  metrics.watch_streams.set(static_cast<double>(statistics.streams));
  metrics.watchers.set(static_cast<double>(statistics.watchers));
  metrics.slow_watchers.set(static_cast<double>(statistics.slow_watchers));
  metrics.watch_events.set_total(statistics.events);
  double pending = 0;
  for (const auto& [number, session] : sessions_) pending += session->pending_events();
  metrics.pending_events.set(pending);
}

}  // namespace server
