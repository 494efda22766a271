#include "server/maintainer.h"

#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/verify.h"
#include "mvcc/compaction_task.h"
#include "mvcc/hash_task.h"
#include "mvcc/store.h"
#include "server/database_export.h"
#include "server/database_hash_task.h"
#include "server/errors.h"
#include "server/metrics.h"
#include "server/node.h"

namespace server {
namespace {

using base::Result;
using base::Status;

constexpr base::Duration kSleepBetweenBatches = std::chrono::milliseconds(10);

}  // namespace

// One task and what comes after it.
struct Maintainer::Work {
  std::unique_ptr<mvcc::Task> task;              // null: a compaction, fetched from the store when its turn comes
  mvcc::CompactionTask* compaction = nullptr;    // the same, if it is one
  std::function<void(const Status&)> done;       // of hashes
  base::metrics::Histogram* duration = nullptr;  // of hashes
  base::Instant began{};
};

Maintainer::Maintainer(Node& node) : node_(node) {}

// Whoever streams one may live longer than the store.
Maintainer::~Maintainer() {
  for (const std::weak_ptr<DatabaseExport>& weak : exports_) {
    if (const std::shared_ptr<DatabaseExport> open = weak.lock()) open->close();
  }
}

void Maintainer::start() {
  if (node_.store().compaction_waiting()) on_compaction();
}

void Maintainer::on_compaction() {
  queue_.push_back(std::make_unique<Work>());
  next();
}

void Maintainer::when_compacted(std::function<void(const Status&)> done) {
  if (stopped_) return done(errors::stopped());
  waiting_.push_back({node_.store().compact_revision(), 0, std::move(done)});
  settle();
}

void Maintainer::hash_kv(int64_t revision, std::function<void(const Result<HashAnswer>&)> done) {
  if (stopped_) return done(errors::stopped());
  const int64_t current = node_.store().current_revision();
  if (const mvcc::KeyHash* cached = node_.store().hashes().find(revision)) {
    return done(HashAnswer{cached->hash, cached->compact_revision, cached->revision, current});
  }
  if (queue_.size() >= kHashesWaitingMax) return done(errors::too_many_requests());
  auto work = std::make_unique<Work>();
  auto task = std::make_unique<mvcc::HashTask>(node_.store(), revision);
  work->done = [&node = node_, done = std::move(done), task = task.get()](const Status& status) {
    if (!status.ok()) return done(status);
    const mvcc::KeyHash& hash = task->result();
    done(HashAnswer{hash.hash, hash.compact_revision, hash.revision, node.store().current_revision()});
  };
  work->task = std::move(task);
  work->duration = &node_.metrics().hash_rev_duration;
  submit(std::move(work));
}

void Maintainer::hash_database(std::function<void(const Result<DatabaseHashAnswer>&)> done) {
  if (stopped_) return done(errors::stopped());
  if (queue_.size() >= kHashesWaitingMax) return done(errors::too_many_requests());
  auto work = std::make_unique<Work>();
  auto task = std::make_unique<DatabaseHashTask>(node_.whole_view());
  const int64_t revision = node_.store().current_revision();
  work->done = [done = std::move(done), task = task.get(), revision](const Status& status) {
    if (!status.ok()) return done(status);
    done(DatabaseHashAnswer{task->hash(), revision});
  };
  work->task = std::move(task);
  work->duration = &node_.metrics().hash_duration;
  submit(std::move(work));
}

void Maintainer::submit(std::unique_ptr<Work> work) {
  queue_.push_back(std::move(work));
  next();
}

Result<std::shared_ptr<DatabaseExport>> Maintainer::open_export() {
  if (stopped_) return errors::stopped();
  std::erase_if(exports_, [](const std::weak_ptr<DatabaseExport>& weak) { return weak.expired(); });
  if (exports_.size() >= kExportsMax) return errors::too_many_requests();
  auto opened = std::make_shared<DatabaseExport>(node_.whole_view());
  exports_.push_back(opened);
  return opened;
}

void Maintainer::hold(std::function<void()> held) {
  VERIFY(!holding_);
  holding_ = true;
  if (!reading_) return held();
  held_ = std::move(held);
}

void Maintainer::give_up() {
  VERIFY(holding_ && !reading_);
  ++generation_;
  std::deque<std::unique_ptr<Work>> given_up;
  given_up.swap(queue_);
  if (running_ != nullptr) given_up.push_back(std::move(running_));
  for (const std::unique_ptr<Work>& work : given_up) {
    if (work->done) work->done(errors::leader_changed());
  }
}

void Maintainer::resume() {
  VERIFY(holding_);
  holding_ = false;
  if (node_.store().compaction_waiting()) on_compaction();
  next();
  settle();
}

void Maintainer::next() {
  if (running_ != nullptr || stopped_ || holding_) return;
  while (!queue_.empty()) {
    running_ = std::move(queue_.front());
    queue_.pop_front();
    if (running_->task == nullptr) {
      std::unique_ptr<mvcc::CompactionTask> compaction = node_.store().next_compaction();
      running_->compaction = compaction.get();
      running_->task = std::move(compaction);
    }
    if (running_->task != nullptr) break;
    running_.reset();  // Merged into one that ran already.
  }
  if (running_ == nullptr) return;
  running_->began = node_.environment().loop.clock().now();
  go_on();
}

void Maintainer::go_on() {
  if (stopped_ || holding_) return;
  mvcc::Task* task = running_->task.get();
  if (!task->wants_read()) {
    return node_.environment().loop.post([this, at = generation_] {
      if (at == generation_) step();
    });
  }
  reading_ = true;
  node_.environment().helper.submit([task] { task->read(); },
                                    [this] {
                                      reading_ = false;
                                      if (holding_) return held_();
                                      step();
                                    });
}

void Maintainer::step() {
  if (stopped_ || holding_) return;
  const bool reads_rows = running_->task->wants_read();
  const base::Instant before = node_.environment().loop.clock().now();
  const bool finished = running_->task->step();
  const base::Duration pause = node_.environment().loop.clock().now() - before;
  if (running_->compaction != nullptr) {
    Metrics& metrics = node_.metrics();
    (reads_rows ? metrics.compaction_pause_ms : metrics.index_compaction_pause_ms)
        .observe(static_cast<double>(pause.count()) / 1e6);
    node_.schedule_commit();
  }
  if (finished) return finish();
  if (running_->compaction == nullptr || !reads_rows) return go_on();
  const base::Duration sleep = node_.config().compaction_sleep_interval > base::Duration(0)
                                   ? node_.config().compaction_sleep_interval
                                   : kSleepBetweenBatches;
  node_.environment().loop.after(sleep, [this, at = generation_] {
    if (stopped_ || at != generation_) return;
    FAILPOINT(compactAfterCommitBatch);
    go_on();
  });
}

void Maintainer::finish() {
  const std::unique_ptr<Work> work = std::move(running_);
  const base::Duration took = node_.environment().loop.clock().now() - work->began;
  const Status& status = work->task->status();
  if (work->compaction == nullptr) {
    if (status.ok()) work->duration->observe_ns(took.count());
    work->done(status);
  } else if (!status.ok()) {
    base::fatal("store: compaction met damage: " + status.to_string());
  } else {
    Metrics& metrics = node_.metrics();
    metrics.compaction_total_ms.observe(static_cast<double>(took.count()) / 1e6);
    metrics.compaction_keys.add(work->compaction->erased());
    metrics.compaction_last.set(static_cast<double>(node_.environment().loop.clock().unix_ns() / 1'000'000'000));
    const uint64_t size = node_.db_size_bytes(), in_use = node_.db_size_in_use_bytes();
    base::log::info("finished scheduled compaction", {{"compact-revision", work->compaction->revision()},
                                                      base::log::Field::duration("took", took.count()),
                                                      {"number-of-keys-compacted", work->compaction->erased()},
                                                      {"hash", work->compaction->hash()},
                                                      {"current-db-size-bytes", size},
                                                      {"current-db-size", size_text(size)},
                                                      {"current-db-size-in-use-bytes", in_use},
                                                      {"current-db-size-in-use", size_text(in_use)}});
    settle();
  }
  next();
}

// Who waits for a compaction is answered when the commit that erases its last rows has ended: the one that runs, unless some
// of them still wait for the next.
void Maintainer::settle() {
  const int commits = node_.backend().commit_running() && node_.backend().pending_changes() > 0 ? 2 : 1;
  for (Waiting& waiting : waiting_) {
    if (waiting.commits_left == 0 && node_.store().finished_compact_revision() >= waiting.revision) {
      waiting.commits_left = commits;
    }
  }
  if (node_.backend().pending_changes() == 0 && !node_.backend().commit_running()) return on_commit();
  node_.schedule_commit();
}

bool Maintainer::awaits_commit() const {
  return std::any_of(waiting_.begin(), waiting_.end(), [](const Waiting& waiting) { return waiting.commits_left > 0; });
}

void Maintainer::on_commit() {
  std::vector<Waiting> ready;
  std::erase_if(waiting_, [&](Waiting& waiting) {
    if (waiting.commits_left == 0 || --waiting.commits_left > 0) return false;
    ready.push_back(std::move(waiting));
    return true;
  });
  for (Waiting& waiting : ready) waiting.done(Status());
}

void Maintainer::stop() {
  stopped_ = true;
  std::vector<Waiting> waiting;
  waiting.swap(waiting_);
  for (Waiting& one : waiting) one.done(errors::stopped());
  for (std::unique_ptr<Work>& work : queue_) {
    if (work->done) work->done(errors::stopped());
  }
  queue_.clear();
  if (running_ != nullptr && running_->done) running_->done(errors::stopped());
}

}  // namespace server
