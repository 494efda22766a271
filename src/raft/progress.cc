#include "raft/progress.h"

#include <algorithm>

#include "base/verify.h"

namespace raft {

void Inflights::add(Index last, uint64_t bytes) {
  VERIFY(!full());
  size_t at = start_ + count_;
  if (at >= count_max_) at -= count_max_;
  if (at >= ring_.size()) grow();
  ring_[at] = {last, bytes};
  ++count_;
  bytes_ += bytes;
}

// Only a ring that has not wrapped grows: while it is smaller than count_max_, `at` above runs past its end instead.
void Inflights::grow() { ring_.resize(std::min(count_max_, std::max<size_t>(1, ring_.size() * 2))); }

void Inflights::free_to(Index index) {
  while (count_ > 0 && ring_[start_].last <= index) {
    bytes_ -= ring_[start_].bytes;
    --count_;
    if (++start_ >= count_max_) start_ = 0;
  }
  if (count_ == 0) start_ = 0;  // Keeps a small ring small.
}

void Inflights::clear() {
  start_ = 0;
  count_ = 0;
  bytes_ = 0;
}

std::string_view name_of(ProgressState state) {
  switch (state) {
    case ProgressState::kProbe:
      return "StateProbe";
    case ProgressState::kReplicate:
      return "StateReplicate";
    case ProgressState::kSnapshot:
      return "StateSnapshot";
  }
  return "unknown";
}

void Progress::enter(ProgressState to) {
  append_paused = false;
  pending_snapshot = Index{};
  state = to;
  inflights.clear();
}

void Progress::become_probe() {
  // After a snapshot the follower is expected to be just behind it; `pending_snapshot` is 0 if the snapshot failed.
  const Index snapshot = state == ProgressState::kSnapshot ? pending_snapshot : Index{};
  enter(ProgressState::kProbe);
  next = std::max(match, snapshot) + 1;
  sent_commit_ = std::min(sent_commit_, next - 1);
}

void Progress::become_replicate() {
  enter(ProgressState::kReplicate);
  next = match + 1;
}

void Progress::become_snapshot(Index snapshot) {
  enter(ProgressState::kSnapshot);
  pending_snapshot = snapshot;
  next = snapshot + 1;
  sent_commit_ = snapshot;
}

void Progress::sent_entries(size_t entries, uint64_t bytes) {
  VERIFY(state != ProgressState::kSnapshot);
  if (state == ProgressState::kProbe) {
    if (entries > 0) append_paused = true;
    return;
  }
  if (entries > 0) {
    next = next + entries;
    inflights.add(next - 1, bytes);
  }
  // The message that fills the window is also the last one until something comes back.
  append_paused = inflights.full();
}

bool Progress::maybe_update(Index index) {
  if (index <= match) return false;
  match = index;
  next = std::max(next, index + 1);
  append_paused = false;
  return true;
}

bool Progress::maybe_decrease(Index rejected, Index hint) {
  if (state == ProgressState::kReplicate) {
    // Something behind `match` was refused before it was accepted later.
    if (rejected <= match) return false;
    next = match + 1;
    sent_commit_ = std::min(sent_commit_, next - 1);
    return true;
  }
  // Probes go one at a time: an answer to another one is old.
  if (next - 1 != rejected) return false;
  // It had acknowledged that: its disk went back in time since. What is certain of it is what it names now, and less each time.
  if (rejected == match && rejected > Index{}) match = std::min(hint, rejected - 1);
  next = std::max(std::min(rejected, hint + 1), match + 1);
  sent_commit_ = std::min(sent_commit_, next - 1);
  append_paused = false;
  return true;
}

std::string Progress::to_string() const {
  std::string out(name_of(state));
  out += " match=" + std::to_string(match.value()) + " next=" + std::to_string(next.value());
  if (is_learner) out += " learner";
  if (paused()) out += " paused";
  if (pending_snapshot > Index{}) out += " pendingSnap=" + std::to_string(pending_snapshot.value());
  if (!recent_active) out += " inactive";
  if (inflights.count() > 0) {
    out += " inflight=" + std::to_string(inflights.count());
    if (inflights.full()) out += "[full]";
  }
  return out;
}

}  // namespace raft
