#include "storage/backend.h"

#include <utility>

#include "base/failpoint.h"
#include "base/verify.h"
#include "storage/pending.h"

namespace storage {

using base::Result;
using base::Status;
using pending::Probe;
using pending::Row;
using pending::Rows;

namespace {

constexpr uint64_t kRowOverheadBytes = 8;  // lengths and kind in the engine's log

// The rows of a View and its engine snapshot as one ascending sequence; the newest source that has a key decides.
class MergedIterator final : public EngineIterator {
 public:
  MergedIterator(std::vector<std::shared_ptr<const Rows>> newest_first, const Engine& engine,
                 std::shared_ptr<const EngineSnapshot> snapshot)
      : rows_(std::move(newest_first)),
        at_(rows_.size()),
        snapshot_(std::move(snapshot)),
        base_(engine.iterate(snapshot_.get())) {}

  void seek(std::string_view key) override {
    const Probe probe(key);
    for (size_t i = 0; i < rows_.size(); ++i) at_[i] = rows_[i]->lower_bound(probe);
    base_->seek(key);
    settle();
  }

  void seek_to_last_before(std::string_view limit) override {
    // The last key below the limit in any source; if that is erased, look below it.
    std::string below(limit);
    for (;;) {
      base_->seek_to_last_before(below);
      bool found = base_->valid();
      std::string best = found ? std::string(base_->key()) : std::string();
      for (const auto& rows : rows_) {
        const size_t position = rows->lower_bound(Probe(below));
        if (position == 0) continue;
        const std::string_view key = rows->at(position - 1).key();
        if (!found || key > best) best = key;
        found = true;
      }
      if (!found || !base_->status().ok()) {
        current_ = kEnd;
        return;
      }
      seek(best);
      if (valid() && key() == best) return;
      below = std::move(best);
    }
  }

  bool valid() const override { return current_ != kEnd; }

  void next() override {
    VERIFY(valid());
    advance_past(key());
    settle();
  }

  std::string_view key() const override { return current_ == kBase ? base_->key() : row().key(); }
  std::string_view value() const override { return current_ == kBase ? base_->value() : row().value(); }
  Status status() const override { return base_->status(); }

 private:
  static constexpr size_t kEnd = SIZE_MAX;
  static constexpr size_t kBase = SIZE_MAX - 1;

  const Row& row() const { return rows_[current_]->at(at_[current_]); }

  // Moves every source that stands on `key` behind it. The key's own source moves last: it owns the bytes.
  void advance_past(std::string_view key) {
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (i != current_ && at_[i] < rows_[i]->size() && rows_[i]->at(at_[i]).key() == key) ++at_[i];
    }
    if (current_ != kBase && base_->valid() && base_->key() == key) base_->next();
    if (current_ == kBase) {
      base_->next();
    } else {
      ++at_[current_];
    }
  }

  // Finds the source of the smallest key, the newest if several have it, and passes over erased ones.
  void settle() {
    for (;;) {
      current_ = kEnd;
      if (!base_->status().ok()) return;
      std::string_view smallest;
      for (size_t i = 0; i < rows_.size(); ++i) {
        if (at_[i] >= rows_[i]->size()) continue;
        const std::string_view key = rows_[i]->at(at_[i]).key();
        if (current_ == kEnd || key < smallest) {
          current_ = i;
          smallest = key;
        }
      }
      if (base_->valid() && (current_ == kEnd || base_->key() < smallest)) current_ = kBase;
      if (current_ == kEnd || current_ == kBase || !row().erased()) return;
      advance_past(row().key());
    }
  }

  const std::vector<std::shared_ptr<const Rows>> rows_;  // newest first
  std::vector<size_t> at_;
  const std::shared_ptr<const EngineSnapshot> snapshot_;
  const std::unique_ptr<EngineIterator> base_;
  size_t current_ = kEnd;
};

bool take(const Row& row, std::string* value) {
  if (row.erased()) return false;
  value->assign(row.value());
  return true;
}

}  // namespace

View::View(std::vector<std::shared_ptr<const Rows>> newest_first, const Engine& engine,
           std::shared_ptr<const EngineSnapshot> snapshot)
    : newest_first_(std::move(newest_first)),
      engine_(engine),
      snapshot_(snapshot != nullptr ? std::move(snapshot) : engine.snapshot()) {}

Result<bool> View::get(std::string_view key, std::string* value) const {
  const Probe probe(key);
  for (const auto& rows : newest_first_) {
    if (const Row* row = rows->find(probe)) return take(*row, value);
  }
  return engine_.get(key, value, snapshot_.get());
}

std::unique_ptr<EngineIterator> View::iterate() const {
  return std::make_unique<MergedIterator>(newest_first_, engine_, snapshot_);
}

size_t Commit::bytes() const { return rows_->bytes(); }

Backend::Backend(Engine& engine, const BackendOptions& options)
    : engine_(engine), options_(options), batch_(std::make_unique<pending::Batch>()) {
  VERIFY(options_.commit_changes_max > 0 && options_.pending_bytes_max >= options_.commit_bytes_max);
}

Backend::~Backend() = default;

void Backend::put(std::string_view key, std::string_view value) {
  FAILPOINT(beforeBucketPut);
  batch_->put(key, value, false);
  ++changes_;
  row_bytes_ += kRowOverheadBytes + key.size() + value.size();
}

void Backend::erase(std::string_view key) {
  batch_->put(key, {}, true);
  ++changes_;
  row_bytes_ += kRowOverheadBytes + key.size();
}

Result<bool> Backend::get(std::string_view key, std::string* value) const {
  const Probe probe(key);
  if (const Row* row = batch_->find(probe)) return take(*row, value);
  for (auto it = sealed_.rbegin(); it != sealed_.rend(); ++it) {
    if (const Row* row = (*it)->find(probe)) return take(*row, value);
  }
  if (running_ != nullptr) {
    if (const Row* row = running_->rows_->find(probe)) return take(*row, value);
  }
  return engine_.get(key, value, frozen_.get());
}

// Small pieces are merged into the piece before them, so that however many views are taken, a piece is at least twice as long
// as the next: the number of pieces stays logarithmic, and each row is moved a logarithmic number of times.
void Backend::seal() const {
  if (batch_->empty()) return;
  std::shared_ptr<const Rows> rows = batch_->seal();
  while (!sealed_.empty() && sealed_.back()->size() < 2 * rows->size()) {
    rows = Rows::merge(*sealed_.back(), *rows);
    sealed_.pop_back();
  }
  sealed_.push_back(std::move(rows));
}

std::shared_ptr<const View> Backend::view() const {
  seal();
  std::vector<std::shared_ptr<const Rows>> newest_first(sealed_.rbegin(), sealed_.rend());
  // The engine may hold the running commit already or not yet; its rows are the same either way.
  if (running_ != nullptr) newest_first.push_back(running_->rows_);
  return std::make_shared<const View>(std::move(newest_first), engine_, frozen_);
}

bool Backend::commit_due(base::Instant now) {
  if (running_ != nullptr || changes_ == 0 || failed_) return false;
  if (!waiting_since_.has_value()) waiting_since_ = now;
  return now - *waiting_since_ >= options_.commit_interval || changes_ >= options_.commit_changes_max ||
         pending_bytes() >= options_.commit_bytes_max;
}

std::optional<base::Instant> Backend::commit_deadline(base::Instant now) {
  if (running_ != nullptr || changes_ == 0 || failed_) return std::nullopt;
  if (commit_due(now)) return now;
  return *waiting_since_ + options_.commit_interval;
}

std::shared_ptr<Commit> Backend::begin_commit(uint64_t tag) {
  VERIFY(running_ == nullptr && frozen_ == nullptr && !failed_);
  FAILPOINT(beforeStartDBTxn);
  seal();
  if (sealed_.empty()) return nullptr;
  std::shared_ptr<const Rows> rows = std::move(sealed_.back());
  sealed_.pop_back();
  for (; !sealed_.empty(); sealed_.pop_back()) rows = Rows::merge(*sealed_.back(), *rows);
  running_ = std::make_shared<Commit>(tag, std::move(rows));
  batch_->start_commit();
  changes_ = 0;
  running_row_bytes_ = std::exchange(row_bytes_, 0);
  waiting_since_.reset();
  FAILPOINT(afterStartDBTxn);
  return running_;
}

Status Backend::run(const Commit& commit) const {
  FAILPOINT(beforeCommit);
  // bbolt's own: its file cannot grow, its meta page cannot be written.
  if (const auto text = FAILPOINT_TEXT(lackOfDiskSpace)) return Status(base::Code::kResourceExhausted, *text);
  if (const auto text = FAILPOINT_TEXT(beforeWriteMetaError)) return Status(base::Code::kInternal, *text);
  Status done = engine_.write(*commit.rows_, /*sync=*/true);
  FAILPOINT(afterCommit);
  return done;
}

void Backend::finish_commit(std::shared_ptr<Commit> commit, const Status& done) {
  VERIFY(commit != nullptr && commit == running_);
  if (done.ok()) {
    running_.reset();
    running_row_bytes_ = 0;
  } else {
    failed_ = true;
  }
}

Status Backend::commit_now(uint64_t tag) {
  std::shared_ptr<Commit> commit = begin_commit(tag);
  if (commit == nullptr) return {};
  Status done = run(*commit);
  finish_commit(std::move(commit), done);
  return done;
}

void Backend::freeze() {
  VERIFY(running_ == nullptr && frozen_ == nullptr);
  frozen_ = engine_.snapshot();
}

void Backend::thaw() {
  VERIFY(frozen_ != nullptr);
  frozen_.reset();
  batch_ = std::make_unique<pending::Batch>();
  sealed_.clear();
  changes_ = row_bytes_ = 0;
  waiting_since_.reset();
}

size_t Backend::pending_bytes() const { return batch_->bytes() + (running_ != nullptr ? running_->bytes() : 0); }

}  // namespace storage
