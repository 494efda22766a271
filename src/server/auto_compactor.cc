#include "server/auto_compactor.h"

#include <algorithm>

#include "base/log.h"
#include "mvcc/request.h"
#include "rpc.pb.h"
#include "server/node.h"

namespace server {
namespace {

using base::Duration;
using base::Instant;
using base::Status;
using base::log::Field;

int64_t retention_of(const Config& config) {
  return config.auto_compaction_mode == CompactionMode::kPeriodic ? config.auto_compaction_period.count()
                                                                  : config.auto_compaction_revisions;
}

Duration look_interval_of(CompactionMode mode, int64_t retention) {
  if (mode == CompactionMode::kRevision) return CompactionPlan::kRevisionInterval;
  const Duration interval = std::min(Duration(retention), CompactionPlan::kPeriodicIntervalMax);
  return std::max(interval / CompactionPlan::kLooksPerInterval, CompactionPlan::kLookMin);
}

}  // namespace

// --- when and where ---------------------------------------------------------------------------------------------------------

CompactionPlan::CompactionPlan(CompactionMode mode, int64_t retention, Instant now)
    : mode_(mode),
      retention_(retention),
      look_(look_interval_of(mode, retention)),
      kept_(static_cast<size_t>(std::max<int64_t>(retention, 0) / look_.count()) + 1),
      between_(retention),
      last_at_(now) {}

void CompactionPlan::begin_wait(int64_t revision) {
  if (mode_ == CompactionMode::kRevision) return;
  revisions_.push_back(revision);
  if (revisions_.size() > kept_) revisions_.pop_front();
}

std::optional<int64_t> CompactionPlan::due(Instant now, int64_t revision, bool leading) {
  if (!leading) return std::nullopt;
  if (mode_ == CompactionMode::kRevision) {
    const int64_t at = revision - retention_;
    if (at <= 0 || at == last_revision_) return std::nullopt;
    return at;
  }
  const int64_t at = revisions_.front();
  if (now - last_at_ < between_ || at == last_revision_) return std::nullopt;
  between_ = std::min(between_, kPeriodicIntervalMax);  // only the first waits for the whole of a long period
  return at;
}

void CompactionPlan::compacted(Instant now, int64_t revision) {
  last_revision_ = revision;
  last_at_ = now;
}

// --- at work ----------------------------------------------------------------------------------------------------------------

AutoCompactor::AutoCompactor(Node& node)
    : node_(node),
      mode_(node.config().auto_compaction_mode),
      retention_(retention_of(node.config())),
      plan_(mode_, retention_, node.environment().loop.clock().now()) {}

void AutoCompactor::start() {
  if (retention_ != 0) wait();
}

void AutoCompactor::stop() {
  stopped_ = true;
  node_.environment().loop.cancel(timer_);
}

void AutoCompactor::wait() {
  if (stopped_) return;
  plan_.begin_wait(node_.store().current_revision());
  timer_ = node_.environment().loop.after(plan_.look_interval(), [this] { look(); });
}

void AutoCompactor::look() {
  const Instant now = node_.environment().loop.clock().now();
  const std::optional<int64_t> at = plan_.due(now, node_.store().current_revision(), node_.is_leader());
  if (!at) return wait();
  if (mode_ == CompactionMode::kPeriodic) {
    base::log::info("starting auto periodic compaction", {{"revision", *at}, Field::duration("compact-period", retention_)});
  } else {
    base::log::info("starting auto revision compaction", {{"revision", *at}, {"revision-compaction-retention", retention_}});
  }
  etcdserverpb::CompactionRequest request;
  request.set_revision(*at);
  node_.propose_message(wire::Op::kCompaction, request,
                        [this, revision = *at, now](const Status& status) { finish(revision, now, status); });
}

void AutoCompactor::finish(int64_t revision, Instant started, const Status& status) {
  if (stopped_) return;
  const Instant now = node_.environment().loop.clock().now();
  // Somebody was there before.
  const bool done = status.ok() || status == mvcc::errors::compacted();
  const Field retention = mode_ == CompactionMode::kPeriodic ? Field::duration("compact-period", retention_)
                                                             : Field("revision-compaction-retention", retention_);
  const std::string_view kind = mode_ == CompactionMode::kPeriodic ? "periodic" : "revision";
  if (done) {
    plan_.compacted(now, revision);
    base::log::info("completed auto " + std::string(kind) + " compaction",
                    {{"revision", revision}, retention, Field::duration("took", (now - started).count())});
  } else {
    base::log::warn("failed auto " + std::string(kind) + " compaction",
                    {{"revision", revision},
                     retention,
                     Field::duration("retry-interval", plan_.look_interval().count()),
                     {"error", status}});
  }
  wait();
}

}  // namespace server
